"""What the tables of rows say, as Markdown: the claims of the paper with their verdicts, and the scores behind them.
Everything is computed from the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from growclip_lite.markdown import markdown_table
from growclip_lite.studies.claims import (
    RECALL,
    REPORTED,
    VERDICTS,
    ZERO_SHOT,
    Judged,
    judged,
)
from growclip_lite.studies.settings import grown_at, place, read, settings
from growclip_lite.studies.statistics import TOO_FEW, paired
from growclip_lite.table import steps_of


def claim_by_claim(folder: Path) -> Iterator[tuple[str, str, list[Judged]]]:
    """Every claim, what the paper reports, and what was found on it."""
    found = judged(folder)
    for claim, reported in REPORTED.items():
        yield claim, reported, [one for one in found if one[0].claim == claim]


def cells(judged: Judged) -> list[object]:
    """What, where, what was held equal, how large, how sure, and how to measure it."""
    f, p, told = judged
    corrected = "-" if np.isnan(p) else "< 0.0001" if p < 0.0001 else f"{p:.4f}"
    return [f.what, f.data, f.equal, f.found, f.found.seeds, corrected, told, f"`{f.command} --seeds {f.found.seeds}`"]


CELLS = "measured | data | held equal | difference (95 %) | seeds | p (Holm) | verdict | command"


def headlines(found: list[Judged]) -> list[Judged]:
    """The main comparisons on a claim."""
    return [one for one in found if one[0].headline]


def claim_table(folder: Path) -> str:
    """For every claim what the paper reports, and the main comparisons, as Markdown."""
    lines = []
    for claim, reported, found in claim_by_claim(folder):
        told = [cells(one) for one in headlines(found)] or [["not measured", *["-"] * 7]]
        lines += [[claim, "" if number else reported, *line] for number, line in enumerate(told)]
    return markdown_table(f"claim | the paper (abstract) | {CELLS}", lines)


def counted(verdicts: list[str]) -> str:
    """How many there are of each, as text."""
    return ", ".join(f"{verdicts.count(name)} {name}" for name in VERDICTS if name in verdicts) or "-"


def short_table(folder: Path) -> str:
    """The first of them for every claim, in the order of its rows, and the verdicts of the others."""
    lines = []
    for claim, reported, found in claim_by_claim(folder):
        told = headlines(found)
        line = ["not measured", *["-"] * 4]
        if told:
            f, _, verdict = told[0]
            line = [f"{f.what}; {f.data}", f.found, f.found.seeds, verdict, counted([v for *_, v in told[1:]])]
        lines.append([claim, reported, *line])
    head = "claim | the paper (abstract) | measured | points (95 %) | seeds | verdict | further comparisons"
    return markdown_table(head, lines)


def full_table(folder: Path) -> str:
    """For every claim a line per comparison, as Markdown."""
    parts = []
    for claim, reported, found in claim_by_claim(folder):
        table = markdown_table(CELLS, [cells(one) for one in found]) if found else "Not measured."
        parts.append(f"**{claim}**: {reported}.\n\n{table}")
    return "\n\n".join(parts)


RIVALS = {  # the row's name: how the comparison is called, and what it holds equal
    "the best of three fixed sizes, equal FLOPs": ("GrowCLIP - best fixed", "FLOPs"),
    "the large one of the three, equal FLOPs": ("GrowCLIP - fixed large", "FLOPs"),
    "its last architecture from scratch on all data, all of growing's FLOPs": ("GrowCLIP - from scratch", "all FLOPs"),
    "the same, only the FLOPs since the last pairs arrived": ("GrowCLIP - from scratch", "FLOPs since the last pairs"),
}


def rivals_table(folder: Path) -> str:
    """Growing against its rivals of study 1 in zero-shot accuracy, a column for every setting in which all three fixed
    ones were measured on enough seeds."""
    # C7 compares the same rivals in R@1; C5 has what the last FLOPs alone bring.
    found = [one for one in judged(folder) if one[0].claim in ("C5", "C6") and one[2] != TOO_FEW]

    def cell(where: str, what: str, equal: str) -> str:
        told = [
            f"{f.found.mean:+.1f} ({verdict})" for f, _, verdict in found
            if f.data == where and f.equal == equal and f.what.startswith(what)
        ]  # fmt: skip
        return " ".join(told) or "-"

    fixed = [f for f, *_ in found if f.equal == "FLOPs" and "fixed" in f.what]
    sizes = Counter(f.data for f in fixed)
    places = {f.data: f"{f.data} ({f.found.seeds} seeds)" for f in fixed if sizes[f.data] == 3}
    lines = [[name, *(cell(where, *rival) for where in places)] for name, rival in RIVALS.items()]
    return markdown_table(" | ".join(["GrowCLIP minus", *places.values()]), lines)


def mean_and_deviation(values: pd.Series) -> str:
    """Over seeds; "not measured" where there are none."""
    if (values := values.dropna()).empty:
        return "not measured"
    return f"{values.mean():.3f} ± {values.std():.3f}" if len(values) > 1 else f"{values.mean():.3f}"


def scores_table(folder: Path) -> str:
    """The grown runs, the fixed ones and those from scratch: means and deviations over seeds."""
    lines = []
    for setting in settings(folder, "growth"):
        rows = read(folder, "growth", **setting)
        for (method, view), part in rows.groupby(["method", "view"], sort=False):
            name = {"steps": f"{method}, equal iterations", "last step": f"{method}, last step only"}.get(view, method)
            scores = [mean_and_deviation(part[column]) for column in (ZERO_SHOT, RECALL)]
            cost = f"{part['train_flops'].mean() / 1e12:.1f}"
            lines.append([place(setting), name, len(part), *scores, cost])
    head = "data, profile, iterations | method | seeds | mean zero-shot | image-to-text R@1 | TFLOPs"
    return markdown_table(head, lines)


def way_table(folder: Path) -> str:
    """Growing against the small fixed architecture at equal FLOPs in all: training batches in the first growth step,
    and the difference in accuracy on the concepts known by then, growth step by growth step."""
    lines = []
    for setting in settings(folder, "growth"):
        grown, rows = grown_at(folder, setting), read(folder, "growth", view="flops", **setting)
        small = rows[rows["method"] == "fixed small"]
        if len(small) and len(grown) and grown["steps_known"].notna().all():
            known = [pd.DataFrame(steps_of(part, "steps_known"), index=part["seed"]) for part in (grown, small)]
            points = 100 * (known[0] - known[1]).dropna()  # by seed
            batches = (steps_of(part, "steps_iterations")[:, 0].mean() for part in (small, grown))
            told = ", ".join(f"{value:+.1f}" for value in points.mean())
            lines.append([place(setting), len(points), " / ".join(f"{count:,.0f}" for count in batches), told])
    head = (
        "data, profile, iterations | seeds | batches in the first growth step, small / growing "
        "| points, growing - small, step by step"
    )
    return markdown_table(head, lines)


def continual_table(folder: Path) -> str:
    """Study 7: means and deviations over seeds, a line per method, without growing and with it."""
    lines = []
    for setting in settings(folder, "continual"):
        where, rows = place(setting), read(folder, "continual", **setting)
        for (growing, method), part in rows.groupby(["growing", "method"], sort=False):
            scores = [mean_and_deviation(part[column]) for column in (ZERO_SHOT, "plasticity", "forgetting", RECALL)]
            lines.append([where, "growing" if growing else "fixed large", method, len(part), *scores])
    head = (
        "data, profile, iterations | architecture | method | seeds | mean zero-shot | plasticity | forgetting "
        "| image-to-text R@1"
    )
    return markdown_table(head, lines)


def main_table(folder: Path) -> str:
    """The main job at profile laptop, and its final architecture from scratch with all pairs and the FLOPs since the
    last of them had come: where study 1 has them, its rows, else older ones."""
    lines = []
    study = read(folder, "growth", profile="laptop")
    if len(study):
        study = study[(study["method"] == "growclip") | (study["view"] == "last step")]
    every = pd.concat([study, read(folder, "main")])
    for (data, iterations), rows in every.groupby(["data", "iterations"], sort=False) if len(every) else []:
        grown, scratch = (rows[rows["method"] == method] for method in ("growclip", "from scratch"))
        gain = paired(grown, scratch, ZERO_SHOT)
        scores = [mean_and_deviation(part) for part in (grown[ZERO_SHOT], grown[RECALL], scratch[ZERO_SHOT])]
        told = gain if gain.seeds > 1 else "not measured"
        lines.append([data, f"{iterations:,}", len(grown), *scores, told])
    scores = "mean zero-shot | image-to-text R@1 | from scratch, zero-shot"
    return markdown_table(f"data | iterations | seeds | {scores} | gain, points (95 %)", lines)


def tried_table(folder: Path) -> str:
    """What was tried before the studies, on validation data and seeds of its own: a line per setting and plan (which
    of a search is what it has found)."""
    lines = []
    setting = ["kind", "plan", "share_power", "budget_power", "least_spent", "batch_size", "learning_rate"]
    every = read(folder, "tried")
    groups = every.groupby(setting, sort=False, dropna=False) if len(every) else []
    for (kind, plan, power, budget, least, batch, rate), part in groups:
        steps = plan.split()
        shown = steps[0] if len(set(steps)) == 1 else " → ".join(steps)
        scores = [f"{part[column].mean():.3f}" for column in ("validation_mean", "validation_i2t_r1")]
        lines.append(
            [kind, shown, *("-" if np.isnan(value) else f"{value:g}" for value in (power, budget, least)), batch,
             f"{rate:g}", f"{part['tflops'].mean():.1f}", len(part), *scores]
        )  # fmt: skip
    head = (
        "architectures | plan (depth and width of image, text, shared) | share power | budget power "
        "| least spent | batch | learning rate | TFLOPs | seeds | validation zero-shot | validation R@1"
    )
    return markdown_table(head, lines)


TABLES = {
    "Growing against its rivals": rivals_table,
    "The claims": short_table,
    "The main comparisons": claim_table,
    "All comparisons": full_table,
    "Growing against fixed architectures: scores": scores_table,
    "Growing against the smallest, on the way": way_table,
    "Continual learning: scores": continual_table,
    "What was tried before": tried_table,
    "The main job": main_table,
}
