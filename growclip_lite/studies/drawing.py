"""What the figures of the studies share: lines and points that are means over seeds, with 95 % bootstrap intervals
(of five seeds at least)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from growclip_lite.plots import PALETTE
from growclip_lite.studies.statistics import FEWEST_SEEDS, Difference, difference


def tidy(axes, **settings: object) -> None:
    axes.set(**settings)
    axes.grid(color="#ececec")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def write(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")


def centre(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean and the two lengths of its error bar; so few seeds that nothing is tested have none. Without what was
    not measured (NaN)."""
    found = difference([value for value in values if not np.isnan(value)])
    if found.seeds < FEWEST_SEEDS:
        return found.mean, 0.0, 0.0
    return found.mean, found.mean - found.low, found.high - found.mean


def line(axes, rows: pd.DataFrame, x: str, y: str, **style: object) -> None:
    """Means over seeds of `y` for every value of `x`, with error bars."""
    values = sorted(rows[x].unique())
    points = np.array([centre(rows.loc[rows[x] == value, y]) for value in values])
    axes.errorbar(values, points[:, 0], points[:, 1:].T, marker="o", capsize=3, lw=2, **style)


def interval(axes, d: Difference, y: float, colour: str, marker: str = "o") -> None:
    """A difference at height `y`, with its interval unless it has too few seeds for a verdict."""
    lengths = [[d.mean - d.low], [d.high - d.mean]] if d.seeds >= FEWEST_SEEDS else None
    axes.errorbar(d.mean, y, xerr=lengths, fmt=marker, color=colour, capsize=4, lw=2.2)


def forest(axes, differences: dict[str, Difference], label: str, colours: Sequence[str] = ()) -> None:
    """Differences with their intervals, one line each; zero is marked. All have one colour (verdicts need p-values)
    unless `colours` has one for each."""
    colours = colours or [PALETTE[0]] * len(differences)
    for number, (d, colour) in enumerate(zip(differences.values(), colours, strict=True)):
        interval(axes, d, -number, colour)
    axes.axvline(0, color="#222222", lw=1)
    axes.set_yticks([-number for number in range(len(differences))], list(differences))
    tidy(axes, xlabel=label, ylim=(0.5 - len(differences), 0.5))
