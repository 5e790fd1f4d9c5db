"""Study 4 (claim C4): which dimension to grow. One growth step, the last, from one and the same trained base.

A unit of image width, the dearest single unit, sets the cost; every dimension alone grows until it has added
as many FLOPs, or as many parameters, as near as whole units allow (two units of shared width add a quarter more
FLOPs). Balanced growth spends as much on a unit of as many dimensions as that pays for. Held equal: data, batches and
iterations. A map of image depth and width goes with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from growclip_lite.architecture import Architecture, ModelConfig, count_parameters, forward_flops
from growclip_lite.grow import Run
from growclip_lite.peers import grow_once
from growclip_lite.profiles import typical_config
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.studies.one_step import growth_row, trained_before

BASE = Architecture(1, 2, 1, 2, 1, 1)
BEFORE = 0.4  # iterations of the base, as a share of the profile's
MAP = 3  # image depths and widths on the map, the base's included

Cost = Callable[[Architecture, ModelConfig], int]


def widened(base: Architecture, dimension: str, units: int) -> Architecture:
    return replace(base, **{dimension: getattr(base, dimension) + units})


def balanced(base: Architecture, target: int, cost: Cost, config: ModelConfig) -> Architecture:
    """One unit more in as many dimensions as cost at most a twentieth more than `target`; of these the dearest."""
    candidates = [Architecture(*map(int, np.add(base.sizes, added))) for added in itertools.product(*[range(2)] * 6)]
    allowed = [architecture for architecture in candidates if cost(architecture, config) <= 1.05 * target]
    return max(allowed, key=lambda a: (sum(a.sizes), cost(a, config)))


def grown_alone(base: Architecture, dimension: str, target: int, cost: Cost, config: ModelConfig) -> Architecture:
    """`base` with one dimension grown until its cost is as near to `target` as whole units allow."""
    candidates = [widened(base, dimension, units) for units in range(1, 33)]
    return min(candidates, key=lambda architecture: abs(cost(architecture, config) - target))


def settings(grid: Grid) -> list[tuple[str, str, Architecture]]:
    """What is held equal, the name of the growth, and the architecture."""
    config = typical_config(grid.profile)
    found = [("nothing", "none", BASE)]
    for equal, cost in (("flops", forward_flops), ("parameters", count_parameters)):
        target = cost(widened(BASE, "image_width", 1), config)
        found.append((equal, "balanced", balanced(BASE, target, cost, config)))
        found += [(equal, name, grown_alone(BASE, name, target, cost, config)) for name in BASE.to_dict()]
    for depth in range(MAP):
        for width in range(MAP):
            if depth or width:
                architecture = widened(widened(BASE, "image_depth", depth), "image_width", width)
                found.append(("map", f"{architecture.image_depth} deep, {architecture.image_width} wide", architecture))
    return found


def dimension_job(run: Run, source: str, architecture: Architecture, iterations: int) -> dict:
    step = len(run.stream.train)
    old = trained_before(source, run.profile, run.seed, BASE, step, iterations)
    return growth_row(run, old, grow_once(run, step, old, architecture))


def jobs(grid: Grid) -> list[Job]:
    """Setting by setting, the map last, so that an unfinished table is worth reading."""
    iterations = round(BEFORE * grid.profile.iterations)
    return [
        grid.job(seed, dimension_job, grid.source, architecture, iterations, equal=equal, growth=name)
        for equal, name, architecture in settings(grid)
        for seed in range(grid.seeds)
    ]
