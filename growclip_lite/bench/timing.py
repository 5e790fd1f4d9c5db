"""Fair timing: contenders take turns within one process, so that the machine's drift hits all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm


def has_gpu(machine: str) -> bool:
    """Whether a row of that `machine` was measured with a GPU."""
    return not machine.endswith(" threads")


def wait(device: str) -> None:
    """Waits for the work that is under way on a GPU."""
    if device != "cpu":
        torch.cuda.synchronize()


def in_turns(
    contenders: dict[str, Callable[[], object]], windows: int, seconds: float, device: str = "cpu", title: str = ""
) -> pd.DataFrame:
    """Seconds per call of every contender (columns) in every window (rows).

    Each contender is called once to warm up, then as often as fits into `seconds`, the same number of
    times in every window. The order rotates from window to window.
    """
    calls = {}
    for name, call in contenders.items():
        call()
        wait(device)
        begin = time.perf_counter()
        call()
        wait(device)
        calls[name] = max(1, round(seconds / (time.perf_counter() - begin)))
    names, rows = list(contenders), []
    for window in tqdm(range(windows), desc=title, unit="window"):
        row = {}
        for name in np.roll(names, -window):
            begin = time.perf_counter()
            for _ in range(calls[name]):
                contenders[name]()
            wait(device)
            row[str(name)] = (time.perf_counter() - begin) / calls[name]
        rows.append(row)
    return pd.DataFrame(rows, columns=names)


def rows_in_turns(
    part: str, contenders: dict[str, Callable[[], object]], windows: int, seconds: float, device: str
) -> pd.DataFrame:
    """The same with a row per contender and window."""
    table = in_turns(contenders, windows, seconds, device, title=part)
    rows = table.melt(var_name="contender", value_name="seconds", ignore_index=False)
    return rows.rename_axis("window").reset_index().assign(part=part)


def ratios(seconds: pd.DataFrame, ours: str) -> pd.DataFrame:
    """How many times faster `ours` is than each contender: median over windows of the ratio within a
    window, with the quartiles as `low` and `high`."""
    parts = seconds.div(seconds[ours], axis=0).quantile([0.5, 0.25, 0.75]).T
    return parts.set_axis(["ratio", "low", "high"], axis=1)
