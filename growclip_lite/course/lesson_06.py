"""Lesson 06, the shared encoder: what sharing costs, whose gradients meet, both modalities in two dimensions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.decomposition import PCA
from torch import Tensor

from growclip_lite.architecture import HEAD_SIZE, Architecture, ModelConfig, count_parameters, forward_flops
from growclip_lite.course import lesson_04, place
from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.data.stream import Pairs
from growclip_lite.evaluate import embed_images, embed_texts
from growclip_lite.losses import contrastive_loss
from growclip_lite.model import GrowCLIP, as_images
from growclip_lite.plots import COLOURS, GREY
from growclip_lite.profiles import LAPTOP
from growclip_lite.studies.drawing import line
from growclip_lite.studies.sharing import SHARED, at_equal_flops, at_equal_parameters

STEPS = (1, 2, 3, 4)  # growth steps of the run whose checkpoints are shipped
EQUAL = {"flops": (at_equal_flops, "equal FLOPs", PALETTE[0]),
         "parameters": (at_equal_parameters, "equal parameters", PALETTE[1])}  # fmt: skip
SCORES = {"i2t_r1": "image-to-text R@1", "zero_shot_mean": "mean zero-shot accuracy"}


# ---- what sharing costs, and what it brings ----


def draw_costs(config: ModelConfig) -> Figure:
    """Parameters and FLOPs of a pair over the shared depth, for both ways to compare."""
    figure, (left, right) = subplots(1, 2, figsize=(10, 3.6))
    for make, label, colour in EQUAL.values():
        made = [make(shared) for shared in SHARED]
        left.plot(SHARED, [count_parameters(a, config) / 1e6 for a in made], "o-", color=colour, label=label)
        right.plot(SHARED, [forward_flops(a, config) / 1e6 for a in made], "o-", color=colour, label=label)
    left.set(ylabel="parameters (millions)", title="memory", ylim=(0, None))
    right.set(ylabel="FLOPs of a pair (millions)", title="compute", ylim=(0, None))
    for axes in (left, right):
        axes.set(xlabel="shared depth (blocks)", xticks=list(SHARED))
    left.legend(loc="lower left")
    return figure


def with_none(rows: pd.DataFrame, equal: str) -> pd.DataFrame:
    """The rows of one way to compare; without shared blocks both are the same."""
    return rows[(rows["equal"] == equal) | (rows["shared_depth"] == 0)]


def draw_sharing(rows: pd.DataFrame, columns: dict[str, str]) -> Figure:
    """Columns of the study, with their labels, over the shared depth: means, 95 % intervals, seeds as dots."""
    figure, panels = subplots(1, len(columns), figsize=(2 + 4 * len(columns), 4), squeeze=False)
    for axes, (column, label) in zip(panels[0], columns.items(), strict=True):
        for offset, (equal, (_, name, colour)) in zip((-0.06, 0.06), EQUAL.items(), strict=True):
            part = with_none(rows, equal)
            part = part.assign(beside=part["shared_depth"] + offset)  # so that bars do not hide each other
            line(axes, part, "beside", column, color=colour, label=name)
            axes.plot(part["beside"], part[column], ".", color=colour, ms=7, alpha=0.45)
        axes.set(xlabel="shared depth (blocks)", ylabel=label, xticks=list(SHARED))
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


# ---- the shipped checkpoints ----


def checkpoint(step: int) -> GrowCLIP:
    """The shipped model after growth step `step`."""
    return GrowCLIP.from_pretrained(str(place.checkpoint(None if step == STEPS[-1] else step)))


@lru_cache
def test_pairs(count: int) -> Pairs:
    """`count` pairs of profile laptop's retrieval set, which no training sees: near twins side by side."""
    pairs, quarter = lesson_04.test_pairs(LAPTOP.retrieval_pairs), LAPTOP.retrieval_pairs // 4
    index = (np.arange(count) % 4) * quarter + np.arange(count) // 4
    return Pairs(pairs.images[index], [pairs.captions[i] for i in index])


