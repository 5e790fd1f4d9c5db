"""Lesson 14, checkpoints and the Hub: damaged copies, pictures with their answers, probes, exercises."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_sample_images
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.course.lesson_04 import shipped, tasks_of, test_pairs
from growclip_lite.course.place import checkpoint
from growclip_lite.data.pictures import to_pixels
from growclip_lite.errors import InputError
from growclip_lite.evaluate import classify, embed_images, split_labels
from growclip_lite.model import GrowCLIP
from growclip_lite.plots import GREY

PHOTOGRAPHS = ("a photograph of a temple", "a photograph of a flower")  # scikit-learn's two samples
WIDGET_PICTURES = [*(f"scene {i}" for i in range(6)), *PHOTOGRAPHS, "noise"]


def damaged(folder: Path, how: str) -> Path:
    """A copy of the shipped checkpoint at `folder`, spoilt in one way."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(checkpoint(), folder)
    if how == "half a file":
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    elif how == "one head more":
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["architecture"]["shared_width"] += 1
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    elif how == "another's words":
        shutil.copy(checkpoint(1) / "tokenizer.json", folder)
    elif how == "no weights":
        (folder / "model.safetensors").unlink()
    return folder


def sentence_of(folder: Path) -> str:
    """What loading `folder` complains of, without the path in front."""
    try:
        GrowCLIP.from_pretrained(str(folder))
    except InputError as error:
        return str(error).replace(str(folder) + "/", "")
    return "loaded without complaint"


@cache
def picture(name: str) -> np.ndarray:
    """(3, 32, 32) uint8: "scene 0" and on from the test pairs, the two photographs, or "noise"."""
    if name in PHOTOGRAPHS:
        return to_pixels(Image.fromarray(load_sample_images().images[PHOTOGRAPHS.index(name)]), 32)
    if name == "noise":
        return np.random.default_rng(0).integers(256, size=(3, 32, 32), dtype=np.uint8)
    return test_pairs(100).images[int(name.split()[1])]


def draw_shares(images: Sequence[np.ndarray], labels: Sequence[str], shares: Tensor) -> Figure:
    """One row per picture: the picture, and a bar for every label with its share."""
    figure, rows = subplots(len(images), 2, figsize=(8.5, 2.1 * len(images)), width_ratios=(1, 3), squeeze=False)
    for (left, right), image, share in zip(rows, images, shares.tolist(), strict=True):
        left.imshow(image.transpose(1, 2, 0))
        left.axis("off")
        best = int(np.argmax(share))
        bars = right.barh(labels, share, color=[PALETTE[0] if i == best else "#b8cfe0" for i in range(len(labels))])
        labelled = right.bar_label(bars, [f"{value:.0%}" for value in share], padding=3, fontsize=9)
        for text in labelled:
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.5})
        right.axvline(1 / len(labels), color=GREY, ls=":")
        right.set(xlim=(0, 1.12), xticks=[0, 0.5, 1])
        right.invert_yaxis()
    for axes in rows[:-1, 1]:
        axes.set_xticklabels([])
    rows[-1, 1].set_xlabel("share of the softmax (dotted: even)")
    return figure


def draw_classified(name: str, labels: str) -> Figure:
    """The widget: one picture, and labels separated by commas."""
    chosen = split_labels(labels) or ["thing"]
    return draw_shares([picture(name)], chosen, classify(shipped(), picture(name)[None], chosen))


def probes(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> tuple:
    """Accuracy of a linear probe and of the five nearest neighbours, from features (M, E) and labels (M,)."""
    linear = LogisticRegression(C=100, max_iter=2_000).fit(train, train_labels)
    nearest = KNeighborsClassifier(min(5, len(train))).fit(train, train_labels)
    return linear.score(test, test_labels), nearest.score(test, test_labels)


def learning_curves(name: str, amounts: Sequence[int], seeds: int, pictures: int) -> dict[str, np.ndarray]:
    """(seeds, amounts) accuracies on the task's test pictures, from so many labelled *validation* pictures.

    The last of the three looks at raw pixels, without the model.
    """
    train, test = (tasks_of(split, pictures)[name] for split in ("validation", "test"))
    features = [embed_images(shipped(), task.images).numpy() for task in (train, test)]
    pixels = [task.images.reshape(len(task.images), -1) / 255 for task in (train, test)]
    found: dict[str, list] = {"linear probe": [], "nearest neighbours": [], "nearest neighbours, pixels": []}
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(train.labels))
        rows = []
        for amount in amounts:
            chosen = order[:amount]
            linear, nearest = probes(features[0][chosen], train.labels[chosen], features[1], test.labels)
            raw = KNeighborsClassifier(min(5, amount)).fit(pixels[0][chosen], train.labels[chosen])
            rows.append((linear, nearest, raw.score(pixels[1], test.labels)))
        for curve, values in zip(found.values(), zip(*rows, strict=True), strict=True):
            curve.append(values)
    return {kind: np.array(values) for kind, values in found.items()}


def read_header(path: Path) -> dict:
    """The table of contents of a safetensors file: its first eight bytes say how long it is, and it is JSON."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


@exercise
def check_most_similar(answer) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        gallery = torch.randn(12, 8, generator=generator) * torch.rand(12, 1, generator=generator) * 9
        query = 3 * torch.randn(8, generator=generator)
        cosines = (gallery @ query) / gallery.norm(dim=1)
        k = 2 + seed
        got, expected = [int(i) for i in answer(query, gallery, k)], cosines.topk(k).indices.tolist()
        require(len(got) == k, f"{k} numbers were asked for, not {len(got)}.")
        require(got != (gallery @ query).topk(k).indices.tolist() or got == expected, "long vectors win: use cosines.")
        require(got != expected[::-1], "the most similar one comes first.")
        require(got == expected, "these are not the rows with the largest cosines.")


@exercise
def check_shares(answer) -> None:
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        cosines, logit_scale = torch.rand(5, generator=generator) - 0.5, torch.tensor(2.5 + seed / 2)
        got, expected = torch.as_tensor(answer(cosines, logit_scale)), (logit_scale.exp() * cosines).softmax(0)
        require(abs(float(got.sum()) - 1) < 1e-4, "shares sum to 1.")
        hint = "the model stores the *logarithm* of the factor."
        require(not torch.allclose(got, (logit_scale * cosines).softmax(0), atol=1e-4), hint)
        require(not torch.allclose(got, cosines.softmax(0), atol=1e-4), "softmax of bare cosines is nearly even.")
        require(torch.allclose(got, expected, atol=1e-4), "scale the cosines, then softmax over the labels.")


@exercise
def check_misfits(answer) -> None:
    expected = {"a": (2, 3), "b": (4,), "c": ()}
    cases = [
        (expected, []), ({"a": (3, 2), "b": (4,), "c": ()}, ["a"]), ({"a": (2, 3), "c": ()}, ["b"]),
        (expected | {"d": (1,)}, ["d"]), ({"b": (5,), "z": (1,)}, ["a", "b", "c", "z"]),
    ]  # fmt: skip
    for found, wanted in cases:
        got = sorted(answer(found, expected))
        missing = sorted(expected.keys() - found.keys() - set(got))
        require(not missing, f"{', '.join(missing)} is missing in the file, and you did not notice.")
        unknown = sorted(found.keys() - expected.keys() - set(got))
        require(not unknown, f"{', '.join(unknown)} is unknown to the model, and you did not notice.")
        require(got == wanted, f"for {found} the misfits are not {got}.")
