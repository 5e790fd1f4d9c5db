"""The bench's tables in one: what was measured, and what it is held against."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd

from growclip_lite.bench.search_quality import agreement
from growclip_lite.bench.throughput import MATMUL, OUR_NAME
from growclip_lite.bench.time_to_accuracy import MARKS, seconds_to
from growclip_lite.bench.timing import ratios


def read(folder: Path, part: str) -> pd.DataFrame | None:
    path = folder / f"bench_{part}.csv"
    return pd.read_csv(path) if path.exists() else None


def wide(rows: pd.DataFrame, part: str) -> pd.DataFrame:
    """Seconds with a column per contender and a row per window."""
    rows = rows[rows["part"] == part]
    return rows.pivot(index="window", columns="contender", values="seconds")[rows["contender"].unique()]


def against_best(seconds: pd.DataFrame, ours: str, rival: str) -> str:
    """Our speed relative to the fastest setting of a rival, with quartiles over windows."""
    theirs = seconds.columns[seconds.columns.str.startswith(rival)]
    best = seconds[theirs].median().idxmin()
    ratio, low, high = ratios(seconds, ours).loc[best]
    return f"{ratio:.1f} ({low:.1f} to {high:.1f}; its best: {best.removeprefix(rival).strip()})"


def training(rows: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    seconds = wide(rows, "contenders")
    yield "training throughput / open_clip's best", against_best(seconds, OUR_NAME, "open_clip"), "3"
    yield "training throughput / transformers' best", against_best(seconds, OUR_NAME, "transformers"), "1.7"
    rates = rows[rows["part"] == "contenders"].pivot(index="window", columns="contender", values="flops_per_second")
    share, rate = (rates[OUR_NAME] / rates[MATMUL]).median(), rates[MATMUL].median()
    yield (
        "share of the bf16 matrix-product rate",
        f"{100 * share:.0f} % of {rate / 1e12:.2f} TFLOP/s",
        "22 %",
    )
    seconds = wide(rows, "simplifications")
    for before, after in pairwise(seconds.columns):
        ratio, low, high = ratios(seconds, after).loc[before]
        yield f"training throughput by: {after}", f"{ratio:.2f} ({low:.2f} to {high:.2f})", ""


def quality(rows: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Every rung against the one before, paired by seed."""
    scores = rows.pivot(index="seed", columns="variant", values="zero_shot_mean")[rows["variant"].unique()]
    for before, after in pairwise(scores.columns):
        gain = 100 * (scores[after] - scores[before])
        spread = f" ± {gain.std():.1f}" if len(gain) > 1 else ""
        yield f"points of accuracy by: {after}", f"{gain.mean():+.1f}{spread}", ""


def inference(rows: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    for side, asked in (("image", "2"), ("text", "")):
        seconds = wide(rows, f"encode_{side}")
        best = seconds.filter(like=OUR_NAME).median().idxmin()
        yield f"encode_{side} / open_clip's best", against_best(seconds, best, "open_clip"), asked
    nine = wide(rows, "nine tasks")[OUR_NAME].median()
    yield "nine-task evaluation", f"{nine:.1f} s", "3 s"
    process = wide(rows, "process")
    beyond = (process["import growclip_lite"] - process["import torch"]).median()
    yield "import beyond torch's", f"{beyond:.2f} s", "0.5 s"
    yield "growclip classify, cold", f"{process['growclip classify'].median():.1f} s", ""


def accuracy(rows: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    pairs = ((OUR_NAME, "open_clip", "lower", "10"), ("grown", "from scratch", "upper", "2"))
    for first, second, mark, asked in pairs:
        factors = []
        for _, part in rows.groupby("seed"):
            reference = part[part["contender"] == OUR_NAME]["zero_shot_mean"].max()
            times = [seconds_to(part[part["contender"] == name], MARKS[mark] * reference) for name in (first, second)]
            factors.append(f"{times[1]:.0f} s / {times[0]:.0f} s = {times[1] / times[0]:.1f}")
        yield f"time to the {mark} mark, {second} / {first}", "; ".join(factors), asked


def search(rows: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    first = rows.groupby("seed").first()
    share = (first["search_seconds"] / first["step_seconds"]).mean()
    yield "search / training of that growth step", f"{100 * share:.0f} %", "15 %"
    for column, sign in (("trained_loss", 1), ("trained_zero_shot", -1)):
        taus = []
        for _, part in rows.groupby("seed"):
            tau, low, high = agreement(part["search_loss"].to_numpy(), sign * part[column].to_numpy())
            taus.append(f"{tau:.2f} ({low:.2f} to {high:.2f})")
        yield f"Kendall's tau of the search with the {column.replace('_', ' ')}", "; ".join(taus), "0.7"


def cost(rows: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    pairs = rows[rows["axis"] == "pairs"].sort_values("value", key=lambda v: v.astype(int))
    peaks = pairs["peak_bytes"].to_numpy() / 2**20
    measured = f"{peaks[-1] / peaks[0]:.2f} ({peaks[0]:.0f} to {peaks[-1]:.0f} MiB)"
    yield "peak memory, most pairs / fewest", measured, "1.2"


PARTS = {
    "throughput": training, "quality": quality, "inference": inference, "accuracy": accuracy, "search": search,
    "cost": cost,
}  # fmt: skip


def table(folder: Path) -> str:
    """All figures as a Markdown table; a part that was not run is "not measured"."""
    lines = ["| figure | measured | asked |", "|---|---|---|"]
    for part, figures in PARTS.items():
        rows = read(folder, part)
        found = [(part, "not measured", "")] if rows is None else figures(rows)
        lines += [f"| {name} | {measured} | {asked} |" for name, measured, asked in found]
    return "\n".join(lines)
