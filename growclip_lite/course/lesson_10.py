"""Lesson 10, the search: the measured scores of `results/bench_search.csv`, drawings, and the exercises."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from growclip_lite.architecture import HEAD_SIZE, Architecture
from growclip_lite.bench.search_quality import training_noise
from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.course.place import root
from growclip_lite.model import GrowCLIP
from growclip_lite.plots import GREY
from growclip_lite.search import TOLERANCE, Score, select, unevenness
from growclip_lite.table import read_table

PALE, LIT, CHOSEN, BEST = "#b5b5b5", PALETTE[0], PALETTE[4], PALETTE[2]


def architecture_of(text: str) -> Architecture:
    """From "image 2x128, text 1x96, shared 1x64": depth in blocks, width in channels."""
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return Architecture(*(n // HEAD_SIZE if i % 2 else n for i, n in enumerate(numbers)))


def short(architecture: Architecture) -> str:
    """The six dimensions, as in "2,2 1,3 1,2": depth and width in heads of image, text, shared."""
    return " ".join(f"{d},{w}" for d, w in zip(architecture.sizes[::2], architecture.sizes[1::2], strict=True))


def measured() -> pd.DataFrame:
    """The bench's members with the columns `added` (units more than the smallest of their seed) and `uneven`."""
    table = read_table(root() / "results" / "bench_search.csv")
    sizes = np.array([architecture_of(text).sizes for text in table["architecture"]])
    least = pd.DataFrame(sizes).groupby(table["seed"]).transform("min").to_numpy()
    uneven = [unevenness(architecture_of(text)) for text in table["architecture"]]
    return table.assign(added=(sizes - least).sum(1), uneven=uneven)


def draw_against(table: pd.DataFrame, x: str, labels: tuple[str, str]) -> Figure:
    """Column `x` against the trained loss, a panel per seed, bars for what a second training changes."""
    once, noise = table[table["repeat"] == 0], training_noise(table)[0]
    figure, panels = subplots(1, once["seed"].nunique(), figsize=(11, 3.8))
    for axes, (seed, rows) in zip(panels, once.groupby("seed"), strict=True):
        tau = kendalltau(rows[x], rows["trained_loss"]).statistic
        axes.errorbar(rows[x], rows["trained_loss"], noise, fmt="o", ms=5, elinewidth=0.8, ecolor=PALE)
        axes.set(xlabel=labels[0], ylabel=labels[1], title=f"seed {seed}: tau = {tau:+.2f}")
    return figure


def draw_added(table: pd.DataFrame) -> Figure:
    """Both losses against added units, less the mean of their seed, a colour per seed, with the mean over seeds."""
    once = table[table["repeat"] == 0]
    figure, panels = subplots(1, 2, figsize=(10, 3.8))
    columns = (("search_loss", "in the supernet"), ("trained_loss", "trained alone"))
    for axes, (column, title) in zip(panels, columns, strict=True):
        over = once[column] - once.groupby("seed")[column].transform("mean")
        for number, (seed, rows) in enumerate(once.groupby("seed")):
            axes.plot(rows["added"] + 0.12 * (number - 1), over[rows.index], "o", ms=5, label=f"seed {seed}")
        means = over.groupby(once["added"]).mean()
        axes.plot(means.index, means, color="#222222", label="mean")
        axes.axhline(0, color=GREY, ls=":")
        axes.set(xlabel="added units", ylabel="held-out loss, less the seed's mean", title=title)
    panels[0].legend()
    return figure


def front(costs: Sequence[float], losses: Sequence[float]) -> list[int]:
    """Indices of the members that no other one beats in both, from cheap to expensive."""
    found, best = [], np.inf
    for i in np.lexsort((losses, costs)):
        if losses[i] < best:
            found.append(int(i))
            best = losses[i]
    return found


