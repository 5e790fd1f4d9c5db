"""Runs the parts of the bench, each into its own table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture, ModelConfig
from growclip_lite.bench import cost, report, time_to_accuracy
from growclip_lite.bench.inference import inference
from growclip_lite.bench.quality import quality
from growclip_lite.bench.search_quality import search_quality
from growclip_lite.bench.throughput import Setting, throughput
from growclip_lite.bench.timing import machine
from growclip_lite.data.load import load_stream
from growclip_lite.errors import InputError
from growclip_lite.grow import Run
from growclip_lite.profiles import Profile
from growclip_lite.studies import add_row, done, provenance


@dataclass(frozen=True)
class Extent:
    """How much is measured: windows and seconds of a window; seeds; members whose ranking is checked; iterations of
    a training for the quality of variants and for the cost; for time to accuracy, seeds and budgets in seconds."""

    setting: Setting = Setting()
    windows: int = 12
    seconds: float = 1.0
    seeds: int = 3
    members: int = 24
    quality_iterations: int = 700
    cost_iterations: int = 100
    accuracy_seeds: int = 1
    budgets: tuple[float, ...] = time_to_accuracy.BUDGETS


FULL = Extent()
SMOKE = Extent(
    Setting(Architecture(1, 1, 1, 1, 0, 1), ModelConfig(32, 8, 24, 500, 32), 16), windows=2, seconds=0.01, seeds=1,
    members=2, quality_iterations=3, cost_iterations=3, budgets=(0.2, 0.4),
)  # fmt: skip


def run_throughput(path: Path, profile: Profile, extent: Extent, about: dict) -> None:
    write(path, throughput(extent.setting, extent.windows, extent.seconds), about)


def run_inference(path: Path, profile: Profile, extent: Extent, about: dict) -> None:
    stream = load_stream("scenes", profile.name, 0)
    write(path, inference(extent.setting, stream, extent.windows, extent.seconds), about)


def a_run(profile: Profile, seed: int) -> Run:
    out = Path("runs/bench") / f"scenes-{profile.name}-{profile.iterations}-{seed}"
    return Run(load_stream("scenes", profile.name, seed), profile, seed, out)


def run_search(path: Path, profile: Profile, extent: Extent, about: dict) -> None:
    for seed in range(extent.seeds):
        search_quality(path, a_run(profile, seed), extent.members, about)


def run_quality(path: Path, profile: Profile, extent: Extent, about: dict) -> None:
    for seed in range(extent.seeds):
        quality(path, a_run(profile, seed), extent.setting.architecture, extent.quality_iterations, about)


def run_accuracy(path: Path, profile: Profile, extent: Extent, about: dict) -> None:
    for seed in range(extent.accuracy_seeds):
        time_to_accuracy.compare(path, a_run(profile, seed), extent.setting.architecture, extent.budgets, about)


def run_cost(path: Path, profile: Profile, extent: Extent, about: dict) -> None:
    for key, work, arguments in tqdm(cost.points(profile, extent.cost_iterations), desc="cost", unit="point"):
        if not done(path, key):
            add_row(path, key | cost.apart(work, *arguments) | about)


PARTS = {
    "throughput": run_throughput, "quality": run_quality, "inference": run_inference, "accuracy": run_accuracy,
    "search": run_search, "cost": run_cost,
}  # fmt: skip


def write(path: Path, rows: pd.DataFrame, about: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    rows.assign(**about).to_csv(partial, index=False, float_format="%.6g")
    partial.replace(path)


def run_bench(parts: Sequence[str], profile: Profile, extent: Extent, folder: Path) -> str:
    """Runs the parts (all if none is named), each into `folder`/bench_PART.csv; returns the table of all figures.

    Raises `InputError` for an unknown part.
    """
    for part in parts:
        if part not in PARTS:
            raise InputError(f"There is no part {part!r} of the bench; choose among {', '.join(PARTS)}.")
    about = provenance(profile) | {"machine": machine()}
    for part in parts or PARTS:
        PARTS[part](folder / f"bench_{part}.csv", profile, extent, about)
    return report.table(folder)
