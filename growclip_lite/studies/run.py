"""The studies by name: run one, or all of them, and draw their figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from growclip_lite.data.load import BUILT_IN
from growclip_lite.errors import InputError
from growclip_lite.profiles import LAPTOP, ONLINE, STUDY
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
from growclip_lite.studies.jobs import Grid, Job, open_stream, run_jobs, setting_of
from growclip_lite.table import read_table, rows_of


@dataclass(frozen=True)
class Study:
    """`jobs(grid)` are its jobs; where it `starts_grown`, `jobs(grid, rows)` with the rows of the grown runs, of at
    most `grown_seeds` seeds. `figure(rows, path)` draws them. `without` lists the options that mean nothing to it;
    unless it `grows`, one growth step is enough."""

    jobs: Callable[..., list[Job]]
    figure: Callable[[pd.DataFrame, Path], None] | None = None
    starts_grown: bool = False
    grown_seeds: int | None = None
    without: tuple[str, ...] = ("--short",)
    grows: bool = True


OPTIONS = ("--short", "--share-power", "--iterations", "--data")
STUDIES = {
    "growth": Study(growing.jobs, growth_figure, starts_grown=True, without=()),
    "growers": Study(growers.jobs, growers_figure, starts_grown=True, without=()),
    "momentum": Study(momentum.jobs, momentum_figure),
    "dimensions": Study(dimensions.jobs, dimensions_figure),
    "sharing": Study(sharing.jobs, sharing_figure, without=("--short", "--share-power"), grows=False),
    "choice": Study(choice.jobs, choice_figure, starts_grown=True, grown_seeds=5, without=("--short", "--data")),
    "continual": Study(continual.jobs, continual_figure, starts_grown=True),
    "capacity": Study(capacity.jobs, capacity_figure, without=OPTIONS),
    "ceilings": Study(ceilings.jobs, without=OPTIONS),
}


def all_jobs(name: str, grid: Grid, folder: Path, workers: int) -> list[Job]:
    """The jobs of a study. Where they start from grown runs, those are run first (their rows belong to `growth`)."""
    study = STUDIES[name]
    if not study.starts_grown:
        return study.jobs(grid)
    seeds = min(grid.seeds, study.grown_seeds or grid.seeds)
    path, grown = folder / "growth.csv", growing.grown_jobs(replace(grid, seeds=seeds))
    run_jobs(path, grown, workers, "growth")
    return study.jobs(grid, pd.concat([rows_of(path, job.key) for job in grown]))


def run_study(name: str, grid: Grid, folder: Path, workers: int) -> Path:
    """Runs a study to the end and returns the path of its table. Raises `InputError` for pairs without labels or
    without anything to choose by, and for one growth step where the study is of growing."""
    if grid.source not in BUILT_IN:
        stream = open_stream(grid.source, grid.profile.name, 0)
        if not stream.tasks:
            raise InputError(
                f"{grid.source} has no labels to test on; studies compare zero-shot accuracy, which needs them."
            )
        if STUDIES[name].grows and len(stream.train) < 2:
            raise InputError(
                f"{grid.source} has one growth step only; this study compares what growing brings after it."
            )
        if not stream.validation_tasks and len(stream.validation[-1]) < 2:
            raise InputError(
                f"{grid.source} has neither labelled validation pairs nor two validation pairs in its last growth "
                "step; studies choose by one of them."
            )
    path = folder / f"{name}.csv"
    run_jobs(path, all_jobs(name, grid, folder, workers), workers, f"{name} on {grid.source}")
    if STUDIES[name].figure:
        STUDIES[name].figure(read_table(path), path.with_suffix(".png"))
    return path


def check_study(name: str, options: Sequence[str]) -> None:
    """Raises `InputError` for an unknown study, and for options that mean nothing to it."""
    if name not in STUDIES:
        raise InputError(f"There is no study {name!r}; choose one of {', '.join(STUDIES)}.")
    if useless := [option for option in options if option in STUDIES[name].without]:
        raise InputError(f"{' and '.join(useless)} would change nothing in the study {name}; please leave that out.")


CIFAR = "data/cifar10"
HALF = replace(STUDY, iterations=500)  # where a study has so many settings that ten hours would not do
# The names of studies, and their grids.
REPRODUCE = (
    ("growth", Grid("scenes", ONLINE, 10, short=True)), ("growers", Grid("scenes", ONLINE, 10)),
    ("growth", Grid("scenes", HALF, 10)), ("momentum", Grid("scenes", HALF, 5)),
    ("dimensions", Grid("scenes", HALF, 5)), ("sharing", Grid("scenes", STUDY, 5)),
    ("choice", Grid("scenes", HALF, 10)),
    ("growth", Grid("emoji", HALF, 10, short=True)), ("growers", Grid("emoji", HALF, 10, short=True)),
    ("continual", Grid("emoji", HALF, 5)),  # in scenes new pairs show old concepts, too: there is little to forget
    ("growth", Grid(CIFAR, HALF, 5, short=True)), ("growers", Grid(CIFAR, HALF, 5, short=True)),
    ("growth", Grid("scenes", LAPTOP, 5, short=True)),
)  # fmt: skip


def at_hand(grid: Grid) -> bool:
    """Built-in data always are; CIFAR-10 is where `data_scripts/prepare_cifar10.py` has made its folder."""
    return "/" not in grid.source or Path(grid.source).is_dir()


def job_count(name: str, grid: Grid, measured: Path) -> int:
    """How many jobs a study has. Those that start from grown runs depend on these: as in the measured table, and in
    proportion where it has fewer seeds (0 where it has none)."""
    study = STUDIES[name]
    if not study.starts_grown:
        return len(study.jobs(grid))
    wanted = min(grid.seeds, study.grown_seeds or grid.seeds)
    key = setting_of(grid.source, grid.profile) | {"method": "growclip"}
    grown = rows_of(measured / "growth.csv", key).head(wanted)
    if not len(grown):
        return 0
    share = len(grown) / wanted
    return round(len(study.jobs(replace(grid, seeds=round(share * grid.seeds)), grown)) / share)


def expected_seconds(study: str, grid: Grid, measured: Path, folder: Path) -> float:
    """Seconds on one thread that are still to come, if every job takes what the measured ones took in the mean; NaN
    where none was."""
    key = setting_of(grid.source, grid.profile)
    if study == "choice":  # which has streams of its own beside this one
        del key["data"]
    before, here = (rows_of(where / f"{study}.csv", key) for where in (measured, folder))
    if not len(before):
        return float("nan")
    return before["seconds"].mean() * max(job_count(study, grid, measured) - len(here), 0)


def describe_plan(measured: Path, folder: Path, workers: int) -> str:
    """What is going to be run, and how long it will take on this many workers."""
    head = f"{'study':<12}{'data':<14}{'profile':<9}{'iterations':>11}{'seeds':>6}  hours, {workers} jobs side by side"
    lines, total = [head], 0.0
    for study, grid in REPRODUCE:
        hours = expected_seconds(study, grid, measured, folder) / 3600 / workers
        told = "not measured before" if math.isnan(hours) else f"{hours:.1f}"
        told = told if at_hand(grid) else "skipped: make the folder with data_scripts/prepare_cifar10.py"
        total += 0.0 if math.isnan(hours) or not at_hand(grid) else hours
        lines.append(
            f"{study:<12}{grid.source:<14}{grid.profile.name:<9}"
            f"{grid.profile.iterations:>11,}{grid.seeds:>6}  {told}{', short form' if grid.short else ''}"
        )
    return "\n".join([*lines, f"{'in all':<52}  {total:.1f}"])


def reproduce(folder: Path, workers: int) -> None:
    """Runs the studies that the claims rest on; what is in `folder` already is not run again."""
    for study, grid in REPRODUCE:
        if at_hand(grid):
            run_study(study, grid, folder, workers)