def draw_ranking(ranking: Sequence[Score], tolerance: float = TOLERANCE) -> Figure:
    """Held-out loss of every scored member, the ties of the best, how uneven each is, and the choice."""
    chosen, best = select(list(ranking), tolerance), ranking[0].loss
    figure, axes = subplots(figsize=(8.5, 0.34 * len(ranking) + 1.5))
    for row, entry in enumerate(ranking):
        axes.plot(entry.loss, row, "o", ms=9, color=CHOSEN if entry is chosen else LIT)
        axes.annotate(f"uneven by {unevenness(entry.architecture)}", (entry.loss, row), xytext=(10, -4),
                      textcoords="offset points", fontsize=9)  # fmt: skip
    axes.axvspan(best, best * (1 + tolerance), color=PALETTE[1], alpha=0.25, lw=0)
    axes.set_yticks(range(len(ranking)), [short(entry.architecture) for entry in ranking])
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set(
        xlabel="held-out loss",
        ylabel="member (depth,width: image, text, shared)",
        title="band: ties of the lowest loss; orange dot: the choice",
    )
    return figure


def draw_front(axes: Axes, costs: Sequence[float], losses: Sequence[float], chosen: int) -> None:
    """Members by cost (FLOPs) and loss, the front as steps, the choice."""
    costs, losses = np.asarray(costs) / 1e6, np.asarray(losses)
    best = front(costs, losses)
    axes.plot(costs, losses, "o", color=PALE, label="members")
    axes.plot(costs[best], losses[best], "o-", color=LIT, drawstyle="steps-post", label="front")
    axes.plot(costs[chosen], losses[chosen], "o", ms=13, mfc="none", mec=CHOSEN, mew=2.5, label="chosen")
    axes.set(xlabel="cost of a pair (MFLOPs)", ylabel="held-out loss")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def choice_within(rows: pd.DataFrame, budget: float) -> tuple[pd.Series, pd.Series] | None:
    """What the search's rule takes among members of at most `budget` FLOPs, and what trained best; None without any."""
    rows = rows[(rows["flops"] <= budget) & (rows["repeat"] == 0)]
    if rows.empty:
        return None
    scores = {
        i: Score(architecture_of(row.architecture), row.search_loss, 0.0, int(row.flops)) for i, row in rows.iterrows()
    }
    chosen = select(list(scores.values()))
    return rows.loc[next(i for i, entry in scores.items() if entry is chosen)], rows.loc[rows["trained_loss"].idxmin()]


def draw_choice(table: pd.DataFrame, seed: int, budget: float) -> Figure:
    """What the widget shows: members by cost and trained loss, a budget in MFLOPs, and two choices within it."""
    rows = table[(table["seed"] == seed) & (table["repeat"] == 0)]
    figure, axes = subplots(figsize=(8, 4.4))
    inside = rows["flops"] <= budget * 1e6
    noise = training_noise(table)[0]
    for part, colour, label in ((~inside, PALE, "over budget"), (inside, LIT, "within the budget")):
        axes.errorbar(rows["flops"][part] / 1e6, rows["trained_loss"][part], noise, fmt="o", color=colour,
                      elinewidth=0.8, label=label)  # fmt: skip
    axes.axvline(budget, color=PALETTE[1], ls="--")
    found = choice_within(rows, budget * 1e6)
    title = f"seed {seed}, budget {budget:g} MFLOPs: no member"
    if found is not None:
        for row, colour, size, label in (
            (found[0], CHOSEN, 14, "the search's choice"), (found[1], BEST, 20, "best after training"),
        ):  # fmt: skip
            axes.plot(row["flops"] / 1e6, row["trained_loss"], "o", ms=size, mfc="none", mec=colour, mew=2.5,
                      label=label)  # fmt: skip
        lost = found[0]["trained_loss"] - found[1]["trained_loss"]
        title = f"seed {seed}, budget {budget:g} MFLOPs: {lost:.3f} above the best ({lost / noise:.1f} deviations)"
    axes.set(xlabel="cost of a pair (MFLOPs)", ylabel="held-out loss, trained alone", title=title)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=1.4)
    return figure


def draw_gradients(gradients: dict[str, torch.Tensor]) -> Figure:
    """Size of the gradient at every weight of one matrix, a panel per member; white where there is none."""
    figure, panels = subplots(1, len(gradients), figsize=(3.6 * len(gradients), 4))
    for axes, (name, gradient) in zip(np.atleast_1d(panels), gradients.items(), strict=True):
        size = gradient.abs().numpy()
        logs = np.log10(np.where(size > 0, size, np.nan))
        picture = axes.imshow(logs, cmap="viridis", aspect="auto", interpolation="nearest")
        axes.grid(False)
        axes.set(title=name, xlabel="input channel", ylabel="output row")
        figure.colorbar(picture, ax=axes, label="log10 of the gradient's size", shrink=0.8)
    return figure


