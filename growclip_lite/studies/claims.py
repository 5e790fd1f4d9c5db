"""The claims of the paper, one by one, and what the tables say about them.

Whichever of several rivals is "the best" is chosen by mean validation accuracy over seeds; the
difference to it is then taken on test data. Where the best of our own settings is judged, every
seed's is chosen on the other seeds: validation and test data share what chance did to a training.
p-values of the findings on one claim are corrected by Holm's method. What is printed of them:
`claim_tables`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from growclip_lite.studies.choice import last_step, search_against_training, with_leads
from growclip_lite.studies.growers import SHORT, grown_beside
from growclip_lite.studies.growing import RULES
from growclip_lite.studies.settings import command, grown_at, growth_command, place, read, read_first, settings
from growclip_lite.studies.statistics import FEWEST_SEEDS, TOO_FEW, Difference, difference, holm, paired, verdict
from growclip_lite.table import TIMETABLE, first_setting, measured_at, steps_of

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
VERDICTS = ("supported", "undecided", "contradicted", TOO_FEW)
ZERO_SHOT, RECALL = "zero_shot_mean", "i2t_r1"
SHARED_CAPTIONS = {"cifar10"}  # eight captions for all pictures of a class: image-to-text R@1 means nothing there
NAMES = {ZERO_SHOT: "zero-shot", RECALL: "image-to-text R@1"}
OWN_WAY = "plain inheriting"  # among the growers, how GrowCLIP's own runs inherit (a momentum of 1)


@dataclass(frozen=True)
class Finding:
    """One comparison: on which claim and data, what minus what, what was held equal, how large it was, which command
    measures it, whether it is one of the claim's main comparisons, and whether it is in points of accuracy."""

    claim: str
    data: str
    what: str
    equal: str
    found: Difference
    command: str
    headline: bool = False
    in_points: bool = True


def best_first(rows: pd.DataFrame, by: str) -> list[tuple[object, pd.DataFrame]]:
    """The values of column `by` with their rows, that with the highest mean validation accuracy over seeds first."""
    parts = rows.groupby(by, sort=False) if len(rows) else []
    return sorted(parts, key=lambda part: -part[1]["validation_mean"].mean())


def best(rows: pd.DataFrame, by: str) -> tuple[object, pd.DataFrame]:
    """The first of them."""
    return best_first(rows, by)[0]


def best_elsewhere(rows: pd.DataFrame, by: str) -> tuple[str, pd.DataFrame]:
    """The names of the values of column `by` that are best on all other seeds, and for every seed its row of that
    value. With a single seed there is no other to choose on."""
    if rows.empty:
        return "", rows
    parts = []
    for seed, mine in rows.groupby("seed"):
        others = rows[rows["seed"] != seed]
        parts.append(mine[mine[by] == best(others if len(others) else mine, by)[0]])
    chosen = pd.concat(parts)
    return ", ".join(str(name).replace("_", " ") for name in sorted(chosen[by].unique())), chosen


def along_the_way(one: pd.DataFrame, other: pd.DataFrame) -> Difference:
    """`one` minus `other` in accuracy on the concepts known by then, mean over the growth steps."""
    means = [rows.assign(known=steps_of(rows, "steps_known").mean(1)) for rows in (one, other)]
    return paired(*means, "known")


def at_equal_flops(
    grown: pd.DataFrame, part: pd.DataFrame, rival: str, setting: dict[str, object], again: str, headline: bool
) -> Iterator[Finding]:
    """Growing against a rival. C6: zero-shot; C7: image-to-text R@1, where it means something."""
    for claim, column in (("C6", ZERO_SHOT), ("C7", RECALL)):
        if claim == "C6" or setting["data"] not in SHARED_CAPTIONS:
            what, found = f"GrowCLIP - {rival}, {NAMES[column]}", paired(grown, part, column)
            yield Finding(claim, place(setting), what, "FLOPs", found, again, headline)


