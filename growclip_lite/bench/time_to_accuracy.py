"""Seconds until a mark is reached; every point is a complete training with a schedule of its own.

Reading a mark off the middle of a long run would punish a schedule that lowers its learning rate to
the very end. So each contender trains anew for 19, 38, 75, ... seconds until it reaches the mark. The
clock starts at the captions (tokenizer and all) and ends at the trained model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from growclip_lite.architecture import Architecture, ModelConfig
from growclip_lite.bench.rivals import open_clip_loss, open_clip_model, open_clip_optimizer, with_end_token
from growclip_lite.bench.throughput import LOW, OUR_NAME
from growclip_lite.evaluate import mean_accuracy
from growclip_lite.grow import Run, grow, tokenizer_at
from growclip_lite.memory import keep_freed_memory
from growclip_lite.model import GrowCLIP
from growclip_lite.peers import train_fixed
from growclip_lite.table import add_row, done, rows_of
from growclip_lite.tokenizer import Tokenizer
from growclip_lite.train import MAX_LOGIT_SCALE, TrainingSet, batch_order

RATES = (5e-4, 1e-3, 2e-3)  # open_clip's learning rates; the best at a middle budget is kept
RIVAL, TRIAL = "open_clip", "open_clip, trial"
MARKS = {"lower": 2 / 3, "upper": 0.9}  # of what our recipe reaches in the longest budget

Train = Callable[[int], tuple[torch.nn.Module, dict[str, float]]]  # iterations -> trained model, its "seconds"


class OpenClip(torch.nn.Module):
    """open_clip's model behind the names that `evaluate` needs, with the words of our tokenizer."""

    def __init__(self, architecture: Architecture, config: ModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.model = open_clip_model(architecture, config)
        self.architecture, self.config, self.tokenizer = architecture, config, tokenizer
        self.logit_scale = self.model.logit_scale

    def tokenize(self, texts: list[str]) -> torch.Tensor:
        return with_end_token(self.tokenizer(texts, self.config.context_length), self.config.vocab_size)

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
    wrapped: OpenClip, data: TrainingSet, iterations: int, batch_size: int, peak: float, dtype: torch.dtype, seed: int
) -> None:
    """open_clip's standard recipe: AdamW, weight decay 0.2, cosine schedule; `dtype` below float32 means amp."""
    optimizer = open_clip_optimizer(wrapped.model, peak)
    batches = batch_order(len(data), batch_size, [seed, 0])
    for iteration in range(iterations):
        images, tokens, _ = data.batch(next(batches), np.random.default_rng([seed, 1, iteration]))
        for group in optimizer.param_groups:
            group["lr"] = cosine_rate(iteration, iterations, peak)
        ended = with_end_token(tokens, wrapped.config.vocab_size)
        open_clip_loss(wrapped.model, images.float() / 255, ended, dtype).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            wrapped.model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)


def our_trainer(run: Run, architecture: Architecture) -> Train:
    """Our recipe, one architecture, all data from the start."""

    def train(iterations: int) -> tuple[torch.nn.Module, dict[str, float]]:
        begin = time.monotonic()
        model, _ = train_fixed(run, architecture, len(run.stream.train), iterations, f"{iterations} iterations")
        return model, {"seconds": time.monotonic() - begin}

    return train


def open_clip_trainer(run: Run, architecture: Architecture, rate: float, dtype: torch.dtype) -> Train:
    """open_clip's model and recipe, the same data."""

    def train(iterations: int) -> tuple[torch.nn.Module, dict[str, float]]:
        begin, steps = time.monotonic(), len(run.stream.train)
        tokenizer = tokenizer_at(run, steps)
        data = run.training_set(steps, tokenizer)
        torch.manual_seed(run.seed)  # open_clip initialises from the global generator
        wrapped = OpenClip(architecture, run.model_config(tokenizer), tokenizer).to(run.device)
        train_open_clip(wrapped, data, iterations, run.profile.batch_size, rate, dtype, run.seed)
        return wrapped, {"seconds": time.monotonic() - begin}

    return train


def grower(run: Run) -> Train:
    """Grows over all growth steps; search and inheriting count, the report's evaluations on test data do not.

    Also tells the seconds of the last growth step alone: from the arrival of the last pairs on.
    """

    def train(iterations: int) -> tuple[torch.nn.Module, dict[str, float]]:
        out = run.out.with_name(f"{run.out.name}-{iterations}")
        profile = replace(run.profile, iterations=iterations)
        report = grow(run.stream, profile, out, seed=run.seed, resume=True)
        parts = [sum(s for name, s in e["phases"].items() if name != "evaluate") for e in report["steps"]]
        model = GrowCLIP.from_pretrained(out / f"step_{len(run.stream.train)}")
        return model, {"seconds": sum(parts), "last_step_seconds": parts[-1]}

    return train


