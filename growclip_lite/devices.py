"""Where to compute, and in which precision, on the machine at hand."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from functools import cache
from pathlib import Path

import torch

from growclip_lite.files import cache_folder


def default_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def machine() -> str:
    """Processor, cores that may be used, and threads of torch."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    device = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {cores} cores, {torch.get_num_threads()} threads{device}"


def seconds_of_product(dtype: torch.dtype, device: str) -> float:
    """The fastest of six products of two (768, 768) matrices."""
    a, times = torch.ones(768, 768, dtype=dtype, device=device), []
    for _ in range(6):
        begin = time.perf_counter()
        (a @ a)[0, 0].item()
        times.append(time.perf_counter() - begin)
    return min(times)


def measured_dtype(device: str) -> torch.dtype:
    """Compares the best of four interleaved timings each, so that other load affects both alike."""
    turns = [[seconds_of_product(dtype, device) for dtype in (torch.float32, torch.bfloat16)] for _ in range(4)]
    seconds_float32, seconds_bfloat16 = map(min, zip(*turns, strict=True))
    return torch.bfloat16 if seconds_bfloat16 < 0.6 * seconds_float32 else torch.float32


@cache
def fast_dtype(device: str) -> torch.dtype:
    """bfloat16 where this device multiplies matrices clearly faster in it, else float32.

    Measured once on a machine and kept in the cache folder: a process that measured anew while the machine is busy
    might decide otherwise, and the same run would not end alike. The first of several processes decides.
    """
    path = cache_folder() / f"precision-{platform.node()}-{device}-torch-{torch.__version__}.txt"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=path.parent) as file:
                file.write(str(measured_dtype(device)).removeprefix("torch."))
                file.flush()
                os.link(file.name, path)
    except FileExistsError:
        pass  # another process was faster
    except OSError:
        return measured_dtype(device)  # nothing can be kept here
    return torch.bfloat16 if path.read_text() == "bfloat16" else torch.float32
