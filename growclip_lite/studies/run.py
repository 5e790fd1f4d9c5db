"""The studies by name: run one, or all of them, and draw their figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from growclip_lite.errors import InputError
from growclip_lite.studies import capacity, ceilings, choice, continual, dimensions, growers, growing, momentum, sharing
from growclip_lite.studies.figures import (
    capacity_figure,
    choice_figure,
    continual_figure,
    dimensions_figure,
    growers_figure,
    growth_figure,
    momentum_figure,
    sharing_figure,
)  # fmt: skip
from growclip_lite.studies.jobs import Grid, Job, run_jobs
from growclip_lite.studies.table import rows_of


@dataclass(frozen=True)
class Study:
    """`jobs(grid)` are its jobs; where it `starts_grown`, `jobs(grid, rows)` with the rows of the grown runs.
    `figure(rows, path)` draws them."""

    jobs: Callable[..., list[Job]]
    figure: Callable[[pd.DataFrame, Path], None] | None = None
    starts_grown: bool = False


STUDIES = {
    "growth": Study(growing.jobs, growth_figure, starts_grown=True),
    "growers": Study(growers.jobs, growers_figure, starts_grown=True),
    "momentum": Study(momentum.jobs, momentum_figure),
    "dimensions": Study(dimensions.jobs, dimensions_figure),
    "sharing": Study(sharing.jobs, sharing_figure),
    "choice": Study(choice.jobs, choice_figure, starts_grown=True),
    "continual": Study(continual.jobs, continual_figure, starts_grown=True),
    "capacity": Study(capacity.jobs, capacity_figure),
    "ceilings": Study(ceilings.jobs),
}


def all_jobs(name: str, grid: Grid, folder: Path, workers: int) -> list[Job]:
    """The jobs of a study. Where they start from grown runs, those are run first (their rows belong to `growth`)."""
    study = STUDIES[name]
    if not study.starts_grown:
        return study.jobs(grid)
    path, grown = folder / "growth.csv", growing.grown_jobs(grid)
    run_jobs(path, grown, workers, "growth")
    return study.jobs(grid, pd.concat([rows_of(path, job.key) for job in grown]))


def run_study(name: str, grid: Grid, folder: Path, workers: int) -> Path:
    """Runs a study to the end and returns the path of its table."""
    path = folder / f"{name}.csv"
    run_jobs(path, all_jobs(name, grid, folder, workers), workers, f"{name} on {grid.source}")
    if STUDIES[name].figure:
        STUDIES[name].figure(pd.read_csv(path), path.with_suffix(".png"))
    return path


def check_study(name: str) -> None:
    """Raises `InputError` for an unknown study."""
    if name not in STUDIES:
        raise InputError(f"There is no study {name!r}; choose one of {', '.join(STUDIES)}.")
