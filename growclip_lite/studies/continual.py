"""Study 7: continual learning of a CLIP on new pairs only, without growing; and growing with each method added.

Held equal: data, batches and iterations; FLOPs are not, and those of teachers are not counted. Without
growing, the architecture is the grown run's last one from the start. Plasticity is the mean accuracy on
every growth step's concepts right after that step, forgetting what was lost of the earlier ones by the end.
"""

from __future__ import annotations

import pandas as pd

from growclip_lite.continual import METHODS
from growclip_lite.grow import Run
from growclip_lite.studies.growing import along
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.studies.measures import Plan, read_plan


def continual_job(run: Run, plan: Plan, iterations: tuple[int, ...], method: str) -> dict:
    return along(run, plan, iterations, method=METHODS[method])


def jobs(grid: Grid, grown_rows: pd.DataFrame) -> list[Job]:
    found = []
    for row in grown_rows.itertuples():
        plan, iterations = read_plan(row.plan), tuple(map(int, row.steps_iterations.split()))
        for growing, architectures in ((False, plan[-1:] * len(plan)), (True, plan)):
            for method in METHODS:
                setting = {"method": method, "growing": growing}
                found.append(grid.job(row.seed, continual_job, architectures, iterations, method, **setting))
    return found
