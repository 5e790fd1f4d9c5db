"""Does the search rank as training would? Its scores against members trained alone to the end of the growth step."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chi2, kendalltau
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture
from growclip_lite.evaluate import mean_accuracy
from growclip_lite.grow import Run, grow, held_out_batches, inherit_at, last_model, open_space, search_config
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.search import held_out_loss, score, train_supernet
from growclip_lite.table import add_row, done
from growclip_lite.train import fit


def drawn(space: GrowthSpace, members: int, seed: int) -> list[Architecture]:
    """`members` of the space at random, whatever the search thinks of them."""
    picks = np.random.default_rng([seed, 4]).permutation(len(space))[:members]
    return [space.members[pick] for pick in picks]


def search_quality(path: Path, run: Run, members: int, twice: int, key: dict, about: dict) -> None:
    """Adds a row per member of the last growth step: its score in the search, and its score after training it alone.

    The space itself is small (its members cost about the same), so the slices are drawn from all that
    lies between base and supernet; `member` says which are in the space. All inherit from the same
    model and see the same batches, iterations and schedule. The first members are trained a second time
    (`repeat` 1) with batches in another order: what a training itself leaves to chance.
    """
    seed = run.seed
    report = grow(run.stream, run.profile, run.out, seed=seed, resume=True)
    step, last = len(report["steps"]), report["steps"][-1]
    old = last_model(run, step - 1).to(run.device)
    space, supernet = open_space(run, step, old)
    data = run.training_set(step, old.tokenizer)
    train_supernet(supernet, space, data, search_config(run, step), run.seed_of(step), "supernet")
    batches = held_out_batches(run, step, old.tokenizer)
    chosen = drawn(space.without_budget(), members, seed)
    jobs = [(architecture, 0) for architecture in chosen] + [(architecture, 1) for architecture in chosen[:twice]]
    for architecture, repeat in tqdm(jobs, desc=f"members, seed {seed}"):
        row = key | {"seed": seed, "architecture": str(architecture), "repeat": repeat}
        if done(path, row):
            continue
        searched = score(supernet, architecture, batches)
        begin = time.monotonic()
        model = inherit_at(run, step, old, architecture, old.tokenizer)
        fit(model, data, run.train_config(step), run.seed_of(step) + 500 * repeat, title=str(architecture))
        seconds = time.monotonic() - begin
        found = {
            "member": architecture in space, "flops": searched.flops, "search_loss": searched.loss,
            "trained_loss": held_out_loss(model, batches),
            "trained_zero_shot": mean_accuracy(model, run.stream.validation_tasks), "train_seconds": seconds,
            "search_seconds": last["phases"]["search"], "step_seconds": last["phases"]["train"],
            "space_size": last["search"]["space_size"],
        }  # fmt: skip
        add_row(path, row | found | about)


def training_noise(rows: pd.DataFrame) -> tuple[float, int]:
    """Standard deviation of the trained loss between trainings of one member, from those trained twice, and its degrees
    of freedom; NaN where they are too few.

    What another order of the batches does to all members of a seed alike is no matter of ranking, and left out.
    """
    pairs = rows.pivot(index=["seed", "architecture"], columns="repeat", values="trained_loss")
    pairs = pairs.reindex(columns=[0, 1]).dropna()
    change = pairs[0] - pairs[1]
    change -= change.groupby("seed").transform("mean")
    freedom = len(change) - change.index.get_level_values("seed").nunique()
    return (math.sqrt((change**2).sum() / freedom / 2) if freedom > 0 else math.nan), freedom


def highest_tau(between: float, noise: float, freedom: int) -> tuple[float, float, float]:
    """Kendall's tau of a search that knew the members' losses but for chance, with the 95 % interval that comes from
    the few members trained twice: from the trained loss's standard deviation between members, and `training_noise`.

    Both taken as normal, tau is 2 / pi times the arcsine of their correlation, which is the root of the trained loss's
    reliability.
    """
    lowest, highest = noise * np.sqrt(freedom / chi2.ppf([0.975, 0.025], freedom))
    found = (1 - (each / between) ** 2 for each in (noise, highest, lowest))
    return tuple(2 / math.pi * math.asin(math.sqrt(max(share, 0))) for share in found)


def agreement(searched: np.ndarray, trained: np.ndarray, resamples: int = 2_000) -> tuple[float, float, float]:
    """Kendall's tau between two scores of the same members, with its 95 % bootstrap interval over members."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(searched), size=(resamples, len(searched)))
    taus = [kendalltau(searched[pick], trained[pick]).statistic for pick in picks]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return float(kendalltau(searched, trained).statistic), float(low), float(high)
