"""Lesson 02, contrastive learning: what its widget draws, and its exercises."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from growclip_lite.course.display import subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.losses import contrastive_loss


def unit_vectors(count: int, size: int, seed: int) -> Tensor:
    """(count, size), every row of length 1, in random directions."""
    return F.normalize(torch.randn(count, size, generator=torch.Generator().manual_seed(seed)), dim=-1)


def draw_both_softmaxes(similarity: Tensor, temperatures: tuple[float, ...]) -> Figure:
    """Similarities (B, B) after softmax over texts and over images, one column per temperature."""
    figure, panels = subplots(2, len(temperatures), figsize=(3.3 * max(len(temperatures), 1.8) + 1, 6.4), squeeze=False)
    for column, temperature in enumerate(temperatures):
        for row, (axis, name) in enumerate(((1, "rows sum to 1: which text?"), (0, "columns sum to 1: which image?"))):
            axes, chances = panels[row, column], (similarity / temperature).softmax(axis)
            picture = axes.imshow(chances, vmin=0, vmax=1, cmap="viridis")
            axes.grid(False)
            for (i, j), value in np.ndenumerate(chances.numpy()):
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8,
                          color="black" if value > 0.6 else "white")  # fmt: skip
            axes.set(title=f"temperature {temperature:g}\n{name}", xlabel="text", ylabel="image")
            axes.set(xticks=range(len(similarity)), yticks=range(len(similarity)))
    figure.colorbar(picture, ax=panels, shrink=0.7, label="probability (chance: 1 / batch)")
    return figure


@exercise
def check_loss_of_one_row(answer) -> None:
    for seed in range(5):
        logits = torch.randn(6, generator=torch.Generator().manual_seed(seed))
        for target in range(6):
            expected = F.cross_entropy(logits[None], torch.tensor([target])).item()
            got = float(answer(logits, target))
            require(np.isfinite(got), f"the loss is {got}; is there a logarithm of something that is not positive?")
            require(got > 0, "a cross-entropy is positive: mind the sign.")
            require(abs(got - expected) < 1e-4, f"for row {seed} and target {target}, {got:.3f} is not the loss.")
    large = torch.tensor([1000.0, 0.0])
    require(abs(float(answer(large, 0))) < 1e-4, "large logits must not overflow.")
    confident = "a confident mistake costs 1000 here, not infinity: no logarithm of a probability that rounds to 0."
    require(abs(float(answer(large, 1)) - 1000) < 1e-2, confident)


@exercise
def check_images_as_queries_only(answer) -> None:
    for seed in range(5):
        images, texts = unit_vectors(5, 8, seed), unit_vectors(5, 8, seed + 100)
        logits = 10 * images @ texts.T
        got, rows = float(answer(images, texts, 10.0)), F.cross_entropy(logits, torch.arange(5)).item()
        both = contrastive_loss(images, texts, torch.tensor(10.0)).item()
        require(abs(got - both) > 1e-4 or abs(rows - both) < 1e-4, "this is the symmetric loss: leave out one half.")
        columns = F.cross_entropy(logits.T, torch.arange(5)).item()
        require(abs(got - columns) > 1e-4, "every text looks for its image here; turn the logits round.")
        require(abs(got - rows / 2) > 1e-4, "one direction alone is not halved.")
        require(abs(got - rows) < 1e-4, "compare with the rows of the matrix above: one image, all texts.")


@exercise
def check_best_possible_loss(answer) -> None:
    for batch, scale in ((4, 1.0), (8, 10.0), (256, 100.0)):
        # With E >= B - 1 the wrong pairs cannot all be opposite: at best each has similarity -1 / (B - 1).
        expected = np.log1p((batch - 1) * np.exp(-scale * (1 + 1 / (batch - 1))))
        got = float(answer(batch, scale))
        require(np.isfinite(got), "this overflows: divide above and below by the numerator first.")
        require(got >= 0, "no loss is negative.")
        require(abs(got - expected) < 1e-3 * max(expected, 1e-3), f"batch {batch}, factor {scale:g}: not {got:.4g}.")
