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

from growclip_lite.architecture import Architecture, ModelConfig, count_parameters, training_flops
from growclip_lite.data.scene_stream import load_scenes
from growclip_lite.grow import Run, grow, tokenizer_at
from growclip_lite.model import new_model
from growclip_lite.profiles import Profile
from growclip_lite.train import fit

MODELS = [Architecture(*sizes) for sizes in ((1, 1, 1, 1, 0, 1), (1, 2, 1, 2, 1, 2), (2, 3, 1, 3, 2, 3),
                                             (2, 4, 1, 4, 2, 4), (4, 8, 2, 8, 2, 8))]  # fmt: skip
PAIRS = (10_000, 100_000, 1_000_000)
STEPS = (2, 4, 8)


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


def train_once(profile: Profile, architecture: Architecture, iterations: int) -> dict:
    """Draws the data, then trains one model on the last growth step's; seconds are those of the training."""
    watch = PeakMemory()
    watch.start()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(load_scenes(profile, 0), profile, 0, Path(folder))
        step = profile.growth_steps
        tokenizer = tokenizer_at(run, step)
        config = ModelConfig(
            profile.image_size, profile.patch_size, profile.context_length, tokenizer.vocab_size, profile.embed_dim
        )
        model = new_model(architecture, config, 0, tokenizer)
        model.compute_dtype = run.precision
        data, settings = run.training_set(step, tokenizer), replace(run.train_config(step), iterations=iterations)
        begin = time.monotonic()
        fit(model, data, settings, 0)
        seconds = time.monotonic() - begin
    return {
        "seconds": seconds, "peak_bytes": watch.stop(), "iterations": iterations,
        "parameters": count_parameters(architecture, config),
        "train_flops": iterations * training_flops(architecture, config, profile.batch_size),
    }  # fmt: skip


def grow_once(profile: Profile) -> dict:
    """A whole run; seconds are those of its report."""
    watch = PeakMemory()
    watch.start()
    with tempfile.TemporaryDirectory() as folder:
        report = grow(load_scenes(profile, 0), profile, folder)
    search = sum(entry["phases"].get("search", 0) for entry in report["steps"])
    return {
        "seconds": report["seconds"], "peak_bytes": watch.stop(), "iterations": profile.iterations,
        "parameters": report["steps"][-1]["parameters"], "train_flops": report["total_flops"],
        "search_seconds": search, "zero_shot_mean": report["steps"][-1]["zero_shot_mean"],
    }  # fmt: skip


def apart(work: Callable[..., dict], *arguments) -> dict:
    """Runs `work` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def amounts(last: int, steps: int) -> tuple[int, ...]:
    """Pairs after each growth step: each time 2.5 times as many."""
    return tuple(round(last / 2.5 ** (steps - t)) for t in range(1, steps + 1))


def points(profile: Profile, iterations: int) -> list[tuple[dict, Callable[..., dict], tuple]]:
    """Key, work and arguments of every point; the middle of each axis is the laptop's own setting."""
    one_step = replace(profile, growth_steps=1, scene_pairs=profile.scene_pairs[-1:])
    jobs = [({"axis": "model", "value": str(a)}, train_once, (one_step, a, iterations)) for a in MODELS]
    for pairs in PAIRS:
        amount = replace(profile, growth_steps=1, scene_pairs=(pairs,))
        jobs.append(({"axis": "pairs", "value": str(pairs)}, train_once, (amount, MODELS[2], iterations)))
    for steps in STEPS:
        several = replace(profile, growth_steps=steps, scene_pairs=amounts(profile.scene_pairs[-1], steps))
        jobs.append(({"axis": "growth steps", "value": str(steps)}, grow_once, (several,)))
    return jobs
