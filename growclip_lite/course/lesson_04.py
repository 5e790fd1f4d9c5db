"""Lesson 04, zero-shot and retrieval: test data, what was answered picture by picture, figures, exercises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.course.place import checkpoint
from growclip_lite.data.drawing import BACKGROUNDS, SHAPES, TEXTURES
from growclip_lite.data.scene_stream import scene_retrieval, scene_tasks
from growclip_lite.data.scenes import COLOUR_NAMES, GROUND, PLACES, article
from growclip_lite.data.stream import Pairs, Task
from growclip_lite.evaluate import embed_images, embed_texts, recall_at
from growclip_lite.model import GrowCLIP
from growclip_lite.plots import GREY
from growclip_lite.profiles import LAPTOP

DRAWS = 1_000  # of the bootstrap


@cache
def shipped() -> GrowCLIP:
    """The shipped model of the last growth step on scenes."""
    return GrowCLIP.from_pretrained(str(checkpoint()))


@cache
def tasks_of(split: str, pictures: int) -> dict[str, Task]:
    """The nine tasks of profile laptop by name, drawn without the training pairs, which nobody needs here.

    With 1,000 pictures "test" is `load_stream("scenes").tasks`; "validation" holds other pictures and prompts.
    """
    return {task.name: task for task in scene_tasks(LAPTOP, split, pictures)}


@cache
def test_pairs(count: int) -> Pairs:
    """Retrieval pairs; 1,000 of them are `load_stream("scenes").retrieval`. Near twins stand a quarter of
    the list apart."""
    return scene_retrieval(LAPTOP, count)


test_pairs.__test__ = False  # its name begins as a test's


def same_words(name: str, shots: int, seed: int) -> list[list[str]]:
    """prompts[c][p]: unlike in a `Task`, the p-th sentences of all classes differ in the class's own word alone."""
    rng = np.random.default_rng(seed)
    colours, shapes = ([words[i] for i in rng.integers(len(words), size=shots)] for words in (COLOUR_NAMES, SHAPES))
    others = list(zip(colours, shapes, strict=True))
    sentences = {
        "shape": lambda word, colour, shape: f"{colour} {word}",
        "colour": lambda word, colour, shape: f"{word} {shape}",
        "texture": lambda word, colour, shape: f"{word} {colour} {shape}",
        "position": lambda word, colour, shape: f"{colour} {shape} {word}",
        "background": lambda word, colour, shape: f"{colour} {shape} {word}",
    }
    grounds = [GROUND[ground][0] for ground in BACKGROUNDS]
    words = {"shape": SHAPES, "colour": COLOUR_NAMES, "texture": TEXTURES, "position": PLACES, "background": grounds}
    return [[article(sentences[name](word, *other)) for other in others] for word in words[name]]


def accuracy_of_each(model: GrowCLIP, task: Task, prompts: list[list[str]]) -> Tensor:
    """(P,) accuracy with the p-th prompt of every class alone; `prompts` is (C, P)."""
    words = embed_texts(model, [prompt for of_class in prompts for prompt in of_class])
    words = words.view(len(prompts), -1, words.shape[1])  # (C, P, E)
    scores = torch.einsum("me,cpe->pmc", embed_images(model, task.images), words)
    return (scores.argmax(2) == torch.from_numpy(task.labels)).float().mean(1)


