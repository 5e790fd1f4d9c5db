"""The algorithm: for each growth step, search, inherit, train, evaluate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture, ModelConfig, count_parameters
from growclip_lite.checkpoint import load_model, load_training, read_about, save_model, save_training
from growclip_lite.data.stream import Stream, check_seed
from growclip_lite.devices import default_device, fast_dtype
from growclip_lite.errors import InputError
from growclip_lite.evaluate import evaluate, forgetting, known_concepts
from growclip_lite.files import write_json
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.inherit import inherit
from growclip_lite.model import GrowCLIP, new_model
from growclip_lite.profiles import Profile, get_profile
from growclip_lite.report import data_digest, shown_accuracy, start_report, write_metrics
from growclip_lite.search import SearchConfig, scoring_batches, search
from growclip_lite.tokenizer import Tokenizer
from growclip_lite.train import Batch, TrainConfig, TrainingSet, cost_of, fit


@dataclass
class Run:
    """What the growth steps of one run share."""

    stream: Stream
    profile: Profile
    seed: int
    out: Path
    device: str = field(default_factory=default_device)
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        self.precision = self.precision or fast_dtype(self.device)

    def training_set(self, step: int, tokenizer: Tokenizer) -> TrainingSet:
        """D_t: all training pairs so far, or only the new ones where the profile says so."""
        parts = self.stream.train[:step] if self.profile.replay else self.stream.train[step - 1 : step]
        return TrainingSet(parts, tokenizer, self.profile.context_length, self.stream.augment, self.device)

    def held_out(self, step: int, tokenizer: Tokenizer) -> TrainingSet:
        """Validation pairs of all steps so far."""
        parts = self.stream.validation[:step]
        return TrainingSet(parts, tokenizer, self.profile.context_length, device=self.device)

    def model_config(self, tokenizer: Tokenizer) -> ModelConfig:
        """What does not grow, for a model that starts with this tokenizer."""
        p = self.profile
        return ModelConfig(self.stream.image_size, p.patch_size, p.context_length, tokenizer.vocab_size, p.embed_dim)

    def samples(self, step: int) -> int:
        return sum(len(part) for part in self.stream.train[:step])

    def seed_of(self, step: int) -> int:
        """A seed for every growth step, different for different runs."""
        return self.seed * 1_000 + step

    def train_config(self, step: int) -> TrainConfig:
        """The step's share of all iterations grows with the data: |D_t| ** share_power."""
        p, steps = self.profile, range(1, len(self.stream.train) + 1)
        shares = {t: self.samples(t) ** p.share_power for t in steps}
        return TrainConfig(
            iterations=max(round(p.iterations * shares[step] / sum(shares.values())), 1), batch_size=p.batch_size,
            learning_rate=p.learning_rate, warmup=p.warmup, ema_decay=p.momentum if p.reading == "B" else 0.0,
        )  # fmt: skip


def grow_tokenizer(run: Run, tokenizer: Tokenizer | None, step: int) -> Tokenizer:
    captions = run.stream.train[step - 1].captions
    tokenizer = tokenizer or Tokenizer.train(captions)
    tokenizer.grow(captions)
    return tokenizer


def tokenizer_at(run: Run, step: int) -> Tokenizer:
    """The tokenizer as it is in growth step `step`, grown over all steps before."""
    tokenizer = None
    for earlier in range(1, step + 1):
        tokenizer = grow_tokenizer(run, tokenizer, earlier)
    return tokenizer


def inherit_at(run: Run, step: int, old: GrowCLIP, architecture: Architecture, tokenizer: Tokenizer) -> GrowCLIP:
    """A model of `architecture`, with the words of `tokenizer`, that inherits from `old` as the profile says."""
    p = run.profile
    # Reading B has mixed the past into the average already: its weights are inherited as they are.
    momentum = p.momentum if p.reading == "A" else 1.0
    model, _ = inherit(
        old, architecture, momentum=momentum, operator=p.operator, seed=run.seed_of(step),
        vocab_size=tokenizer.vocab_size,
    )  # fmt: skip
    model.tokenizer = tokenizer
    model.to(run.device).compute_dtype = run.precision
    return model


def fresh_at(run: Run, step: int, architecture: Architecture, tokenizer: Tokenizer) -> GrowCLIP:
    """A model of `architecture` at random, with the words of `tokenizer`."""
    model = new_model(architecture, run.model_config(tokenizer), run.seed_of(step), tokenizer).to(run.device)
    model.compute_dtype = run.precision
    return model


