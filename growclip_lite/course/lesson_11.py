"""Lesson 11, the whole algorithm: training that is watched, an interrupted run, the replay, and its exercises."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from growclip_lite.architecture import Architecture
from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.course.watching import watch
from growclip_lite.data.load import load_stream
from growclip_lite.data.stream import Stream
from growclip_lite.files import write_json
from growclip_lite.grow import Run, grow, held_out_batches
from growclip_lite.model import GrowCLIP
from growclip_lite.plots import COLOURS, GREY, draw_architecture
from growclip_lite.profiles import Profile
from growclip_lite.search import TOLERANCE, Score, held_out_loss
from growclip_lite.train import TrainingSet

LOOKS = 6  # at the held-out loss, during the training of a growth step
PHASES = ["data", "inherit", "search", "train", "evaluate"]


def first_steps(profile: str, seed: int, steps: int) -> Stream:
    """The scenes of a profile up to growth step `steps`."""
    stream = load_stream("scenes", profile, seed)
    for name in ("train", "validation", "step_tasks"):
        setattr(stream, name, getattr(stream, name)[:steps])
    return stream


def grow_silently(stream: Stream, settings: Profile, out: Path, seed: int, resume: bool = False) -> dict:
    """`grow` without its lines, which tell seconds. Without `resume`, what lies in `out` goes."""
    if not resume:
        shutil.rmtree(out, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        return grow(stream, settings, out, seed=seed, resume=resume)


@dataclass
class Played:
    """What one growth step did: held-out losses on its way, and what it delivered.

    `before` is the loss of the old model on the new step's held-out pairs, `inherited` that of the
    supernet right after inheriting, `searched` that of the winner before it is trained on; `curve` holds
    (iteration, loss) during training.
    """

    architecture: Architecture
    curve: list[tuple[int, float]]
    zero_shot: float
    before: float | None = None
    inherited: float | None = None
    searched: float | None = None
    ranking: list[Score] = field(default_factory=list)


def train_and_watch(run: Run, step: int, model: GrowCLIP, data: TrainingSet) -> list[tuple[int, float]]:
    """`fit`, with a few looks at the held-out loss on its way: (iteration, loss)."""
    config, batches = run.train_config(step), held_out_batches(run, step, model.tokenizer)
    marks = np.unique(np.linspace(0, config.iterations, LOOKS + 1).round().astype(int)).tolist()
    losses = watch(model, data, config, run.seed_of(step), marks, lambda m: held_out_loss(m, batches))
    return list(zip(marks, losses, strict=True))


def killed_after(whole: Path, step: int, copy: Path) -> None:
    """A copy of a run as it lies on disk when it was killed after growth step `step`."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    report = json.loads((copy / "report.json").read_text(encoding="utf-8"))
    for entry in report["steps"][step:]:
        shutil.rmtree(copy / f"step_{entry['step']}")
    report["steps"] = report["steps"][:step]
    write_json(copy / "report.json", report)


def same_weights(one: GrowCLIP, other: GrowCLIP) -> bool:
    """The same names and, bit for bit, the same numbers."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name].cpu(), second[name].cpu()) for name in first)


# ---- figures ----


def draw_replay(steps: Sequence[Played], chance: float) -> Figure:
    """One column per growth step: architecture, ranking of the search, held-out loss; below, the accuracy."""
    figure, rows = subplots(4, len(steps), figsize=(3.6 * len(steps), 12), squeeze=False)
    for axes in rows[3]:
        axes.remove()
    accuracy = figure.add_subplot(rows[0, 0].get_gridspec()[3, :])
    widest = max(max(s.architecture.sizes[1::2]) for s in steps)
    for number, played in enumerate(steps):
        top, ranking, loss, _ = rows[:, number]
        draw_architecture(top, played.architecture.to_dict(), 0, 0.45 / widest)
        top.set(xlim=(-0.5, 0.5), ylim=(-0.2, 6), xticks=[], yticks=[], title=f"step {number + 1}")
        top.set_xlabel(str(played.architecture).replace(", ", "\n"), fontsize=10)
        top.grid(False)
        draw_ranking(ranking, played)
        draw_losses(loss, played)
    accuracy.plot(range(1, len(steps) + 1), [s.zero_shot for s in steps], "o-", color="black")
    accuracy.axhline(chance, color=GREY, ls=":", label="chance")
    accuracy.legend(loc="upper left")
    accuracy.set(xlim=(0.5, len(steps) + 0.5), ylim=(0, 1), xticks=range(1, len(steps) + 1), xlabel="growth step")
    accuracy.set_ylabel("mean zero-shot")
    for axes in rows[2]:
        losses = [value for s in steps for _, value in s.curve]
        axes.set_ylim(0.9 * min(losses), 1.05 * max(losses))
    for axes, name in zip(rows[:3, 0], ("blocks", "loss in the search", "held-out loss"), strict=True):
        axes.set_ylabel(name)
    for name in ("image", "text", "shared"):
        rows[0, 0].plot([], [], "s", ms=8, color=COLOURS[name], label=name)
    rows[0, 0].legend(loc="upper left", fontsize=9)
    return figure


def draw_ranking(axes, played: Played) -> None:
    """The members of the search from best to worst; the chosen one is marked."""
    for place, member in enumerate(played.ranking, 1):
        chosen = member.architecture == played.architecture
        axes.plot(place, member.loss, "D" if chosen else "o", ms=9 if chosen else 5, color=PALETTE[4 if chosen else 0])
    if not played.ranking:
        axes.text(0.5, 0.5, "no search", transform=axes.transAxes, ha="center", color="#666666")
        axes.set(xticks=[], yticks=[])
        return
    losses = [member.loss for member in played.ranking]
    tied = min(losses) * (1 + TOLERANCE)
    if max(losses) > tied:
        axes.axhline(tied, color=GREY, ls="--")
        axes.annotate("tied below", (1, tied), va="bottom", fontsize=9, color="#666666")
    else:
        axes.set_title(f"all tied (within {TOLERANCE:.0%})", fontsize=10, color="#666666")
    axes.set_xlabel("members by rank (diamond: chosen)")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.25)


def draw_losses(axes, played: Played) -> None:
    """Held-out loss: before growing, after inheriting, after the search, then during training."""
    looks = {0: "0", len(played.curve) - 1: f"{played.curve[-1][0]}"}
    if played.ranking:
        axes.plot([-6, -4, -2], (played.before, played.inherited, played.searched), "s--", color=PALETTE[4], ms=6)
        looks |= {-6: "old", -4: "grown", -2: "search"}
    axes.plot(range(len(played.curve)), [value for _, value in played.curve], "o-", color=PALETTE[0], ms=4)
    axes.set_xticks(list(looks), looks.values(), fontsize=9)
    axes.set_xlabel("iteration")


def jumps(steps: Sequence[Played]) -> list[tuple[float, float, float]]:
    """For every step but the first: how new pairs, inheriting and the search's training change the held-out loss."""
    return [
        (new.before - old.curve[-1][1], new.inherited - new.before, new.searched - new.inherited)
        for old, new in zip(steps, steps[1:], strict=False)
    ]


