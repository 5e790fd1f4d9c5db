"""Study 5 (claim C3): does a shared encoder bring image and text together? Shared depth from 0 to 4.

Trained from scratch on all data with equal iterations and one width everywhere. At equal FLOPs both
modalities pass through `DEPTH` blocks, of which the last ones are shared: sharing saves parameters.
At equal parameters there are 2 x `DEPTH` blocks in all: sharing makes both passes longer. (Equal but for
the adapters in front of shared blocks, 1.3 % of either.)
"""

from __future__ import annotations

import torch

from growclip_lite.architecture import Architecture
from growclip_lite.evaluate import embed_images, embed_texts
from growclip_lite.grow import Run
from growclip_lite.peers import train_fixed
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.studies.measures import row_of, scores_of

DEPTH, WIDTH = 5, 2
SHARED = range(5)
ITERATIONS = 0.5  # as a share of the profile's


def at_equal_flops(shared: int) -> Architecture:
    return Architecture(DEPTH - shared, WIDTH, DEPTH - shared, WIDTH, shared, WIDTH)


def at_equal_parameters(shared: int) -> Architecture:
    """Blocks become shared in turns: first one of the text encoder, then one of the image encoder."""
    return Architecture(DEPTH - shared // 2, WIDTH, DEPTH - (shared + 1) // 2, WIDTH, shared, WIDTH)


def modality_gap(model, pairs) -> float:
    """Distance between the mean image and the mean text embedding (Liang et al. 2022)."""
    images, texts = embed_images(model, pairs.images), embed_texts(model, pairs.captions)
    return torch.linalg.vector_norm(images.mean(0) - texts.mean(0)).item()


def sharing_job(run: Run, architecture: Architecture, iterations: int) -> dict:
    steps = len(run.stream.train)
    model, cost = train_fixed(run, architecture, steps, iterations, str(architecture))
    row = row_of(model, (architecture,), [scores_of(run)(model, steps)], [cost["train_flops"]])
    return row | {"modality_gap": modality_gap(model, run.stream.retrieval)}


def jobs(grid: Grid) -> list[Job]:
    iterations = round(ITERATIONS * grid.profile.iterations)
    return [
        grid.job(seed, sharing_job, make(shared), iterations, equal=equal, shared_depth=shared)
        for seed in range(grid.seeds)
        for shared in SHARED
        for equal, make in (("flops", at_equal_flops), ("parameters", at_equal_parameters))
        if shared or equal == "flops"  # without shared blocks the two are the same
    ]
