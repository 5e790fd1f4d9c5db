"""What each simplification costs or brings in accuracy: the profile's pictures and patches, this kit's recipe,
equal training iterations. Weights that two variants have in common start alike."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import torch
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture
from growclip_lite.bench.throughput import ladder
from growclip_lite.bench.variants import new_variant
from growclip_lite.evaluate import mean, zero_shot_all
from growclip_lite.grow import Run, tokenizer_at
from growclip_lite.studies.table import add_row, done
from growclip_lite.train import fit


def quality(path: Path, run: Run, architecture: Architecture, iterations: int, key: dict, about: dict) -> None:
    """Adds a row per rung of the ladder: validation accuracy after training on all data with this kit's recipe."""
    steps = len(run.stream.train)
    tokenizer = tokenizer_at(run, steps)
    config = run.model_config(tokenizer)
    data = run.training_set(steps, tokenizer)
    settings = replace(run.train_config(steps), iterations=iterations)
    for name, switches in tqdm(ladder().items(), desc=f"quality, seed {run.seed}"):
        row = key | {"variant": name, "iterations": iterations, "seed": run.seed}
        if done(path, row):
            continue
        begin = time.monotonic()
        model = new_variant(architecture, config, switches, run.seed_of(0), tokenizer).to(run.device)
        model.compute_dtype = run.precision
        fit(model, data, settings, run.seed_of(0), title=name)
        seconds = time.monotonic() - begin
        model.cpu().compute_dtype = torch.float32
        accuracy = mean(zero_shot_all(model, run.stream.validation_tasks))
        add_row(path, row | {"seconds": seconds, "zero_shot_mean": accuracy} | about)
