"""Lesson 05, why grow: two sizes trained live, the figures of capacity and of the stream, and its exercises."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from growclip_lite.architecture import Architecture, training_flops
from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.data.load import load_stream
from growclip_lite.data.scene_tasks import make_tasks
from growclip_lite.data.scenes import concepts_at
from growclip_lite.evaluate import mean_accuracy
from growclip_lite.grow import Run
from growclip_lite.peers import train_fixed
from growclip_lite.plots import GREY
from growclip_lite.profiles import Profile, typical_config
from growclip_lite.studies.claims import Finding
from growclip_lite.studies.drawing import centre, forest
from growclip_lite.studies.figures import FIXED
from growclip_lite.studies.settings import place
from growclip_lite.table import steps_of

TERA = 1e12
COLOURS = dict(zip(("growclip", *FIXED), PALETTE, strict=False))  # as in the figures of the studies
ORDER = list(COLOURS)
GUESS, REVEAL = "no, I am still guessing", "yes"


# ---- fixed sizes over budgets: the rows of capacity.csv ----


def sizes_in(rows: pd.DataFrame) -> list[str]:
    """Names of the architectures, the smallest first."""
    return rows.groupby("architecture")["parameters"].max().sort_values().index.tolist()


def with_budget(rows: pd.DataFrame) -> pd.DataFrame:
    """With a column `budget`: the TFLOPs that a training was meant to take, a power of two."""
    return rows.assign(budget=2.0 ** np.log2(rows["train_flops"] / TERA).round())


def draw_on(axes: Axes, rows: pd.DataFrame, sizes: list[str], limit: float = math.inf) -> None:
    """Accuracy over FLOPs up to `limit` TFLOPs: a line per size through the means over seeds, every seed a point."""
    shades = colormaps["viridis"](np.linspace(0.88, 0, len(sizes)))
    for colour, name in zip(shades, sizes, strict=True):
        part = rows[(rows["architecture"] == name) & (rows["budget"] <= limit)]
        line = part.groupby("budget")["zero_shot_mean"].mean()
        axes.plot(line.index, line, color=colour, label=name)
        axes.plot(part["budget"], part["zero_shot_mean"], "o", color=colour, ms=5)
    ticks = sorted(rows["budget"].unique())
    axes.axhline(rows["chance"].mean(), color=GREY, ls=":", label="chance")
    axes.set(xscale="log", xlabel="training (TFLOPs)", ylabel="mean zero-shot accuracy", ylim=(0, 1))
    axes.set_xlim(min(ticks) * 0.8, max(ticks) * 1.25)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def draw_capacity(rows: pd.DataFrame) -> Figure:
    """Accuracy over FLOPs for every fixed size, on the first and on the last growth step's data."""
    figure, panels = subplots(1, 2, figsize=(12, 5), sharey=True)
    for axes, step in zip(panels, ("first", "last"), strict=True):
        draw_on(axes, rows[rows["step"] == step], sizes_in(rows))
        axes.set(title=f"the {step} growth step's data and tasks")
    panels[1].set(ylabel=None)
    panels[1].legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def raced_by_all(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of those budgets that every size was trained with, step by step."""
    sizes = rows.groupby(["step", "budget"])["architecture"].transform("nunique")
    return rows[sizes == rows["architecture"].nunique()]


def draw_best(rows: pd.DataFrame) -> Figure:
    """The best size over the budget, for both growth steps' data."""
    figure, axes = subplots(figsize=(9, 3.4))
    names = sizes_in(rows)
    means = rows.groupby(["step", "budget", "architecture"], as_index=False).mean(numeric_only=True)
    for step, colour, marker in (("first", PALETTE[0], "o"), ("last", PALETTE[4], "s")):
        part = means[means["step"] == step]
        best = part.loc[part.groupby("budget")["zero_shot_mean"].idxmax()]
        label = f"the {step} step's data"
        axes.plot(best["budget"], best["architecture"].map(names.index), marker=marker, color=colour, label=label)
    ticks = sorted(means["budget"].unique())
    axes.set(xscale="log", xlabel="training (TFLOPs)", title="the best size", ylim=(-0.4, len(names) - 0.6))
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(range(len(names)), names)
    axes.minorticks_off()
    axes.legend()
    return figure


def bets(rows: pd.DataFrame) -> list[str]:
    """What can be bet on: every budget on both growth steps' data that at least two sizes were trained with."""
    sizes = rows.groupby(["step", "budget"])["architecture"].nunique()
    return [f"{step} step's data, {budget:g} TFLOPs" for (step, budget), many in sizes.items() if many > 1]


def draw_bet(rows: pd.DataFrame, budget: str, show_winner: str) -> Figure:
    """What the widget shows: accuracies at all smaller budgets, and with `show_winner` those at this one."""
    step, value = budget.split()[0], float(budget.split()[-2])
    part = rows[rows["step"] == step]
    here = part[part["budget"] == value].groupby("architecture")["zero_shot_mean"].mean()
    figure, axes = subplots(figsize=(8.5, 4.6))
    shown = show_winner == REVEAL
    draw_on(axes, part, sizes_in(rows), value if shown else value / 1.5)
    axes.axvline(value, color=GREY, lw=1)
    if shown:
        title = f"{here.idxmax()} wins: {here.max():.2f}"
        axes.plot(value, here.max(), "o", ms=16, mfc="none", mec=PALETTE[4], mew=2.5)
    else:
        title = f"who is ahead at {value:g} TFLOPs? {len(here)} sizes in the race"
        axes.text(value, 0.5, "?", ha="center", va="center", fontsize=30, color=PALETTE[4])
    axes.set(title=title)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


# ---- two sizes trained here and now ----


def train_live(
    profile: Profile, seed: int, budgets: list[float], sizes: dict[str, Architecture]
) -> tuple[dict[str, list[float]], float]:
    """By size, mean zero-shot accuracy on the first step's concepts after complete trainings at every budget, in
    TFLOPs, on the first step's data; and the accuracy of guessing."""
    run = Run(load_stream("scenes", profile.name, seed), profile, seed, Path())
    concepts = concepts_at(1, profile.growth_steps, profile.kinds)
    tasks = make_tasks(concepts, profile.kinds, profile.image_size, min(profile.task_pictures, 400), [6, 1])
    found: dict[str, list[float]] = {name: [] for name in sizes}
    for budget in budgets:
        for name, size in sizes.items():
            cost = training_flops(size, typical_config(profile), profile.batch_size)
            model, _ = train_fixed(run, size, 1, max(round(budget * TERA / cost), 1), name)
            found[name].append(mean_accuracy(model, tasks))
    return found, sum(task.chance for task in tasks) / len(tasks)


def draw_live(budgets: list[float], found: dict[str, list[float]], chance: float) -> Figure:
    """Accuracy over FLOPs of the sizes that were trained live."""
    figure, axes = subplots(figsize=(7, 3.8))
    for (name, accuracies), colour in zip(found.items(), (PALETTE[1], PALETTE[0]), strict=True):
        axes.plot(budgets, accuracies, "o-", color=colour, label=name)
    axes.axhline(chance, color=GREY, ls=":", label="chance")
    axes.set(xscale="log", xlabel="training (TFLOPs)", ylabel="mean zero-shot accuracy", ylim=(0, 1))
    axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
    axes.minorticks_off()
    axes.legend()
    return figure


# ---- along the stream: the rows of growth.csv ----


def equal_flops(rows: pd.DataFrame, setting: dict) -> pd.DataFrame:
    """Of one setting, the grown runs and what spent as many FLOPs along the same stream."""
    same = np.logical_and.reduce([rows[name] == value for name, value in setting.items()])
    return rows[same & rows["view"].isin(("all", "flops")) & rows["method"].isin(ORDER)]


def score_column(rows: pd.DataFrame) -> str:
    """Accuracy on the concepts known by then; a source without tasks for every growth step has that on all tasks."""
    return "steps_known" if rows["steps_known"].notna().all() else "steps_mean"


def after_first_step(rows: pd.DataFrame, setting: dict) -> dict[str, float]:
    """By fixed method, the smallest first, mean accuracy after the first growth step, at equal FLOPs in all."""
    part = equal_flops(rows, setting)
    column, fixed = score_column(part), {name: part[part["method"] == name] for name in FIXED}
    return {name: float(steps_of(mine, column)[:, 0].mean()) for name, mine in fixed.items() if len(mine)}


def saved(rows: pd.DataFrame, setting: dict) -> tuple[np.ndarray, float, float] | None:
    """What a large fixed model would spend with growing's iterations: the growth steps' shares of it (T,), the share
    that growing does not spend, without its searches, and what these cost; None where no large one was trained."""
    part = equal_flops(rows, setting)
    large = part[part["method"] == "fixed large"].set_index("seed")
    if large.empty:
        return None
    grown = part[part["method"] == "growclip"].set_index("seed").loc[large.index]
    price = steps_of(large, "steps_flops") / steps_of(large, "steps_iterations")
    spent = price * steps_of(grown, "steps_iterations")
    cheaper = 1 - (grown["train_flops"] - grown["search_flops"]) / spent.sum(1)
    return spent.sum(0) / spent.sum(), cheaper.mean(), (grown["search_flops"] / spent.sum(1)).mean()


def draw_streams(rows: pd.DataFrame, settings: list[dict]) -> Figure:
    """Accuracy on the concepts known by then over the FLOPs spent, growth step by growth step, a panel per setting."""
    columns = min(len(settings), 3)
    lines = math.ceil(len(settings) / columns)
    figure, panels = subplots(lines, columns, figsize=(max(4.6 * columns, 7), 4 * lines), squeeze=False)
    for axes in panels.flat[len(settings) :]:
        axes.set_axis_off()
    for number, (axes, setting) in enumerate(zip(panels.flat, settings, strict=False)):
        part = equal_flops(rows, setting)
        column = score_column(part)
        for method in [method for method in ORDER if (part["method"] == method).any()]:
            mine = part[part["method"] == method]
            scores = steps_of(mine, column)
            flops = steps_of(mine, "steps_flops").cumsum(1).mean(0) / TERA
            bars = np.array([centre(step)[1:] for step in scores.T]).T
            lead = 3 if method == "growclip" else 1.8
            axes.errorbar(
                flops, scores.mean(0), bars, marker="o", capsize=3, lw=lead, color=COLOURS[method], label=method
            )
        seeds = part.loc[part["method"] == "growclip", "seed"].nunique()
        where, _, timetable = place(setting).rpartition(", ")
        axes.set_title(f"{where},\n{timetable}; seeds: {seeds}", fontsize=10)
        axes.set(xlabel="training so far (TFLOPs)", ylabel="" if number % columns else "accuracy on what is known")
    figure.legend(*panels.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def draw_verdicts(found: list[Finding]) -> Figure:
    """Paired differences with their intervals, a panel per setting."""
    places = list(dict.fromkeys(finding.data for finding in found))
    rows = [sum(finding.data == where for finding in found) for where in places]
    size = (9, 0.45 * sum(rows) + 0.5 * len(places) + 0.8)
    figure, panels = subplots(len(places), 1, figsize=size, squeeze=False, sharex=True, height_ratios=rows)
    for axes, where in zip(panels[:, 0], places, strict=True):
        mine = [finding for finding in found if finding.data == where]
        rivals = {f.what.removeprefix("GrowCLIP - ").removesuffix("zero-shot") + f"equal {f.equal}": f for f in mine}
        forest(axes, {name: f.found for name, f in rivals.items()}, "points")
        axes.set_title(where, fontsize=11)
        axes.set(xlabel=None)
    axes.set(xlabel="GrowCLIP minus fixed, points of mean zero-shot accuracy (95 %)")
    return figure


# ---- exercises ----


@exercise
def check_best_size(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    for trial in range(20):
        names = [f"size {i}" for i in range(5)]
        budgets = [1, 2, 4]
        table = {name: {b: round(float(rng.random()), 3) for b in budgets} for name in names}
        for name in names[:2]:  # not every size was trained with every budget
            del table[name][budgets[trial % 3]]
        for budget in budgets:
            tried = {name: points[budget] for name, points in table.items() if budget in points}
            got, best = answer(table, budget), max(tried, key=tried.get)
            require(got in names, f"return the name of a size, not {got!r}.")
            require(got in tried, "this size was never trained with that budget: leave such sizes out.")
            require(got != min(tried, key=tried.get), "that is the worst size; accuracy should be high.")
            require(got == best, "another size is better at this very budget.")


@exercise
def check_wasted_share(answer: Callable) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        iterations = rng.integers(10, 500, 4).tolist()
        grown = np.sort(rng.integers(1, 50, 4)).tolist()
        fixed = sum(n * grown[-1] for n in iterations)
        expected = 1 - sum(n * cost for n, cost in zip(iterations, grown, strict=True)) / fixed
        got = float(answer(iterations, grown))
        require(0 <= got < 1, f"a share lies between 0 and 1, but you return {got:.3g}.")
        require(not math.isclose(got, 1 - expected, rel_tol=1e-6) or math.isclose(expected, 0.5),
                "this is what growing spends; what does it save?")  # fmt: skip
        unweighted = 1 - sum(grown) / (4 * grown[-1])
        require(not math.isclose(got, unweighted, rel_tol=1e-6) or math.isclose(expected, unweighted),
                "the growth steps have different numbers of iterations.")  # fmt: skip
        require(
            math.isclose(got, expected, rel_tol=1e-4, abs_tol=1e-6), f"for {iterations} and {grown}: not {got:.3f}."
        )


@exercise
def check_crossing_point(answer: Callable) -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        budgets = (2.0 ** np.arange(5) * rng.choice([0.25, 1, 4])).tolist()
        at = rng.uniform(0.1, 3.9)
        slope = rng.uniform(0.01, 0.1)
        small = rng.uniform(0.3, 0.8, 5)
        large = small + slope * (np.arange(5) - at)
        expected = budgets[0] * 2**at
        got = float(answer(budgets, small.tolist(), large.tolist()))
        require(budgets[0] <= got <= budgets[-1], f"the curves cross inside of the measured budgets, not at {got:.3g}.")
        left = int(at)
        straight = budgets[left] + (at - left) * (budgets[left + 1] - budgets[left])
        require(not math.isclose(got, straight, rel_tol=1e-3) or math.isclose(straight, expected, rel_tol=2e-3),
                "interpolate over the logarithm of the budget: every budget is twice the one before.")  # fmt: skip
        require(math.isclose(got, expected, rel_tol=1e-3), f"the difference is not zero at {got:.3g}.")
    for large in ([0.4, 0.5, 0.6], [0.6, 0.7, 0.6]):  # never ahead; ahead, then behind
        nowhere = float(answer([1.0, 2.0, 4.0], [0.5, 0.6, 0.7], large))
        require(math.isnan(nowhere), "where the larger size never passes the small one, return nan.")
    twice = float(answer([1.0, 2.0, 4.0], [0.5, 0.6, 0.7], [0.6, 0.5, 0.8]))
    require(2 < twice < 4, "only from behind to ahead is passing; from ahead to behind is not.")