def open_space(run: Run, step: int, old: GrowCLIP) -> tuple[GrowthSpace, GrowCLIP]:
    """The growth space of a step, and its supernet, which inherits from `old`. The tokenizer of `old` grows."""
    tokenizer = grow_tokenizer(run, old.tokenizer, step)
    config = replace(old.config, vocab_size=tokenizer.vocab_size)
    ratio = run.samples(step) / run.samples(step - 1)
    space = GrowthSpace.at_step(old.architecture, config, ratio, run.profile.budget_power)
    return space, inherit_at(run, step, old, space.largest, tokenizer)


def search_config(run: Run, step: int) -> SearchConfig:
    """A brief training of the supernet, then so many scored members."""
    p, training = run.profile, run.train_config(step)
    brief = max(round(training.iterations * p.search_share), 1)
    training = replace(training, iterations=brief, warmup=5, ema_decay=0.0)
    return SearchConfig(training, p.random_members, p.evaluations, p.scoring_pairs)


def held_out_batches(run: Run, step: int, tokenizer: Tokenizer) -> list[Batch]:
    """Held-out pairs of all steps up to `step`, in the batches that the search scores on. (Losses of study 6 after
    training are on these very pairs, which favours what the search chose; accuracies are on test data.)"""
    rng = np.random.default_rng([run.seed_of(step), 3])
    return scoring_batches(run.held_out(step, tokenizer), search_config(run, step), rng)


def begin_step(
    run: Run, step: int, old: GrowCLIP | None, phases: dict[str, float]
) -> tuple[GrowCLIP, TrainingSet, dict | None]:
    """The model that step `step` starts training with, its data, and the report of the search that chose it.

    The first step starts small and at random. Every later one inherits into the supernet, trains it
    briefly and keeps the slice of the winner, so that the search's training is not lost.
    """
    if old is None:
        with timed(phases, "data"):
            tokenizer = grow_tokenizer(run, None, step)
            data = run.training_set(step, tokenizer)
        return fresh_at(run, step, run.profile.start, tokenizer), data, None
    with timed(phases, "inherit"):
        space, supernet = open_space(run, step, old)
    with timed(phases, "data"):
        data, held_out = run.training_set(step, supernet.tokenizer), run.held_out(step, supernet.tokenizer)
    with timed(phases, "search"):
        title = f"step {step}: search"
        found = search(supernet, space, data, held_out, search_config(run, step), run.seed_of(step), title)
    report = {
        "space_size": found.space_size, "evaluated": len(found.ranking), "flops": found.flops,
        "ranking": [score.to_dict() for score in found.ranking],
    }  # fmt: skip
    return found.model, data, report


@contextmanager
def timed(phases: dict[str, float], name: str) -> Iterator[None]:
    begin = time.monotonic()
    yield
    phases[name] = phases.get(name, 0.0) + time.monotonic() - begin


def grow_step(run: Run, step: int, old: GrowCLIP | None, history: list[dict]) -> tuple[GrowCLIP, dict]:
    """One growth step; returns the model to inherit from next, and the step's part of the report."""
    path, phases = run.out / "training.safetensors", {}
    about = read_about(path)
    resumed = about is not None and about["step"] == step
    if resumed:
        model, data, found, phases = resume_step(run, about)
    else:
        model, data, found = begin_step(run, step, old, phases)
    model.to(run.device).compute_dtype = run.precision
    config = run.train_config(step)
    facts = {"step": step, "architecture": model.architecture.to_dict(), "search": found, "model": vars(model.config)}
    begin, before = time.monotonic(), phases.get("train", 0.0)

    def spent() -> float:
        return before + time.monotonic() - begin

    def save(state) -> None:
        save_training(path, model, state, facts | {"phases": phases | {"train": spent()}})

    state = load_training(path, model, config) if resumed else None
    state = fit(model, data, config, run.seed_of(step), state=state, save=save, title=f"step {step}: training")
    phases["train"] = spent()
    save(state)
    model.compute_dtype = torch.float32  # as it will be loaded: a checkpoint must score what its report says
    with timed(phases, "evaluate"):
        scores = evaluate(model, run.stream)
        known = known_concepts(model, run.stream, step)
    rows = [row["known_concepts"] for row in history] + [known]
    entry = {
        "step": step, "samples_total": run.samples(step), "architecture": model.architecture.to_dict(),
        "parameters": count_parameters(model.architecture, model.config), "train_flops": cost_of(model, data, config),
        "search": found or {"space_size": 1, "evaluated": 0, "flops": 0, "ranking": []},
        **scores, "known_concepts": known, "forgetting": forgetting(rows),
        "seconds": round(sum(phases.values()), 2), "phases": {name: round(s, 2) for name, s in phases.items()},
    }  # fmt: skip
    write_metrics(run.out / "metrics.jsonl", step, state.records)
    delivered = model.cpu()
    origin = {
        "data": run.stream.name, "data_digest": data_digest(run.stream), "profile": run.profile.name, "seed": run.seed,
        "step": step,
    }  # fmt: skip
    save_model(delivered, run.out / f"step_{step}", origin)
    if state.average is not None:
        delivered = state.average.module.cpu()
        save_model(delivered, run.out / f"average_{step}", origin)
    return delivered, entry


