"""One growth step by itself: the model before it, which several jobs share, and the row about it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from growclip_lite.architecture import Architecture
from growclip_lite.evaluate import mean_accuracy
from growclip_lite.grow import Run
from growclip_lite.model import GrowCLIP
from growclip_lite.peers import Growth, train_fixed
from growclip_lite.profiles import Profile
from growclip_lite.studies.jobs import open_stream
from growclip_lite.studies.measures import listed, row_of, scores_of


@lru_cache(maxsize=16)
def trained_before(
    source: str, profile: Profile, seed: int, architecture: Architecture, step: int, iterations: int
) -> GrowCLIP:
    """One architecture, trained on the pairs before growth step `step`; jobs with the same one share it."""
    run = Run(open_stream(source, profile.name, seed), profile, seed, Path())
    return train_fixed(run, architecture, step - 1, iterations, "before growth")[0]


def growth_row(run: Run, old: GrowCLIP, growth: Growth) -> dict:
    """What one growth step brought, and what it made forget where the source has tasks for every growth step."""
    steps = len(run.stream.train)
    scores = scores_of(run)(growth.model, steps)
    row = row_of(growth.model, (old.architecture, growth.model.architecture), [scores], [growth.train_flops])
    row |= {"loss_grown": growth.loss_grown, "loss_after": growth.loss_after, "curve": listed(growth.curve)}
    earlier = [tasks for tasks in run.stream.step_tasks[: steps - 1] if tasks]
    if not earlier:
        return row
    was, now = mean_accuracy(old, earlier[-1]), scores["known_concepts"][len(earlier) - 1]
    return row | {"forgetting": was - now}
