"""Lesson 12, growth dimensions: the study's rows, read or measured anew, its figures, and the exercises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from growclip_lite.architecture import HEAD_SIZE, Architecture, ModelConfig, count_parameters, forward_flops
from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.plots import COLOURS, GREY
from growclip_lite.profiles import SMOKE, get_profile
from growclip_lite.studies import dimensions
from growclip_lite.studies.drawing import forest
from growclip_lite.studies.figures import draw_map
from growclip_lite.studies.jobs import Grid, default_workers, run_jobs
from growclip_lite.studies.measures import read_plan
from growclip_lite.studies.run import HALF, run_study
from growclip_lite.studies.statistics import Difference, holm, paired
from growclip_lite.table import first_setting, read_table

TABLE = "dimensions.csv"
NAMES = tuple(dimensions.BASE.to_dict())
FEWEST = 2  # seeds for an interval
# What profile smoke measures: as much as half a minute allows.
FEW = {("nothing", "none"), ("flops", "balanced"), ("flops", "image_width"), ("map", "2 deep, 2 wide"),
       ("map", "1 deep, 3 wide"), ("map", "2 deep, 3 wide")}  # fmt: skip
EQUAL = {"flops": ("FLOPs of a pair", forward_flops, 1e6, "added MFLOP"),
         "parameters": ("parameters", count_parameters, 1e5, "100,000 added parameters")}  # fmt: skip
OTHER = {"i2t_r1": "image-to-text R@1", "zero_shot_mean": "mean of tasks"}


def words(name: str) -> str:
    return name.replace("_", " ")


# ---- the rows ----


def seeds_in(path: Path) -> int:
    return read_table(path)["seed"].nunique() if path.exists() else 0


def measure(into: Path, profile: str, seeds: int) -> Path:
    """Runs the study and returns the folder of its table. A run that was interrupted goes on where it stopped."""
    place = into / f"dimensions-{profile}"
    if profile == "smoke":
        grid = Grid("scenes", replace(SMOKE, iterations=12), min(seeds, FEWEST))
        jobs = [job for job in dimensions.jobs(grid) if (job.setting["equal"], job.setting["growth"]) in FEW]
        run_jobs(place / TABLE, jobs, 1, "dimensions")  # in this process: others would take time to start
    else:
        amounts = HALF if profile == "laptop" else get_profile(profile)
        run_study("dimensions", Grid("scenes", amounts, seeds), place, default_workers())
    return place


def study_rows(results: Path, into: Path, profile: str, seeds: int, recompute: bool) -> tuple[pd.DataFrame, Path]:
    """The study's rows and the folder of their table; says which it is. Measured anew where `recompute` asks for it,
    or where the shipped table is missing or holds too few seeds for an interval."""
    shipped = seeds_in(results / TABLE)
    anew = recompute or shipped < FEWEST
    place = measure(into, profile, seeds) if anew else results
    rows = first_setting(read_table(place / TABLE))
    rows = rows[rows["seed"] < seeds]
    told = "measured just now, or in an earlier run of this notebook" if anew else f"read from results/{TABLE}"
    print(f"{told}: {len(rows)} trainings in profile {rows['profile'].iloc[0]}, {rows['seed'].nunique()} seeds")
    if rows["seed"].nunique() < seeds:
        print(f"(asked for {seeds} seeds; profile smoke measures {FEWEST}, a table has what it has)")
    return rows, place


def base_of(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["growth"] == "none"]


def added(rows: pd.DataFrame, equal: str, config: ModelConfig) -> float:
    """How many FLOPs of a pair, or parameters, these rows' architecture has more than the base."""
    cost = EQUAL[equal][1]
    return cost(read_plan(rows["plan"].iloc[0])[-1], config) - cost(dimensions.BASE, config)


def gains(rows: pd.DataFrame, equal: str, column: str = "zero_shot_mean") -> dict[str, Difference]:
    """By grown dimension, points over no growth, paired by seed; balanced growth comes last."""
    same = rows[rows["equal"] == equal]
    names = [name for name in (*NAMES, "balanced") if name in set(same["growth"])]
    return {name: paired(same[same["growth"] == name], base_of(rows), column) for name in names}


# ---- figures ----


