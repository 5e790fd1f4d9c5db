"""Seconds of training until a mark is reached; every point is a complete training with a schedule of its own.

Reading a mark off the middle of a long run would punish a schedule that lowers its learning rate to
the very end. So each contender trains anew for 19, 38, 75, ... seconds until it reaches the mark.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from growclip_lite.architecture import Architecture, ModelConfig
from growclip_lite.bench.rivals import open_clip_loss, open_clip_model, open_clip_optimizer, with_end_token
from growclip_lite.bench.throughput import OUR_NAME
from growclip_lite.data.stream import Task
from growclip_lite.evaluate import mean, zero_shot_all
from growclip_lite.grow import Run, grow, tokenizer_at
from growclip_lite.model import GrowCLIP, new_model
from growclip_lite.studies import add_row, done
from growclip_lite.train import TrainingSet, batch_order, fit

RATES = (5e-4, 1e-3, 2e-3)  # open_clip's learning rates; the best at a middle budget is kept
BUDGETS = (18.75, 37.5, 75, 150, 300, 600)  # seconds of training
MARKS = {"lower": 2 / 3, "upper": 0.9}  # of what our recipe reaches in the longest budget


Train = Callable[[int], tuple[torch.nn.Module, float]]  # iterations -> trained model, seconds


class OpenClip(torch.nn.Module):
    """open_clip's model behind the names that `evaluate` needs."""

    def __init__(self, like: GrowCLIP) -> None:
        super().__init__()
        self.model, self.like = open_clip_model(like.architecture, like.config), like
        self.logit_scale = self.model.logit_scale

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        return with_end_token(self.like.tokenize(texts), self.like.config.vocab_size)

    def encode_image(self, images: torch.Tensor) -> torch.Tensor:
        return self.model.encode_image((images.float() / 255 - 0.5) * 4, normalize=True)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.model.encode_text(tokens, normalize=True)


def cosine_rate(iteration: int, iterations: int, peak: float) -> float:
    """open_clip's schedule: linear warm-up over a tenth of the training, then a cosine down to zero."""
    warmup = max(iterations // 10, 1)
    if iteration < warmup:
        return peak * (iteration + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (iteration - warmup) / max(iterations - warmup, 1)))


def train_open_clip(
    like: GrowCLIP, data: TrainingSet, iterations: int, batch_size: int, peak: float, seed: int
) -> OpenClip:
    """open_clip's model with its standard recipe: AdamW, weight decay 0.2, cosine schedule, float32.

    On CPUs its automatic mixed precision is slower than float32 (`throughput`).
    """
    torch.manual_seed(seed)  # open_clip initialises from the global generator
    wrapped = OpenClip(like)
    optimizer = open_clip_optimizer(wrapped.model, peak)
    batches = batch_order(len(data), batch_size, [seed, 0])
    for iteration in range(iterations):
        images, tokens, _ = data.batch(next(batches), np.random.default_rng([seed, 1, iteration]))
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(iteration, iterations, peak)
        ended = with_end_token(tokens, like.config.vocab_size)
        open_clip_loss(wrapped.model, images.float() / 255, ended, torch.float32).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            wrapped.model.logit_scale.clamp_(0, math.log(100))
    return wrapped


def trainer(run: Run, name: str, architecture: Architecture, rate: float = 0.0) -> Train:
    """Trains one architecture on all data from the start."""
    steps, p = len(run.stream.train), run.profile
    tokenizer = tokenizer_at(run, steps)
    config = ModelConfig(run.stream.image_size, p.patch_size, p.context_length, tokenizer.vocab_size, p.embed_dim)
    data = run.training_set(steps, tokenizer)

    def train(iterations: int) -> tuple[torch.nn.Module, float]:
        begin = time.monotonic()
        model = new_model(architecture, config, run.seed_of(0), tokenizer)
        if name == "open_clip":
            model = train_open_clip(model, data, iterations, p.batch_size, rate, run.seed)
            return model, time.monotonic() - begin
        model.compute_dtype = run.precision
        settings = replace(run.train_config(steps), iterations=iterations)
        fit(model, data, settings, run.seed_of(0), title=f"{name}: {iterations} iterations")
        model.compute_dtype = torch.float32
        return model, time.monotonic() - begin

    return train


