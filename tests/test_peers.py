"""The rivals of growing: what they train on, inherit from and are taught by."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import THINGS, numbered, tiny_config, tiny_model, tiny_pairs, tiny_profile, tiny_stream, tiny_tokenizer

from growclip_lite import Architecture, peers, train
from growclip_lite.continual import METHODS, Method, Teachers, lwf, mulki
from growclip_lite.grow import Run
from growclip_lite.losses import distillation
from growclip_lite.peers import follow, grow_once, train_fixed
from growclip_lite.studies import growers
from growclip_lite.train import TrainConfig, TrainingSet

grow_module = sys.modules["growclip_lite.grow"]  # the package gives this name to the function
TOKENIZER = tiny_tokenizer()
CONFIG = tiny_config(TOKENIZER)
SMALL = Architecture(1, 1, 1, 1, 1, 1)


def data(seed, count=24):
    return TrainingSet([tiny_pairs(count, THINGS[:1], seed)[0]], TOKENIZER, CONFIG.context_length)


@pytest.fixture
def fits(monkeypatch):
    """Captions, settings and seed of every training to come."""
    seen, fit = [], peers.fit

    def watch(model, data, config, seed, **more):
        seen.append((sorted(caption for part in data.parts for caption in part.captions), config, seed))
        return fit(model, data, config, seed, **more)

    monkeypatch.setattr(peers, "fit", watch)
    return seen


@pytest.fixture
def inherited(monkeypatch):
    """The models that will be inherited from."""
    seen, inherit = [], peers.inherit_at
    monkeypatch.setattr(peers, "inherit_at", lambda r, t, old, *more: seen.append(old) or inherit(r, t, old, *more))
    return seen


def unscored(model, step):
    return {}


def test_peers_train_on_all_pairs_so_far(tmp_path, fits):
    run = Run(tiny_stream(), tiny_profile(), 0, tmp_path)
    so_far = [sorted(caption for part in run.stream.train[:t] for caption in part.captions) for t in (1, 2, 3)]
    trail = follow(run, [SMALL] * 3, [2, 3, 4], unscored)
    assert [(captions, config.iterations) for captions, config, _ in fits] == list(zip(so_far, (2, 3, 4), strict=True))
    train_fixed(run, SMALL, 2, 5, "fixed")
    grow_once(run, 3, trail.model, SMALL)
    assert [captions for captions, *_ in fits[3:]] == so_far[1:]
    assert [seed for *_, seed in fits] == [run.seed_of(t) for t in (1, 2, 3, 2, 3)]
    fits.clear()
    follow(replace(run, profile=tiny_profile(replay=False)), [SMALL] * 2, [2, 2], unscored)
    assert [captions for captions, *_ in fits] == [sorted(part.captions) for part in run.stream.train[:2]]


def test_peers_of_reading_b_inherit_the_average(tmp_path, monkeypatch, inherited):
    run = Run(tiny_stream(2), tiny_profile(reading="B", momentum=0.8), 0, tmp_path)
    trained, fit = [], peers.fit
    monkeypatch.setattr(peers, "fit", lambda *a, **more: trained.append(fit(*a, **more)) or trained[-1])
    follow(run, [SMALL] * 2, [3, 3], unscored)
    assert inherited == [trained[0].average.module]
    model, _ = train_fixed(run, SMALL, 1, 3, "fixed")
    assert model is trained[-1].average.module


def test_every_grower_inherits_in_its_own_way(tmp_path, monkeypatch):
    asked, inherit = [], grow_module.inherit

    def watch(*arguments, **more):
        asked.append((more["operator"], more["momentum"]))
        return inherit(*arguments, **more)

    monkeypatch.setattr(grow_module, "inherit", watch)
    for changes in growers.GROWERS.values():
        run = Run(tiny_stream(2), tiny_profile(**changes), 0, tmp_path)
        follow(run, [SMALL, replace(SMALL, image_width=2)], [1, 1], unscored)
    # Reading B has mixed already, when it inherits.
    ways = [way | {"momentum": 1.0} if way.get("reading") == "B" else way for way in growers.GROWERS.values()]
    assert asked == [(way["operator"], way.get("momentum", 1.0)) for way in ways]


def test_teachers_are_the_model_before_and_the_first(tmp_path):
    run, taught, models = Run(tiny_stream(), tiny_profile(), 0, tmp_path), [], []

    def penalty(teachers):
        taught.append(teachers)
        return lwf(teachers)

    def keep(model, step):
        models.append(model.image_projection.detach().clone())
        return {}

    follow(run, [SMALL] * 3, [3, 3, 3], keep, Method(penalty=penalty))
    first, second, _ = models
    assert not torch.equal(first, second) and len(taught) == 2
    for teachers, previous in zip(taught, (first, second), strict=True):
        assert torch.equal(teachers.previous.image_projection, previous)
        assert torch.equal(teachers.first.image_projection, first)
        assert teachers.reference.parts[0].captions == run.stream.train[0].captions


def test_lwf_is_the_divergence_from_the_teacher():
    teacher, student, pairs = tiny_model(), tiny_model(seed=5), data(0)
    batch = pairs.batch(np.arange(16), np.random.default_rng(0))
    features = student(*batch[:2])
    with torch.no_grad():
        images, texts, scale = teacher(*batch[:2])
    old, new = scale * images @ texts.T, features[2] * features[0] @ features[1].T
    by_hand, turned_round = (
        ((distillation(a, b) + distillation(a.T, b.T)) / 2).item() for a, b in ((new, old), (old, new))
    )
    found = lwf(Teachers(teacher, teacher, 10, pairs, 0))(student, batch, features).item()
    assert found == pytest.approx(by_hand, rel=1e-5) and found != pytest.approx(turned_round, rel=1e-2)


def test_mulki_listens_to_the_teacher_that_matches_better():
    pairs = TrainingSet(numbered(12), TOKENIZER, CONFIG.context_length)
    good, bad, student = tiny_model(), tiny_model(seed=3), tiny_model(seed=5)
    train.fit(good, pairs, TrainConfig(60, 12, 0.02, 2), 0)
    batch = pairs.batch(np.arange(12), np.random.default_rng(0))

    def penalty(first, previous):
        return mulki(Teachers(previous, first, 10, pairs, 0))(student, batch, student(*batch[:2])).item()

    both = penalty(good, bad)
    assert abs(both - penalty(good, good)) < abs(both - penalty(bad, bad))


def test_methods_have_their_schedules(tmp_path, fits):
    run = Run(tiny_stream(2), tiny_profile(), 0, tmp_path)
    for name in ("fine-tuning", "repeated cosine", "infinite schedule"):
        follow(run, [SMALL] * 2, [5, 5], unscored, METHODS[name])
    schedules = [(config.schedule, config.warmup) for _, config, _ in fits]
    warmup = run.profile.warmup
    assert schedules == [("linear", warmup)] * 2 + [("cosine", warmup)] * 2 + [
        ("infinite", warmup), ("infinite", warmup), ("infinite", 0), ("infinite", 0),
    ]  # fmt: skip


def test_the_infinite_schedule_goes_on_from_before_annealing(tmp_path, inherited):
    run, scored = Run(tiny_stream(2), tiny_profile(), 0, tmp_path), []

    def keep(model, step):
        scored.append(model.image_projection.detach().clone())
        return {}

    follow(run, [SMALL] * 2, [5, 5], keep, METHODS["infinite schedule"])
    assert not torch.equal(inherited[0].image_projection, scored[0])
