"""Does the last growth step's data ask for more capacity than the first step's? Fixed sizes at rising budgets."""

from __future__ import annotations

from dataclasses import replace

from growclip_lite.architecture import Architecture, training_flops
from growclip_lite.data.scene_tasks import make_tasks
from growclip_lite.data.scenes import concepts_at
from growclip_lite.evaluate import evaluate
from growclip_lite.grow import Run
from growclip_lite.peers import train_fixed
from growclip_lite.profiles import Profile, typical_config
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.table import flat

# Fixed sizes for the question whether capacity matters, each with the most iterations it is given (some minutes).
SIZES = {
    Architecture(1, 1, 1, 1, 0, 1): 9_700,
    Architecture(1, 2, 1, 2, 1, 2): 2_600,
    Architecture(1, 3, 1, 3, 1, 3): 3_200,
    Architecture(2, 3, 1, 3, 2, 3): 1_200,
    Architecture(2, 4, 1, 4, 2, 4): 600,
}
# Training FLOPs, in units of 1e12. Every point of a curve is a complete training with a schedule of its own.
BUDGETS = {"first": (0.25, 0.5, 1, 2, 4), "last": (4, 8, 16, 32, 64)}


def capacity_jobs(profile: Profile) -> list[tuple[str, Architecture, int]]:
    """Step, architecture and iterations of every training, cheapest budgets first."""
    sizes, jobs = typical_config(profile), []
    for which, budgets in BUDGETS.items():
        for budget in budgets:
            for architecture, most in SIZES.items():
                iterations = round(budget * 1e12 / training_flops(architecture, sizes, profile.batch_size))
                if iterations <= 1.01 * most:
                    jobs.append((which, architecture, iterations))
    return jobs


def capacity_job(run: Run, which: str, size: Architecture, iterations: int) -> dict:
    """One fixed model on the first or the last step's data, tested on that step's concepts."""
    p, steps = run.profile, len(run.stream.train)
    step = 1 if which == "first" else steps
    tasks = make_tasks(concepts_at(step, steps, p.kinds), p.kinds, p.image_size, p.task_pictures, [6, step])
    model, cost = train_fixed(run, size, step, iterations, f"{which} step, {size}")
    scores = evaluate(model, replace(run.stream, tasks=tasks))
    return cost | flat(scores) | {"chance": sum(task.chance for task in tasks) / len(tasks)}


def jobs(grid: Grid) -> list[Job]:
    """Cheapest budgets first."""
    return [
        grid.job(seed, capacity_job, which, size, count, step=which, architecture=str(size), iterations=count)
        for seed in range(grid.seeds)
        for which, size, count in capacity_jobs(grid.profile)
    ]
