"""Training that is watched on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from growclip_lite.model import GrowCLIP
from growclip_lite.train import TrainConfig, TrainingSet, fit

Seen = TypeVar("Seen")


def watch(
    model: GrowCLIP, data: TrainingSet, config: TrainConfig, seed: int, marks: Iterable[int],
    look: Callable[[GrowCLIP], Seen],
) -> list[Seen]:  # fmt: skip
    """Trains in place up to each of `marks` (iterations; 0 is before the first one), with the weights of one go.

    Returns what `look(model)` saw at each.
    """
    state, seen = None, []
    for mark in marks:
        state = fit(model, data, config, seed, state=state, stop=mark)
        seen.append(look(model))
    return seen
