"""Study 1 (claims C1, C6, C7): growing against fixed architectures and against training from scratch.

The fixed architectures are those of the grown run itself: of its first, second-last and last growth
step. In the view "flops" a method spends as many training FLOPs as growing with its searches, in
the view "steps" as many iterations as growing without them. From scratch has all data at once, which
no learner of a stream has; in the view "last step" it spends what growing spent since the last pairs
had arrived. For claim C2 a growth by fixed rules takes the place of the search.
"""

from __future__ import annotations

import pandas as pd

from growclip_lite.architecture import Architecture, forward_flops
from growclip_lite.checkpoint import load_model
from growclip_lite.continual import Method
from growclip_lite.grow import Run, grow
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.peers import costs, follow, iterations_for, train_fixed
from growclip_lite.profiles import typical_config
from growclip_lite.search import unevenness
from growclip_lite.studies.choice import other_members
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.studies.measures import Plan, listed, read_plan, row_of, scores_of, validation

RULES = ("always most even", "always widest", "always random")


def grown(run: Run) -> dict:
    """The main job, with its searches."""
    report = grow(run.stream, run.profile, run.out, seed=run.seed, resume=True)
    steps = report["steps"]
    model = load_model(run.out / f"step_{len(steps)}")
    plan = tuple(Architecture.from_dict(entry["architecture"]) for entry in steps)
    scores = [*steps[:-1], steps[-1] | {"validation_mean": validation(model, run.stream)}]
    flops = [entry["train_flops"] + entry["search"]["flops"] for entry in steps]
    searched = sum(entry["search"]["flops"] for entry in steps)
    trained = [run.train_config(entry["step"]).iterations for entry in steps]
    seconds = {
        f"steps_{phase}_seconds": listed(entry["phases"].get(phase, 0.0) for entry in steps)
        for phase in ("search", "train")
    }
    row = {"search_flops": searched, "steps_iterations": listed(trained)} | seconds
    return row_of(model, plan, scores, flops) | row


def along(
    run: Run, plan: Plan, iterations: tuple[int, ...] | None, flops: float = 0.0, method: Method | None = None
) -> dict:
    """A given plan; without `iterations`, as many as cost `flops`."""
    iterations = iterations or iterations_for(run, plan, flops)
    trail = follow(run, plan, iterations, scores_of(run), method)
    return row_of(trail.model, plan, trail.scores, trail.flops) | {"steps_iterations": listed(iterations)}


def from_scratch(run: Run, architecture: Architecture, iterations: int | None, flops: float) -> dict:
    """One architecture on all data; without `iterations`, as many as cost `flops`."""
    steps = len(run.stream.train)
    if iterations is None:
        iterations = max(round(flops / costs(run, (architecture,) * steps)[-1]), 1)
    model, cost = train_fixed(run, architecture, steps, iterations, "from scratch")
    row = row_of(model, (architecture,), [scores_of(run)(model, steps)], [cost["train_flops"]])
    return row | {"steps_iterations": listed([iterations])}


def ruled(rule: str, space: GrowthSpace, seed: int) -> Architecture:
    """The member that one of `RULES` takes. The most even, and of these the cheapest, is what the search's rule for
    ties would take of all members."""
    if rule == "always most even":
        return min(space.members, key=lambda a: (unevenness(a), forward_flops(a, space.config)))
    others = other_members(space, seed)
    return others["widest" if rule == "always widest" else "random 0"]


def by_rule(run: Run, rule: str, flops: float) -> dict:
    """Growing by one of `RULES` in place of the search; as many iterations as cost `flops`."""
    p, plan = run.profile, [run.profile.start]
    for step in range(2, len(run.stream.train) + 1):
        ratio = run.samples(step) / run.samples(step - 1)
        space = GrowthSpace.at_step(plan[-1], typical_config(p), ratio, p.budget_power)
        plan.append(ruled(rule, space, run.seed_of(step)))
    return along(run, tuple(plan), None, flops)


def grown_jobs(grid: Grid) -> list[Job]:
    """The main job, seed by seed. What other studies compare it with starts from its rows."""
    return [grid.job(seed, grown, method="growclip", view="all") for seed in range(grid.seeds)]


def jobs(grid: Grid, grown_rows: pd.DataFrame) -> list[Job]:
    """Seed by seed; all at equal FLOPs before the second view, so that an unfinished table is worth reading."""
    equal_flops, equal_steps = [], []
    for row in grown_rows.itertuples():
        plan, steps = read_plan(row.plan), tuple(map(int, row.steps_iterations.split()))
        since_last = float(row.steps_flops.split()[-1])

        def job(work, *arguments, seed=row.seed, **setting) -> Job:
            return grid.job(seed, work, *arguments, **setting)

        for size, architecture in (("small", plan[0]), ("medium", plan[-2]), ("large", plan[-1])):
            fixed, method = (architecture,) * len(plan), f"fixed {size}"
            equal_flops.append(job(along, fixed, None, row.train_flops, method=method, view="flops"))
            equal_steps.append(job(along, fixed, steps, method=method, view="steps"))
        for flops, view in ((row.train_flops, "flops"), (since_last, "last step")):
            equal_flops.append(job(from_scratch, plan[-1], None, flops, method="from scratch", view=view))
        equal_steps.append(job(from_scratch, plan[-1], sum(steps), 0.0, method="from scratch", view="steps"))
        for rule in RULES:
            equal_steps.append(job(by_rule, rule, row.train_flops, method=rule, view="flops"))
    return [*grown_jobs(grid), *equal_flops, *([] if grid.short else equal_steps)]
