"""Does the search rank as training would? Its scores against members trained alone to the end of the growth step."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture
from growclip_lite.evaluate import mean, zero_shot_all
from growclip_lite.grow import Run, begin_step, grow, last_model
from growclip_lite.inherit import inherit
from growclip_lite.search import score
from growclip_lite.studies import add_row, done
from growclip_lite.train import fit


def spread(ranking: list[dict], members: int) -> list[dict]:
    """`members` of the ranking, at even distances from the best to the worst."""
    places = np.unique(np.linspace(0, len(ranking) - 1, members).round().astype(int))
    return [ranking[place] for place in places]


def search_quality(path: Path, run: Run, members: int, about: dict) -> None:
    """Adds a row per member of the last growth step: the search's score, and those after training it alone.

    Every member inherits from the same model and is trained as the chosen one would be: same batches,
    iterations and schedule. `path` keeps the rows, so that the work can be stopped and resumed.
    """
    stream, profile, seed = run.stream, run.profile, run.seed
    report = grow(stream, profile, run.out, seed=seed, resume=True)
    step = len(report["steps"])
    old, phases = last_model(run, step - 1), {}
    old.compute_dtype = run.precision
    _, found = begin_step(run, step, old, phases)
    key = {"data": stream.name, "profile": profile.name, "iterations": profile.iterations, "seed": seed}
    held_out = run.held_out(step, old.tokenizer)
    batches = [held_out.batch(np.arange(len(held_out))[: profile.scoring_pairs], np.random.default_rng(0))]
    data, config = run.training_set(step, old.tokenizer), run.train_config(step)
    for rank, entry in enumerate(tqdm(spread(found["ranking"], members), desc=f"members, seed {seed}")):
        member = Architecture.from_dict(entry["architecture"])
        if done(path, key | {"architecture": str(member)}):
            continue
        begin = time.monotonic()
        model, _ = inherit(
            old, member, momentum=profile.momentum, operator=profile.operator, seed=run.seed_of(step),
            vocab_size=old.tokenizer.vocab_size,
        )  # fmt: skip
        fit(model, data, config, run.seed_of(step), title=str(member))
        seconds = time.monotonic() - begin
        ended = score(model, member, batches)
        accuracy = mean(zero_shot_all(model, stream.validation_tasks))
        row = {
            "architecture": str(member), "rank": rank, "flops": entry["flops"], "search_loss": entry["loss"],
            "trained_loss": ended.loss, "trained_zero_shot": accuracy, "train_seconds": seconds,
            "search_seconds": phases["search"], "search_flops": found["flops"],
            "step_seconds": report["steps"][-1]["phases"]["train"],
        }  # fmt: skip
        add_row(path, key | row | about)


def agreement(searched: np.ndarray, trained: np.ndarray, resamples: int = 2_000) -> tuple[float, float, float]:
    """Kendall's tau between two scores of the same members, with its 95 % bootstrap interval over members."""
    rng = np.random.default_rng(0)
    picks = rng.integers(len(searched), size=(resamples, len(searched)))
    taus = [kendalltau(searched[pick], trained[pick]).statistic for pick in picks]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return float(kendalltau(searched, trained).statistic), float(low), float(high)
