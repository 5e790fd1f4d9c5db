"""Study 4 (claim C4): which dimension to grow. One growth step, the last, from one and the same trained base.

Growing all six dimensions by a unit sets the cost; a single dimension grows until it has added as many
FLOPs, or as many parameters, as near as whole units allow. Held equal: data, batches and iterations.
A map of image depth and width goes with it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from growclip_lite.architecture import Architecture, ModelConfig, count_parameters, forward_flops
from growclip_lite.grow import Run
from growclip_lite.peers import grow_once
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.studies.one_step import growth_row, trained_before

BASE = Architecture(2, 2, 1, 2, 1, 1)
BEFORE = 0.5  # iterations of the base, as a share of the profile's
MAP = 4  # image depths and widths on the map, the base's included
TYPICAL_VOCABULARY = 1_000  # for costs only; the words of the data are known later

Cost = Callable[[Architecture, ModelConfig], int]


def widened(base: Architecture, dimension: str, units: int) -> Architecture:
    return replace(base, **{dimension: getattr(base, dimension) + units})


def balanced(base: Architecture) -> Architecture:
    """Every dimension one unit larger."""
    return Architecture(*(size + 1 for size in base.sizes))


def grown_alone(base: Architecture, dimension: str, target: int, cost: Cost, config: ModelConfig) -> Architecture:
    """`base` with one dimension grown until its cost is as near to `target` as whole units allow."""
    candidates = [widened(base, dimension, units) for units in range(1, 33)]
    return min(candidates, key=lambda architecture: abs(cost(architecture, config) - target))


def settings(grid: Grid) -> list[tuple[str, str, Architecture]]:
    """What is held equal, the name of the growth, and the architecture."""
    p = grid.profile
    config = ModelConfig(p.image_size, p.patch_size, p.context_length, TYPICAL_VOCABULARY, p.embed_dim)
    found = [("nothing", "none", BASE), ("flops", "balanced", balanced(BASE))]
    for equal, cost in (("flops", forward_flops), ("parameters", count_parameters)):
        target = cost(balanced(BASE), config)
        found += [(equal, name, grown_alone(BASE, name, target, cost, config)) for name in BASE.to_dict()]
    for depth in range(MAP):
        for width in range(MAP):
            if depth or width:
                architecture = widened(widened(BASE, "image_depth", depth), "image_width", width)
                found.append(("map", f"{architecture.image_depth} deep, {architecture.image_width} wide", architecture))
    return found


def dimension_job(run: Run, source: str, architecture: Architecture, iterations: int) -> dict:
    old = trained_before(source, run.profile, run.seed, BASE, iterations)
    return growth_row(run, old, grow_once(run, len(run.stream.train), old, architecture))


def jobs(grid: Grid) -> list[Job]:
    iterations = round(BEFORE * grid.profile.iterations)
    return [
        grid.job(seed, dimension_job, grid.source, architecture, iterations, equal=equal, growth=name)
        for seed in range(grid.seeds)
        for equal, name, architecture in settings(grid)
    ]
