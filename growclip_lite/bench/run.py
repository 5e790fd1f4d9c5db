"""Runs the parts of the bench, each into its own table; every row says on which machine and profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pandas as pd
import torch
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture, ModelConfig
from growclip_lite.bench.inference import inference
from growclip_lite.bench.quality import quality
from growclip_lite.bench.report import table
from growclip_lite.bench.rivals import check_installed
from growclip_lite.bench.search_quality import search_quality
from growclip_lite.bench.throughput import Setting, throughput
from growclip_lite.bench.time_to_accuracy import compare
from growclip_lite.bench.tricks import tricks
from growclip_lite.data.scene_stream import load_scenes
from growclip_lite.devices import default_device, fast_dtype, machine
from growclip_lite.errors import InputError
from growclip_lite.grow import Run
from growclip_lite.profiles import Profile
from growclip_lite.table import add_row, done, provenance, read_table, rows_of, write_table

MODELS = tuple(
    Architecture(*sizes)
    for sizes in ((1, 1, 1, 1, 0, 1), (1, 2, 1, 2, 1, 2), (2, 3, 1, 3, 2, 3), (2, 4, 1, 4, 2, 4), (4, 8, 2, 8, 2, 8))
)


@dataclass(frozen=True)
class Extent:
    """How much is measured.

    Throughput, tricks and inference: `setting`, `windows` (three times as many for tricks) and their length in
    `seconds`. Search: `members` of the ranking, and how many of them are trained `twice`.
    Quality and cost: iterations of a training. Cost: sizes, amounts and growth steps. Time to accuracy: `budgets` in
    seconds.
    """

    setting: Setting = Setting()
    windows: int = 12
    seconds: float = 1.0
    seeds: int = 3
    members: int = 24
    twice: int = 4
    quality_iterations: int = 700
    cost_iterations: int = 100
    models: tuple[Architecture, ...] = MODELS
    pairs: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    growth_steps: tuple[int, ...] = (2, 4, 8)
    budgets: tuple[float, ...] = (18.75, 37.5, 75, 150, 300, 600)


FULL = Extent()
SMOKE = Extent(
    Setting(Architecture(1, 1, 1, 1, 0, 1), ModelConfig(32, 8, 24, 500, 32), 16), windows=2, seconds=0.01, seeds=1,
    members=2, twice=1, quality_iterations=3, cost_iterations=3, models=MODELS[:1], pairs=(300, 600), growth_steps=(2,),
    budgets=(0.2, 0.4),
)  # fmt: skip


@dataclass(frozen=True)
class Bench:
    """What the parts share: the table to fill, and what every row says."""

    path: Path
    profile: Profile
    extent: Extent
    key: dict[str, str]
    about: dict[str, str]

    def run(self, seed: int) -> Run:
        """A run whose folder belongs to this commit and number of threads, as its seconds do."""
        name = f"scenes-{self.profile.name}-{self.about['commit']}-{torch.get_num_threads()}-{seed}"
        return Run(load_scenes(self.profile, seed), self.profile, seed, Path("runs/bench") / name)

    def replace_rows(self, rows: pd.DataFrame) -> None:
        """Puts `rows` in place of those of the same machine and profile."""
        others = [read_table(self.path)] if self.path.exists() else []
        others = [table[~(table[list(self.key)] == pd.Series(self.key)).all(axis=1)] for table in others]
        write_table(self.path, pd.concat([*others, rows.assign(**(self.key | self.about))]))


def bench_throughput(b: Bench) -> None:
    b.replace_rows(throughput(b.extent.setting, b.extent.windows, b.extent.seconds))


def bench_tricks(b: Bench) -> None:
    windows = 3 * b.extent.windows  # what a trick brings is a few per cent, and a window's noise more
    b.replace_rows(tricks(b.extent.setting, windows, b.extent.seconds))


def bench_inference(b: Bench) -> None:
    b.replace_rows(inference(b.extent.setting, b.run(0), b.extent.windows, b.extent.seconds))


def bench_quality(b: Bench) -> None:
    for seed in range(b.extent.seeds):
        quality(b.path, b.run(seed), b.extent.setting.architecture, b.extent.quality_iterations, b.key, b.about)


def bench_accuracy(b: Bench) -> None:
    compare(b.path, b.run(0), b.extent.setting.architecture, b.extent.budgets, b.key, b.about)


def bench_search(b: Bench) -> None:
    for seed in range(b.extent.seeds):
        mine = rows_of(b.path, b.key | {"seed": seed})
        if len(mine) < b.extent.members + b.extent.twice:
            search_quality(b.path, b.run(seed), b.extent.members, b.extent.twice, b.key, b.about)


def bench_cost(b: Bench) -> None:
    from growclip_lite.bench.cost import apart, draw, points

    jobs = points(b.profile, b.extent.cost_iterations, b.extent.models, b.extent.pairs, b.extent.growth_steps)
    for axis, profile, work, arguments in tqdm(jobs, desc="cost", unit="point"):
        if not done(b.path, b.key | axis):
            apart(draw, profile)
            add_row(b.path, b.key | axis | apart(work, profile, *arguments) | b.about)


PARTS: dict[str, Callable[[Bench], None]] = {
    "throughput": bench_throughput, "tricks": bench_tricks, "quality": bench_quality, "inference": bench_inference,
    "accuracy": bench_accuracy, "search": bench_search, "cost": bench_cost,
}  # fmt: skip


def run_bench(parts: Sequence[str], profile: Profile, extent: Extent, folder: Path) -> str:
    """Runs the parts (all if none is named), each into `folder`/bench_PART.csv; returns the table of all figures.

    Raises `InputError` for an unknown part, or where something to compare with is not installed.
    """
    for part in parts:
        if part not in PARTS:
            raise InputError(f"There is no part {part!r} of the bench; choose among {', '.join(PARTS)}.")
    check_installed()
    key = {"machine": machine(), "profile": profile.name}
    rivals = [f"{name} {metadata.version(name)}" for name in ("open_clip_torch", "transformers")]
    for part in parts or PARTS:
        # Contenders of these parts have precisions of their own, whatever this machine is fast in.
        own = part in ("throughput", "tricks", "inference")
        about = provenance(None if own else fast_dtype(default_device()))
        about["versions"] = ", ".join([about["versions"], *rivals])
        PARTS[part](Bench(folder / f"bench_{part}.csv", profile, extent, key, about))
    return table(folder, key)