def pace(train: Train) -> float:
    """Iterations per second, by two short trials: what comes before the first iteration cancels."""
    short, long = 10, 40
    train(1)  # whatever is done once only
    return (long - short) / max(train(long)[1]["seconds"] - train(short)[1]["seconds"], 1e-3)


@dataclass(frozen=True)
class Race:
    """What all contenders of one seed share: the table to fill, the data, the architecture, the budgets in seconds."""

    path: Path
    run: Run
    architecture: Architecture
    budgets: Sequence[float]
    key: dict
    about: dict

    def key_of(self, name: str, **setting: object) -> dict:
        """What tells a contender's rows from all others."""
        return self.key | {"contender": name, "seed": self.run.seed} | setting

    def add(
        self, name: str, train: Train, mark: float = math.inf, budgets: Sequence[float] | None = None,
        first_pace: Callable[[], float] | None = None, precision: torch.dtype | None = None, **setting: object,
    ) -> pd.DataFrame:  # fmt: skip
        """Adds a row per budget: seconds that training really took, and validation accuracy. Stops at the mark.

        `first_pace` guesses how many iterations a second allows (two short trials, if it is not given); afterwards the
        row before tells. `precision` is a rival's own. Returns all rows of this contender.
        """
        key = self.key_of(name, **setting)
        own = {"rival_precision": str(precision).removeprefix("torch.")} if precision else {}
        for budget in budgets or self.budgets:
            mine = rows_of(self.path, key)
            if len(mine) and mine["zero_shot_mean"].max() >= mark:
                break
            if done(self.path, key | {"budget": budget}):
                continue
            if len(mine):
                speed = mine["iterations"].iloc[-1] / mine["seconds"].iloc[-1]
            else:
                speed = first_pace() if first_pace else pace(train)
            iterations = max(round(speed * budget), 1)
            model, seconds = train(iterations)
            found = {
                "budget": budget, "iterations": iterations, **seconds,
                "zero_shot_mean": mean_accuracy(model, self.run.stream.validation_tasks),
                "sizes": " ".join(map(str, model.architecture.sizes)),
            }  # fmt: skip
            add_row(self.path, key | found | self.about | own)
        return rows_of(self.path, key)


def race_open_clip(race: Race, mark: float) -> None:
    """Its precision by pace, its learning rate by accuracy at a middle budget; the rates train equally long."""
    middle = race.budgets[len(race.budgets) // 2 - 1]

    def trainer(rate: float, precision: torch.dtype) -> Train:
        return open_clip_trainer(race.run, race.architecture, rate, precision)

    @cache
    def pace_in(precision: torch.dtype) -> float:
        return pace(trainer(RATES[0], precision))

    def tried() -> pd.DataFrame:
        return rows_of(race.path, race.key_of(TRIAL))

    def trial_pace() -> float:
        trials = tried()
        return trials["iterations"].iloc[0] / middle if len(trials) else pace_in(dtype)

    before = tried().get("rival_precision", pd.Series(dtype=str)).dropna()
    dtype = getattr(torch, before.iloc[0]) if len(before) else max((torch.float32, LOW), key=pace_in)
    found = {
        rate: race.add(TRIAL, trainer(rate, dtype), budgets=[middle], first_pace=trial_pace, precision=dtype, rate=rate)
        for rate in RATES
    }
    best = max(RATES, key=lambda rate: found[rate]["zero_shot_mean"].max())
    race.add(RIVAL, trainer(best, dtype), mark, precision=dtype, rate=best)


def compare(path: Path, run: Run, architecture: Architecture, budgets: Sequence[float], key: dict, about: dict) -> None:
    """All contenders at one seed; open_clip's model has the widths, depths and heads of ours."""
    keep_freed_memory()  # for all contenders alike
    race = Race(path, run, architecture, budgets, key, about)
    ours = race.add(OUR_NAME, our_trainer(run, architecture))
    reached = ours["zero_shot_mean"].max()
    race_open_clip(race, MARKS["lower"] * reached)
    # A grown model is small at first, so that its pace is not known before: that of our fixed model is the guess.
    guess = ours["iterations"].iloc[-1] / ours["seconds"].iloc[-1]
    grown = race.add("grown", grower(run), MARKS["upper"] * reached, first_pace=lambda: guess)
    final = Architecture(*map(int, grown["sizes"].iloc[-1].split()))
    race.add("from scratch", our_trainer(run, final), MARKS["upper"] * reached)


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
