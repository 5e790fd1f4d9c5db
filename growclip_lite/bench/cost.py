"""How cost grows: seconds and memory of training against model size, amount of data and growth steps.

Every point is a process of its own, so that its peak memory is its own too.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import psutil

from growclip_lite.architecture import Architecture, count_parameters
from growclip_lite.data.scene_stream import load_scenes
from growclip_lite.grow import Run, fresh_at, grow, tokenizer_at
from growclip_lite.profiles import Profile
from growclip_lite.train import cost_of, fit


class PeakMemory(threading.Thread):
    """Watches this process's own memory, in bytes. Files mapped from disk do not count: they can be dropped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.ended = 0, threading.Event()

    def run(self) -> None:
        process = psutil.Process()
        while not self.ended.wait(0.02):
            memory = process.memory_info()
            self.peak = max(self.peak, memory.rss - getattr(memory, "shared", 0))

    def stop(self) -> int:
        self.ended.set()
        self.join()
        return self.peak


def draw(profile: Profile) -> dict:
    """Fills the disk cache, so that what is measured afterwards does not depend on what was drawn before."""
    load_scenes(profile, 0)
    return {}


def train_once(profile: Profile, architecture: Architecture, iterations: int) -> dict:
    """Trains one model on all pairs; seconds are those of the training, memory that of the whole process."""
    watch = PeakMemory()
    watch.start()
    run, step = Run(load_scenes(profile, 0), profile, 0, Path()), profile.growth_steps
    tokenizer = tokenizer_at(run, step)
    model = fresh_at(run, step, architecture, tokenizer)
    data, settings = run.training_set(step, tokenizer), replace(run.train_config(step), iterations=iterations)
    begin = time.monotonic()
    fit(model, data, settings, 0)
    seconds = time.monotonic() - begin
    return {
        "seconds": seconds, "peak_bytes": watch.stop(), "iterations": iterations,
        "parameters": count_parameters(architecture, model.config),
        "train_flops": cost_of(model, data, settings),
    }  # fmt: skip


def grow_once(profile: Profile) -> dict:
    """A whole run; seconds are those of its report."""
    watch = PeakMemory()
    watch.start()
    with tempfile.TemporaryDirectory() as folder:
        report = grow(load_scenes(profile, 0), profile, folder)
    return {
        "seconds": report["seconds"], "peak_bytes": watch.stop(), "iterations": profile.iterations,
        "parameters": report["steps"][-1]["parameters"], "train_flops": report["total_flops"],
        "search_seconds": sum(entry["phases"].get("search", 0) for entry in report["steps"]),
        "zero_shot_mean": report["steps"][-1]["zero_shot_mean"],
    }  # fmt: skip


def apart(work: Callable[..., dict], *arguments) -> dict:
    """Runs `work` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def amounts(profile: Profile, last: int, steps: int) -> tuple[int, ...]:
    """Pairs after each of `steps` growth steps, at even ratios from first to last; first to last are as many times
    apart as in the profile, so that the growth of the FLOPs budget over all steps is the same."""
    ratio = profile.scene_pairs[0] / profile.scene_pairs[-1]
    return tuple(round(last * ratio ** (1 - t / (steps - 1))) for t in range(steps))


def points(
    profile: Profile, iterations: int, models: tuple[Architecture, ...], pairs: tuple[int, ...], steps: tuple[int, ...]
) -> list[tuple[dict, Profile, Callable[..., dict], tuple]]:
    """Key, profile, work and further arguments of every point."""
    last = profile.scene_pairs[-1]
    jobs = [({"axis": "model", "value": str(a)}, profile, train_once, (a, iterations)) for a in models]
    for amount in pairs:
        scaled = replace(profile, scene_pairs=amounts(profile, amount, profile.growth_steps))
        jobs.append(({"axis": "pairs", "value": str(amount)}, scaled, train_once, (profile.start, iterations)))
    for count in steps:
        split = replace(profile, growth_steps=count, scene_pairs=amounts(profile, last, count))
        jobs.append(({"axis": "growth steps", "value": str(count)}, split, grow_once, ()))
    return jobs
