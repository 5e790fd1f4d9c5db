"""Lesson 08, inheriting: what its widget draws, and its exercises."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, random_tensor, require
from growclip_lite.inherit import InheritanceReport


def counts(report: InheritanceReport) -> dict[str, int]:
    """How many tensors are copied, partly copied and fresh."""
    statuses = [entry.status for entry in report.entries]
    return {status: statuses.count(status) for status in ("copied", "partly copied", "fresh")}


def draw_operator(operator: str, weights: dict[str, Tensor], losses: dict[str, list[float]], before: float) -> Figure:
    """One grown matrix (O, I) by this operator, and the loss right after growing, this operator's bar in colour.

    `weights` and `losses` are by operator; the losses are one per seed of the fresh weights.
    """
    figure, (left, right) = subplots(1, 2, figsize=(11, 3.8), width_ratios=(1.5, 1))
    high = 3 * float(weights["corner"].std())
    picture = left.imshow(weights[operator], vmin=-high, vmax=high, cmap="RdBu", aspect="auto", interpolation="none")
    left.grid(False)
    left.set(xlabel="input (hidden unit)", ylabel="output (channel)", title=f"the grown matrix, {operator}")
    figure.colorbar(picture, ax=left, label="weight")
    for number, (name, values) in enumerate(losses.items()):
        mean = sum(values) / len(values)
        reach = [[mean - min(values)], [max(values) - mean]]
        colour = PALETTE[4] if name == operator else "#b8b8b8"
        right.barh(-number, mean, 0.7, xerr=reach, color=colour, capsize=3)
    right.axvline(before, color="#222222", ls="--", lw=1.5, label="before growing")
    right.set_yticks([-number for number in range(len(losses))], list(losses))
    right.set(xlabel="held-out loss right after growing")
    figure.legend(loc="outside upper right")
    return figure


def _mlp(x: Tensor, up: Tensor, down: Tensor) -> Tensor:
    return F.gelu(x @ up.T) @ down.T


@exercise
def check_widen_hidden(answer) -> None:
    for seed, (hidden, more) in enumerate(((4, 6), (3, 8), (5, 6))):
        up, down = random_tensor(hidden, 3, seed=seed), random_tensor(3, hidden, seed=seed + 10)
        fresh_up, fresh_down = random_tensor(more, 3, seed=seed + 20), random_tensor(3, more, seed=seed + 30)
        kept = fresh_up.clone(), fresh_down.clone()
        new_up, new_down = answer(up, down, fresh_up, fresh_down)
        same = torch.equal(fresh_up, kept[0]) and torch.equal(fresh_down, kept[1])
        require(same, "the fresh tensors were changed in place: work on clones.")
        require(
            new_up.shape == (more, 3) and new_down.shape == (3, more), "the shapes must be those of the fresh ones."
        )
        corners = torch.equal(new_up[:hidden], up) and torch.equal(new_down[:, :hidden], down)
        require(corners, "the old weights belong unchanged into the leading corners.")
        x = random_tensor(7, 3, seed=seed + 40)
        require(torch.allclose(_mlp(x, new_up, new_down), _mlp(x, up, down), atol=1e-5),
                "the function has changed: who listens to the new units?")  # fmt: skip
        require(bool((new_up[hidden:] != 0).any(1).all()),
                "new units with weights of zero give nothing, so no gradient ever reaches them.")  # fmt: skip


@exercise
def check_split(answer) -> None:
    for seed, (unit, copies) in enumerate(((0, 1), (2, 1), (1, 3))):
        first, second = random_tensor(4, 3, seed=seed), random_tensor(2, 4, seed=seed + 10)
        kept = first.clone(), second.clone()
        new_first, new_second = answer(first, second, unit, copies)
        require(torch.equal(first, kept[0]) and torch.equal(second, kept[1]), "work on clones: the old layers changed.")
        size = 4 + copies
        require(new_first.shape == (size, 3), f"the first layer should have {size} rows, one per unit.")
        require(new_second.shape == (2, size), f"the second layer should have {size} columns, one per unit.")
        twins = new_first[4:] - first[unit]
        require(bool((twins.abs() < 1e-6).all()), "every new row of the first layer is a copy of the unit's row.")
        x = random_tensor(7, 3, seed=seed + 40)
        old, new = (torch.relu(x @ a.T) @ b.T for a, b in ((first, second), (new_first, new_second)))
        require(torch.allclose(old, new, atol=1e-5), "the function has changed: the copies shout all at once.")
        parts = new_second[:, [unit, *range(4, size)]]
        require(torch.allclose(parts, parts[:, :1].expand_as(parts), atol=1e-6), "share the old weight out equally.")


@exercise
def check_blocks_of_stack(answer) -> None:
    for old, new in ((2, 4), (3, 6), (2, 5), (3, 4), (1, 3)):
        got = list(answer(old, new))
        require(len(got) == new, f"from {old} to {new} blocks, the list needs {new} numbers.")
        require(all(block in range(old) for block in got), f"only blocks 0 to {old - 1} exist before.")
        in_place = [block * old // new for block in range(new)]
        require(got != in_place or old == 1, "this repeats blocks in place: that is interleaving.")
        require(got == [block % old for block in range(new)], f"from {old} to {new}: not {got}.")
