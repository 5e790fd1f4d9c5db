"""Lesson 01, data that grow: what a stream of scenes holds, how its figures are drawn, and its exercises."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from growclip_lite.course.display import PALETTE, show_picture, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.data.scene_stream import make_pairs
from growclip_lite.data.scenes import KINDS_OF_SCENE, RELATION_WORDS, Concepts, concepts_at, sample_scenes
from growclip_lite.data.stream import Pairs, Stream
from growclip_lite.plots import GREY
from growclip_lite.profiles import Profile

PAGE = 5  # pictures shown at a time
RELATION = re.compile(rf"\b({'|'.join(itertools.chain.from_iterable(RELATION_WORDS.values()))})\b")


def world(profile: Profile) -> list[Concepts]:
    """What the world holds at every growth step."""
    steps = profile.growth_steps
    return [concepts_at(step, steps, profile.kinds) for step in range(1, steps + 1)]


def show_pair(axes, pixels: np.ndarray, words: str, colour: str = "black") -> None:
    """A picture (3, S, S) uint8 with its caption below."""
    show_picture(axes, pixels)
    axes.set_xlabel(textwrap.fill(words, 22), fontsize=9, color=colour)


def draw_examples(stream: Stream) -> Figure:
    """Some of the first pairs of every growth step, one row per step; the last of a row is in a relation, if any is.

    The very first pair of the stream is left out: with seed 0 it has one of the wrong captions, which come later.
    """
    figure, rows = subplots(len(stream.train), PAGE, figsize=(10.5, 2.7 * len(stream.train)))
    for step, (panels, part) in enumerate(zip(rows, stream.train, strict=True), 1):
        panels[0].set_ylabel(f"new in step {step}", fontsize=12)
        later = enumerate(itertools.islice(part.captions, PAGE, 1_000), PAGE)
        related = (i for i, caption in later if RELATION.search(caption))
        numbers = [*range(1, PAGE), next(related, PAGE)]
        for number, axes in zip(numbers, panels, strict=True):
            show_pair(axes, part.images[number], part.captions[number])
    return figure


def draw_page(stream: Stream, step: int, page: int) -> Figure:
    """Page `page` (from 0) of the new pairs of a growth step, but for the first one (see `draw_examples`); it begins
    anew after the last one."""
    part = stream.train[step - 1]
    figure, panels = subplots(1, PAGE, figsize=(10.5, 3.1))
    for axes, number in zip(panels, np.arange(page * PAGE + 1, (page + 1) * PAGE + 1) % len(part), strict=True):
        show_pair(axes, part.images[number], part.captions[int(number)])
        axes.set_title(f"pair {number}", fontsize=10)
    return figure


def draw_amounts(new_pairs: Sequence[int], new_words: Sequence[int], concepts: Sequence[Concepts]) -> Figure:
    """Pairs so far per growth step, beside the words that are new and the named kinds so far."""
    figure, (left, right) = subplots(1, 2, figsize=(10.5, 3.8))
    steps, new = np.arange(1, len(new_pairs) + 1), np.array(new_pairs)
    left.bar(steps, np.cumsum(new) - new, color=GREY, label="from earlier steps")
    left.bar(steps, new, bottom=np.cumsum(new) - new, color=PALETTE[0], label="new")
    right.bar(steps - 0.2, new_words, 0.4, color=PALETTE[0], label="words that are new")
    right.bar(steps + 0.2, [c.kinds for c in concepts], 0.4, color=PALETTE[1], label="named kinds so far")
    for axes, name in ((left, "training pairs"), (right, "count")):
        axes.set(xticks=steps, xlabel="growth step", ylabel=name)
        axes.legend(loc="upper left")
    left.yaxis.set_major_formatter("{x:,.0f}")
    return figure


def scene_shares(concepts: Concepts, seed: int) -> np.ndarray:
    """(4,): the share of every kind of scene among 500 fresh scenes."""
    scenes = sample_scenes(500, concepts, np.random.default_rng([11, seed]))
    return np.bincount(scenes.kind_of_scene, minlength=len(KINDS_OF_SCENE)) / 500


def draw_mixture(shares: np.ndarray) -> Figure:
    """Shares (steps, seeds, 4) of the kinds of scene, as bars of their mean with the spread over seeds."""
    figure, axes = subplots(figsize=(8, 3.6))
    steps, width = np.arange(1, len(shares) + 1), 0.2
    for number, name in enumerate(KINDS_OF_SCENE):
        values = shares[:, :, number]
        axes.bar(steps + (number - 1.5) * width, values.mean(1), width, yerr=values.std(1), capsize=3, label=name)
    axes.set(xticks=steps, xlabel="growth step", ylabel="share of the new scenes", ylim=(0, 1.05))
    axes.legend(title="sort of scene")
    return figure


def drawn_twice(profile: Profile, count: int, seed: int) -> tuple[Pairs, list[str]]:
    """`count` pairs of the last step with wrong captions among them, and the true captions of the same pictures."""
    concepts, size = world(profile)[-1], profile.image_size
    with_wrong, true = (
        next(make_pairs(count, concepts, profile.kinds, size, [12, seed], wrong))
        for wrong in (profile.wrong_captions, 0.0)
    )
    assert np.array_equal(with_wrong.images, true.images)
    return with_wrong, list(true.captions)


def draw_wrong(pairs: Pairs, true: Sequence[str]) -> Figure:
    """A few pictures whose caption is another picture's; the true one below it."""
    wrong = [i for i, caption in enumerate(true) if caption != pairs.captions[i]][:PAGE]
    figure, panels = subplots(2, PAGE, figsize=(10.5, 4.6), height_ratios=(5, 1))
    for (top, bottom), i in zip(panels.T, wrong, strict=False):
        show_pair(top, pairs.images[i], pairs.captions[i], PALETTE[4])
        bottom.text(0.5, 1, textwrap.fill(true[i], 22), ha="center", va="top", fontsize=9, color=PALETTE[2])
    for axes in panels[1]:
        axes.axis("off")
    panels[0, 0].set_ylabel("given (orange), true (green)", fontsize=9)
    return figure


