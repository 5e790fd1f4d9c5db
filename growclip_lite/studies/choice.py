"""Study 6 (claim C2): is the search's choice a good one, and does it follow the data?

Regret: in the last growth step of a grown run, members of the growth space are trained to the end of
the step, all from the same model and with the same batches; the run's own choice is one of them, as are
the most balanced member and the widest. They differ in cost, within the growth budget. The model has followed
the run's architectures without searches, so that the run chose from another one. Ranking: the scores that a
search from that model gives them. Data-awareness: a search on two streams whose new pairs are hard on
the text side and on the image side; and for each stream, which side it would have paid to grow. On both
streams the encoders start at equal size, and the budget grows as much as the data, so that the growth
space has room on either side.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from growclip_lite.architecture import Architecture, ModelConfig, forward_flops
from growclip_lite.grow import Run, begin_step
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.model import GrowCLIP
from growclip_lite.peers import follow, grow_once
from growclip_lite.profiles import Profile, typical_config
from growclip_lite.studies.jobs import Grid, Job, open_stream
from growclip_lite.studies.measures import Plan, listed, read_plan, write_plan
from growclip_lite.studies.one_step import growth_row, trained_before
from growclip_lite.table import first_setting

RANDOM_MEMBERS = 10
BEFORE = 0.25  # iterations before the hard pairs come, as a share of the profile's
HARD_START, HARD_BUDGET_POWER = Architecture(1, 1, 1, 1, 1, 1), 1.0
SIDES = {"image": ("image_depth", "image_width"), "text": ("text_depth", "text_width")}


@lru_cache(maxsize=16)
def trained_along(source: str, profile: Profile, seed: int, plan: Plan, iterations: tuple[int, ...]) -> GrowCLIP:
    """A plan up to the last growth step but one; jobs with the same one share it."""
    run = Run(open_stream(source, profile.name, seed), profile, seed, Path())
    return follow(run, plan, iterations, lambda model, step: {}).model


def member_job(run: Run, source: str, plan: Plan, iterations: tuple[int, ...], architecture: Architecture) -> dict:
    """One member, trained to the end of the last growth step."""
    old = trained_along(source, run.profile, run.seed, plan, iterations)
    return growth_row(run, old, grow_once(run, len(run.stream.train), old, architecture))


def ranked(report: dict) -> dict[str, str]:
    """The members that a search scored and their losses, lowest first."""
    members = tuple(Architecture.from_dict(entry["architecture"]) for entry in report["ranking"])
    return {"members": write_plan(members), "search_losses": listed(entry["loss"] for entry in report["ranking"])}


def ranking_job(run: Run, source: str, plan: Plan, iterations: tuple[int, ...]) -> dict:
    """What a search in the last growth step says about the members, best first."""
    old = copy.deepcopy(trained_along(source, run.profile, run.seed, plan, iterations))  # begin_step teaches it words
    _, _, report = begin_step(run, len(run.stream.train), old, {})
    return ranked(report) | {"train_flops": report["flops"]}


def last_space(grid: Grid, row) -> GrowthSpace:
    """The growth space of a grown run's last step (with a typical vocabulary: the words are not known here)."""
    p = grid.profile
    ratio = p.scene_pairs[-1] / p.scene_pairs[-2]
    return GrowthSpace.at_step(read_plan(row.plan)[-2], typical_config(p), ratio, p.budget_power)


def other_members(space: GrowthSpace, seed: int) -> dict[str, Architecture]:
    """Members to compare the choice with, by the rule that picks them."""

    def added(member: Architecture) -> np.ndarray:
        return np.subtract(member.sizes, space.base.sizes)

    def width(member: Architecture) -> int:
        return sum(added(member)[1::2])

    cost = {member: forward_flops(member, space.config) for member in space.members}
    found = {
        "balanced": min(space.members, key=lambda m: (added(m).std(), -cost[m])),
        "widest": max(space.members, key=lambda m: (width(m), cost[m])),
    }
    picks = np.random.default_rng([seed, 5]).permutation(len(space))[:RANDOM_MEMBERS]
    return found | {f"random {number}": space.members[pick] for number, pick in enumerate(picks)}


def added_flops(base: Architecture, grown: Architecture, config: ModelConfig) -> dict[str, int]:
    """Forward FLOPs of a pair that growth adds: all of them, and what each side adds where it alone grows."""
    sides = {side: replace(base, **{name: getattr(grown, name) for name in names}) for side, names in SIDES.items()}
    cost = forward_flops(base, config)
    return {name: forward_flops(size, config) - cost for name, size in {"added": grown, **sides}.items()}