def draw_units(costs: dict[str, tuple[int, int]]) -> Figure:
    """FLOPs and parameters that one unit more of every dimension adds to the base."""
    figure, panels = subplots(1, 2, figsize=(10, 3.4), sharey=True)
    y = -np.arange(len(costs))
    colours = [COLOURS[name.split("_")[0]] for name in costs]
    labels = ("FLOPs of a pair (millions)", "parameters (thousands)")
    for axes, values, unit, label in zip(panels, zip(*costs.values(), strict=True), (1e6, 1e3), labels, strict=True):
        axes.barh(y, np.array(values) / unit, color=colours)
        axes.set(xlabel=f"added {label}")
    panels[0].set_yticks(y, [words(name) for name in costs])
    return figure


def draw_gains(rows: pd.DataFrame, config: ModelConfig) -> Figure:
    """Points of mean zero-shot accuracy over no growth, per added FLOP and per added parameter."""
    shown = [equal for equal in EQUAL if (rows["equal"] == equal).any()]
    figure, panels = subplots(1, len(shown), figsize=(6.2 * len(shown), 4), squeeze=False)
    for axes, equal in zip(panels[0], shown, strict=True):
        name, _, unit, per = EQUAL[equal]
        found, colours = {}, []
        for growth in gains(rows, equal):
            part = rows[(rows["equal"] == equal) & (rows["growth"] == growth)]
            factor = 100 * unit / added(part, equal, config)
            found[words(growth)] = paired(part, base_of(rows), "zero_shot_mean", factor)
            colours.append(COLOURS.get(growth.split("_")[0], COLOURS["mean"]))
        forest(axes, found, f"points over no growth, per {per}", colours)
        axes.set(title=f"equal added {name}")
    return figure


def draw_depth_and_width(rows: pd.DataFrame) -> Figure:
    """The map, with its scale."""
    figure, axes = subplots(figsize=(6, 4.2))
    figure.colorbar(draw_map(axes, rows), ax=axes)
    return figure


def tasks_in(rows: pd.DataFrame) -> dict[str, str]:
    """Columns of scores and their names: the single tasks, then what is over all of them."""
    prefix = "zero_shot_"
    single = [c for c in rows if c.startswith(prefix) and c not in OTHER and rows[c].notna().all()]
    return {c: c.removeprefix(prefix) for c in single} | OTHER


