"""Draws README's gallery from the shipped checkpoints: results/gallery.png, results/search.png, results/growth.gif.
Also writes results/example.png, one of the test pictures as it is.

    .venv/bin/python checkpoints/gallery.py       # after checkpoints/build.py

The animation needs the run that scenes-laptop comes from, in runs/checkpoints.
"""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.animation import FuncAnimation, PillowWriter
from PIL import Image

from growclip_lite import GrowCLIP
from growclip_lite.data.emoji import KINDS
from growclip_lite.data.load import load_tests
from growclip_lite.data.stream import Pairs, Stream
from growclip_lite.evaluate import classify, embed_images, embed_texts
from growclip_lite.plots import COLOURS, GREY, PALETTE, draw_architecture, levels

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
# Labels to choose from. The pictures are spread evenly over the test pictures, whatever the model says. Scenes are
# named as in the captions of the pictures shown ("rhombus", not "diamond"): an answer is right if the caption has it.
LABELS = {
    "scenes": [
        "green heart",
        "red triangle",
        "orange rhombus",
        "red arrow",
        "blue star",
        "yellow circle",
        "purple ring",
    ],
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    "emoji": list(KINDS),
}
SHOWN, TOP = 4, 3
EXAMPLE = 51  # a big pink cross on sand
QUERIES = ("a big yellow circle on grass", "a blue star at night", "two things in the snow")


def test_pictures(stream: Stream, labels: list[str]) -> tuple[np.ndarray, list[str]]:
    """`SHOWN` pictures of the stream's last task with their labels, or of the retrieval pairs with their captions where
    there are nine tasks."""
    task, pairs = stream.tasks[-1], stream.retrieval
    images = pairs.images if len(stream.tasks) > 2 else task.images
    chosen = np.linspace(0, len(images) - 1, SHOWN).astype(int)
    truths = pairs.captions if len(stream.tasks) > 2 else [labels[label] for label in task.labels]
    return images[chosen], [truths[i] for i in chosen]


def draw_zero_shot(streams: dict[str, Stream], path: Path) -> None:
    """A row per checkpoint: test pictures, what they show, and the model's three largest probabilities below."""
    figure, panels = plt.subplots(
        2 * len(LABELS),
        SHOWN,
        figsize=(9, 3.1 * len(LABELS)),
        height_ratios=[1.5, 1] * len(LABELS),
        layout="constrained",
    )
    for row, (name, labels) in enumerate(LABELS.items()):
        model = GrowCLIP.from_pretrained(HERE / f"{name}-laptop")
        images, truths = test_pictures(streams[name], labels)
        found = classify(model, images, labels).numpy()
        for column, (image, truth, chances) in enumerate(zip(images, truths, found, strict=True)):
            picture, bars = panels[2 * row, column], panels[2 * row + 1, column]
            picture.imshow(image.transpose(1, 2, 0), interpolation="nearest")
            picture.set(xticks=[], yticks=[])
            picture.set_xlabel(textwrap.fill(truth, 22), fontsize=8)
            best = np.argsort(-chances)[:TOP]
            right = labels[best[0]] in truth
            bars.barh([labels[i] for i in best], chances[best], color=[PALETTE[0 if right else 4], GREY, GREY])
            bars.set(xlim=(0, 1), xticks=[0, 1], xticklabels=["0", "1"])
            bars.invert_yaxis()
            bars.tick_params(labelsize=9)
        panels[2 * row, 0].set_title(f"{name}-laptop", loc="left", fontsize=11)
    figure.savefig(path, dpi=100, facecolor="white")
    plt.close(figure)