def gradient_of(model: GrowCLIP, name: str) -> torch.Tensor:
    """A copy of the gradient of one weight, zeros where there is none; all gradients are cleared."""
    weight = dict(model.named_parameters())[name]
    found = torch.zeros_like(weight) if weight.grad is None else weight.grad.detach().clone()
    model.zero_grad(set_to_none=True)
    return found


def touched(model: GrowCLIP) -> float:
    """Share of the weights that have a gradient other than zero."""
    weights = list(model.parameters())
    some = sum(0 if w.grad is None else int((w.grad != 0).sum()) for w in weights)
    return some / sum(w.numel() for w in weights)


@exercise
def check_corner(answer: Callable) -> None:
    generator = torch.Generator().manual_seed(0)
    for shape, small in (((6, 4), (3, 2)), ((5,), (2,)), ((), ()), ((7, 3), (7, 3)), ((4, 4, 3), (2, 1, 3))):
        whole = torch.randn(shape, generator=generator)
        got = answer(whole, small)
        require(isinstance(got, torch.Tensor), "give back a tensor.")
        require(tuple(got.shape) == small, f"a corner of shape {small} was asked of {shape}, not {tuple(got.shape)}.")
        expected = whole[tuple(slice(size) for size in small)]
        require(torch.equal(got, expected), "count from the front of every axis.")
        require(got.data_ptr() == whole.data_ptr(), "give a view, not a copy: gradients must reach the whole.")


def _tau(x: Sequence[float], y: Sequence[float]) -> float:
    signs = [np.sign(x[i] - x[j]) * np.sign(y[i] - y[j]) for i, j in itertools.combinations(range(len(x)), 2)]
    return float(np.mean(signs))


@exercise
def check_kendalls_tau(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    for _ in range(6):
        x = rng.normal(size=8)
        y = x + rng.normal(size=8)
        got, right = float(answer(x.tolist(), y.tolist())), _tau(x, y)
        require(-1.001 <= got <= 1.001, f"tau lies between -1 and 1, not at {got:.2f}: divide by the number of pairs.")
        require(abs(got + right) > 1e-6 or abs(right) < 1e-6, "the sign is the wrong way round.")
        require(abs(got - (right + 1) / 2) > 1e-6, "that is the share of concordant pairs; subtract the discordant.")
        require(abs(got - right) < 1e-6, f"{got:.3f} is not it: every pair counts once, +1 or -1.")


@exercise
def check_pareto_front(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    for count in (1, 6, 12):
        for _ in range(4):
            costs, losses = rng.integers(1, 6, count).astype(float), rng.normal(3, 1, count)  # some cost the same
            got, right = sorted(int(i) for i in answer(costs.tolist(), losses.tolist())), sorted(front(costs, losses))
            missing, surplus = set(right) - set(got), set(got) - set(right)
            require(
                not surplus, f"member {min(surplus, default=0)} is beaten: another one costs no more and is better."
            )
            require(not missing, f"member {min(missing, default=0)} is beaten by nobody and belongs to the front.")
            require(len(got) == len(right), "every member at most once.")


def _entries(rng: np.random.Generator) -> list[Score]:
    entries = []
    for _ in range(8):
        sizes = rng.integers(1, 4, 6).tolist()
        loss = 3.0 * (1 + rng.choice([0.0, 0.005, 0.015, 0.03, 0.1]) + 1e-4 * rng.random())
        entries.append(Score(Architecture(*sizes), float(loss), 0.0, int(rng.integers(10, 13))))
    return entries


@exercise
def check_choose(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        entries, tolerance = _entries(rng), (0.02, 0.01)[number % 2]
        got, right = answer(entries, tolerance), select(entries, tolerance)
        best = min(entry.loss for entry in entries)
        require(got in entries, "give back one of the scores.")
        require(
            got.loss <= best * (1 + tolerance),
            f"loss {got.loss:.3f} is no tie of the lowest, {best:.3f}: relative to it.",
        )
        require(unevenness(got.architecture) == unevenness(right.architecture), "there is a tie that is more even.")
        require(got.flops == right.flops, "there is a tie that is as even, and cheaper.")