def draw_tokens(lengths: Sequence[np.ndarray], limit: int) -> Figure:
    """Tokens per caption of the last step, for the tokenizer of every step, with the model's limit."""
    figure, axes = subplots(figsize=(8, 3.4))
    bins = np.arange(2, max(map(np.max, lengths)) + 2) - 0.5
    for step, values in enumerate(lengths, 1):
        axes.hist(values, bins, histtype="step", lw=2, weights=np.full(len(values), 1 / len(values)),
                  label=f"tokenizer of step {step}")  # fmt: skip
    axes.axvline(limit + 0.5, color=GREY, ls=":", label="what fits into the model")
    axes.set(xlabel="tokens of a caption of the last step", ylabel="share of captions")
    axes.legend()
    return figure


# ---- exercises ----

_WORDS = ["red", "circle", "on", "snow", "two", "bikuf", "above", "a", "squares", "blue", "at", "night"]


def _sentences(rng: np.random.Generator) -> list[str]:
    return [" ".join(rng.choice(_WORDS, rng.integers(1, 4))) for _ in range(rng.integers(2, 5))]


@exercise
def check_new_words(answer) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        before, now = _sentences(rng), _sentences(rng)
        got = set(answer(before, now))
        expected = set(" ".join(now).split()) - set(" ".join(before).split())
        given = f"before {before} and now {now}"
        require(all(" " not in word for word in got), "return words, not whole captions: split them.")
        require(not got & set(" ".join(before).split()), f"some of these were known already; {given}.")
        require(got == expected, f"{len(expected)} words are new, you found {len(got)}; {given}.")


@exercise
def check_find_pair(answer) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 9, size=4).tolist()
        flat = [(step, row) for step, size in enumerate(sizes, 1) for row in range(size)]
        for index, (step, row) in enumerate(flat):
            got = tuple(int(value) for value in np.atleast_1d(answer(index, sizes)))
            require(len(got) == 2, "return two numbers, the growth step and the row.")
            require(got[0] >= 1, "growth steps count from 1.")
            require(got[0] == step, f"pair {index} of parts of sizes {sizes} came with step {step}, not {got[0]}.")
            require(got[1] == row, f"pair {index} of parts of sizes {sizes} is row {row} of its part, not {got[1]}.")


@exercise
def check_flawless_batch(answer) -> None:
    for wrong, batch in ((0.05, 1), (0.05, 64), (0.2, 8), (0.0, 256), (0.01, 256)):
        got, expected = float(answer(wrong, batch)), (1 - wrong) ** batch
        require(0 <= got <= 1, f"{got:g} is no probability.")
        require(abs(got - expected) < 1e-6, f"with {wrong:.0%} wrong captions and batches of {batch}, not {got:.4g}.")
