"""Lesson 15, your own data and larger machines: drawn flags in a folder, measurements, and the exercises."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from growclip_lite.architecture import Architecture, ModelConfig, forward_flops, training_flops
from growclip_lite.bench.throughput import OUR_NAME, Setting, our_step
from growclip_lite.bench.timing import has_gpu, in_turns, ratios
from growclip_lite.checkpoint import load_model
from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.course.place import root
from growclip_lite.data.stream import Stream
from growclip_lite.devices import fast_dtype
from growclip_lite.evaluate import answers
from growclip_lite.model import new_model
from growclip_lite.plots import GREY
from growclip_lite.profiles import Profile
from growclip_lite.table import read_table

COLOURS = {
    "red": "#c8322b", "blue": "#2456a6", "green": "#2e8b3d",
    "yellow": "#f0c419", "white": "#f7f7f7", "black": "#1d1d1d",
}  # fmt: skip
FIRST, LATER = ("stripes", "cross", "disc"), ("saltire", "chevron")  # patterns of growth step 1, and the new ones
WIDTH, HEIGHT = 72, 48


def draw_flag(pattern: str, ink: str, cloth: str, rng: np.random.Generator) -> Image.Image:
    """A flag with a pattern in one colour on another, on a grey wall; place and size vary a little."""
    picture = Image.new("RGB", (WIDTH, WIDTH), tuple(int(c) for c in rng.integers(120, 180, 3)))
    left, top = (int(v) for v in rng.integers(0, 8, 2))
    w, h = WIDTH - 8 - int(rng.integers(0, 8)), HEIGHT + int(rng.integers(0, 10))
    flag = Image.new("RGB", (w, h), COLOURS[cloth])
    pen, line = ImageDraw.Draw(flag), int(rng.integers(8, 13))
    if pattern == "stripes":
        for y in range(0, h, 2 * line):
            pen.rectangle((0, y, w, y + line - 1), fill=COLOURS[ink])
    elif pattern == "cross":
        pen.rectangle((w // 3, 0, w // 3 + line, h), fill=COLOURS[ink])
        pen.rectangle((0, h // 2 - line // 2, w, h // 2 + line // 2), fill=COLOURS[ink])
    elif pattern == "disc":
        r = h // 4 + line // 3
        pen.ellipse((w // 2 - r, h // 2 - r, w // 2 + r, h // 2 + r), fill=COLOURS[ink])
    elif pattern == "saltire":
        pen.line((0, 0, w, h), fill=COLOURS[ink], width=line)
        pen.line((0, h, w, 0), fill=COLOURS[ink], width=line)
    else:
        pen.polygon(((0, 0), (w // 2, h // 2), (0, h)), fill=COLOURS[ink])
    picture.paste(flag, (left, top))
    return picture


def write_flags(folder: Path, count: int, seed: int) -> pd.DataFrame:
    """Draws `count` flags into a fresh `folder` with captions.csv; returns its table. The last two pictures are broken.

    The first half arrives in growth step 1; the second brings two new patterns, and their names.
    """
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "pictures").mkdir(parents=True)
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        step = 1 if number < count // 2 else 2
        patterns = FIRST if step == 1 else FIRST + LATER + LATER
        pattern = patterns[rng.integers(len(patterns))]
        ink, cloth = rng.choice(list(COLOURS), 2, replace=False).tolist()
        name = f"pictures/{number:04}.png"
        draw_flag(pattern, ink, cloth, rng).save(folder / name)
        split = {0: "val", 1: "test"}.get(number % 8, "train")
        article = "" if pattern == "stripes" else "a "
        caption = f"a {cloth} flag with {article}{ink} {pattern}"
        rows.append({"image": name, "caption": caption, "step": step, "label": pattern, "split": split})
    table = pd.DataFrame(rows)
    table.to_csv(folder / "captions.csv", index=False)
    whole = (folder / rows[-1]["image"]).read_bytes()
    (folder / rows[-1]["image"]).write_bytes(whole[: len(whole) // 2])  # as after an interrupted download
    (folder / rows[-2]["image"]).unlink()
    return table


def write_shards(folder: Path, table: pd.DataFrame, shards: int) -> str:
    """The same flags as tar shards; returns their name in brace notation. A sample is three files of one name."""
    for number, rows in enumerate(np.array_split(np.arange(len(table)), shards)):
        with tarfile.open(folder / f"flags-{number:03}.tar", "w") as shard:
            for row in table.iloc[rows].itertuples():
                if not (folder / row.image).exists():
                    continue
                facts = json.dumps({"step": row.step, "label": row.label}).encode()
                parts = {"png": (folder / row.image).read_bytes(), "txt": row.caption.encode(), "json": facts}
                for suffix, content in parts.items():
                    entry = tarfile.TarInfo(f"{Path(row.image).stem}.{suffix}")
                    entry.size = len(content)
                    shard.addfile(entry, io.BytesIO(content))
    return str(folder / f"flags-{{000..{shards - 1:03}}}.tar")


def small_profile(profile: Profile, iterations: int, batch_size: int) -> Profile:
    """A profile for a few hundred pictures: the smallest start, few iterations, small batches."""
    start = Architecture(1, 1, 1, 1, 1, 1)
    return replace(
        profile, start=start, iterations=iterations, batch_size=batch_size, warmup=5, share_power=0.0, scoring_pairs=64
    )


def by_threads(
    models: Sequence[Architecture],
    threads: Sequence[int],
    config: ModelConfig,
    batch_size: int,
    windows: int,
    at_least: float,
) -> pd.DataFrame:
    """Seconds of a training step, by turns: a row per window, columns (model, threads).

    In a window each is repeated for about `at_least` seconds.
    """
    before, calls = torch.get_num_threads(), {}
    for architecture in models:
        setting = Setting(architecture, config, batch_size, "cpu")
        model = new_model(architecture, config, 0)
        model.compute_dtype = fast_dtype("cpu")
        step = our_step(model, setting.batch())
        for count in threads:
            calls[f"{architecture}|{count}"] = lambda s=step, n=count: (torch.set_num_threads(n), s())
    try:
        seconds = in_turns(calls, windows, at_least)
    finally:
        torch.set_num_threads(before)
    seconds.columns = pd.MultiIndex.from_tuples(
        [tuple(name.split("|")) for name in seconds], names=["model", "threads"]
    )
    return seconds


def gpu_rows() -> dict[str, pd.DataFrame]:
    """By table, the rows of results/bench_*.csv that were measured with a GPU."""
    tables = {path.stem: read_table(path) for path in sorted((root() / "results").glob("bench_*.csv"))}
    found = {name: rows[rows["machine"].map(has_gpu)] for name, rows in tables.items()}
    return {name: rows for name, rows in found.items() if len(rows)}


def short_name(machine: str) -> str:
    """A machine's processor, and its GPU where there is one."""
    words = machine.split(", ")  # processor, cores, threads, GPU
    return f"{words[0]}, {words[-1]}" if has_gpu(machine) else words[0]


