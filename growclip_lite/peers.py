"""What growing is compared with: given architectures along the same stream, and training from scratch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from growclip_lite.architecture import Architecture, count_parameters, training_flops
from growclip_lite.continual import Method, Teachers
from growclip_lite.grow import Run, fresh_at, grow_tokenizer, held_out_batches, inherit_at, tokenizer_at
from growclip_lite.inherit import inherit
from growclip_lite.model import GrowCLIP
from growclip_lite.profiles import typical_config
from growclip_lite.search import held_out_loss
from growclip_lite.tokenizer import Tokenizer
from growclip_lite.train import ANNEALED, Penalty, TrainConfig, TrainingSet, TrainingState, cost_of, fit


def train_fixed(run: Run, architecture: Architecture, step: int, iterations: int, title: str) -> tuple[GrowCLIP, dict]:
    """Trains one architecture from scratch on D_step for `iterations`; returns it with its cost.

    Tokenizer, batches, optimisers and schedule are those of growing; a profile of reading B gets the average.
    """
    tokenizer = tokenizer_at(run, step)
    model = fresh_at(run, step, architecture, tokenizer)
    settings = replace(run.train_config(step), iterations=iterations)
    data = run.training_set(step, tokenizer)
    state = fit(model, data, settings, run.seed_of(step), title=title)
    model = delivered(model, state)
    model.cpu().compute_dtype = torch.float32
    return model, {
        "parameters": count_parameters(architecture, model.config),
        "train_flops": cost_of(model, data, settings),
    }


def delivered(model: GrowCLIP, state: TrainingState) -> GrowCLIP:
    """What the next growth step inherits from: the weights, or their moving average (reading B)."""
    return model if state.average is None else state.average.module


@dataclass
class Trail:
    """A training along the stream: what `score` said after every growth step, the FLOPs of each, the last model."""

    scores: list[dict]
    flops: list[int]
    model: GrowCLIP


def costs(run: Run, plan: Sequence[Architecture]) -> list[int]:
    """Training FLOPs of one iteration in every growth step."""
    # How many words there are does not matter here: looking them up costs no FLOPs.
    config, size = replace(typical_config(run.profile), image_size=run.stream.image_size), run.profile.batch_size
    return [training_flops(a, config, min(size, run.samples(step))) for step, a in enumerate(plan, 1)]


def iterations_for(run: Run, plan: Sequence[Architecture], flops: float) -> list[int]:
    """Iterations of every growth step, in the proportions of growing, so that all of them together cost `flops`."""
    shares = [run.train_config(step).iterations for step in range(1, len(plan) + 1)]
    factor = flops / sum(share * cost for share, cost in zip(shares, costs(run, plan), strict=True))
    return [max(round(share * factor), 1) for share in shares]


def follow(
    run: Run, plan: Sequence[Architecture], iterations: Sequence[int], score: Callable, method: Method | None = None
) -> Trail:
    """Trains `plan[t - 1]` for `iterations[t - 1]` in growth step t, each inheriting from the one before.

    A plan that repeats one architecture is a fixed one. Inheriting, replay and reading are those of
    the profile, a continual-learning `method` comes on top; `score(model, step)` is called after every
    growth step.
    """
    method = method or Method(replay=run.profile.replay)
    run = replace(run, profile=replace(run.profile, replay=method.replay))
    tokenizer = inherited_from = previous = first = None
    scores, flops = [], []
    for step, (architecture, count) in enumerate(zip(plan, iterations, strict=True), 1):
        tokenizer, penalty = grow_tokenizer(run, tokenizer, step), None
        data = run.training_set(step, tokenizer)
        if step == 1:
            model = fresh_at(run, step, architecture, tokenizer)
        else:
            model = inherit_at(run, step, inherited_from, architecture, tokenizer)
            if method.penalty:
                penalty = method.penalty(teachers_at(run, step, previous, first, tokenizer))
        settings = replace(run.train_config(step), iterations=count, schedule=method.schedule)
        inherited_from = train_by(method, run, model, data, settings, step, penalty)
        model.compute_dtype = torch.float32
        scores.append(score(model, step))
        flops.append(cost_of(model, data, settings))
        previous, first = model, first or model  # inheriting leaves both unchanged
    return Trail(scores, flops, model)


def teachers_at(run: Run, step: int, previous: GrowCLIP, first: GrowCLIP, tokenizer: Tokenizer) -> Teachers:
    """Copies of both models with fresh embeddings for the words of `tokenizer` that they have not met."""

    def with_new_words(model: GrowCLIP) -> GrowCLIP:
        teacher, _ = inherit(model, model.architecture, seed=run.seed_of(step), vocab_size=tokenizer.vocab_size)
        teacher.tokenizer = tokenizer
        teacher.to(run.device).compute_dtype = run.precision
        return teacher

    reference = TrainingSet(run.stream.train[:1], tokenizer, run.profile.context_length, device=run.device)
    known_words = previous.config.vocab_size  # its tokenizer is shared, and has grown
    return Teachers(with_new_words(previous), with_new_words(first), known_words, reference, run.seed_of(step))


def train_by(
    method: Method, run: Run, model: GrowCLIP, data: TrainingSet, settings: TrainConfig, step: int,
    penalty: Penalty | None,
) -> GrowCLIP:  # fmt: skip
    """Trains in place by a continual-learning method; returns the model that the next growth step inherits from."""
    if method.schedule != "infinite":
        # Before the first step there is nothing to keep.
        start = copy.deepcopy(model) if method.averaged and step > 1 else None
        state = fit(model, data, settings, run.seed_of(step), penalty=penalty, title=f"step {step}")
        if start is not None:
            with torch.no_grad():
                for weight, old in zip(model.parameters(), start.parameters(), strict=True):
                    weight.lerp_(old, method.averaged)
        return delivered(model, state)
    # What is annealed is delivered; the next step goes on from before, at the rate that it had, without a warm-up.
    settings = replace(settings, warmup=settings.warmup if step == 1 else 0)
    before = round((1 - ANNEALED) * settings.iterations)
    state = fit(model, data, settings, run.seed_of(step), penalty=penalty, stop=before, title=f"step {step}")
    constant = copy.deepcopy(model)
    fit(model, data, settings, run.seed_of(step), penalty=penalty, state=state, title=f"step {step}")
    return constant


@dataclass
class Growth:
    """One growth step without a search: the model, its cost, held-out loss right after growing and at the end, and the
    mean training loss of every 20 iterations."""

    model: GrowCLIP
    train_flops: int
    loss_grown: float
    loss_after: float
    curve: list[float]


def grow_once(run: Run, step: int, old: GrowCLIP, architecture: Architecture) -> Growth:
    """Grows `old` (left unchanged) into `architecture` with the profile's inheriting settings, then trains it on
    D_step."""
    tokenizer = tokenizer_at(run, step)
    model = inherit_at(run, step, old, architecture, tokenizer)
    batches = held_out_batches(run, step, tokenizer)
    grown = held_out_loss(model, batches)
    data, settings = run.training_set(step, tokenizer), replace(run.train_config(step), ema_decay=0.0)
    state = fit(model, data, settings, run.seed_of(step), title=f"step {step}")
    after = held_out_loss(model, batches)
    model.cpu().compute_dtype = torch.float32
    return Growth(model, cost_of(model, data, settings), grown, after, [record["loss"] for record in state.records])
