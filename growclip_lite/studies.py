"""Studies: jobs over settings and seeds that write one row each to results/NAME.csv, and draw the figure.

A row that is there already is not computed again, so that a study can be stopped and resumed.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture, ModelConfig, training_flops
from growclip_lite.ceilings import ceilings
from growclip_lite.data.load import load_stream
from growclip_lite.data.scene_tasks import make_tasks
from growclip_lite.data.scenes import concepts_at
from growclip_lite.data.stream import Stream
from growclip_lite.errors import InputError
from growclip_lite.evaluate import evaluate, mean, retrieval, zero_shot_all
from growclip_lite.grow import Run, grow, versions
from growclip_lite.peers import from_scratch, train_fixed
from growclip_lite.plots import plot_capacity
from growclip_lite.profiles import Profile

# Fixed sizes for the question whether capacity matters, each with the most iterations it is given (some minutes).
SIZES = {
    Architecture(1, 1, 1, 1, 0, 1): 9_700,
    Architecture(1, 2, 1, 2, 1, 2): 2_600,
    Architecture(1, 3, 1, 3, 1, 3): 3_200,
    Architecture(2, 3, 1, 3, 2, 3): 1_200,
    Architecture(2, 4, 1, 4, 2, 4): 600,
}
CEILING_ITERATIONS = 400
# Training FLOPs, in units of 1e12. Every point of a curve is a complete training with a schedule of its own.
BUDGETS = {"first": (0.25, 0.5, 1, 2, 4), "last": (4, 8, 16, 32, 64)}


def provenance(profile: Profile) -> dict[str, str]:
    """Commit (with + where files were changed since), versions and profile of a row."""

    def git(*words: str) -> str:
        result = subprocess.run(["git", *words], capture_output=True, text=True, cwd=Path(__file__).parent)
        return result.stdout.strip() if result.returncode == 0 else "unknown"

    changed = "+" if git("status", "--porcelain", "--", ".") not in ("", "unknown") else ""
    about = ", ".join(f"{name} {version}" for name, version in versions().items())
    return {"profile": profile.name, "commit": git("rev-parse", "--short", "HEAD") + changed, "versions": about}


def flat(scores: dict) -> dict[str, float]:
    """Evaluation results as columns."""
    columns = {f"zero_shot_{name}": value for name, value in scores["zero_shot"].items()}
    return columns | {"zero_shot_mean": scores["zero_shot_mean"]} | scores["retrieval"]


def rows_of(path: Path, key: dict) -> pd.DataFrame:
    """The rows of `path` with these values; none where there is no such file."""
    if not path.exists():
        return pd.DataFrame()
    rows = pd.read_csv(path)
    match = pd.Series(True, index=rows.index)
    for name, value in key.items():
        match &= rows[name] == value if name in rows else False
    return rows[match]


def done(path: Path, key: dict) -> bool:
    """Whether `path` has a row with these values."""
    return not rows_of(path, key).empty


def write_table(path: Path, rows: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    rows.to_csv(partial, index=False, float_format="%.6g")
    partial.replace(path)


def add_row(path: Path, row: dict) -> None:
    rows = [pd.read_csv(path)] if path.exists() else []
    write_table(path, pd.concat([*rows, pd.DataFrame([row])]))


def grown_row(stream: Stream, profile: Profile, seed: int, out: Path) -> tuple[dict, dict]:
    """The report of a grown run, and its row."""
    folder = out / f"{stream.name}-{profile.name}-{profile.iterations}-{seed}"
    report = grow(stream, profile, folder, seed=seed, resume=True)
    last = report["steps"][-1]
    overhead = sum(e["phases"].get(name, 0) for e in report["steps"] for name in ("inherit", "search", "evaluate"))
    return report, {
        "method": "growclip", "architecture": str(Architecture.from_dict(last["architecture"])),
        "parameters": last["parameters"], **flat(last), "train_flops": report["total_flops"],
        "seconds": report["seconds"], "overhead_share": overhead / report["seconds"],
        "steps_mean": " ".join(f"{e['zero_shot_mean']:.4f}" for e in report["steps"] if e["zero_shot"]),
    }  # fmt: skip


def scratch_row(stream: Stream, profile: Profile, seed: int, out: Path, report: dict) -> dict:
    """The final architecture of a grown run from scratch, with the last growth step's training budget."""
    begin = time.monotonic()
    model, cost = from_scratch(Run(stream, profile, seed, out), report)
    seconds = time.monotonic() - begin
    row = {"method": "from scratch", "architecture": str(model.architecture), **cost, "seconds": seconds}
    return row | flat(evaluate(model, stream))


def study_growth(path: Path, profile: Profile, seeds: int, source: str) -> None:
    """GrowCLIP against its final architecture from scratch, over seeds."""
    for seed in tqdm(range(seeds), desc=f"growth on {source}"):
        key = {"data": source_name(source), "profile": profile.name, "iterations": profile.iterations, "seed": seed}
        if done(path, key | {"method": "from scratch"}):
            continue
        stream, about = load_stream(source, profile.name, seed), provenance(profile)
        report, row = grown_row(stream, profile, seed, Path("runs/study"))
        if not done(path, key | {"method": "growclip"}):
            add_row(path, key | row | about)
        add_row(path, key | scratch_row(stream, profile, seed, Path("runs/study"), report) | about)


