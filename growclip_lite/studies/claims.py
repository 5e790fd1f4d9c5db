"""The claims of the paper, one by one, and what the tables say about them.

Whichever of several rivals is "the best" is chosen by mean validation accuracy over seeds; the
difference to it is then taken on test data. p-values of the findings on one claim are corrected by
Holm's method. Everything printed is computed from the rows in the tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from growclip_lite.markdown import markdown_table
from growclip_lite.profiles import PROFILES
from growclip_lite.studies.choice import last_step, search_against_training
from growclip_lite.studies.statistics import FEWEST_SEEDS, Difference, difference, holm, paired, verdict
from growclip_lite.studies.table import SETTING, TIMETABLE, first_setting, rows_of

# What the paper's abstract reports.
REPORTED = {
    "C1": "a fixed architecture does not fit data that keep growing",
    "C2": "the best architecture is found at every growth step, following the data",
    "C3": "a shared encoder raises cross-modal fusion",
    "C4": "growth in different dimensions is explored (our question: does one alone beat balance?)",
    "C5": "inheriting with momentum keeps knowledge and avoids the local-minimum dilemma",
    "C6": "+2.3 points mean zero-shot over 9 tasks against existing methods",
    "C7": "+1.2 points image-to-text R@1 (Flickr30K)",
}
VERDICTS = ("supported", "undecided", "contradicted", "too few seeds")
ZERO_SHOT, RECALL = "zero_shot_mean", "i2t_r1"
NAMES = {ZERO_SHOT: "zero-shot", RECALL: "image-to-text R@1"}


@dataclass(frozen=True)
class Finding:
    """One comparison: on which claim and data, what minus what, what was held equal, how large it was, which study
    it comes from. Units are points of accuracy where nothing else is said."""

    claim: str
    data: str
    what: str
    equal: str
    found: Difference
    study: str


def read(folder: Path, study: str, **key: object) -> pd.DataFrame:
    """The rows of a study with these values; an empty table where there are none."""
    return rows_of(folder / f"{study}.csv", key)


def read_first(folder: Path, study: str) -> pd.DataFrame:
    """The rows of a study at the data, profile and timetable of its first row."""
    return first_setting(read(folder, study))


def best(rows: pd.DataFrame, by: str) -> tuple[object, pd.DataFrame]:
    """The value of column `by` with the highest mean validation accuracy over seeds, and its rows."""
    name = rows.groupby(by, sort=False)["validation_mean"].mean().idxmax()
    return name, rows[rows[by] == name]


def settings(folder: Path) -> list[dict[str, object]]:
    """Data, profile and timetable of every grown run in the tables."""
    grown = read(folder, "growth", method="growclip")
    return grown[SETTING].drop_duplicates().to_dict("records") if len(grown) else []


def along_the_way(rows: pd.DataFrame) -> pd.DataFrame:
    """With a column `known`: accuracy on the concepts known by then, mean over the growth steps."""
    return rows.assign(known=[np.mean([float(value) for value in text.split()]) for text in rows["steps_known"]])


def place(setting: dict[str, object]) -> str:
    """Where something was measured, in words; iterations are told where they are not the profile's own."""
    power, name, iterations = setting["share_power"], setting["profile"], setting["iterations"]
    share = {0: "equal steps", 1: "equal epochs"}.get(power, f"steps by pairs ^ {power:g}")
    own = name in PROFILES and PROFILES[name].iterations == iterations
    return f"{setting['data']}, {name}{'' if own else f' with {iterations:,} iterations'}, {share}"