def shipped_throughput() -> pd.DataFrame:
    """Training speed over ours in results/bench_throughput.csv: median and quartiles over windows, a row per contender
    and machine."""
    rows = read_table(root() / "results" / "bench_throughput.csv")
    rows, found = rows[rows["part"] == "contenders"].dropna(subset=["samples_per_second"]), []
    for machine, part in rows.groupby("machine", sort=False):
        rates = part.pivot(index="window", columns="contender", values="samples_per_second")[part["contender"].unique()]
        found.append(ratios(rates, OUR_NAME).assign(machine=machine))
    return pd.concat(found).reset_index()


def draw_throughput(seconds: pd.DataFrame, shipped: pd.DataFrame) -> Figure:
    """Left: speed over one thread on this machine, by model and threads. Right: the shipped rows, over ours."""
    figure, (left, right) = subplots(1, 2, figsize=(11, 4))
    models = list(seconds.columns.unique("model"))
    threads = list(seconds.columns.unique("threads"))
    for number, count in enumerate(threads):
        # Ratios within a window: what slows the machine down for a while slows both.
        speedup = pd.DataFrame({m: seconds[m][threads[0]] / seconds[m][count] for m in models})
        middle, spread = speedup.median(), speedup.quantile([0.25, 0.75])
        bars = np.stack([middle - spread.loc[0.25], spread.loc[0.75] - middle])
        x = np.arange(len(models)) + 0.8 * (number + 0.5) / len(threads) - 0.4
        left.bar(x, middle, 0.7 / len(threads), yerr=bars, capsize=3, label=f"threads: {count}")
    left.axhline(1, color=GREY, ls=":")
    left.set_xticks(range(len(models)), [m.replace(", ", "\n") for m in models], fontsize=9)
    left.set(ylabel="speed / speed on one thread", title="measured here, just now")
    left.set(ylim=(0, 1.25 * max(left.get_ylim()[1], 1)))
    left.legend(loc="upper left", ncols=len(threads))
    contenders, machines = (list(shipped[name].unique()) for name in ("contender", "machine"))
    for number, machine in enumerate(machines):
        part = shipped[shipped["machine"] == machine].set_index("contender").reindex(contenders)
        bars = np.stack([part["ratio"] - part["low"], part["high"] - part["ratio"]])
        y = np.arange(len(part)) + 0.8 * (number + 0.5) / len(machines) - 0.4
        right.barh(y, part["ratio"], 0.7 / len(machines), xerr=bars, capsize=2, label=short_name(machine))
    right.axvline(1, color=GREY, ls=":")
    right.set_yticks(range(len(contenders)), contenders, fontsize=9)
    right.invert_yaxis()
    right.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    gpu = "" if any(map(has_gpu, machines)) else "\n(GPU: not measured)"
    right.set(xlabel="speed / ours on the same machine", title=f"results/bench_throughput.csv{gpu}")
    return figure