@lru_cache
def embedded(step: int, count: int) -> tuple[Tensor, Tensor]:
    """Image and text embeddings (count, E) of test pairs after growth step `step`."""
    model, pairs = checkpoint(step), test_pairs(count)
    return embed_images(model, pairs.images), embed_texts(model, pairs.captions)


def draw_pairs(images: Tensor, texts: Tensor, title: str) -> Figure:
    """Both embeddings (M, E) in two dimensions; some pairs are joined by a line, crosses mark the means.

    Left: the two directions in which all of them vary most. Right: the direction from the mean text to the mean image,
    over the direction across it in which they vary most.
    """
    both = torch.cat([images, texts]).numpy()
    flat = PCA(2, random_state=0).fit_transform(both)
    across = (images.mean(0) - texts.mean(0)).numpy()
    across /= np.linalg.norm(across)
    centred = both - both.mean(0)
    along = centred @ across
    aside = PCA(1, random_state=0).fit_transform(centred - np.outer(along, across))[:, 0]
    figure, panels = subplots(1, 2, figsize=(11.5, 5))
    for axes, points in zip(panels, (flat, np.stack([aside, along], 1)), strict=True):
        x, y = points[: len(images)], points[len(images) :]
        chosen = np.linspace(0, len(x) - 1, min(60, len(x))).astype(int)
        axes.plot(*np.stack([x[chosen], y[chosen]]).transpose(2, 0, 1), color=GREY, lw=0.7, alpha=0.7, zorder=1)
        for part, name in ((x, "image"), (y, "text")):
            axes.scatter(*part.T, s=8, alpha=0.4, lw=0, color=COLOURS[name], label=f"{name}s", zorder=2)
            axes.plot(*part.mean(0), "X", ms=15, color="#222222", mec=COLOURS[name], mew=2.5, zorder=3)
    panels[0].set(xlabel="first principal component", ylabel="second principal component", title=title)
    panels[1].set(ylabel="from the mean text to the mean image", title="the same, seen from the side")
    panels[1].set(xlabel="direction of largest spread, at right angles to the vertical one", aspect="equal")
    panels[1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def draw_step(growth_step: int, count: int) -> Figure:
    """What the widget shows: the embeddings of test pairs after a growth step."""
    images, texts = embedded(growth_step, count)
    gap = torch.linalg.vector_norm(images.mean(0) - texts.mean(0)).item()
    found = (images @ texts.T).argmax(1).eq(torch.arange(count)).float().mean().item()
    return draw_pairs(images, texts, f"step {growth_step}: gap {gap:.2f}, right caption first {found:.2f}")


def cosines(one: Sequence[Tensor], other: Sequence[Tensor]) -> list[float]:
    return [torch.cosine_similarity(a.flatten(), b.flatten(), 0).item() for a, b in zip(one, other, strict=True)]


def agreement(step: int, batches: int, size: int) -> dict[str, Tensor]:
    """Cosines (batches, shared matrices) of gradients of shared weights: those that images and texts of a batch
    send, and as a control those that images of one batch and of the next send. Near twins share a batch."""
    model, pairs = checkpoint(step), test_pairs(batches * size)
    shared, sides = list(model.shared.blocks.parameters()), []
    for first in range(batches):
        group = slice(first * size, (first + 1) * size)
        images, texts, scale = model(as_images(pairs.images[group]), model.tokenize(pairs.captions[group]))
        ways = ((images, texts.detach()), (images.detach(), texts))
        losses = [contrastive_loss(*way, scale.detach()) for way in ways]
        sides.append([torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses])
    return {
        "image and text, same batch": torch.tensor([cosines(*both) for both in sides]),
        "image and image, two batches": torch.tensor([cosines(sides[i - 1][0], sides[i][0]) for i in range(batches)]),
    }


def draw_agreement(found: dict[int, dict[str, Tensor]]) -> Figure:
    """Cosines by growth step: a dot per batch and matrix, a bar at the mean."""
    figure, axes = subplots(figsize=(8.5, 3.8))
    for offset, name, colour in zip((-0.15, 0.15), next(iter(found.values())), PALETTE, strict=False):
        for step, values in found.items():
            some = values[name].flatten()
            axes.plot([step + offset] * len(some), some, ".", color=colour, ms=7, alpha=0.5)
        means = [values[name].mean() for values in found.values()]
        axes.plot(np.array(list(found)) + offset, means, "_", color=colour, ms=26, mew=3, label=name)
    axes.axhline(0, color=GREY, ls=":", label="unrelated (chance)")
    axes.set(xlabel="growth step", ylabel="cosine of two gradients", xticks=list(found), ylim=(-1, 1))
    axes.legend(loc="lower right", fontsize=9)
    return figure


# ---- exercises ----


@exercise
def check_saved_parameters(answer: Callable) -> None:
    config = ModelConfig(image_size=32, patch_size=8, context_length=24, vocab_size=100, embed_dim=100)
    for image, text, shared in itertools.product((1, 2, 3), repeat=3):
        for depth in range(1, 4):
            apart = count_parameters(Architecture(depth + 1, image, depth + 1, text, 0, 1), config)
            merged = count_parameters(Architecture(1, image, 1, text, depth, shared), config)
            wide = [HEAD_SIZE * heads for heads in (image, text, shared)]
            a, b, c = wide
            expected = apart - merged + config.embed_dim * (2 * c - a - b)  # without the projections
            got = int(answer(depth, *wide))
            if got == expected:
                continue
            require(got != expected + config.embed_dim * (a + b - 2 * c), "leave out the last projections.")
            before, after = 12 * depth * (a**2 + b**2), 12 * depth * c**2
            require(got != before - after, "the two adapters in front of the shared encoder have weights as well.")
            require(got != before - after - depth * c * (a + b), "an adapter per modality, not one per block.")
            require(got != before - after - 2 * c**2, "an adapter maps its modality's channels to the shared ones.")
            require(got != before - 2 * after - c * (a + b), "the shared blocks are there once.")
            require(False, f"{depth} shared block(s) of {c} channels, for {a} and {b}, do not save {got}.")


@exercise
def check_gap(answer: Callable) -> None:
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        images, texts = (torch.randn(20, 8, generator=generator) for _ in range(2))
        texts = texts + torch.randn(8, generator=generator)
        expected = torch.linalg.vector_norm(images.mean(0) - texts.mean(0)).item()
        got = float(answer(images, texts))
        apart = torch.linalg.vector_norm(images - texts, dim=1).mean().item()
        require(abs(got - apart) > 1e-4, "this is the mean distance within pairs; first take the means.")
        require(abs(got - expected**2) > 1e-4, "a distance is the root of the summed squares.")
        require(abs(got - expected) < 1e-4, "take the mean over pairs, not over components; then one distance.")


@exercise
def check_shared_gradient(answer: Callable) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(4, 3, generator=generator, requires_grad=True)
        sides = [torch.randn(n, 3, generator=generator) for n in (5, 7)]
        above = [torch.randn(n, 4, generator=generator) for n in (5, 7)]
        sum((x @ weight.T * g).sum() for x, g in zip(sides, above, strict=True)).backward()
        image, text = (g.T @ x for x, g in zip(sides, above, strict=True))
        got = answer(*sides, *above)
        require(
            tuple(got.shape) == (4, 3), f"the gradient has the shape of the weight, (4, 3), not {tuple(got.shape)}."
        )
        for one, other in ((image, "texts"), (text, "images")):
            require(not torch.allclose(got, one, atol=1e-4), f"the {other} use this weight, too.")
        require(
            not torch.allclose(got, (image + text) / 2, atol=1e-4), "gradients of two uses are added, not averaged."
        )
        require(
            torch.allclose(got, weight.grad, atol=1e-4), "compare with the scalar example: input times what comes back."
        )
