"""Lesson 00, start here: a run of growing, the pictures of its growth steps, and its exercises."""

from __future__ import annotations

import contextlib
import io
import re
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from growclip_lite import plots
from growclip_lite.course.display import PALETTE, STYLE, show_picture, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.data.drawing import render
from growclip_lite.data.scenes import KINDS_OF_SCENE, concepts_at, sample_scenes
from growclip_lite.data.stream import Stream
from growclip_lite.evaluate import embed_images, embed_texts, probabilities, split_labels
from growclip_lite.grow import grow
from growclip_lite.markdown import markdown_table
from growclip_lite.model import GrowCLIP
from growclip_lite.plots import ENCODERS, GREY, draw_architecture, levels, name_encoders
from growclip_lite.profiles import Profile, get_profile
from growclip_lite.studies.claims import on_fixed

SHOWN = 4  # variants of one test picture, below every growth step
TWINS = 7  # which picture


class ShortLines(io.TextIOBase):
    """Passes on what is printed, with less about a growth step: no cost, which a cell is too narrow for, no seconds."""

    def __init__(self, target) -> None:
        self.target = target

    def write(self, text: str) -> int:
        return self.target.write(re.sub(r" · [\d.]+ TFLOPs| · image-to-text.*", "", text))


def grow_in_short(stream: Stream, profile: Profile, out: Path, seed: int) -> dict:
    """Grows, or reads what an earlier run has left in `out`; one short line per growth step."""
    with contextlib.redirect_stdout(ShortLines(sys.stdout)):
        return grow(stream, profile, out, seed=seed, resume=True)


# ---- the growth steps ----


def draw_growth(report: dict, chance: float) -> Figure:
    """Architecture above, accuracy below, over the growth steps. `chance` is the mean over the tasks."""
    figure, (top, bottom) = subplots(2, 1, figsize=(9, 7.4), sharex=True, height_ratios=(1.1, 1))
    plots.draw_growth(top, bottom, report)
    bottom.axhline(chance, color=GREY, ls=":", label="chance, mean of the tasks")
    bottom.legend(loc="upper left", fontsize=9)
    return figure


def found_captions(model: GrowCLIP, stream: Stream, shown: Sequence[int]) -> list[tuple[str, bool]]:
    """For some pictures of the retrieval set: the caption that fits best among all of the set, and is it theirs?"""
    pairs = stream.retrieval
    nearest = (embed_images(model, pairs.images[shown]) @ embed_texts(model, pairs.captions).T).argmax(1)
    return [(pairs.captions[j], pairs.captions[j] == pairs.captions[i]) for i, j in zip(shown, nearest, strict=True)]