def draw_memory(cost: pd.DataFrame) -> Figure:
    """Peak memory and seconds of 100 iterations over the number of pairs, relative to the fewest; one run a point."""
    rows = cost[cost["axis"] == "pairs"]
    pairs = rows["value"].astype(int)
    figure, axes = subplots(figsize=(7, 3.8))
    axes.plot(pairs, rows["peak_bytes"] / rows["peak_bytes"].iloc[0], "o-", label="peak memory")
    axes.plot(pairs, rows["seconds"] / rows["seconds"].iloc[0], "s--", label="seconds of 100 iterations")
    axes.axhline(1, color=GREY, ls=":")
    axes.set(xscale="log", xlabel="training pairs", ylabel="over that with the fewest", ylim=(0, 2))
    axes.legend()
    return figure


def draw_growth(reports: Sequence[dict], chance: float, captions: int) -> Figure:
    """Zero-shot accuracy, and R@1 among so many captions, after every growth step, a line per seed."""
    figure, (left, right) = subplots(1, 2, figsize=(9.5, 3.6))
    for number, report in enumerate(reports):
        steps = [entry["step"] for entry in report["steps"]]
        left.plot(steps, [entry["zero_shot_mean"] for entry in report["steps"]], "o-", label=f"seed {report['seed']}",
                  color=PALETTE[number])  # fmt: skip
        right.plot(steps, [entry["retrieval"]["i2t_r1"] for entry in report["steps"]], "o-", color=PALETTE[number])
    for axes, guessed in ((left, chance), (right, 1 / captions)):
        axes.axhline(guessed, color=GREY, ls=":", label="chance")
    left.set(xlabel="growth step", ylabel="accuracy", title="which pattern? (zero-shot)", ylim=(0, 1.03), xticks=steps)
    title = f"picture to caption, among {captions}"
    right.set(xlabel="growth step", ylabel="R@1", title=title, ylim=(0, 1.03), xticks=steps)
    left.legend()
    return figure


def draw_samples(folder: Path, table: pd.DataFrame) -> Figure:
    """The first picture of every pattern, with caption and growth step."""
    rows = table.drop_duplicates("label")
    count = len(rows)
    figure, panels = subplots(1, count, figsize=(2.2 * count, 2.6))
    for axes, row in zip(panels, rows.itertuples(), strict=True):
        axes.imshow(Image.open(folder / row.image))
        axes.axis("off")
        caption = row.caption.replace(" flag", " flag\n")
        axes.set_title(f"step {row.step}\n{caption}", fontsize=9)
    return figure


def by_pattern(stream: Stream, out: Path) -> pd.DataFrame:
    """By pattern: test pictures, and the share recognised after every growth step of the run at `out`."""
    task = stream.tasks[0]
    shown = np.array([prompts[0] for prompts in task.prompts])[task.labels]
    table = {"pictures": {name: int((shown == name).sum()) for name in (*FIRST, *LATER)}}
    for step in range(1, 1 + len(stream.train)):
        right = answers(load_model(out / f"step_{step}"), task).numpy() == task.labels
        table[f"after step {step}"] = pd.Series(right).groupby(shown).mean()
    return pd.DataFrame(table).loc[[*FIRST, *LATER]]


@exercise
def check_splits(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    for count in (400, 1_000):
        images = [f"{n}.png" for n in range(count) for _ in range(1 + int(rng.integers(3)))]
        got = list(answer(images, 0))
        require(len(got) == len(images), f"{len(images)} rows need as many splits, not {len(got)}.")
        require(set(got) <= {"train", "val", "test"}, f"splits are train, val and test, not {set(got)}.")
        by_picture: dict[str, set] = {}
        for image, split in zip(images, got, strict=True):
            by_picture.setdefault(image, set()).add(split)
        torn = [image for image, splits in by_picture.items() if len(splits) > 1]
        require(not torn, f"{len(torn)} pictures are in two splits: their other captions would give them away.")
        counts = Counter(next(iter(splits)) for splits in by_picture.values())
        for split in ("val", "test"):
            share = counts[split] / count
            require(0.05 <= share <= 0.15, f"about a tenth of the pictures should be {split}, not {share:.0%}.")
        require(list(answer(images, 0)) == got, "the same seed must give the same splits.")
        require(list(answer(images, 1)) != got, "draw the pictures by the seed, not always the same ones.")


@exercise
def check_hours(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    config = ModelConfig(32, 8, 24, 500, 64)
    for _ in range(5):
        architecture = Architecture(*rng.integers(1, 5, 6).tolist())
        batch, iterations, rate = (
            int(rng.integers(2, 6)) * 64,
            int(rng.integers(100, 9_000)),
            1e11 * rng.random() + 1e10,
        )
        right = iterations * training_flops(architecture, config, batch) / rate / 3600
        got = float(answer(architecture, config, batch, iterations, rate))
        forward = iterations * batch * forward_flops(architecture, config) / rate / 3600
        require(abs(got / right - 3600) > 1, "hours, not seconds.")
        require(abs(got / forward - 1) > 0.01, "that is the forward pass alone; the backward pass costs twice as much.")
        require(
            abs(got / right * batch - 1) > 0.1, "training_flops counts a whole batch if you give it the batch size."
        )
        require(
            abs(got / right - 1) < 0.02, f"{got:.3g} hours is not it: FLOPs of an iteration, times iterations / rate."
        )