def resume_step(run: Run, about: dict) -> tuple[GrowCLIP, TrainingSet, dict | None, dict]:
    """An empty model of the interrupted step's architecture, which `load_training` fills; data, search, phases."""
    with timed(about["phases"], "data"):
        tokenizer = tokenizer_at(run, about["step"])
        data = run.training_set(about["step"], tokenizer)
    architecture, config = Architecture.from_dict(about["architecture"]), ModelConfig.from_dict(about["model"])
    return new_model(architecture, config, 0, tokenizer), data, about["search"], about["phases"]


def check_stream(stream: Stream) -> None:
    """Raises `InputError` where the first search could not tell members apart: of one pair the loss is always 0."""
    if len(stream.train) > 1 and sum(len(part) for part in stream.validation[:2]) < 2:
        raise InputError(
            f"{stream.name} has fewer than two validation pairs in growth steps 1 and 2, but the search needs some; "
            "give a few of their pairs the split val."
        )


def last_model(run: Run, steps: int) -> GrowCLIP | None:
    """The model to inherit from after `steps` finished growth steps."""
    if not steps:
        return None
    return load_model(run.out / f"{'average' if run.profile.reading == 'B' else 'step'}_{steps}")


def grow(
    stream: Stream, profile: str | Profile = "laptop", out: str | Path = "runs/grow", *, seed: int = 0,
    resume: bool = False,
) -> dict:  # fmt: skip
    """Grows a CLIP over all growth steps of `stream`; returns the report and writes it to `out`.

    Beside report.json, `out` gets metrics.jsonl and a checkpoint per step; a line per step is printed.
    With `resume`, goes on where an interrupted run has stopped, with the same result as if it had not
    been interrupted, provided that software and threads are the same; the report names those that it
    began with.
    Raises `InputError` for unusable input.
    """
    profile = get_profile(profile) if isinstance(profile, str) else profile
    check_seed(seed)
    check_stream(stream)
    run = Run(stream, profile, seed, Path(out))
    report = start_report(run, resume)
    # Keep the precision the run began with, even on another machine.
    run.precision = getattr(torch, report["versions"]["precision"])
    model = last_model(run, len(report["steps"]))
    total = len(stream.train)
    with tqdm(total=total, initial=len(report["steps"]), desc="growth steps", unit="step") as bar:
        for entry in report["steps"]:  # finished before
            bar.write(describe(entry))
        for step in range(len(report["steps"]) + 1, total + 1):
            model, entry = grow_step(run, step, model, report["steps"])
            report["steps"].append(entry)
            report["total_flops"] = sum(e["train_flops"] + e["search"]["flops"] for e in report["steps"])
            report["seconds"] = round(sum(e["seconds"] for e in report["steps"]), 2)
            write_json(run.out / "report.json", report)
            bar.update()
            bar.write(describe(entry))
    (run.out / "training.safetensors").unlink(missing_ok=True)
    return report


def describe(entry: dict) -> str:
    """One line about a growth step."""
    return (
        f"step {entry['step']}: {entry['samples_total']:,} pairs · {Architecture.from_dict(entry['architecture'])} · "
        f"{entry['parameters'] / 1e6:.2f} M parameters · {entry['train_flops'] / 1e12:.1f} TFLOPs · zero-shot "
        f"{shown_accuracy(entry)} · image-to-text R@1 {entry['retrieval']['i2t_r1']:.3f} · {entry['seconds']:.0f} s"
    )