def draw_step(report: dict, stream: Stream, models: Sequence[GrowCLIP], step: int) -> Figure:
    """One growth step: architecture, accuracy of every task, the captions found for four near twins."""
    entry, scores = report["steps"][step - 1], report["steps"][step - 1]["zero_shot"]
    with plt.rc_context(STYLE):
        figure = plt.figure(figsize=(10.5, 6.4), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(1.2, 1))
        (left, right), panels = above.subplots(1, 2), below.subplots(1, SHOWN)
    everything = [e["architecture"] for e in report["steps"]]
    draw_architecture(
        left, entry["architecture"], 0.5, 0.45 / max(a[f"{n}_width"] for a in everything for n in ENCODERS)
    )
    name_encoders(left)
    left.grid(False)
    left.set(xlim=(0, 1), ylim=(-0.2, max(map(levels, everything)) + 2), xticks=[], yticks=[])
    left.set_title(f"step {step}: {entry['parameters'] / 1e6:.2f} M parameters, {entry['samples_total']:,} pairs")
    names = list(scores)[::-1]
    right.barh(names, [scores[name] for name in names], color=PALETTE[0])
    chances = {task.name: task.chance for task in stream.tasks}
    right.plot([chances[name] for name in names], names, "|", ms=14, mew=2, color="black", label="chance")
    right.set(xlim=(0, 1), xlabel="test accuracy", title=f"mean {entry['zero_shot_mean']:.3f}")
    right.legend(loc="lower right")
    shown = [len(stream.retrieval) * i // SHOWN + TWINS for i in range(SHOWN)]  # the variants lie quarter by quarter
    found = found_captions(models[step - 1], stream, shown)
    for axes, i, (caption, hit) in zip(panels, shown, found, strict=True):
        show_picture(axes, stream.retrieval.images[i])
        said = "right:\n" if hit else "wrong:\n"
        axes.set_xlabel(said + textwrap.fill(caption, 27), fontsize=9, color=PALETTE[2] if hit else PALETTE[4])
    return figure


# ---- zero-shot on the reader's words ----


def drawn_pictures() -> np.ndarray:
    """(4, 3, S, S) uint8: fresh pictures of the shipped checkpoint's world: one thing, several alike, two, three."""
    world, rng = get_profile("laptop"), np.random.default_rng([7, 0])
    # Named kinds have invented names, which nobody could guess: shapes only.
    concepts = replace(concepts_at(world.growth_steps, world.growth_steps, world.kinds), kind_share=0.0)
    scenes = [sample_scenes(1, concepts, rng, kind) for kind in KINDS_OF_SCENE]
    return np.concatenate([render(scene, world.image_size, world.kinds).numpy() for scene in scenes])


def draw_own_words(model: GrowCLIP, pictures: np.ndarray, your_captions: str) -> Figure:
    """Pictures above, below each the probabilities of the captions, which are separated by commas."""
    captions = split_labels(your_captions)
    figure, panels = subplots(2, len(pictures), figsize=(10.5, 3.2 + 0.4 * max(len(captions), 1)), sharey="row")
    if not captions:
        figure.suptitle("Write at least one caption; separate several by commas.")
        return figure
    for (top, bottom), pixels, chances in zip(
        panels.T, pictures, probabilities(model, pictures, embed_texts(model, captions)), strict=True
    ):
        show_picture(top, pixels)
        bottom.barh([textwrap.shorten(c, 34) for c in captions], chances.numpy(), color=PALETTE[0])
        bottom.axvline(1 / len(captions), color=GREY, ls=":")
        bottom.set(xlim=(0, 1), xlabel="probability")
    panels[1, 0].invert_yaxis()  # shared by the row: the first caption on top
    return figure


def other_runs(results: Path) -> str:
    """A Markdown table of what the kit's tables say of grown models and the best fixed architecture at equal FLOPs."""
    best = [f for f in on_fixed(results) if f.claim == "C6" and "best fixed" in f.what]
    rows = [(f.data, re.search(r"best fixed \((.+?)\)", f.what)[1], f.found, f.found.seeds) for f in best]
    return markdown_table("data, profile, timetable | best fixed | GrowCLIP minus it, points (95 %) | seeds", rows)


def contents(source: Path) -> str:
    """A Markdown table of all notebooks but this one, each by the question that is its title."""
    rows = []
    for path in sorted(source.glob("[0-9][0-9]_*.py"))[1:]:
        title = next(line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# # "))
        number, question = title.removeprefix("# # ").split(" · ", 1)
        rows.append((number, f"[{question}]({path.stem}.ipynb)"))
    return markdown_table(" | question", rows)


# ---- exercises ----


@exercise
def check_belief(answer) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        picture, *captions = torch.nn.functional.normalize(torch.randn(4, 8, generator=generator), dim=-1)
        expected = (20.0 * torch.stack(captions) @ picture).softmax(0)
        got = torch.as_tensor(answer(picture, torch.stack(captions), 20.0))
        require(got.shape == (3,), f"three captions need three probabilities, but the shape is {tuple(got.shape)}.")
        require(abs(float(got.sum()) - 1) < 1e-4, f"the probabilities sum to {float(got.sum()):.3f}, not to 1.")
        require(torch.equal(got.argsort(), expected.argsort()), "the most similar caption must be the most probable.")
        require(torch.allclose(got.float(), expected, atol=1e-4), "the order is right; is the factor in its place?")


@exercise
def check_top_k_accuracy(answer) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        similarity = torch.randn(40, 5, generator=generator)
        labels = torch.randint(5, (40,), generator=generator)
        for k in (1, 2, 4):
            ahead = (similarity > similarity.gather(1, labels[:, None])).sum(1)  # classes before the right one
            expected = (ahead < k).float().mean().item()
            got = float(answer(similarity, labels, k))
            require(0 <= got <= 1, f"{got:g} is no share: it must lie between 0 and 1.")
            told = f"k = {k}: {round(40 * expected)} of 40 pictures have their class among the first, not {40 * got:g}."
            require(abs(got - expected) < 1e-4, told)


@exercise
def check_mean_chance(answer) -> None:
    for classes in ([2], [2, 4], [12, 10, 5, 9, 6, 3, 4, 120, 500]):
        expected, got = float(np.mean([1 / c for c in classes])), float(answer(classes))
        require(abs(got - 1 / np.mean(classes)) > 1e-9 or len(classes) == 1, "average the chances, not the classes.")
        require(abs(got - expected) < 1e-6, f"for tasks with {classes} classes it is not {got:.4f}.")
