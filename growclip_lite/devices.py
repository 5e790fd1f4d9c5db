"""Where to compute, and in which precision, on the machine at hand."""

from __future__ import annotations

import time
from functools import cache

import torch


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def seconds_of_product(dtype: torch.dtype, device: str) -> float:
    """The fastest of six products of two (768, 768) matrices."""
    a, times = torch.ones(768, 768, dtype=dtype, device=device), []
    for _ in range(6):
        begin = time.perf_counter()
        (a @ a)[0, 0].item()
        times.append(time.perf_counter() - begin)
    return min(times)


@cache
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where this device multiplies matrices clearly faster in it, else float32 (by a short measurement)."""
    plain, brief = (seconds_of_product(dtype, device) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if brief < 0.6 * plain else torch.float32