def on_fixed(folder: Path) -> Iterator[Finding]:
    """C1, C6 and C7: growing against fixed architectures."""
    for setting in settings(folder, "growth"):
        where, again = place(setting), growth_command(folder, setting)
        grown, rows = grown_at(folder, setting), read(folder, "growth", **setting)
        fixed = rows[rows["method"].str.startswith("fixed")]
        at_flops, at_steps = (best_first(fixed[fixed["view"] == view], "method") for view in ("flops", "steps"))
        for name, part in at_steps:
            what, found = f"GrowCLIP - {name}, {NAMES[ZERO_SHOT]}", paired(grown, part, ZERO_SHOT)
            yield Finding("C1", where, what, "iterations", found, again)
        for number, (name, part) in enumerate(at_flops):
            first = number == 0
            rival = f"best fixed ({name.removeprefix('fixed ')})" if first else name
            if first and len(grown) and grown["steps_known"].notna().all():
                what, found = f"GrowCLIP - {rival}, known concepts, mean over steps", along_the_way(grown, part)
                yield Finding("C1", where, what, "FLOPs in all, not by growth step", found, again, headline=True)
            yield from at_equal_flops(grown, part, rival, setting, again, headline=first)


def on_scratch(folder: Path) -> Iterator[Finding]:
    """Growing against its last architecture with all data at once. C6: with all FLOPs, or all iterations; C5, what
    inheriting is worth: with the FLOPs that growing spent since the last pairs had come."""
    for setting in settings(folder, "growth"):
        where, again, grown = place(setting), growth_command(folder, setting), grown_at(folder, setting)
        for claim, view, equal in (
            ("C6", "flops", "all FLOPs"), ("C6", "steps", "all iterations"),
            ("C5", "last step", "FLOPs since the last pairs"),
        ):  # fmt: skip
            part = read(folder, "growth", method="from scratch", view=view, **setting)
            if len(part):
                found = paired(grown, part, ZERO_SHOT)
                yield Finding(claim, where, "GrowCLIP - from scratch", equal, found, again)


def on_growers(folder: Path) -> Iterator[Finding]:
    """C6 and C7: growing against the best of other people's growers. C5: PIM against all growers, along the same
    architectures."""
    for setting in settings(folder, "growers"):
        rows, where = read(folder, "growers", **setting), place(setting)
        grown, rows = grown_beside(folder, rows), rows[rows["method"] != "growclip"]
        again = command("growers", setting, short=set(rows["method"]) <= set(SHORT))
        pim, others = rows[rows["method"] == "PIM"], best_first(rows[rows["method"] != "PIM"], "method")
        for name, part in others:
            found = paired(pim, part, ZERO_SHOT)
            yield Finding("C5", where, f"PIM - {name}, whole stream", "FLOPs", found, again)
        # The short form has none of other people's growers: what is left there is GrowCLIP's own way to inherit.
        for name, part in [other for other in others if other[0] not in SHORT][:1]:
            yield from at_equal_flops(grown, part, f"best other grower ({name})", setting, again, headline=True)
        own, rival = rows[rows["method"] == OWN_WAY], "its architectures without a search"
        if len(own):
            yield from at_equal_flops(grown, own, rival, setting, again, headline=False)


def on_rules(folder: Path) -> Iterator[Finding]:
    """C2: growing with searches against growing by a fixed rule along the whole stream, at equal FLOPs."""
    for setting in settings(folder, "growth"):
        where, again, grown = place(setting), growth_command(folder, setting), grown_at(folder, setting)
        for rule in RULES:
            part = read(folder, "growth", method=rule, view="flops", **setting)
            if len(part):
                what, found = f"GrowCLIP - {rule}, whole stream", paired(grown, part, ZERO_SHOT)
                yield Finding("C2", where, what, "FLOPs", found, again, headline=True)