def text_lead(added: dict[str, int]) -> float:
    """The text side's share of the added FLOPs minus the image side's, from -1 to 1; 0 where nothing is added."""
    return (added["text"] - added["image"]) / max(added["added"], 1)


def search_job(run: Run, source: str, iterations: int) -> dict:
    """What the search chooses when the second step's pairs have come, and what it says about all members."""
    old = trained_before(source, run.profile, run.seed, run.profile.start, 2, iterations)
    old = copy.deepcopy(old)  # begin_step teaches it words
    model, _, report = begin_step(run, 2, old, {})
    found, base, config = ranked(report), old.architecture, model.config
    leads = [text_lead(added_flops(base, member, config)) for member in read_plan(found["members"])]
    chosen = added_flops(base, model.architecture, config)
    added = {f"{name}_flops": value for name, value in chosen.items()}
    return {
        "architecture": str(model.architecture), **added, **found, "text_leads": listed(leads),
        "text_lead": text_lead(chosen),
        "space_size": report["space_size"], "evaluated": report["evaluated"], "train_flops": report["flops"],
    }  # fmt: skip


def side_job(run: Run, source: str, iterations: int, side: str) -> dict:
    """Grows one side alone, to the dearest member of the growth space that does (where none does, as far as the reach
    goes), and trains to the end of the step."""
    old = trained_before(source, run.profile, run.seed, run.profile.start, 2, iterations)
    ratio = run.samples(2) / run.samples(1)
    space = GrowthSpace.at_step(old.architecture, old.config, ratio, run.profile.budget_power)
    around = space.without_budget().members
    alone = [a for a in around if a == replace(space.base, **{name: getattr(a, name) for name in SIDES[side]})]
    grown = max(alone, key=lambda a: (a in space, forward_flops(a, space.config)))
    return growth_row(run, old, grow_once(run, 2, old, grown))


def last_step(rows: pd.DataFrame) -> pd.DataFrame:
    """The parts on the last growth step, in the first setting."""
    return first_setting(rows[rows["part"].isin(["regret", "ranking"])])


def search_against_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Of `last_step` rows: the trained members, each once, with their `sizes` and the loss that the search found
    (`search_loss`); seeds that have both."""
    scores = [
        (row.seed, sizes, float(loss))
        for row in rows[rows["part"] == "ranking"].itertuples()
        for sizes, loss in zip(row.members.split(), str(row.search_losses).split(), strict=True)
    ]
    members = rows[rows["part"] == "regret"]
    members = members.assign(sizes=members["plan"].str.split().str[-1]).drop_duplicates(["seed", "sizes"])
    scores = pd.DataFrame(scores, columns=["seed", "sizes", "search_loss"])
    return members.merge(scores, on=["seed", "sizes"], validate="one_to_one")


def with_leads(searches: pd.DataFrame) -> pd.DataFrame:
    """Rows of the part `choice` with the lead of the text side in the member of the `lowest` loss, and over `every`
    member (Kendall's tau of the lead with low loss), beside that of the choice, `text_lead`."""
    leads, losses = (
        [np.array(text.split(), dtype=float) for text in searches[column]] for column in ("text_leads", "search_losses")
    )
    return searches.assign(
        lowest=[lead[loss.argmin()] for lead, loss in zip(leads, losses, strict=True)],
        every=[-kendalltau(*pair).statistic for pair in zip(leads, losses, strict=True)],
    )


def jobs(grid: Grid, grown_rows: pd.DataFrame) -> list[Job]:
    found = []
    for row in grown_rows.itertuples():
        plan, iterations = read_plan(row.plan), tuple(map(int, row.steps_iterations.split()))
        before = (grid.source, plan[:-1], iterations[:-1])
        members = {"search": plan[-1]} | other_members(last_space(grid, row), row.seed)
        for rule, architecture in members.items():
            found.append(grid.job(row.seed, member_job, *before, architecture, part="regret", rule=rule))
        found.append(grid.job(row.seed, ranking_job, *before, part="ranking", rule="search"))
    iterations = round(BEFORE * grid.profile.iterations)
    profile = replace(grid.profile, start=HARD_START, budget_power=HARD_BUDGET_POWER)
    about = {"start": write_plan((HARD_START,)), "budget_power": HARD_BUDGET_POWER}
    for source in ("hard-text", "hard-image"):
        hard = replace(grid, source=source, profile=profile)
        for seed in range(grid.seeds):
            found.append(hard.job(seed, search_job, source, iterations, part="choice", rule="search", **about))
            for side in SIDES:
                found.append(hard.job(seed, side_job, source, iterations, side, part="side", rule=side, **about))
    return found