def last_step(run: Run, iterations: int) -> Path:
    """Where a run of so many iterations leaves its last checkpoint."""
    name = f"{run.stream.name}-{run.profile.name}-{iterations}-{run.seed}"
    return run.out.parent / name / f"step_{len(run.stream.train)}"


def grower(run: Run) -> Train:
    """Grows over all growth steps; search and inheriting count, the reports' evaluations on test data do not."""

    def train(iterations: int) -> tuple[torch.nn.Module, float]:
        final = last_step(run, iterations)
        profile = replace(run.profile, iterations=iterations)
        report = grow(run.stream, profile, final.parent, seed=run.seed, resume=True)
        seconds = sum(s for e in report["steps"] for name, s in e["phases"].items() if name != "evaluate")
        return GrowCLIP.from_pretrained(final), seconds

    return train


def pace(train: Train, trial: int = 30) -> float:
    """Iterations per second, by a short trial."""
    return trial / train(trial)[1]


def measure(
    path: Path, key: dict, train: Train, budgets: Sequence[float], per_second: Callable[[], float], tasks: list[Task],
    about: dict, mark: float = math.inf,
) -> pd.DataFrame:  # fmt: skip
    """Adds a row per budget: seconds that training really took, and validation accuracy. Stops at the mark.

    Returns all rows of this contender.
    """
    speed = None
    for budget in budgets:
        if not done(path, key | {"budget": budget}):
            speed = speed or per_second()
            iterations = max(round(speed * budget), 1)
            model, seconds = train(iterations)
            accuracy = mean(zero_shot_all(model, tasks))
            found = {"budget": budget, "iterations": iterations, "seconds": seconds, "zero_shot_mean": accuracy}
            add_row(path, key | found | about)
        rows = pd.read_csv(path)
        mine = rows[(rows[list(key)] == pd.Series(key)).all(axis=1)]
        if mine["zero_shot_mean"].max() >= mark:
            break
    return mine


def compare(path: Path, run: Run, architecture: Architecture, budgets: Sequence[float], about: dict) -> None:
    """All contenders at one seed; open_clip's model has the widths, depths and heads of ours."""
    tasks = run.stream.validation_tasks

    def against(name: str, train: Train, some: Sequence[float] = budgets, mark: float = math.inf, speed=None):
        key = {"contender": name, "seed": run.seed}
        return measure(path, key, train, some, speed or (lambda: pace(train)), tasks, about, mark)

    ours = against(OUR_NAME, trainer(run, OUR_NAME, architecture))
    reached = ours["zero_shot_mean"].max()
    trial = budgets[len(budgets) // 2 - 1 :][:1]
    scores = {
        rate: against(f"open_clip, rate {rate}", trainer(run, "open_clip", architecture, rate), trial)[
            "zero_shot_mean"
        ].max()
        for rate in RATES
    }
    best = trainer(run, "open_clip", architecture, max(scores, key=scores.get))
    against("open_clip", best, budgets, MARKS["lower"] * reached)
    # A grown model is small at first, so that its pace is not known before: that of our fixed model is the guess.
    speed = ours["iterations"].sum() / ours["seconds"].sum()
    grown = against("grown", grower(run), budgets, MARKS["upper"] * reached, lambda: speed)
    final = last_step(run, int(grown["iterations"].iloc[-1]))
    architecture = GrowCLIP.from_pretrained(final).architecture
    against("from scratch", trainer(run, "from scratch", architecture), budgets, MARKS["upper"] * reached)


def seconds_to(points: pd.DataFrame, mark: float) -> float:
    """When a contender reaches the mark: interpolated between budgets on a logarithmic axis; infinite if never."""
    points = points.sort_values("seconds")
    times, scores = np.log(points["seconds"].to_numpy()), np.maximum.accumulate(points["zero_shot_mean"].to_numpy())
    if not (scores >= mark).any():
        return math.inf
    after = int(np.argmax(scores >= mark))
    if after == 0:
        return float(np.exp(times[0]))
    share = (mark - scores[after - 1]) / (scores[after] - scores[after - 1])
    return float(np.exp(times[after - 1] + share * (times[after] - times[after - 1])))
