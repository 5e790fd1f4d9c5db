"""Lesson 13, which claims hold: simulated seeds, the figures of the tables, and its exercises."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp, ttest_ind

from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.evaluate import forgetting
from growclip_lite.plots import GREY
from growclip_lite.profiles import get_profile
from growclip_lite.studies import drawing, figures
from growclip_lite.studies.claims import VERDICTS, Judged
from growclip_lite.studies.jobs import Grid, run_jobs
from growclip_lite.studies.run import all_jobs
from growclip_lite.studies.settings import place, read, settings
from growclip_lite.studies.statistics import Difference, difference, verdict
from growclip_lite.table import SETTING, rows_of

COLOURS = dict(zip(VERDICTS, (PALETTE[2], PALETTE[0], PALETTE[4], GREY), strict=True))
MARKERS = dict(zip(VERDICTS, "^osx", strict=True))
CURVES = {"mean zero-shot": "steps_mean", "image-to-text R@1": "steps_i2t_r1"}
AGAIN = (("growclip", "all"), ("fixed small", "flops"), ("fixed medium", "flops"))  # method, view


def noise(seeds: int, gap: float, times: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (times, seeds) of two methods, the first better by `gap`: what a seed does to both has deviation 2,
    what it does to each alone deviation 1."""
    rng = np.random.default_rng([seed, seeds])
    common = 2 * rng.standard_normal((times, seeds))
    one, other = (common + rng.standard_normal((times, seeds)) for _ in range(2))
    return one + gap, other


def bootstrap_finds(differences: np.ndarray, seed: int) -> float:
    """Share of the experiments (rows) whose 95 % bootstrap interval leaves out zero."""
    times, seeds = differences.shape
    chosen = np.random.default_rng(seed).integers(seeds, size=(400, seeds))
    low, high = np.quantile(differences[:, chosen].mean(2), (0.025, 0.975), axis=1)
    return float(((low > 0) | (high < 0)).mean())


def t_test_finds(one: np.ndarray, other: np.ndarray, paired: bool) -> float:
    """Share of the experiments (rows) in which a t-test has p below 0.05."""
    test = ttest_1samp(one - other, 0, axis=1) if paired else ttest_ind(one, other, axis=1)
    return float((test.pvalue < 0.05).mean())


def in_groups(found: list[Judged]) -> dict[str, list[tuple[str, Judged]]]:
    """Findings in groups that share claim, what is compared, score, and what is held equal: by title, each with the
    rest of its description."""
    groups: dict[tuple, list[Judged]] = {}
    for one in found:
        left, _, right = one[0].what.partition(" - ")
        groups.setdefault((one[0].claim, left, tuple(right.split(", ")[1:]), one[0].equal), []).append(one)
    titled = {}
    for (claim, left, score, equal), mine in groups.items():
        same = len({finding.what for finding, _, _ in mine}) == 1
        what = mine[0][0].what if same else ", ".join([f"{left} - ...", *score])
        titled[f"{claim} · {what}; equal: {equal}"] = lines = []
        for one in mine:
            finding, seeds = one[0], one[0].found.seeds
            rival = "" if same else f": {finding.what.partition(' - ')[2].split(', ')[0]}"
            lines.append((f"{finding.data}{rival}, {seeds} seed{'s' if seeds > 1 else ''}", one))
    return titled


def print_groups(found: list[Judged]) -> None:
    """Findings, group by group: data, rival, seeds, and the difference with its interval."""
    for title, lines in in_groups(found).items():
        print(title)
        for line, (finding, _, _) in lines:
            print(f"   {line}: {finding.found}")


def draw_forest(found: list[Judged]) -> Figure:
    """Differences with their intervals, a line each under the title of their group; verdicts by colour and marker."""
    groups = in_groups(found)
    figure, axes = subplots(figsize=(11, 1.4 + 0.27 * (len(found) + len(groups))))
    axes.axvline(0, color="#222222", lw=1)
    labels, y = {}, 0
    for title, lines in groups.items():
        box, at = {"facecolor": "white", "edgecolor": "none", "pad": 1}, axes.get_yaxis_transform()
        style = {"va": "center", "fontsize": 9, "weight": "bold", "bbox": box}
        axes.annotate(title, (0, y), (-160, 0), xycoords=at, textcoords="offset points", **style)
        for line, (finding, _, told) in lines:
            y -= 1
            labels[y] = line
            drawing.interval(axes, finding.found, y, COLOURS[told], MARKERS[told])
        y -= 1
    for told in VERDICTS:
        if any(told == one for _, _, one in found):
            axes.plot([], [], MARKERS[told], color=COLOURS[told], label=told)
    axes.set_yticks(list(labels), labels.values(), fontsize=9)
    axes.set(ylim=(y + 0.4, 0.6), xlabel="difference and 95 % interval, points of accuracy")
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params("y", length=0)
    figure.legend(loc="outside upper right", ncols=4, fontsize=9)
    return figure


def draw_growth(folder: Path, setting: str, score: str) -> Figure:
    """Study 1: a score over growth steps and over training FLOPs, methods at equal FLOPs; `setting` by its words."""
    rows = read(folder, "growth", **next(s for s in settings(folder, "growth") if place(s) == setting))
    figure, (left, right) = subplots(1, 2, figsize=(12, 4.4), sharey=True)
    figures.draw_growth(left, right, rows, CURVES[score])
    left.set(ylabel=f"{score}, test data")
    left.set_title(f"{setting}; up to {rows['seed'].nunique()} seeds", loc="left")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=9)
    return figure


