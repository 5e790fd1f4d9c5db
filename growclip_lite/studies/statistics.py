"""What rows say about a claim: paired differences over seeds, their intervals, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import bootstrap, ttest_1samp

RESAMPLES = 10_000
FEWEST_SEEDS = 5  # for a verdict
TOO_FEW = "too few seeds"


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences over `seeds` seeds, its 95 % bootstrap interval, and the two-sided p-value
    of no difference (paired t-test)."""

    mean: float
    low: float
    high: float
    p: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:+.1f}" + (f" ({self.low:+.1f} to {self.high:+.1f})" if self.seeds > 1 else "")


def difference(values: Sequence[float]) -> Difference:
    """Of paired differences, one per seed. With fewer than two seeds there is no interval (NaN)."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return Difference(float(values.mean()) if len(values) else np.nan, np.nan, np.nan, np.nan, len(values))
    if np.ptp(values) == 0:  # nothing to resample
        same = float(values[0])
        return Difference(same, same, same, float(same == 0), len(values))
    rng = np.random.default_rng(0)
    found = bootstrap((values,), np.mean, method="percentile", rng=rng, n_resamples=RESAMPLES).confidence_interval
    p = float(ttest_1samp(values, 0.0).pvalue)
    return Difference(float(values.mean()), float(found.low), float(found.high), p, len(values))


def paired(one: pd.DataFrame, other: pd.DataFrame, column: str, factor: float = 100.0) -> Difference:
    """`one` minus `other` in `column`, paired by seed, times `factor` (100: points). Either has a seed only once."""
    both = pd.merge(one[["seed", column]], other[["seed", column]], on="seed", validate="one_to_one")
    return difference(factor * (both[f"{column}_x"] - both[f"{column}_y"]).dropna().to_numpy())


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for being several claims at once (Holm 1979)."""
    corrected, worst = [np.nan] * len(ps), 0.0
    known = [i for i in np.argsort(ps, kind="stable") if not np.isnan(ps[i])]
    for rank, i in enumerate(known):
        worst = max(worst, min(1.0, (len(known) - rank) * ps[i]))
        corrected[i] = worst
    return corrected


def verdict(found: Difference, corrected_p: float) -> str:
    """Supported: the whole interval lies above zero, and p after correction below 0.05; contradicted: it lies below,
    and p likewise."""
    if found.seeds < FEWEST_SEEDS:
        return TOO_FEW
    if found.low > 0 and corrected_p < 0.05:
        return "supported"
    if found.high < 0 and corrected_p < 0.05:
        return "contradicted"
    return "undecided"
