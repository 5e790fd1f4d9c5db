"""Lesson 09, momentum: the tasks that it follows, what its widget draws, and its exercises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.data.stream import Task
from growclip_lite.inherit import blend
from growclip_lite.studies.figures import draw_momenta

TASKS = ("shape", "kind")  # things with names: where old and new concepts differ most


def part_of(tasks: list[Task], pictures: int) -> list[Task]:
    """The first pictures of the tasks about named things, so that a notebook can afford to ask often."""
    return [replace(t, images=t.images[:pictures], labels=t.labels[:pictures]) for t in tasks if t.name in TASKS]


def draw_blend(m: float, inherited: Tensor, fresh: Tensor, sweep: dict[float, float], before: float) -> Figure:
    """The weights of one matrix after blending, and where its model stands on the curve of losses (by momentum)."""
    figure, (left, right) = subplots(1, 2, figsize=(11, 3.6))
    edges = np.linspace(-0.5, 0.5, 81)
    for weights, colour, label in ((inherited, PALETTE[0], "m = 1"), (fresh, PALETTE[1], "m = 0")):
        left.hist(weights.flatten().numpy(), edges, histtype="step", color=colour, lw=1.6, label=label)
    mixed = blend({"w": inherited}, {"w": fresh}, m)["w"]
    left.hist(mixed.flatten().numpy(), edges, color=PALETTE[2], alpha=0.5, label=f"m = {m:g}")
    left.set(xlabel="weight", ylabel="number of weights", title=f"one matrix: standard deviation {mixed.std():.3f}")
    left.legend()
    right.plot(list(sweep), list(sweep.values()), color="#b8b8b8")
    right.plot([m], [sweep[m]], "o", color=PALETTE[2], ms=12)
    right.axhline(before, color="#222222", ls="--", lw=1.5, label="before growing")
    right.set(xlabel="momentum m", ylabel="held-out loss", title=f"right after growing: {sweep[m]:.2f}", ylim=(0, None))
    right.legend()
    return figure


def draw_study(rows: pd.DataFrame) -> Figure:
    """Study 3, over the momentum of both readings: final accuracy, and the gain of accuracy on earlier concepts since
    before growing; bars are 95 % intervals."""
    figure, panels = subplots(2, 2, figsize=(11, 7))
    columns = {"zero_shot_mean": "final mean zero-shot accuracy", "gained": "accuracy gained on earlier concepts"}
    draw_momenta(panels, rows.assign(gained=-rows["forgetting"]), columns)
    return figure


@exercise
def check_blend(answer) -> None:
    generator = torch.Generator().manual_seed(0)
    for m in (0.0, 0.25, 0.6, 1.0):
        one, other = ({"a": torch.randn(2, 3, generator=generator), "b": torch.randn(4, generator=generator)}
                      for _ in range(2))  # fmt: skip
        kept = {name: weight.clone() for name, weight in one.items()}
        got, expected = answer(one, other, m), blend(one, other, m)
        require(isinstance(got, dict) and got.keys() == expected.keys(), "return a dictionary with the same names.")
        require(all(torch.equal(one[name], kept[name]) for name in one), "the inherited tensors were changed in place.")
        swapped = blend(other, one, m)
        turned = m != 0.5 and all(torch.allclose(got[name], swapped[name]) for name in got)
        require(not turned, "turned round: m is the share of what is inherited.")
        same = all(torch.allclose(got[name], expected[name], atol=1e-6) for name in got)
        require(same, f"at m = {m:g} the mixture is not right.")


@exercise
def check_average_after(answer) -> None:
    for decay, steps, start, weight in (
        (0.9, 1, 0.0, 1.0),
        (0.9, 10, 2.0, -1.0),
        (0.99, 100, 1.0, 0.0),
        (0.5, 0, 3, 1),
    ):
        expected = float(start)
        for _ in range(steps):
            expected = decay * expected + (1 - decay) * weight
        got = float(answer(decay, steps, start, weight))
        require(
            abs(got - expected) < 1e-6, f"decay {decay:g}, {steps} steps from {start:g} to {weight:g}: not {got:.4g}."
        )


@exercise
def check_surviving_cosine(answer) -> None:
    for m in (0.0, 0.2, 0.6, 0.9, 1.0):
        for old, fresh in ((1.0, 1.0), (2.0, 1.0), (0.5, 3.0)):
            # A long vector at random is almost at right angles to the old one: here it is so exactly.
            mixture = m * np.array([old, 0.0]) + (1 - m) * np.array([0.0, fresh])
            expected = mixture[0] / np.hypot(*mixture)
            got = float(answer(m, old, fresh))
            hint = f"m = {m:g}, lengths {old:g} and {fresh:g}: {got:.3f} is not the cosine."
            require(-1e-9 <= got <= 1 + 1e-9, "a cosine of these vectors lies between 0 and 1.")
            equal = m / np.hypot(m, 1 - m)  # right where the lengths happen to be equal
            require(abs(got - equal) > 1e-6 or abs(equal - expected) < 1e-6, "that formula is for equal lengths.")
            require(abs(got - expected) < 1e-6, hint)
