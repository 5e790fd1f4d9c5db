"""The bench's tables in one: what was measured, and what it is held against."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd

from growclip_lite.bench.search_quality import agreement, highest_tau, training_noise
from growclip_lite.bench.throughput import MATMUL, OUR_NAME
from growclip_lite.bench.time_to_accuracy import MARKS, seconds_to
from growclip_lite.bench.timing import has_gpu, ratios
from growclip_lite.markdown import markdown_table
from growclip_lite.table import rows_of

Row = tuple[str, str, str]  # what, measured, asked for at least (or, of costs, at most)
NOT_MEASURED = "not measured"
RIVALS = {"open_clip": "open_clip's", "transformers": "transformers'"}


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


def side_by_side(seconds: pd.DataFrame, ours: str, scale: Callable[[float], str]) -> str:
    """Ours, and the fastest setting of each rival: medians over windows, as `scale` shows seconds."""
    medians = seconds.median()
    best = [medians[medians.index.str.startswith(rival)].min() for rival in RIVALS]
    return "; ".join(scale(one) for one in (medians[ours], *best))


def training(rows: pd.DataFrame) -> Iterator[Row]:
    seconds = wide(rows, "contenders")
    exact = f"{OUR_NAME}, OpenAI's layers, AdamW"
    batch = (rows["seconds"] * rows["samples_per_second"]).median()  # pairs
    told = side_by_side(seconds, OUR_NAME, lambda one: f"{batch / one:.0f}")
    yield "training, samples a second: ours; open_clip's best; transformers' best", told, ""
    for (rival, whose), asked in zip(RIVALS.items(), ("3", "1.7"), strict=True):
        yield f"training throughput / {whose} best", against_best(seconds, OUR_NAME, rival), asked
    for rival, whose in RIVALS.items():
        yield f"the same with OpenAI's layers and AdamW / {whose} best", against_best(seconds, exact, rival), ""
    rates = rows[rows["part"] == "contenders"].pivot(index="window", columns="contender", values="flops_per_second")
    share, rate = (rates[OUR_NAME] / rates[MATMUL]).median(), rates[MATMUL].median()
    yield "share of the bf16 matrix-product rate", f"{100 * share:.0f} % of {rate / 1e12:.2f} TFLOP/s", "22 %"
    seconds = wide(rows, "simplifications")
    for before, after in pairwise(seconds.columns):
        ratio, low, high = ratios(seconds, after).loc[before]
        yield f"training throughput by: {after}", f"{ratio:.2f} ({low:.2f} to {high:.2f})", ""


def tricks(rows: pd.DataFrame) -> Iterator[Row]:
    """Our speed over that without each trick."""
    for name, (ratio, low, high) in ratios(wide(rows, "tricks"), OUR_NAME).drop(OUR_NAME).iterrows():
        yield f"training throughput by trick: {name}", f"{ratio:.2f} ({low:.2f} to {high:.2f})", ""


def quality(rows: pd.DataFrame) -> Iterator[Row]:
    """Every rung against the one before, and Muon against AdamW at its best learning rate, paired by seed."""
    scores = rows.pivot(index="seed", columns="variant", values="zero_shot_mean")[rows["variant"].unique()]
    by_adamw = scores.columns[scores.columns.str.startswith("AdamW")]
    rungs = scores.columns.drop(by_adamw)
    comparisons = [(before, after, after) for before, after in pairwise(rungs)]
    if len(by_adamw):
        best = scores[by_adamw].mean().idxmax()
        comparisons.append((best, rungs[-1], f"Muon (against {best})"))
    for before, after, name in comparisons:
        gain = (100 * (scores[after] - scores[before])).dropna()
        spread = f" ± {gain.std():.1f}" if len(gain) > 1 else ""
        yield f"points of accuracy by: {name}", f"{gain.mean():+.1f}{spread} (seeds: {len(gain)})", ""


def inference(rows: pd.DataFrame) -> Iterator[Row]:
    for side, asked in (("image", "2"), ("text", "")):
        seconds = wide(rows, f"encode_{side}")
        best = seconds.filter(like=OUR_NAME).median().idxmin()
        told = side_by_side(seconds, best, lambda one: f"{1000 * one:.0f}")
        yield f"encode_{side}, ms a batch: ours; open_clip's best; transformers' best", told, ""
        for rival, whose in RIVALS.items():
            ratio = against_best(seconds, best, rival)
            yield f"encode_{side} / {whose} best", ratio, asked if rival == "open_clip" else ""
    nine = wide(rows, "nine tasks")[OUR_NAME].median()
    yield "nine-task evaluation", f"{nine:.1f} s", "3 s"
    process = wide(rows, "process")
    beyond = (process["import growclip_lite"] - process["import torch"]).median()
    yield "import beyond torch's", f"{beyond:.2f} s", "0.5 s"
    yield "growclip classify, a fresh process", f"{process['growclip classify'].median():.1f} s", ""


def times(part: pd.DataFrame, first: str, second: str, mark: float) -> str:
    """Seconds of both to the mark and their ratio; a bound where the second never gets there."""
    points = [part[part["contender"] == name] for name in (first, second)]
    if any(p.empty for p in points):
        return NOT_MEASURED
    ours, theirs = (seconds_to(p, mark) for p in points)
    if math.isinf(ours):
        return f"{first} does not reach it in {points[0]['seconds'].max():.0f} s"
    if math.isinf(theirs):
        longest = points[1]["seconds"].max()
        return f"over {longest:.0f} s / {ours:.0f} s: more than {math.floor(10 * longest / ours) / 10:.1f}"
    return f"{theirs:.0f} s / {ours:.0f} s = {theirs / ours:.1f}"


def compared(rows: pd.DataFrame, first: str, second: str, mark: str) -> list[str]:
    """`times` for every seed."""
    found = []
    for _, part in rows.groupby("seed"):
        reached = part[part["contender"] == OUR_NAME]["zero_shot_mean"].max()
        found.append(times(part, first, second, MARKS[mark] * reached))
    return found


def accuracy(rows: pd.DataFrame) -> Iterator[Row]:
    asked = {("open_clip", "lower"): "10", ("from scratch", "upper"): "2"}
    for first, second in ((OUR_NAME, "open_clip"), ("grown", "from scratch")):
        for mark in MARKS:
            found = "; ".join(compared(rows, first, second, mark))
            yield f"time to the {mark} mark, {second} / {first}", found, asked.get((second, mark), "")
    late = rows.assign(seconds=rows.get("last_step_seconds", rows["seconds"]).fillna(rows["seconds"]))
    yield (
        "the same (upper mark), counted from the arrival of the last pairs",
        "; ".join(compared(late, "grown", "from scratch", "upper")),
        "",
    )


def search(rows: pd.DataFrame) -> Iterator[Row]:
    (one, freedom), pairs = training_noise(rows), (rows["repeat"] == 1).sum()
    rows = rows[rows["repeat"] == 0]
    first = rows.groupby("seed").first()
    share = first["search_seconds"] / first["step_seconds"]
    yield "search / training of that growth step", f"{100 * share.mean():.0f} %", "15 %"
    members = rows[rows["member"]].groupby("seed")["train_seconds"].mean() * first["space_size"]
    alone = (first["search_seconds"] / members).mean()
    yield "search / training of all members of the space", f"{100 * alone:.1f} %", ""
    for column, name, sign in (("trained_loss", "trained loss", 1), ("trained_zero_shot", "trained zero-shot", -1)):
        found = []
        for _, part in rows.groupby("seed"):
            tau, low, high = agreement(part["search_loss"].to_numpy(), sign * part[column].to_numpy())
            found.append(f"{tau:.2f} ({low:.2f} to {high:.2f}, {len(part)} members)")
        yield f"Kendall's tau of the search with the {name}", "; ".join(found), "0.7"
    if not math.isnan(one):
        between = rows.groupby("seed")["trained_loss"].std().mean()
        spread = f"{between:.4f} between members, {one:.4f} between trainings of the same one ({pairs} pairs)"
        yield "standard deviation of the trained loss", spread, ""
        most, low, high = highest_tau(between, one, freedom)
        known = f"about {most:.1f} ({low:.1f} to {high:.1f})"
        yield "Kendall's tau of a search that knew the loss up to chance", known, ""


def cost(rows: pd.DataFrame) -> Iterator[Row]:
    for axis, part in rows.groupby("axis", sort=False):
        for _, row in part.iterrows():
            memory = f"{row['peak_bytes'] / 2**20:.0f} MiB"
            yield f"cost, {axis} {row['value']}", f"{row['seconds']:.0f} s, {memory}", ""
    pairs = rows[rows["axis"] == "pairs"]
    if len(pairs) > 1:
        peaks = pairs.sort_values("value", key=lambda values: values.astype(int))["peak_bytes"].to_numpy()
        yield "peak memory, most pairs / fewest", f"{peaks[-1] / peaks[0]:.2f}", "1.2"


PARTS = {
    "throughput": training, "tricks": tricks, "quality": quality, "inference": inference, "accuracy": accuracy,
    "search": search, "cost": cost,
}  # fmt: skip


def table(folder: Path, key: dict[str, str]) -> str:
    """All figures of a machine and profile as a Markdown table; a part that was not run is "not measured"."""
    lines = []
    for part, figures in PARTS.items():
        rows = rows_of(folder / f"bench_{part}.csv", key)
        found = [(part, NOT_MEASURED, "")] if rows.empty else figures(rows)
        lines += found
    if not has_gpu(key["machine"]):
        lines.append(("all of this on a GPU", NOT_MEASURED, ""))
    machine = key["machine"].replace(" 1 threads", " 1 thread")  # the rows keep the name that they were added under
    title = f"{machine}, profile {key['profile']}:"
    return f"{title}\n\n{markdown_table('figure | measured | asked', lines)}"