def draw_tasks(rows: pd.DataFrame, equal: str = "flops") -> Figure:
    """Points over no growth, dimension by task; bold where the interval does not contain zero."""
    columns = tasks_in(rows)
    found = {column: gains(rows, equal, column) for column in columns}
    names = list(found["zero_shot_mean"])
    means = np.array([[found[column][name].mean for column in columns] for name in names])
    most = max(np.abs(means).max(), 0.1)
    figure, axes = subplots(figsize=(11, 0.5 * len(names) + 2))
    picture = axes.imshow(means, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    axes.grid(False)
    for i, name in enumerate(names):
        for j, column in enumerate(columns):
            d = found[column][name]
            sure = d.low > 0 or d.high < 0
            colour = "white" if abs(d.mean) > 0.6 * most else "black"
            told, weight = f"{d.mean:+.1f}" + ("*" if sure else ""), "bold" if sure else "normal"
            axes.text(j, i, told, ha="center", va="center", fontsize=9, fontweight=weight, color=colour)
    axes.set_xticks(range(len(columns)), columns.values(), rotation=30, ha="right")
    axes.set_yticks(range(len(names)), [words(name) for name in names])
    axes.set(xlabel="task", ylabel="what has grown", title=f"equal added {EQUAL[equal][0]}")
    figure.colorbar(picture, ax=axes, label="points over no growth")
    return figure


def draw_dimension(rows: pd.DataFrame, dimension: str, task: str) -> Figure:
    """What the widget shows: one dimension on one task, every seed before and after."""
    column = next(column for column, name in tasks_in(rows).items() if name == task)
    shown = [e for e in EQUAL if ((rows["equal"] == e) & (rows["growth"].map(words) == dimension)).any()]
    figure, panels = subplots(1, len(shown), figsize=(4.6 * len(shown), 3.8), squeeze=False, sharey=True)
    before = base_of(rows).set_index("seed")[column]
    for axes, equal in zip(panels[0], shown, strict=True):
        part = rows[(rows["equal"] == equal) & (rows["growth"].map(words) == dimension)]
        for seed, value in part.set_index("seed")[column].items():
            if seed in before:
                axes.plot([0, 1], [before[seed], value], "o-", color=GREY, lw=1)
        both = part.set_index("seed")[column]
        axes.plot([0, 1], [before.mean(), both.mean()], "D-", color=PALETTE[0], lw=3, label="mean over seeds")
        size = read_plan(part["plan"].iloc[0])[-1]
        axes.set(
            xticks=[0, 1], xlim=(-0.3, 1.3), title=f"equal {EQUAL[equal][0]}: {paired(part, base_of(rows), column)}"
        )
        axes.set_xticklabels(["no growth", str(size).replace(", ", "\n")])
    panels[0, 0].set(ylabel=task if column == "i2t_r1" else f"accuracy, {task}")
    panels[0, 0].legend(fontsize=9)
    return figure


# ---- exercises ----


@exercise
def check_gained_flops(answer: Callable) -> None:
    config = ModelConfig(image_size=32, patch_size=8, context_length=24, vocab_size=100, embed_dim=64)
    for name, tokens in (("image", 16), ("text", 24)):
        for heads, more in ((2, 1), (1, 1), (2, 2), (4, 1)):

            def block(width: int, name: str = name) -> int:
                one = replace(Architecture(1, 1, 1, 1, 1, 1), **{f"{name}_width": width})
                return forward_flops(replace(one, **{f"{name}_depth": 2}), config) - forward_flops(one, config)

            expected, c, m = block(heads + more) - block(heads), HEAD_SIZE * heads, HEAD_SIZE * more
            got = int(answer(tokens, c, m))
            attention = 4 * tokens**2 * m
            require(2 * got != expected, "a multiplication and an addition count as two.")
            require(got != block(heads + more), "that is the whole wider block: subtract what it cost before.")
            whole = "the block grows, none is added: the square of the new width minus the square of the old one."
            require(got != block(more), whole)
            require(got != expected - attention, "the attention scores and the mixing are missing.")
            squared = "matrices cost by the *square* of the width: that of the new one minus that of the old one."
            require(got != 24 * tokens * m + attention, squared)
            require(got == expected, f"{tokens} tokens, {c} channels and {m} more: not {got:,}.")


@exercise
def check_mean_difference(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        good = rng.random(8)  # what a seed is worth: large, and common to both
        one = {s: round(float(good[s] + 0.1), 3) for s in range(8)}
        other = {s: round(float(good[s] + rng.normal(0, 0.01)), 3) for s in range(8)}
        del one[int(rng.integers(0, 4))], other[int(rng.integers(4, 8))]
        expected = float(np.mean([one[s] - other[s] for s in one if s in other]))
        got = float(answer(one, other))
        unpaired = float(np.mean(list(one.values())) - np.mean(list(other.values())))
        require(abs(got - unpaired) > 1e-6, "a seed that only one of them has must not count.")
        require(abs(got + expected) > 1e-6, "one minus other, not the other way round.")
        require(abs(got - expected) < 1e-6, "subtract seed by seed, over the seeds that both have, then average.")


@exercise
def check_holm(answer: Callable) -> None:
    rng = np.random.default_rng(1)
    cases = [[0.01, 0.02, 0.03], [0.04, 0.001, 0.9], [0.6, 0.7, 0.9]]
    cases += [rng.uniform(0, 0.2, n).round(4).tolist() for n in (2, 4, 6, 6)]
    for ps in cases:
        got, expected = [float(p) for p in answer(list(ps))], holm(ps)
        require(len(got) == len(ps), "return as many p-values as were given.")
        bonferroni = np.minimum(1, len(ps) * np.array(ps))
        require(not np.allclose(got, bonferroni) or np.allclose(expected, bonferroni),
                "that is Bonferroni: Holm is less strict.")  # fmt: skip
        require(not np.allclose(got, sorted(expected)) or np.allclose(expected, sorted(expected)),
                "return them in the order in which they came.")  # fmt: skip
        require(max(got) <= 1, "no probability is above 1.")
        order = np.argsort(ps)
        require(
            bool((np.diff(np.array(got)[order]) >= -1e-12).all()), "a larger p must not become smaller than another."
        )
        require(np.allclose(got, expected), f"for {ps}: not {np.round(got, 4).tolist()}.")