def draw_jumps(steps: Sequence[Played], by_seed: Sequence[float]) -> Figure:
    """The parts of the jumps as bars; `by_seed` are other seeds' changes by inheriting in step 2, as dots."""
    figure, axes = subplots(figsize=(8, 3.4))
    values = np.array(jumps(steps))
    x = np.arange(2, len(steps) + 1)
    for number, name in enumerate(("new pairs", "inheriting", "the search's training")):
        axes.bar(x + (number - 1) * 0.25, values[:, number], 0.25, color=PALETTE[number], label=name)
    axes.plot(np.full(len(by_seed), 2), by_seed, "o", color="black", ms=4, label="inheriting, other seeds")
    axes.axhline(0, color=GREY, lw=1)
    axes.set(xticks=x, xlabel="growth step", ylabel="change of held-out loss")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_seconds(reports: dict[str, dict]) -> Figure:
    """Shares of the phases in the seconds of every growth step, one panel per report."""
    figure, panels = subplots(1, len(reports), figsize=(10, 3.4), sharey=True)
    for axes, (title, report) in zip(panels, reports.items(), strict=True):
        steps = [entry["step"] for entry in report["steps"]]
        total, below = np.array([sum(e["phases"].values()) for e in report["steps"]]), np.zeros(len(steps))
        for name, colour in zip(PHASES, PALETTE, strict=False):
            share = np.array([e["phases"].get(name, 0) for e in report["steps"]]) / total
            axes.bar(steps, share, bottom=below, color=colour, label=name)
            below += share
        axes.set(xticks=steps, xlabel="growth step", title=title)
    panels[0].set_ylabel("share of the step's seconds")
    panels[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


# ---- exercises ----


@exercise
def check_iterations_of_steps(answer) -> None:
    for pairs, total, power in (([10, 10], 100, 0.7), ([100, 400], 90, 0.5), ([8_000, 20_000, 50_000], 300, 0.25),
                                ([1, 2, 5], 80, 1.0), ([3, 9, 27], 60, 0.0)):  # fmt: skip
        weights = np.array(pairs, float) ** power
        expected = total * weights / weights.sum()
        got = np.array(answer(pairs, total, power), float)
        require(got.shape == expected.shape, f"{len(pairs)} growth steps need {len(pairs)} numbers.")
        told = f"for {pairs} pairs, {total} iterations and power {power:g}"
        require(abs(got.sum() - total) <= len(pairs), f"{told}, yours sum to {got.sum():g}.")
        require(np.abs(got - expected).max() <= 1, f"{told}, {got.round(1).tolist()} are not in proportion.")


@exercise
def check_flops_range(answer) -> None:
    for cost, old, new, power in ((10.0, 100, 400, 0.5), (7.0, 8_000, 20_000, 0.5), (1.0, 50, 100, 1.0)):
        budget = cost * (new / old) ** power
        got = [float(value) for value in answer(cost, old, new, power)]
        require(len(got) == 2, "return two numbers, the floor and the budget.")
        told = f"cost {cost:g}, {old} pairs before, {new} now, power {power:g}"
        require(abs(got[1] - budget) < 1e-6 * budget, f"{told}: the budget is not {got[1]:.4g}.")
        require(abs(got[0] - (cost + budget) / 2) < 1e-6 * budget, f"{told}: the floor is not {got[0]:.4g}.")
