"""Study 2 (claims C5, C6): ways to inherit, along the same architectures and at the same FLOPs.

The architectures are those that the grown run of the seed had found. Every grower gets the FLOPs of
each growth step, those of its search included, so that growing without a search trains longer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from growclip_lite.grow import Run
from growclip_lite.peers import costs
from growclip_lite.studies.growing import along
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.studies.measures import Plan, read_plan
from growclip_lite.table import measured_at, rows_of

# Name: what it changes in the profile.
GROWERS = {
    "random": {"operator": "random"},
    "plain inheriting": {"operator": "corner", "momentum": 1.0},
    "PIM": {"operator": "corner", "momentum": 0.9},
    "momentum growth": {"operator": "corner", "momentum": 0.99, "reading": "B"},
    "Net2Net": {"operator": "net2net", "momentum": 1.0},
    "bert2BERT": {"operator": "aki", "momentum": 1.0},
    "stacking": {"operator": "stack", "momentum": 1.0},
    "LEMON": {"operator": "lemon", "momentum": 1.0},
}
SHORT = ("random", "plain inheriting", "PIM")


def grown_beside(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The grown runs to compare the growers of `rows` with, all of one setting: what is paired comes from one machine.

    They are those of study 1. Where these come from another machine, the table of this study has them once more.
    """
    again = rows[rows["method"] == "growclip"]
    grown = rows_of(folder / "growth.csv", measured_at(rows) | {"method": "growclip"})
    if grown.empty:
        return again
    return pd.concat([grown[~grown["seed"].isin(again["seed"])], again])


def grower(run: Run, plan: Plan, flops: tuple[float, ...]) -> dict:
    """As many iterations of every growth step's architecture as its share of `flops` pays for."""
    iterations = tuple(max(round(paid / cost), 1) for paid, cost in zip(flops, costs(run, plan), strict=True))
    return along(run, plan, iterations)


def jobs(grid: Grid, grown_rows: pd.DataFrame) -> list[Job]:
    found = []
    for row in grown_rows.itertuples():
        plan, flops = read_plan(row.plan), tuple(map(float, row.steps_flops.split()))
        for name in SHORT if grid.short else GROWERS:
            changed = replace(grid, profile=replace(grid.profile, **GROWERS[name]))
            found.append(changed.job(row.seed, grower, plan, flops, method=name))
    return found