def by_place(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The rows of every setting, with its words."""
    for keys, part in rows.groupby(SETTING, sort=False) if len(rows) else []:
        yield place(dict(zip(SETTING, keys, strict=True))), part


def on_growing(folder: Path) -> Iterator[Finding]:
    """C1, C6 and C7: growing against fixed architectures, from scratch, and other growers."""
    for setting in settings(folder):
        where = place(setting)
        rows, growers = read(folder, "growth", **setting), read(folder, "growers", **setting)
        grown, fixed = rows[rows["method"] == "growclip"], rows[rows["method"].str.startswith("fixed")]
        for view, equal in (("flops", "FLOPs"), ("steps", "iterations")):
            for method, part in fixed[fixed["view"] == view].groupby("method", sort=False):
                yield Finding("C1", where, f"GrowCLIP - {method}", equal, paired(grown, part, ZERO_SHOT), "growth")
        equal_flops = fixed[fixed["view"] == "flops"]
        if len(equal_flops) and "steps_known" in rows and grown["steps_known"].notna().all():
            name, its = best(equal_flops, "method")
            found = paired(along_the_way(grown), along_the_way(its), "known")
            what = f"GrowCLIP - best fixed ({str(name).removeprefix('fixed ')}), known concepts, mean over steps"
            yield Finding("C1", where, what, "FLOPs", found, "growth")
        rivals = [("fixed", equal_flops, "growth"), ("other grower", growers, "growers")]
        for claim, column in (("C6", ZERO_SHOT), ("C7", RECALL)):
            for kind, part, study in rivals:
                if len(part):
                    name, its = best(part, "method")
                    what = f"GrowCLIP - best {kind} ({str(name).removeprefix('fixed ')}), {NAMES[column]}"
                    yield Finding(claim, where, what, "FLOPs", paired(grown, its, column), study)
        scratch = rows[rows["method"] == "from scratch"]
        for view, equal in (("last step", "FLOPs since the last pairs"), ("flops", "all FLOPs")):
            if len(part := scratch[scratch["view"] == view]):
                yield Finding("C6", where, "GrowCLIP - from scratch", equal, paired(grown, part, ZERO_SHOT), "growth")


def on_search(folder: Path) -> Iterator[Finding]:
    """C2: the choice against other members, how the search ranks them, and whether the choice follows the data."""
    rows = read(folder, "choice")
    if not len(rows):
        return
    rows = first_setting(rows, TIMETABLE)  # its hard streams are part of the study
    here = last_step(rows)
    members = here[here["part"] == "regret"]
    if len(members):
        chosen, others = members[members["rule"] == "search"], members[members["rule"] != "search"]
        random = others[others["rule"].str.startswith("random")]
        random = random[random["architecture"] != random["seed"].map(chosen.set_index("seed")["architecture"])]
        means = random.groupby("seed", as_index=False)[[ZERO_SHOT, "loss_after"]].mean()
        where, equal = str(members["data"].iloc[0]), "data, iterations (costs within the growth budget)"
        yield Finding(
            "C2", where, "choice - other members at random", equal, paired(chosen, means, ZERO_SHOT), "choice"
        )
        for rule in ("balanced", "widest"):
            part = others[others["rule"] == rule]
            yield Finding("C2", where, f"choice - {rule} member", equal, paired(chosen, part, ZERO_SHOT), "choice")
        losses = paired(means, chosen, "loss_after")
        yield Finding(
            "C2", where, "held-out loss of other members at random - of the choice, x 100", equal, losses, "choice"
        )
        taus = [
            kendalltau(part["search_loss"], part["loss_after"]).statistic
            for _, part in search_against_training(here).groupby("seed")
            if len(part) > 1
        ]
        what = "Kendall's tau of the search's losses with those after training, members trained, x 100"
        yield Finding("C2", where, what, equal, difference(100 * np.array(taus)), "choice")
    chosen = rows[rows["part"] == "choice"]
    if len(chosen):
        share = chosen.assign(share=(chosen["text_flops"] - chosen["image_flops"]) / chosen["added_flops"])
        text, image = (share[share["data"] == f"hard-{side}"] for side in ("text", "image"))
        what = "share of the growth on the text side - on the image side, percent: hard on text - hard on image"
        yield Finding("C2", "hard streams", what, "everything else", paired(text, image, "share"), "choice")


def on_sharing(folder: Path) -> Iterator[Finding]:
    """C3: shared depths against none."""
    rows = read_first(folder, "sharing")
    none = rows[rows["shared_depth"] == 0] if len(rows) else rows
    for equal, part in rows.groupby("equal") if len(rows) else []:
        depth, its = best(part[part["shared_depth"] > 0], "shared_depth")
        held = {"flops": "FLOPs", "parameters": "parameters"}[equal] + ", iterations"
        for column in (RECALL, ZERO_SHOT):
            what = f"best shared depth ({depth}) - none, {NAMES[column]}"
            yield Finding("C3", str(part["data"].iloc[0]), what, held, paired(its, none, column), "sharing")


def on_dimensions(folder: Path) -> Iterator[Finding]:
    """C4: every dimension alone against balanced growth."""
    rows = read_first(folder, "dimensions")
    if not len(rows):
        return
    none, where = rows[rows["growth"] == "none"], str(rows["data"].iloc[0])
    for equal, held in (("flops", "added FLOPs"), ("parameters", "added parameters")):
        same = rows[rows["equal"] == equal]
        balanced, alone = same[same["growth"] == "balanced"], same[same["growth"] != "balanced"]
        for name, part in alone.groupby("growth", sort=False):
            what = f"{str(name).replace('_', ' ')} alone - balanced"
            found = paired(part, balanced, ZERO_SHOT)
            yield Finding("C4", where, what, f"{held}, iterations", found, "dimensions")
        if len(balanced):
            found = paired(balanced, none, ZERO_SHOT)
            yield Finding("C4", where, f"balanced, by {held} - no growth", "iterations", found, "dimensions")


def on_momentum(folder: Path) -> Iterator[Finding]:
    """C5: the best momentum against plain inheriting and random weights; growers' PIM against both."""
    rows = read_first(folder, "momentum")
    for before, part in rows.groupby("before") if len(rows) else []:
        where, a = f"{part['data'].iloc[0]}, {before} training before", part[part["reading"] == "A"]
        name, its = best(a[(a["momentum"] > 0) & (a["momentum"] < 1)], "momentum")
        for other, momentum in (("plain inheriting", 1.0), ("random weights", 0.0)):
            found = paired(its, a[a["momentum"] == momentum], ZERO_SHOT)
            yield Finding("C5", where, f"best momentum ({name:g}) - {other}", "data, iterations", found, "momentum")
        b = part[part["reading"] == "B"]
        if len(b):
            decay, averaged = best(b[b["momentum"] > 0], "momentum")
            found = paired(averaged, b[b["momentum"] == 0], ZERO_SHOT)
            what = f"best average (decay {decay:g}) - plain inheriting"
            yield Finding("C5", where, what, "data, iterations", found, "momentum")
    for setting in settings(folder):
        growers = read(folder, "growers", **setting)
        if len(growers):
            pim = growers[growers["method"] == "PIM"]
            for other in ("plain inheriting", "random"):
                found = paired(pim, growers[growers["method"] == other], ZERO_SHOT)
                where = place(setting)
                yield Finding("C5", where, f"PIM - {other}, whole stream", "FLOPs", found, "growers")


def on_continual(folder: Path) -> Iterator[Finding]:
    """C1, on new pairs only: growing against a fixed architecture, each with the continual-learning method that it goes
    best with. ZSCL is left out like replay: its reference pairs are old ones."""
    for where, rows in by_place(read(folder, "continual")):
        new_only = rows[~rows["method"].isin(["replay", "ZSCL"])]
        sides = [new_only[new_only["growing"] == growing] for growing in (False, True)]
        if all(map(len, sides)):
            (fixed_name, fixed), (grown_name, grown) = (best(side, "method") for side in sides)
            what = f"growing ({grown_name}) - fixed large ({fixed_name}), new pairs only"
            yield Finding("C1", where, what, "iterations", paired(grown, fixed, ZERO_SHOT), "continual")


def findings(folder: Path) -> list[Finding]:
    """All that have a seed in common, claim by claim."""
    sources = (on_growing, on_search, on_sharing, on_dimensions, on_momentum, on_continual)
    found = (finding for source in sources for finding in source(folder) if finding.found.seeds)
    return sorted(found, key=lambda finding: finding.claim)


def judged(folder: Path) -> list[tuple[Finding, float, str]]:
    """Every finding with its corrected p-value and its verdict. Where seeds are too few for a verdict nothing is
    tested: such findings have no p-value, and do not count among those that the others are corrected for."""
    every, found = findings(folder), []
    for claim in REPORTED:
        mine = [finding for finding in every if finding.claim == claim]
        corrected = holm([f.found.p if f.found.seeds >= FEWEST_SEEDS else np.nan for f in mine])
        found += [(f, p, verdict(f.found, p)) for f, p in zip(mine, corrected, strict=True)]
    return found


def full_table(folder: Path) -> str:
    """One line per finding, as Markdown."""
    lines = []
    for f, p, judgement in judged(folder):
        corrected = "-" if np.isnan(p) else f"{p:.3f}"
        lines.append([f.claim, f.data, f.what, f.equal, f.found, f.found.seeds, corrected, judgement, f.study])
    head = "claim | data | measured | held equal | difference (95 %) | seeds | p (Holm) | verdict | study"
    return markdown_table(head, lines)


def short_table(folder: Path) -> str:
    """One line per claim: what the paper reports, and how our comparisons on it came out."""
    lines = []
    found = judged(folder)
    for claim, reported in REPORTED.items():
        mine = [(f, judgement) for f, _, judgement in found if f.claim == claim]
        counts = Counter(judgement for _, judgement in mine)
        told = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name]) or "not measured"
        first = f"{mine[0][0].what}: {mine[0][0].found} ({mine[0][0].data})" if mine else "-"
        lines.append([claim, reported, told, first])
    return markdown_table("claim | the paper (abstract) | comparisons here | the first of them, points (95 %)", lines)


