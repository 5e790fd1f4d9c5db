"""Lesson 02, contrastive learning: what its widget draws, and its exercises."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from growclip_lite.course.display import subplots
from growclip_lite.course.exercises import exercise, require


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
def check_gradient_of_the_loss(answer) -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        logits, right = (3 * torch.randn(5, 5, generator=generator)).requires_grad_(), torch.arange(5)
        rows, columns = (F.cross_entropy(way, right) for way in (logits, logits.T))
        of_rows, of_columns, expected = (
            torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (rows, columns, (rows + columns) / 2)
        )
        got = torch.as_tensor(answer(logits.detach())).float()
        require(got.shape == (5, 5), f"every logit has a derivative: (5, 5), but yours is {tuple(got.shape)}.")
        for one in (of_rows, of_columns):
            require(not torch.allclose(got, one, atol=1e-5), "this is one direction alone; take the mean of both.")
        require(not torch.allclose(got, 2 * expected, atol=1e-5), "the loss is the *mean* of both directions.")
        require(not torch.allclose(got, 5 * expected, atol=1e-5), "each cross-entropy is a mean over the batch.")
        require(not torch.allclose(got, -expected, atol=1e-5), "right pairs are pulled: mind the sign.")
        require(torch.allclose(got, expected, atol=1e-5), "probability minus target, once by rows and once by columns.")


@exercise
def check_best_possible_loss(answer) -> None:
    for batch, scale in ((4, 1.0), (8, 10.0), (256, 100.0)):
        # With E >= B - 1 the wrong pairs cannot all be opposite: at best each has similarity -1 / (B - 1).
        expected = np.log1p((batch - 1) * np.exp(-scale * (1 + 1 / (batch - 1))))
        got = float(answer(batch, scale))
        require(np.isfinite(got), "this overflows: divide above and below by the numerator first.")
        require(got >= 0, "no loss is negative.")
        require(abs(got - expected) < 1e-3 * max(expected, 1e-3), f"batch {batch}, factor {scale:g}: not {got:.4g}.")