def draw_search(pairs: Pairs, path: Path) -> None:
    """A row per sentence: the five test pictures of highest cosine."""
    model = GrowCLIP.from_pretrained(HERE / "scenes-laptop")
    cosines = (embed_texts(model, list(QUERIES)) @ embed_images(model, pairs.images).T).numpy()
    figure, panels = plt.subplots(len(QUERIES), 5, figsize=(9, 6.8), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1)
    for row, query in enumerate(QUERIES):
        for axes, index in zip(panels[row], np.argsort(-cosines[row])[:5], strict=True):
            axes.imshow(pairs.images[index].transpose(1, 2, 0), interpolation="nearest")
            axes.set_xlabel(f"cosine {cosines[row, index]:.2f}", fontsize=8)
            axes.set(xticks=[], yticks=[])
        panels[row, 0].set_title(f"“{query}”", loc="left", fontsize=11)
    figure.savefig(path, dpi=100, facecolor="white")
    plt.close(figure)


def draw_animation(run: Path, path: Path) -> None:
    """The architecture on the left; on the right the training loss of all growth steps, drawn as it went on."""
    entries = json.loads((run / "report.json").read_text(encoding="utf-8"))["steps"]
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    begins = np.cumsum([0, *(max(r["iteration"] for r in records if r["step"] == e["step"]) for e in entries)])
    x = np.array([begins[r["step"] - 1] + r["iteration"] for r in records])
    loss, step = np.array([r["loss"] for r in records]), np.array([r["step"] for r in records])
    widest = max(e["architecture"][f"{n}_width"] for e in entries for n in ("image", "text", "shared"))
    highest = max(levels(e["architecture"]) for e in entries)
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.6), width_ratios=(1, 1.7), layout="constrained")

    def frame(number: int) -> None:
        number = min(number, len(x) - 1)  # the last frames stand still
        entry = entries[step[number] - 1]
        left.clear()
        draw_architecture(left, entry["architecture"], 0, 0.45 / widest)
        left.set(xlim=(-0.55, 0.55), ylim=(-0.6, highest + 1), title=f"growth step {entry['step']}")
        left.text(0, -0.15, f"{entry['samples_total']:,} pairs · {entry['parameters'] / 1e6:.2f} M parameters",
                  ha="center", va="top", fontsize=9)  # fmt: skip
        for name in ("image", "text", "shared"):
            left.plot([], [], "s", color=COLOURS[name], label=name)
        left.legend(loc="upper left", frameon=False, fontsize=8)
        left.set_axis_off()
        right.clear()
        for t in range(1, step[number] + 1):
            part = (step == t) & (np.arange(len(x)) <= number)
            right.plot(x[part], loss[part], color=COLOURS["image"], lw=1.8)
            right.axvline(begins[t - 1], color=GREY, lw=0.8, ls=":")
        for e in entries[: step[number] - 1 + (number == len(x) - 1)]:
            middle = (begins[e["step"] - 1] + begins[e["step"]]) / 2
            right.text(middle, loss.max(), f"zero-shot\n{e['zero_shot_mean']:.2f}", ha="center", va="top", fontsize=9)
        right.set(xlim=(0, x[-1] * 1.02), ylim=(0, loss.max() * 1.05), xlabel="iteration", ylabel="training loss")
        for side in ("top", "right"):
            right.spines[side].set_visible(False)

    frames = [*range(0, len(x), 2), *[len(x) - 1] * 15]
    FuncAnimation(figure, frame, frames=frames).save(path, PillowWriter(fps=10), dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    streams = {name: load_tests("data/cifar10" if name == "cifar10" else name, "laptop", 0) for name in LABELS}
    draw_zero_shot(streams, RESULTS / "gallery.png")
    draw_search(streams["scenes"].retrieval, RESULTS / "search.png")
    Image.fromarray(streams["scenes"].retrieval.images[EXAMPLE].transpose(1, 2, 0)).save(RESULTS / "example.png")
    about = GrowCLIP.from_pretrained(HERE / "scenes-laptop").about
    draw_animation(HERE.parent / "runs" / "checkpoints" / f"scenes-laptop-{about['commit']}", RESULTS / "growth.gif")
