"""Samples per second in training: ours, open_clip and transformers at one and the same architecture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from growclip_lite.architecture import Architecture, ModelConfig, training_flops
from growclip_lite.bench.rivals import (
    PRECISIONS,
    open_clip_loss,
    open_clip_model,
    open_clip_optimizer,
    stepper,
    transformers_loss,
    transformers_model,
    with_end_token,
)  # fmt: skip
from growclip_lite.bench.timing import rows_in_turns
from growclip_lite.bench.variants import OPENAI, OURS, Switches, new_variant
from growclip_lite.devices import default_device
from growclip_lite.memory import keep_freed_memory
from growclip_lite.model import GrowCLIP, new_model
from growclip_lite.train import TrainConfig, make_optimizers, train_step, update

OUR_NAME = "growclip-lite"
MATMUL = "matrix product"
MATMUL_SIDE = 2_048
LOW = torch.bfloat16


@dataclass(frozen=True)
class Setting:
    """What all contenders have in common."""

    architecture: Architecture = Architecture(4, 4, 2, 4, 0, 4)
    config: ModelConfig = ModelConfig(32, 4, 24, 1_000, 64)
    batch_size: int = 256
    device: str = field(default_factory=default_device)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Float pictures in [0, 1] and tokens of 8 to L - 1 words."""
        rng, c = np.random.default_rng(0), self.config
        tokens = rng.integers(1, c.vocab_size, (self.batch_size, c.context_length))
        lengths = rng.integers(min(8, c.context_length - 1), c.context_length, self.batch_size)
        tokens[np.arange(c.context_length) >= lengths[:, None]] = 0
        images = rng.random((self.batch_size, 3, c.image_size, c.image_size), dtype=np.float32)
        return torch.from_numpy(images).to(self.device), torch.from_numpy(tokens).to(self.device)


def our_step(model: GrowCLIP, batch: tuple[Tensor, Tensor]) -> Callable[[], None]:
    """One step of this kit's training: its loss, Muon and AdamW."""
    config = TrainConfig(iterations=1_000_000, batch_size=len(batch[0]), learning_rate=1e-4, warmup=1)
    optimizers, ids = make_optimizers(model, config), torch.arange(len(batch[0]), device=batch[0].device)

    def step() -> None:
        train_step(model, (*batch, ids)).backward()
        update(optimizers, model, 1.0, config)

    return step


def plain_adamw_step(model: GrowCLIP, batch: tuple[Tensor, Tensor]) -> Callable[[], None]:
    """The same with AdamW alone, as everybody else trains."""
    ids = torch.arange(len(batch[0]), device=batch[0].device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
    return stepper(model, lambda: train_step(model, (*batch, ids)), optimizer)


def contenders(setting: Setting) -> dict[str, Callable[[], None]]:
    """One training step of each, at equal widths, depths, heads, tokens, batch and data."""
    a, c = setting.architecture, setting.config
    images, tokens = setting.batch()
    steps = {OUR_NAME: our_step(in_low_precision(new_model(a, c, 0).to(setting.device)), (images, tokens))}
    exact = in_low_precision(new_variant(a, c, OPENAI, 0).to(setting.device))
    steps[f"{OUR_NAME}, OpenAI's layers, AdamW"] = plain_adamw_step(exact, (images, tokens))
    ended = with_end_token(tokens, c.vocab_size)
    for word, (mixed, weights) in PRECISIONS.items():
        rivals = {f"open_clip {word}": (open_clip_model(a, c), open_clip_loss)}
        for attention in ("sdpa", "eager"):
            rivals[f"transformers {word} {attention}"] = (transformers_model(a, c, attention), transformers_loss)
        pictures = images.to(weights)
        for name, (rival, loss) in rivals.items():
            rival.to(setting.device, weights)
            steps[name] = stepper(
                rival,
                lambda m=rival, f=loss, p=pictures, d=mixed: f(m, p, ended, d),
                open_clip_optimizer(rival, 1e-4),
            )
    return steps


def in_low_precision(model: GrowCLIP) -> GrowCLIP:
    model.compute_dtype = LOW
    return model


def ladder() -> dict[str, Switches]:
    """From OpenAI's layers to ours, one simplification after the other."""
    steps, switches = {"OpenAI's layers": OPENAI}, OPENAI
    words = {
        "biases": "without biases", "gains": "without gains and offsets", "class_token": "mean pooling",
        "causal": "text attends both ways", "patch_stem": "convolutional stem",
    }  # fmt: skip
    for name, text in words.items():
        switches = replace(switches, **{name: False})
        steps[text] = switches
    assert switches == OURS
    return steps


def simplifications(setting: Setting) -> dict[str, Callable[[], None]]:
    """One AdamW step of every rung of the ladder, then Muon."""
    a, c = setting.architecture, setting.config
    batch, steps = setting.batch(), {}
    for name, switches in ladder().items():
        model = in_low_precision(new_variant(a, c, switches, 0)).to(setting.device)
        steps[name] = plain_adamw_step(model, batch)
    return steps | {"Muon": our_step(in_low_precision(new_model(a, c, 0)).to(setting.device), batch)}


def matrix_product(device: str) -> Callable[[], Tensor]:
    """A large product in bf16, as a measure of what this machine can do."""
    a = torch.randn(MATMUL_SIDE, MATMUL_SIDE, generator=torch.Generator().manual_seed(0)).to(device, LOW)
    return lambda: a @ a


def throughput(setting: Setting, windows: int, seconds: float) -> pd.DataFrame:
    """Rows of contender, window, seconds per step, samples per second and FLOP/s (ours and the product's only)."""
    keep_freed_memory()  # for all contenders alike
    calls = contenders(setting) | {MATMUL: matrix_product(setting.device)}
    flops = {
        OUR_NAME: training_flops(setting.architecture, setting.config, setting.batch_size),
        MATMUL: 2 * MATMUL_SIDE**3,
    }
    tables = []
    for part, steps in (("contenders", calls), ("simplifications", simplifications(setting))):
        tables.append(rows_in_turns(part, steps, windows, seconds, setting.device))
    rows = pd.concat(tables, ignore_index=True)
    rows["samples_per_second"] = setting.batch_size / rows["seconds"]
    rows.loc[rows["contender"] == MATMUL, "samples_per_second"] = np.nan
    rows["flops_per_second"] = rows["contender"].map(flops) / rows["seconds"]
    return rows
