"""What each simplification costs or brings in accuracy: the profile's pictures and patches, this kit's recipe,
equal training iterations. Weights that two variants have in common start alike. And what Muon brings: the layers of
this kit trained by AdamW alone, at several learning rates."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture
from growclip_lite.bench.throughput import ladder
from growclip_lite.bench.variants import OURS, new_variant
from growclip_lite.evaluate import mean_accuracy
from growclip_lite.grow import Run, tokenizer_at
from growclip_lite.model import GrowCLIP
from growclip_lite.table import add_row, done
from growclip_lite.train import TrainConfig, TrainingState, fit, make_optimizers

# Muon is compared with the best of these rates, chosen by the same accuracy that is reported (which favours AdamW).
ADAMW_RATES = (5e-4, 1e-3, 2e-3, 4e-3)


def adamw_config(config: TrainConfig, rate: float) -> TrainConfig:
    """One learning rate for all weights; matrices decay by as much per step as with Muon."""
    decay = config.weight_decay * config.learning_rate / rate
    return replace(config, learning_rate=rate, adam_ratio=1.0, weight_decay=decay)


def adamw_state(model: GrowCLIP, config: TrainConfig) -> TrainingState:
    """The beginning of a training with AdamW in Muon's place."""
    muon, rest = make_optimizers(model, config)
    matrices = muon.param_groups[0]["params"]
    adamw = torch.optim.AdamW(matrices, betas=(0.9, 0.98), weight_decay=config.weight_decay, fused=True)
    return TrainingState(0, [adamw, rest], None, [])


def quality(path: Path, run: Run, architecture: Architecture, iterations: int, key: dict, about: dict) -> None:
    """Adds a row per rung of the ladder, and per learning rate of AdamW: validation accuracy after training on all
    data."""
    steps = len(run.stream.train)
    tokenizer = tokenizer_at(run, steps)
    config = run.model_config(tokenizer)
    data = run.training_set(steps, tokenizer)
    settings = replace(run.train_config(steps), iterations=iterations)
    trainings = {name: (switches, settings, TrainingState.begin) for name, switches in ladder().items()}
    trainings |= {f"AdamW {rate:g}": (OURS, adamw_config(settings, rate), adamw_state) for rate in ADAMW_RATES}
    for name, (switches, recipe, begin_state) in tqdm(trainings.items(), desc=f"quality, seed {run.seed}"):
        row = key | {"variant": name, "iterations": iterations, "seed": run.seed}
        if done(path, row):
            continue
        begin = time.monotonic()
        model = new_variant(architecture, config, switches, run.seed_of(0), tokenizer).to(run.device)
        model.compute_dtype = run.precision
        fit(model, data, recipe, run.seed_of(0), state=begin_state(model, recipe), title=name)
        seconds = time.monotonic() - begin
        model.cpu().compute_dtype = torch.float32
        accuracy = mean_accuracy(model, run.stream.validation_tasks)
        add_row(path, row | {"seconds": seconds, "zero_shot_mean": accuracy} | about)
