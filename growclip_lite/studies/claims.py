"""The claims of the paper, one by one, and what the tables say about them: results/README.md, and README's short form.

Whichever of several rivals is "the best" is chosen by mean validation accuracy over seeds; the
difference to it is then taken on test data. p-values of one family of claims are corrected by Holm's method.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from growclip_lite.studies.statistics import Difference


@dataclass(frozen=True)
class Finding:
    """One comparison: what minus what, in which unit, and how large it was; `least` is what was asked for."""

    claim: str
    what: str
    equal: str
    found: Difference
    command: str
    unit: str = "points"
    least: float = 0.0
    digits: int = 1


def read(folder: Path, study: str, **key: object) -> pd.DataFrame:
    """The rows of a study with these values; an empty table where it has not been run."""
    path = folder / f"{study}.csv"
    rows = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=["seed", "method", *key])
    for name, value in key.items():
        rows = rows[rows[name] == value]
    return rows


def best_of(rows: pd.DataFrame, by: str, score: str = "validation_mean") -> tuple[object, pd.DataFrame]:
    """The value of column `by` with the highest mean `score` over seeds, and its rows."""
    name = rows.groupby(by)[score].mean().idxmax()
    return name, rows[rows[by] == name]
