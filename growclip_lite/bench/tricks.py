"""What each trick for speed buys: one training step of ours with that trick taken back.

The package has no options for this. What stands in a trick's place is patched in: while the step runs, or while its
optimisers are made. Freed memory, once kept, is kept for good, so that a step without this is run in another process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from unittest.mock import patch

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from growclip_lite.bench.rivals import amp
from growclip_lite.bench.throughput import LOW, OUR_NAME, Setting, in_low_precision, our_step
from growclip_lite.bench.timing import rows_in_turns
from growclip_lite.memory import keep_freed_memory
from growclip_lite.model import EPSILON, NORM, GrowCLIP, new_model
from growclip_lite.train import train_step

Step = Callable[[], None]


def fused_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def scaled_activations(x: Tensor, weight: Tensor) -> Tensor:
    """`norm_linear` with its factor on the activations."""
    channels = x.shape[-1]
    normal = F.layer_norm(x, (channels,), eps=EPSILON / channels)
    return F.linear(normal * (NORM / math.sqrt(channels)), weight.to(x.dtype))


class PlainAdamW(torch.optim.AdamW):
    """AdamW that is not fused, whatever it is told."""

    def __init__(self, *arguments, fused: bool, **options) -> None:
        super().__init__(*arguments, **options)


def during(step: Step, name: str, replacement: object) -> Step:
    """`step` with `name` replaced while it runs."""

    def call() -> None:
        with patch(name, replacement):
            step()

    return call


def with_amp(model: GrowCLIP, batch: tuple[Tensor, Tensor]) -> Step:
    """A step of a float32 model, whose forward pass and loss alone run in automatic mixed precision."""

    def mixed(*arguments: object) -> Tensor:
        with amp(LOW, batch[0].device.type):
            return train_step(*arguments)

    return during(our_step(model, batch), "growclip_lite.bench.throughput.train_step", mixed)


def fresh(setting: Setting) -> GrowCLIP:
    return new_model(setting.architecture, setting.config, 0).to(setting.device)


def without_each(setting: Setting) -> dict[str, Step]:
    """Our training step, then the same without one trick after the other."""
    batch = setting.batch()

    def step() -> Step:
        return our_step(in_low_precision(fresh(setting)), batch)

    module = "growclip_lite.model"
    steps = {
        OUR_NAME: step(),
        "plain attention": during(step(), f"{module}.attention", fused_attention),
        "activations in bf16, not amp": with_amp(fresh(setting), batch),
        "normalisation's factor in the weight": during(step(), f"{module}.norm_linear", scaled_activations),
        "channels_last in the stem": during(step(), "torch.channels_last", torch.contiguous_format),
    }
    with patch("torch.optim.AdamW", PlainAdamW):
        steps["fused AdamW"] = step()
    return steps


@cache
def prepared_step(setting: Setting) -> Step:
    return our_step(in_low_precision(fresh(setting)), setting.batch())


def run_step(setting: Setting) -> None:
    """Our step, in whatever process this is called."""
    prepared_step(setting)()


def tricks(setting: Setting, windows: int, seconds: float) -> pd.DataFrame:
    """Rows of contender, window and seconds per step."""
    kept, steps = keep_freed_memory(), without_each(setting)
    with ProcessPoolExecutor(1, get_context("spawn")) as other:
        if kept:  # otherwise there is nothing to take back
            steps["freed memory is kept"] = lambda: other.submit(run_step, setting).result()
        return rows_in_turns("tricks", steps, windows, seconds, setting.device)