def mean_and_deviation(values: pd.Series) -> str:
    """Over seeds; "not measured" where there are none."""
    if values.empty:
        return "not measured"
    return f"{values.mean():.3f} ± {values.std():.3f}" if len(values) > 1 else f"{values.mean():.3f}"


def scores_table(folder: Path) -> str:
    """The grown runs, and at equal FLOPs the fixed ones and those from scratch: means and deviations over seeds."""
    lines = []
    for setting in settings(folder):
        rows = read(folder, "growth", **setting)
        for (method, view), part in rows[rows["view"] != "steps"].groupby(["method", "view"], sort=False):
            name = f"{method}, {view} only" if view == "last step" else method
            scores = [mean_and_deviation(part[column]) for column in (ZERO_SHOT, RECALL)]
            cost = f"{part['train_flops'].mean() / 1e12:.1f}"
            cells = [place(setting), name, len(part), *scores, cost]
            lines.append(cells)
    head = "data, profile, iterations | method | seeds | mean zero-shot | image-to-text R@1 | TFLOPs"
    return markdown_table(head, lines)


def continual_table(folder: Path) -> str:
    """Study 7: means and deviations over seeds, a line per method, without growing and with it."""
    lines = []
    for where, rows in by_place(read(folder, "continual")):
        for (growing, method), part in rows.groupby(["growing", "method"], sort=False):
            scores = [mean_and_deviation(part[column]) for column in (ZERO_SHOT, "plasticity", "forgetting", RECALL)]
            lines.append([where, "growing" if growing else "fixed large", method, len(part), *scores])
    head = (
        "data, profile, iterations | architecture | method | seeds | mean zero-shot | plasticity | forgetting "
        "| image-to-text R@1"
    )
    return markdown_table(head, lines)


