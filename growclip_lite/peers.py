"""What growing is compared with: fixed architectures and training from scratch, on the same stream."""

from __future__ import annotations

from dataclasses import replace

import torch

from growclip_lite.architecture import Architecture, count_parameters, training_flops
from growclip_lite.grow import Run, tokenizer_at
from growclip_lite.model import GrowCLIP, new_model
from growclip_lite.train import fit


def train_fixed(run: Run, architecture: Architecture, step: int, iterations: int, title: str) -> tuple[GrowCLIP, dict]:
    """Trains one architecture from scratch on D_step for `iterations`; returns it with its cost.

    Tokenizer, batches, optimisers and schedule are those of growing.
    """
    tokenizer, p = tokenizer_at(run, step), run.profile
    config = run.model_config(tokenizer)
    model = new_model(architecture, config, run.seed_of(step), tokenizer).to(run.device)
    model.compute_dtype = run.precision
    settings = replace(run.train_config(step), iterations=iterations, ema_decay=0.0)
    data = run.training_set(step, tokenizer)
    fit(model, data, settings, run.seed_of(step), title=title)
    model.cpu().compute_dtype = torch.float32
    flops = iterations * training_flops(architecture, config, min(p.batch_size, len(data)))
    return model, {"parameters": count_parameters(architecture, config), "train_flops": flops}


def from_scratch(run: Run, report: dict) -> tuple[GrowCLIP, dict]:
    """The final architecture of a grown run, trained from scratch with the last growth step's budget."""
    last = report["steps"][-1]
    iterations = run.train_config(last["step"]).iterations
    return train_fixed(run, Architecture.from_dict(last["architecture"]), last["step"], iterations, "from scratch")