def source_name(source: str) -> str:
    """Built-in sources by name, others by the last part of their path."""
    return Path(source).name


def capacity_jobs(profile: Profile) -> list[tuple[str, Architecture, int]]:
    """Step, architecture and iterations of every training, cheapest budgets first."""
    sizes = ModelConfig(profile.image_size, profile.patch_size, profile.context_length, 1_000, profile.embed_dim)
    jobs = []
    for which, budgets in BUDGETS.items():
        for budget in budgets:
            for architecture, most in SIZES.items():
                iterations = round(budget * 1e12 / training_flops(architecture, sizes, profile.batch_size))
                if iterations <= 1.01 * most:
                    jobs.append((which, architecture, iterations))
    return jobs


def capacity_job(stream: Stream, profile: Profile, which: str, size: Architecture, iterations: int, seed: int) -> dict:
    """One fixed model on the first or the last step's data, tested on that step's concepts."""
    steps = len(stream.train)
    step = 1 if which == "first" else steps
    concepts = concepts_at(step, steps, profile.kinds)
    tasks = make_tasks(concepts, profile.kinds, profile.image_size, profile.task_pictures, [6, step])
    run = Run(stream, profile, seed, Path("runs"))
    begin = time.monotonic()
    model, cost = train_fixed(run, size, step, iterations, f"{which} step, {size}")
    seconds = time.monotonic() - begin
    scores = zero_shot_all(model, tasks)
    result = {"zero_shot": scores, "zero_shot_mean": mean(scores), "retrieval": retrieval(model, stream.retrieval)}
    return {**cost, **flat(result), "seconds": seconds}


def study_capacity(path: Path, profile: Profile, seeds: int, source: str) -> None:
    """Does the last step's data ask for more capacity than the first step's?"""
    for seed in range(seeds):
        stream = load_stream(source, profile.name, seed)
        for which, size, iterations in tqdm(capacity_jobs(profile), desc="capacity"):
            key = {"step": which, "architecture": str(size), "iterations": iterations, "seed": seed}
            if not done(path, key):
                add_row(path, key | capacity_job(stream, profile, which, size, iterations, seed) | provenance(profile))


def study_ceilings(path: Path, profile: Profile, seeds: int, source: str) -> None:
    """A supervised classifier on the pictures of every zero-shot task."""
    concepts = concepts_at(profile.growth_steps, profile.growth_steps, profile.kinds)
    missing = [seed for seed in range(seeds) if not done(path, {"seed": seed})]
    test = load_stream(source, profile.name, 0).tasks if missing else []
    for seed in missing:
        training = make_tasks(concepts, profile.kinds, profile.image_size, 24 * profile.task_pictures, [7, seed])
        begin = time.monotonic()
        scores = ceilings(training, test, CEILING_ITERATIONS, seed)
        row = {"seed": seed, **scores, "seconds": time.monotonic() - begin}
        add_row(path, row | provenance(profile))


def interval(differences: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean of paired differences."""
    result = bootstrap((differences,), np.mean, method="percentile", rng=np.random.default_rng(0), n_resamples=10_000)
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def summary(path: Path) -> str:
    """The growth study as a Markdown table: mean ± standard deviation over seeds, gain with its interval."""
    rows = pd.read_csv(path)
    lines = [
        "| data | iterations | seeds | mean zero-shot | image-to-text R@1 | from scratch, zero-shot | "
        "gain, points (95 %) |",
        "|---|---|---|---|---|---|---|",
    ]

    def cell(values: pd.Series) -> str:
        if values.empty:
            return "not measured"
        return f"{values.mean():.3f} ± {values.std():.3f}" if len(values) > 1 else f"{values.mean():.3f}"

    for (data, iterations, _), part in rows.groupby(["data", "iterations", "profile"], sort=False):
        grown, scratch = (part[part["method"] == m].set_index("seed") for m in ("growclip", "from scratch"))
        gain = 100 * (grown["zero_shot_mean"] - scratch["zero_shot_mean"]).dropna().to_numpy()
        measured = (
            "{:+.1f} ({:+.1f} to {:+.1f})".format(gain.mean(), *interval(gain)) if len(gain) > 1 else "not measured"
        )
        cells = [cell(grown["zero_shot_mean"]), cell(grown["i2t_r1"]), cell(scratch["zero_shot_mean"]), measured]
        lines.append(f"| {data} | {iterations:,} | {len(grown)} | {' | '.join(cells)} |")
    return "\n".join(lines)


STUDIES: dict[str, Callable] = {"growth": study_growth, "capacity": study_capacity, "ceilings": study_ceilings}


def run_study(name: str, profile: Profile, source: str, seeds: int, folder: Path) -> Path:
    """Runs a study to the end and returns the path of its table. Raises `InputError` for an unknown one."""
    if name not in STUDIES:
        raise InputError(f"There is no study {name!r}; choose one of {', '.join(STUDIES)}.")
    path = folder / f"{name}.csv"
    STUDIES[name](path, profile, seeds, source)
    if name == "capacity":
        rows = pd.read_csv(path)
        tasks = load_stream(source, profile.name, 0).tasks
        plot_capacity(rows, path.with_suffix(".png"), sum(task.chance for task in tasks) / len(tasks))
    return path