def main_table(folder: Path) -> str:
    """The main job at profile laptop, and its final architecture from scratch with the last growth step's budget."""
    lines = []
    every = read(folder, "main")
    for (data, iterations), rows in every.groupby(["data", "iterations"], sort=False) if len(every) else []:
        grown, scratch = (rows[rows["method"] == method] for method in ("growclip", "from scratch"))
        gain = paired(grown, scratch, ZERO_SHOT)
        scores = [mean_and_deviation(part) for part in (grown[ZERO_SHOT], grown[RECALL], scratch[ZERO_SHOT])]
        cells = [data, f"{iterations:,}", len(grown), *scores, gain if gain.seeds > 1 else "not measured"]
        lines.append(cells)
    scores = "mean zero-shot | image-to-text R@1 | from scratch, zero-shot"
    return markdown_table(f"data | iterations | seeds | {scores} | gain, points (95 %)", lines)


def tried_table(folder: Path) -> str:
    """What was tried before the studies, on validation data and seeds of its own: a line per setting and plan (which
    of a search is what it has found)."""
    lines = []
    setting = ["kind", "plan", "share_power", "batch_size", "learning_rate"]
    every = read(folder, "tried")
    for (kind, plan, power, batch, rate), part in every.groupby(setting, sort=False) if len(every) else []:
        steps = plan.split()
        shown = steps[0] if len(set(steps)) == 1 else " → ".join(steps)
        scores = [f"{part[column].mean():.3f}" for column in ("validation_mean", "validation_i2t_r1")]
        lines.append(
            [kind, shown, f"{power:g}", batch, f"{rate:g}", f"{part['tflops'].mean():.1f}", len(part), *scores]
        )
    head = (
        "architectures | plan (depth and width of image, text, shared) | share power | batch | learning rate | TFLOPs "
        "| seeds | validation zero-shot | validation R@1"
    )
    return markdown_table(head, lines)