def draw_continual(rows: pd.DataFrame) -> Figure:
    """Study 7: accuracy on new concepts over what was lost of earlier ones, means over seeds."""
    figure, axes = subplots(figsize=(8.5, 4.6))
    figures.draw_forgetting(axes, rows)
    axes.legend(loc="lower right", fontsize=9)
    return figure


def draw_history(history: list[list[float]]) -> Figure:
    """Accuracy on every step's test (columns) after every step (rows, of 1, 2, ... entries)."""
    steps = len(history)
    figure, axes = subplots(figsize=(5.6, 3.8))
    table = np.full((steps, steps), np.nan)
    for t, row in enumerate(history):
        table[t, : len(row)] = row
        for s, value in enumerate(row):
            axes.text(s, t, f"{value:.2f}", ha="center", va="center", color="black" if value > 0.6 else "white")
    picture = axes.imshow(table, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    axes.grid(False)
    names = range(1, steps + 1)
    axes.set_xticks(range(steps), names)
    axes.set_yticks(range(steps), names)
    axes.set(xlabel="test of growth step", ylabel="after growth step")
    figure.colorbar(picture, ax=axes, label="mean zero-shot accuracy")
    return figure


def recompute_growth(profile: str, place: Path) -> pd.DataFrame:
    """Runs the jobs `AGAIN` of seed 0 of study 1 on scenes, its table in `place`; rows that are there are kept."""
    place.mkdir(parents=True, exist_ok=True)
    # Jobs keep what resuming needs below the working folder.
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()):
        every = all_jobs("growth", Grid("scenes", get_profile(profile), 1), place, 1)
        wanted = [job for job in every if (job.setting["method"], job.setting["view"]) in AGAIN]
        run_jobs(place / "growth.csv", wanted, 1, "growth")
    return pd.concat([rows_of(place / "growth.csv", job.key) for job in wanted])


def compare_rows(again: pd.DataFrame, folder: Path) -> str:
    """How far rows computed anew are from those of the table with the same setting."""
    table, key = read(folder, "growth"), [*SETTING, "seed", "method", "view"]
    both = again.merge(table, on=key, suffixes=("", " in the table"))
    if both.empty:
        return "The table has no rows of this setting to compare with."
    gap = (both["zero_shot_mean"] - both["zero_shot_mean in the table"]).abs().max()
    return f"{len(both)} rows are in the table, too; mean zero-shot differs by at most {100 * gap:.1f} points."


@exercise
def check_paired_interval(answer) -> None:
    for seed, seeds in enumerate((5, 8, 10)):
        rng = np.random.default_rng(seed)
        common = 5 * rng.standard_normal(seeds)
        one, other = common + rng.standard_normal(seeds) + 1, common + rng.standard_normal(seeds)
        expected = difference(one - other)
        low, high = (float(value) for value in answer(one, other))
        require(low <= high, "the lower end comes first.")
        width = expected.high - expected.low
        wide = "too wide: average each resample; do both methods have the same seeds in every one?"
        require(high - low < 1.12 * width, wide)
        narrow = "too narrow: draw as many seeds as there are, with replacement; 2.5 % lie beyond either end."
        require(high - low > 0.91 * width, narrow)
        near = abs(low - expected.low) < 0.1 * width and abs(high - expected.high) < 0.1 * width
        require(near, f"({low:.2f} to {high:.2f}) is not where it should be: one minus other, 2.5 % at either end.")


@exercise
def check_judge(answer) -> None:
    cases = ((0.5, 2, 0.01, 5), (0.5, 2, 0.2, 10), (-3, -1, 0.001, 10), (-3, -1, 0.3, 5), (-1, 1, 0.9, 10),
             (0.5, 2, 0.001, 4), (-3, -1, 0.001, 2), (0.0, 2, 0.01, 8), (-3, 0.5, 0.01, 8), (0.5, 2, 0.06, 8),
             (-3, -1, 0.06, 8))  # fmt: skip
    for low, high, p, seeds in cases:
        expected = verdict(Difference((low + high) / 2, low, high, p, seeds), p)
        got = answer(low, high, p, seeds)
        require(got in VERDICTS, f"{got!r} is none of {', '.join(VERDICTS)}.")
        case = f"({low:g} to {high:g}), corrected p {p:g}, {seeds} seeds"
        require(got == expected, f"{case} is not {got!r}.")


@exercise
def check_forgotten(answer) -> None:
    rng = np.random.default_rng(0)
    histories = [[[0.9], [0.8, 0.7]], [[0.5], [0.9, 0.6], [0.7, 0.8, 0.4]]]
    histories.append([list(rng.random(t + 1).round(2)) for t in range(5)])
    for history in histories:
        got, expected = [float(value) for value in answer([list(row) for row in history])], forgetting(history)
        require(len(got) == len(history) - 1, "one number for every step but the last, whose concepts are new.")
        require(not np.allclose(got, [-value for value in expected]), "what was lost is positive.")
        require(np.allclose(got, expected), "compare the present with the best that ever was, not with one step.")
