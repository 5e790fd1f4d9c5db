"""Can every zero-shot task be solved at all? A supervised classifier on pictures of the same kind."""

from __future__ import annotations

from growclip_lite.ceilings import ceilings
from growclip_lite.data.scene_tasks import make_tasks
from growclip_lite.data.scenes import concepts_at
from growclip_lite.grow import Run
from growclip_lite.studies.jobs import Grid, Job

ITERATIONS = 400


def ceilings_job(run: Run) -> dict:
    """Accuracy of the classifier by task."""
    p = run.profile
    concepts = concepts_at(p.growth_steps, p.growth_steps, p.kinds)
    training = make_tasks(concepts, p.kinds, p.image_size, 24 * p.task_pictures, [7, run.seed])
    return ceilings(training, run.stream.tasks, ITERATIONS, run.seed)


def jobs(grid: Grid) -> list[Job]:
    return [grid.job(seed, ceilings_job) for seed in range(grid.seeds)]