def on_search(folder: Path) -> Iterator[Finding]:
    """C2: the choice against other members, how the search ranks them, and whether the choice follows the data."""
    rows = read(folder, "choice")
    if not len(rows):
        return
    rows = first_setting(rows, TIMETABLE)  # its hard streams are part of the study
    here = last_step(rows)
    source = here["data"].iloc[0] if len(here) else "scenes"
    again = command("choice", measured_at(rows) | {"data": source})
    members = here[here["part"] == "regret"]
    if len(members):
        chosen, others = members[members["rule"] == "search"], members[members["rule"] != "search"]
        random = others[others["rule"].str.startswith("random")]
        random = random[random["architecture"] != random["seed"].map(chosen.set_index("seed")["architecture"])]
        means = random.groupby("seed", as_index=False)[[ZERO_SHOT, "loss_after"]].mean()
        where, equal = str(source), "data, iterations (costs within the growth budget)"
        what, found = "choice - other members at random", paired(chosen, means, ZERO_SHOT)
        yield Finding("C2", where, what, equal, found, again, headline=True)
        for rule in ("balanced", "widest"):
            part = others[others["rule"] == rule]
            yield Finding("C2", where, f"choice - {rule} member", equal, paired(chosen, part, ZERO_SHOT), again)
        losses = paired(means, chosen, "loss_after")
        what = "held-out loss of other members at random - of the choice, x 100"
        yield Finding("C2", where, what, equal, losses, again, in_points=False)
        taus = [
            kendalltau(part["search_loss"], part["loss_after"]).statistic
            for _, part in search_against_training(here).groupby("seed")
            if len(part) > 1
        ]
        what = "Kendall's tau of the search's losses with those after training, members trained, x 100"
        yield Finding("C2", where, what, equal, difference(100 * np.array(taus)), again, in_points=False)
    searches = rows[rows["part"] == "choice"]
    if len(searches):
        yield from on_hard_streams(searches, again)


def on_hard_streams(searches: pd.DataFrame, again: str) -> Iterator[Finding]:
    """C2: how far the text side is ahead of the image side, on the stream that is hard on text against the one that is
    hard on image: in the choice, in the member of the lowest loss (which the rule for ties may leave), in all."""
    searches = with_leads(searches)
    text, image = (searches[searches["data"] == f"hard-{side}"] for side in ("text", "image"))
    lead = "text lead (text's minus image's share of the added FLOPs"
    for column, what in (
        ("text_lead", f"{lead}, percent) of the choice"),
        ("lowest", f"{lead}, percent) of the lowest loss"),
        ("every", f"Kendall's tau of the {lead}) with low loss, all members, x 100"),
    ):
        what, found = f"{what}: hard on text - hard on image", paired(text, image, column)
        headline = column == "text_lead"
        yield Finding("C2", "hard streams", what, "everything else", found, again, headline, in_points=False)


def on_sharing(folder: Path) -> Iterator[Finding]:
    """C3: shared depths against none."""
    rows = read_first(folder, "sharing")
    if not len(rows):
        return
    none, again = rows[rows["shared_depth"] == 0], command("sharing", measured_at(rows))
    for equal, part in rows.groupby("equal"):
        depths, its = best_elsewhere(part[part["shared_depth"] > 0], "shared_depth")
        where, held = str(part["data"].iloc[0]), {"flops": "FLOPs", "parameters": "parameters"}[equal] + ", iterations"
        for column in (RECALL, ZERO_SHOT):
            what, found = f"best shared depth ({depths}) - none, {NAMES[column]}", paired(its, none, column)
            yield Finding("C3", where, what, held, found, again, headline=equal == "flops")
        what = f"modality gap without sharing - with the best shared depth ({depths}), x 100"
        yield Finding("C3", where, what, held, paired(none, its, "modality_gap"), again, in_points=False)


