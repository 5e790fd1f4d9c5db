"""Study 3 (claim C5): how much to inherit. Momentum from 0 to 1 in both readings, after short and long training.

One growth step, the last. The small architecture is trained on the pairs before it, for a short time or
a long one (if there is a local-minimum dilemma, long training should show it); then it is inherited into
a larger one, which is trained on all pairs. Held equal: architectures, data, iterations and batches.
"""

from __future__ import annotations

from dataclasses import replace

from growclip_lite.architecture import Architecture
from growclip_lite.grow import Run
from growclip_lite.peers import grow_once
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.studies.one_step import growth_row, trained_before

SMALL, LARGE = Architecture(1, 2, 1, 2, 1, 1), Architecture(2, 2, 1, 2, 1, 2)
BEFORE = {"short": 0.1, "long": 0.6}  # iterations of the small architecture, as a share of the profile's
MOMENTA = {
    "A": (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0),  # share of the inherited weights
    "B": (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99),  # decay of the moving average; 0 is plain inheriting
}


def momentum_job(run: Run, source: str, iterations: int) -> dict:
    """Grows SMALL into LARGE with the momentum and the reading of the profile."""
    p = run.profile
    before = p if p.reading == "B" else replace(p, momentum=1.0)  # reading A trains alike for every momentum
    step = len(run.stream.train)
    old = trained_before(source, before, run.seed, SMALL, step, iterations)
    return growth_row(run, old, grow_once(run, step, old, LARGE))


def jobs(grid: Grid) -> list[Job]:
    found = []
    for seed in range(grid.seeds):
        for before, share in BEFORE.items():
            iterations = round(share * grid.profile.iterations)
            for reading, momenta in MOMENTA.items():
                for momentum in momenta:
                    setting = {"before": before, "reading": reading, "momentum": momentum}
                    # Without an average reading B is plain inheriting, which is reading A at 1: the same job.
                    plain = {"reading": "A", "momentum": 1.0} if (reading, momentum) == ("B", 0.0) else {}
                    profile = replace(grid.profile, **{"reading": reading, "momentum": momentum} | plain)
                    changed = replace(grid, profile=profile)
                    found.append(changed.job(seed, momentum_job, grid.source, iterations, **setting))
    return found
