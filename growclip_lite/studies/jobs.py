"""Jobs: the independent cells of a study's grid. joblib runs them, on this machine or on a Dask or Ray cluster.

A job runs on one thread (of the CPU), so that its result does not depend on how many run side by side.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from joblib import Parallel, delayed
from tqdm.auto import tqdm

from growclip_lite.data.load import load_stream
from growclip_lite.data.stream import Stream
from growclip_lite.devices import default_device, fast_dtype
from growclip_lite.files import cache_folder
from growclip_lite.grow import Run
from growclip_lite.profiles import Profile
from growclip_lite.table import add_row, done, provenance


def setting_of(source: str, profile: Profile) -> dict[str, object]:
    """The columns that say which data and how much training: all iterations, and how they are shared out.
    A folder is known by the last part of its path."""
    p = profile
    return {
        "data": Path(source).resolve().name,
        "profile": p.name,
        "iterations": p.iterations,
        "share_power": p.share_power,
    }


@dataclass(frozen=True)
class Grid:
    """What every job of a study shares: the data source, the profile, and how many seeds. In `short` form studies
    1 and 2 leave out the view at equal iterations, and all growers but three."""

    source: str
    profile: Profile
    seeds: int
    short: bool = False

    def job(self, seed: int, work: Callable[..., dict], *arguments: object, **setting: object) -> Job:
        return Job(self.source, self.profile, seed, setting, work, arguments)


@dataclass(frozen=True)
class Job:
    """`work(run, *arguments)` measures the row; `setting` is what tells it from the others of its seed."""

    source: str
    profile: Profile
    seed: int
    setting: dict[str, object]
    work: Callable[..., dict]
    arguments: tuple

    @property
    def content(self) -> tuple:
        """What it does, whatever it is called."""
        return self.source, self.profile, self.seed, self.work, self.arguments

    @property
    def key(self) -> dict[str, object]:
        """The columns that tell this row from all others of its table."""
        return setting_of(self.source, self.profile) | {"seed": self.seed} | self.setting


@lru_cache(maxsize=5)
def open_stream(source: str, profile: str, seed: int) -> Stream:
    """Jobs of the same seed in the same process share their stream; drawn pairs are mapped from disk."""
    return load_stream(source, profile, seed)


@contextmanager
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def perform(job: Job, *twins: Job) -> list[dict]:
    """The job's row, with seconds and provenance, and those of its twins, which need no time of their own."""
    stream = open_stream(job.source, job.profile.name, job.seed)
    with one_thread():
        about = provenance(fast_dtype(default_device()))
        folder = Path("runs/study") / about["commit"] / "-".join(str(value) for value in job.key.values())
        begin = time.monotonic()
        with used_by_one(folder):  # another study may fill another table with the same row
            row = job.work(Run(stream, job.profile, job.seed, folder), *job.arguments)
            shutil.rmtree(folder, ignore_errors=True)  # what a resumed job would have gone on from
        seconds = [time.monotonic() - begin] + [0.0] * len(twins)
        return [one.key | row | {"seconds": s} | about for one, s in zip((job, *twins), seconds, strict=True)]


@contextmanager
def used_by_one(path: Path):
    """Only one process at a time fills a table, or works in a folder; another one waits until that has ended."""
    folder = cache_folder() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16])
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"Another process is at work on {path}; waiting for its end.", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def run_jobs(path: Path, jobs: Sequence[Job], workers: int, title: str) -> None:
    """Runs the jobs whose rows are not in `path` yet, and adds every row as its job ends. Twins, jobs that do the same
    under several names, are run once."""
    with used_by_one(path):
        run_missing(path, jobs, workers, title)


def run_missing(path: Path, jobs: Sequence[Job], workers: int, title: str) -> None:
    """The same, with the table to itself."""
    missing: dict[tuple, list[Job]] = {}
    for job in jobs:
        if not done(path, job.key):
            missing.setdefault(job.content, []).append(job)
    if missing:  # where nothing can be written, the first job would be lost
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported: no bars in the processes to be started
    found = Parallel(n_jobs=workers, return_as="generator_unordered")(
        delayed(perform)(*twins) for twins in missing.values()
    )
    with warnings.catch_warnings():
        # joblib restarts a process whose memory has grown, as the streams that it keeps make it, and says so.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given to the executor")
        for rows in tqdm(found, total=len(missing), desc=title, unit="job"):
            for row in rows:
                add_row(path, row)


def default_workers() -> int:
    """One job per core; on a GPU one at a time."""
    return 1 if torch.cuda.is_available() else os.cpu_count() or 1