def on_dimensions(folder: Path) -> Iterator[Finding]:
    """C4: every dimension alone against balanced growth."""
    rows = read_first(folder, "dimensions")
    if not len(rows):
        return
    none, where = rows[rows["growth"] == "none"], str(rows["data"].iloc[0])
    again = command("dimensions", measured_at(rows))
    for equal, held in (("flops", "added FLOPs"), ("parameters", "added parameters")):
        same = rows[rows["equal"] == equal]
        balanced, alone = same[same["growth"] == "balanced"], same[same["growth"] != "balanced"]
        names, its = best_elsewhere(alone, "growth")
        what, found = f"best dimension alone ({names}) - balanced", paired(its, balanced, ZERO_SHOT)
        yield Finding("C4", where, what, f"{held}, iterations", found, again, headline=equal == "flops")
        for growth, part in best_first(alone, "growth"):
            name = str(growth).replace("_", " ")
            if name != names:  # else it has just been told
                found = paired(part, balanced, ZERO_SHOT)
                yield Finding("C4", where, f"{name} alone - balanced", f"{held}, iterations", found, again)
        if len(balanced):
            found = paired(balanced, none, ZERO_SHOT)
            yield Finding("C4", where, f"balanced, by {held} - no growth", "iterations", found, again)


def on_momentum(folder: Path) -> Iterator[Finding]:
    """C5: the best momentum against plain inheriting and random weights."""
    rows = read_first(folder, "momentum")
    for before, part in rows.groupby("before") if len(rows) else []:
        where, a = f"{part['data'].iloc[0]}, {before} training before", part[part["reading"] == "A"]
        again = command("momentum", measured_at(part))
        names, its = best_elsewhere(a[(a["momentum"] > 0) & (a["momentum"] < 1)], "momentum")
        for other, momentum in (("plain inheriting", 1.0), ("random weights", 0.0)):
            found = paired(its, a[a["momentum"] == momentum], ZERO_SHOT)
            what = f"best momentum ({names}) - {other}"
            yield Finding("C5", where, what, "data, iterations", found, again, headline=before == "long")
        b = part[part["reading"] == "B"]
        if len(b):
            decays, averaged = best_elsewhere(b[b["momentum"] > 0], "momentum")
            found = paired(averaged, b[b["momentum"] == 0], ZERO_SHOT)
            what = f"best average (decay {decays}) - plain inheriting"
            yield Finding("C5", where, what, "data, iterations", found, again)


def on_continual(folder: Path) -> Iterator[Finding]:
    """C1, on new pairs only: growing against a fixed architecture, each with the continual-learning method that it goes
    best with. ZSCL is left out like replay: its reference pairs are old ones."""
    for setting in settings(folder, "continual"):
        rows, again = read(folder, "continual", **setting), command("continual", setting)
        new_only = rows[~rows["method"].isin(["replay", "ZSCL"])]
        sides = [new_only[new_only["growing"] == growing] for growing in (False, True)]
        if all(map(len, sides)):
            (fixed_name, fixed), (grown_name, grown) = best(sides[0], "method"), best_elsewhere(sides[1], "method")
            what = f"growing ({grown_name}) - fixed large ({fixed_name}), new pairs only"
            found = paired(grown, fixed, ZERO_SHOT)
            yield Finding("C1", place(setting), what, "iterations", found, again)


Judged = tuple[Finding, float, str]  # with the corrected p-value and the verdict


def findings(folder: Path) -> list[Finding]:
    """All that have a seed in common, claim by claim."""
    sources = (
        on_fixed, on_scratch, on_growers, on_search, on_rules, on_sharing, on_dimensions, on_momentum, on_continual,
    )  # fmt: skip
    found = (finding for source in sources for finding in source(folder) if finding.found.seeds)
    return sorted(found, key=lambda finding: finding.claim)


def judged(folder: Path) -> list[Judged]:
    """Every finding with its corrected p-value and its verdict. Where seeds are too few for a verdict nothing is
    tested: such findings have no p-value, and do not count among those that the others are corrected for."""
    every, found = findings(folder), []
    for claim in REPORTED:
        mine = [finding for finding in every if finding.claim == claim]
        corrected = holm([f.found.p if f.found.seeds >= FEWEST_SEEDS else np.nan for f in mine])
        found += [(f, p, verdict(f.found, p)) for f, p in zip(mine, corrected, strict=True)]
    return found
