"""Small things that several test files share: a stream, a profile and a stand-in for a model."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from growclip_lite.architecture import Architecture, ModelConfig
from growclip_lite.data.stream import Pairs, Stream, Task
from growclip_lite.model import GrowCLIP, new_model
from growclip_lite.profiles import Profile, get_profile
from growclip_lite.tokenizer import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
CIFAR10 = Path(os.environ.get("GROWCLIP_DATA", ROOT.parent / "shared" / "data")) / "cifar10-jpeg.tar.xz"
SIZE = 8
COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 220), "yellow": (240, 230, 40)}
# Every growth step brings a word that is common in it and unknown before.
THINGS = ("circle", "zeppelin", "quokka")


def tiny_profile(**changes) -> Profile:
    """The smoke profile in its smallest form: a run takes a second or two."""
    values = {
        "image_size": SIZE, "patch_size": 4, "context_length": 8, "embed_dim": 16, "growth_steps": len(THINGS),
        "start": Architecture(1, 1, 1, 1, 1, 1), "iterations": 12, "batch_size": 16, "warmup": 2, "random_members": 1,
        "evaluations": 4, "scoring_pairs": 16,
    }  # fmt: skip
    return replace(get_profile("smoke"), **values | changes)


def tiny_pairs(count: int, things: tuple[str, ...], seed: int) -> tuple[Pairs, np.ndarray]:
    """Coloured noise with captions such as "a red circle no 3", and the index of every colour."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(len(COLOURS), size=count)
    base = np.array(list(COLOURS.values()))[colours][:, :, None, None]
    images = (base + rng.integers(-25, 26, (count, 3, SIZE, SIZE))).clip(0, 255).astype(np.uint8)
    names = list(COLOURS)
    captions = [f"a {names[c]} {things[rng.integers(len(things))]} no {i % 7}" for i, c in enumerate(colours)]
    return Pairs(images, captions), colours


def numbered(*counts: int) -> list[Pairs]:
    """Parts whose k-th picture, counted through all parts, has the colour k and the caption "number k"."""
    ends = np.cumsum(counts)
    parts = []
    for count, end in zip(counts, ends, strict=True):
        numbers = np.arange(end - count, end)
        images = np.broadcast_to(numbers.astype(np.uint8)[:, None, None, None], (count, 3, 8, 8))
        parts.append(Pairs(images, [f"number {k}" for k in numbers]))
    return parts


def tiny_task(things: tuple[str, ...], seed: int) -> Task:
    pairs, colours = tiny_pairs(24, things, seed)
    return Task("colour", pairs.images, colours, [[f"a {name} {thing}" for thing in things] for name in COLOURS])


def tiny_stream(steps: int = len(THINGS), seed: int = 0) -> Stream:
    """`steps` growth steps, each with 32 new pairs and a new word."""
    return Stream(
        name="tiny",
        train=[tiny_pairs(32, THINGS[t : t + 1], 10 * seed + t)[0] for t in range(steps)],
        validation=[tiny_pairs(12, THINGS[: t + 1], 100 + t)[0] for t in range(steps)],
        retrieval=tiny_pairs(20, THINGS[:steps], 200)[0],
        tasks=[tiny_task(THINGS[:steps], 300)],
        step_tasks=[[tiny_task(THINGS[: t + 1], 400 + t)] for t in range(steps)],
    )


def tiny_config(tokenizer: Tokenizer, **changes) -> ModelConfig:
    values = {
        "image_size": SIZE,
        "patch_size": 4,
        "context_length": 8,
        "vocab_size": tokenizer.vocab_size,
        "embed_dim": 16,
    }
    return ModelConfig(**values | changes)


def tiny_tokenizer() -> Tokenizer:
    return Tokenizer.train(tiny_pairs(32, THINGS[:1], 0)[0].captions)


def perturbed_model(architecture: Architecture, config: ModelConfig) -> GrowCLIP:
    """Like a trained model: nothing is zero any more."""
    model = new_model(architecture, config, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.08 * torch.randn(weight.shape, generator=generator)
    return model


def tiny_model(architecture: Architecture | None = None, seed: int = 0, **changes) -> GrowCLIP:
    """A model without a single special weight: also what starts silent is perturbed."""
    tokenizer = tiny_tokenizer()
    model = new_model(
        architecture or Architecture(1, 1, 1, 1, 1, 1), tiny_config(tokenizer, **changes), seed, tokenizer
    )
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name != "logit_scale":
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
    return model


class FakeModel:
    """Embeddings from tables: anything with these four names can be evaluated.

    A picture is found by its first pixel's red value, a text by itself; both map to vectors.
    """

    def __init__(self, pictures: dict[int, list[float]], texts: dict[str, list[float]]) -> None:
        self.pictures, self.texts, self.known = pictures, texts, list(texts)
        self.logit_scale = torch.tensor(0.0)
        self.encoded: list[str] = []

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return F.normalize(
            torch.tensor([self.pictures[int(image[0, 0, 0])] for image in images], dtype=torch.float32), dim=-1
        )

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[self.known.index(text)] for text in texts])

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        names = [self.known[int(row[0])] for row in tokens]
        self.encoded += names
        return F.normalize(torch.tensor([self.texts[name] for name in names], dtype=torch.float32), dim=-1)


def fake_images(*numbers: int) -> np.ndarray:
    """Pictures that `FakeModel` finds under these numbers."""
    return np.broadcast_to(np.array(numbers, np.uint8)[:, None, None, None], (len(numbers), 3, 2, 2)).copy()


def weights_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """The same names and, bit for bit, the same numbers."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without_time(value: object) -> object:
    """A report without what a clock has written into it."""
    if isinstance(value, dict):
        return {name: without_time(part) for name, part in value.items() if name not in ("seconds", "phases")}
    return [without_time(part) for part in value] if isinstance(value, list) else value


def files_of(folder: Path) -> dict[str, bytes]:
    """All files below `folder` by relative path; the report and its like without times."""
    contents = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.name == "report.json":
            with suppress(ValueError):  # some tests break it
                data = json.dumps(without_time(json.loads(data))).encode()
        contents[str(path.relative_to(folder))] = data
    return contents