def interval(values: np.ndarray, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `values` (M,)."""
    values, rng = np.asarray(values, dtype=float), np.random.default_rng(seed)
    means = [values[rng.integers(len(values), size=len(values))].mean() for _ in range(draws)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def confusion(truth: np.ndarray, answered: np.ndarray, classes: int) -> np.ndarray:
    """(C, C): share of the pictures of class [row] that were answered [column]."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (truth, answered), 1)
    return counts / counts.sum(1, keepdims=True).clip(min=1)


def draw_confusion(axes, shares: np.ndarray, names: Sequence[str], title: str) -> None:
    """One confusion matrix, with its numbers where there is room for them."""
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.grid(False)
    for (i, j), value in np.ndenumerate(shares):
        if len(names) <= 6 or value >= 0.095:
            colour = "white" if value > 0.6 else "black"
            axes.text(j, i, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=8, color=colour)
    axes.set(xticks=range(len(names)), yticks=range(len(names)), title=title, xlabel="answered", ylabel="drawn")
    axes.set_xticklabels(names, rotation=60, ha="right", fontsize=9)
    axes.set_yticklabels(names, fontsize=9)


def draw_tasks(accuracy: dict[str, np.ndarray], chance: dict[str, float], ceiling: dict[str, float], seed: int):
    """Bars of the mean of `accuracy[task]` (M,) with bootstrap intervals, chance and ceiling by task."""
    names = sorted(accuracy, key=lambda name: -accuracy[name].mean())
    middle = np.array([accuracy[name].mean() for name in names])
    ends = np.array([interval(accuracy[name], seed) for name in names]).T
    figure, axes = subplots(figsize=(10, 4.2))
    x = np.arange(len(names))
    axes.bar(x, middle, color=PALETTE[0], width=0.62, label="zero-shot, 95 % over pictures")
    axes.errorbar(x, middle, [middle - ends[0], ends[1] - middle], fmt="none", ecolor="#222222", capsize=4)
    for values, style, label in ((chance, ":", "chance"), (ceiling, "-", "supervised ceiling (one seed)")):
        colour = GREY if style == ":" else PALETTE[1]
        axes.hlines([values[n] for n in names], x - 0.4, x + 0.4, color=colour, ls=style, lw=2.5, label=label)
    axes.set(xticks=x, ylabel="top-1 accuracy", ylim=(0, 1.18))
    axes.set_xticklabels(names)
    axes.legend(ncols=3, loc="upper center", fontsize=9)
    return figure


def accuracy_of_template(template: str, pictures: int) -> tuple[float, Tensor]:
    """Accuracy on the *validation* colours with one sentence per colour, and its (10,) accuracies by colour."""
    task = tasks_of("validation", pictures)["colour"]
    sentences = [template.replace("{colour}", colour) for colour in COLOUR_NAMES]
    chosen = (_colour_pictures(pictures) @ embed_texts(shipped(), sentences).T).argmax(1).numpy()
    right = chosen == task.labels
    by_colour = torch.tensor([right[task.labels == c].mean() for c in range(len(COLOUR_NAMES))])
    return float(right.mean()), by_colour


@cache
def _colour_pictures(pictures: int) -> Tensor:
    return embed_images(shipped(), tasks_of("validation", pictures)["colour"].images)


def draw_template(template: str, pictures: int = 200) -> Figure:
    """How well one template, with the word {colour} in it, tells the ten colours apart (validation pictures)."""
    mean, by_colour = accuracy_of_template(template, pictures)
    figure, axes = subplots(figsize=(9, 3.2))
    axes.bar(COLOUR_NAMES, by_colour.numpy(), color=PALETTE[0], width=0.6)
    axes.axhline(0.1, color=GREY, ls=":", label="chance")
    axes.set(ylim=(0, 1.25), ylabel="accuracy", title=f"{template!r}: {mean:.2f} of {pictures} validation pictures")
    axes.tick_params(axis="x", rotation=20)
    axes.legend(loc="upper right")
    return figure


@exercise
def check_ensemble_of_prompts(answer) -> None:
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        features = F.normalize(torch.randn(5, 7, 16, generator=generator) + 1, dim=-1)
        got, expected = torch.as_tensor(answer(features)), F.normalize(features.mean(1), dim=-1)
        require(got.shape == expected.shape, f"one vector per class is (5, 16) here, but yours is {tuple(got.shape)}.")
        one = torch.ones(len(got))
        require(torch.allclose(got.norm(dim=-1), one, atol=1e-4), "a mean of unit vectors is shorter than 1.")
        require(torch.allclose(got, expected, atol=1e-4), "the direction is not that of the mean over the prompts.")


@exercise
def check_recall_with_ties(answer) -> None:
    similarity, relevant = torch.tensor([[0.5, 0.5, 0.1]]), torch.tensor([[True, False, False]])
    require(float(answer(similarity, relevant, 1)) == 0, "an item as similar as the best relevant one comes before it.")
    both = torch.tensor([[0.9, 0.8, 0.1]]), torch.tensor([[True, True, False]])
    require(float(answer(*both, 1)) == 1, "one relevant item among the k is enough.")
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        similarity = torch.randint(4, (6, 9), generator=generator) / 4  # many ties
        relevant = torch.rand(6, 9, generator=generator) < 0.2
        relevant[:, seed % 9] = True
        for k in (1, 2, 5):
            got, expected = float(answer(similarity, relevant, k)), recall_at(similarity, relevant, k)
            require(0 <= got <= 1, f"a share lies between 0 and 1, not at {got:g}.")
            require(abs(got - expected) < 1e-4, f"R@{k} of a random matrix with ties is not {got:.3f}.")


@exercise
def check_paired_interval(answer) -> None:
    widths = []
    for seed, changed in enumerate((0.2, 0.15, 0.1, 0.08, 0.05)):
        rng = np.random.default_rng(seed)
        one = rng.random(600) < 0.7
        other = np.where(rng.random(600) < changed, rng.random(600) < 0.8, one)  # mostly the same answers
        differences = other.astype(float) - one
        low, high = map(float, answer(one, other))
        require(low < high, "the interval has a lower and an upper end, in this order.")
        turned = low <= -differences.mean() <= high
        hint = (
            "other minus one: is the difference the right way round?" if turned else "the mean difference is outside."
        )
        require(low <= differences.mean() <= high, hint)
        expected = 1.96 * differences.std() / len(differences) ** 0.5
        widths.append((high - low) / 2 / expected)
        require(widths[-1] < 1.5, "this is too wide: draw the same pictures for both models, as many as there are.")
        ends = abs(low - differences.mean() + expected), abs(high - differences.mean() - expected)
        require(max(ends) < 0.45 * expected, "2.5 % of the resampled means must lie beyond either end.")
    require(np.mean(widths) > 0.91, "this is too narrow: 95 % of the resampled means must lie inside.")
    require(np.mean(widths) < 1.09, "this is too wide: 95 % of the resampled means, no more.")
