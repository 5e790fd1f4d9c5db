"""Training: batches that can be resumed, and a loop that does not notice an interruption."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import THINGS, numbered, tiny_model, tiny_pairs, tiny_stream, tiny_tokenizer, weights_equal

from growclip_lite import train
from growclip_lite.architecture import training_flops
from growclip_lite.checkpoint import TRAINING_FIELDS, load_training, save_training
from growclip_lite.errors import InputError
from growclip_lite.losses import contrastive_loss
from growclip_lite.model import GrowCLIP
from growclip_lite.train import (
    MAX_LOGIT_SCALE,
    TrainConfig,
    TrainingSet,
    TrainingState,
    batch_order,
    cost_of,
    fit,
    make_optimizers,
    rate_factor,
    shift,
    train_step,
    update,
)  # fmt: skip

CONFIG = TrainConfig(iterations=10, batch_size=8, learning_rate=0.02, warmup=2)
TOKENIZER = tiny_tokenizer()
LENGTH = 8


def data(**options) -> TrainingSet:
    return TrainingSet([tiny_pairs(40, THINGS[:2], 0)[0]], TOKENIZER, LENGTH, **options)


# ---- the order of batches


@pytest.mark.parametrize(("count", "batch_size"), [(20, 4), (20, 7), (5, 8), (1, 1)])
def test_every_epoch_is_a_permutation(count: int, batch_size: int):
    per_epoch = count // min(batch_size, count)
    batches = list(itertools.islice(batch_order(count, batch_size, [0]), 3 * per_epoch))
    for epoch in range(3):
        seen = np.concatenate(batches[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert len(set(seen)) == len(seen) == per_epoch * min(batch_size, count) and set(seen) <= set(range(count))


def test_epochs_and_seeds_differ():
    first, second = (list(itertools.islice(batch_order(100, 50, [seed]), 4)) for seed in (0, 1))
    assert len({tuple(batch) for batch in first + second}) == 8


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 13])
def test_a_later_start_skips_batches(start: int):
    whole = list(itertools.islice(batch_order(22, 4, [3, 1]), start + 6))
    rest = list(itertools.islice(batch_order(22, 4, [3, 1], start=start), 6))
    assert all(np.array_equal(one, other) for one, other in zip(whole[start:], rest, strict=True))


# ---- the training set


def test_batches_pick_the_right_rows_of_all_parts():
    parts = numbered(3, 0, 5, 2)
    union = TrainingSet(parts, TOKENIZER, LENGTH)
    assert len(union) == 10
    index = np.array([9, 0, 2, 3, 7, 8])
    images, tokens, ids = union.batch(index, np.random.default_rng(0))
    assert images.dtype == torch.uint8 and images.shape == (6, 3, 8, 8) and tokens.dtype == torch.int64
    assert images[:, 0, 0, 0].tolist() == index.tolist()
    assert torch.equal(tokens, TOKENIZER([f"number {k}" for k in index], LENGTH))
    assert len(set(ids.tolist())) == 6


def test_equal_captions_have_equal_ids():
    (part,) = numbered(4)
    part.captions = ["a cat", "a dog", "a cat", "a cow"]
    _, _, ids = TrainingSet([part, *numbered(1)], TOKENIZER, LENGTH).batch(np.arange(5), np.random.default_rng(0))
    assert ids[0] == ids[2] and len(set(ids.tolist())) == 4


def test_pictures_are_left_alone_without_augmentation():
    plain = data()
    images, _, _ = plain.batch(np.arange(40), np.random.default_rng(0))
    assert np.array_equal(images.numpy(), plain.parts[0].images)


def test_mirroring_mirrors_about_half_but_no_sided_caption(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train, "shift", lambda images, rng: images)
    (part,) = numbered(80)
    part.images = np.random.default_rng(0).integers(0, 256, part.images.shape).astype(np.uint8)
    part.captions[60:] = ["a cat on the left", "Right of it", "two leftwards arrows", "the right one"] * 5
    images, _, _ = TrainingSet([part], TOKENIZER, LENGTH, augment=True).batch(np.arange(80), np.random.default_rng(0))
    original = torch.from_numpy(part.images)
    flipped = [torch.equal(one, other.flip(-1)) for one, other in zip(images, original, strict=True)]
    kept = [torch.equal(one, other) for one, other in zip(images, original, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 15 < sum(flipped[:60]) < 45 and not any(flipped[60:])


@pytest.mark.parametrize("size", [8, 16, 24])
def test_shift_moves_by_an_eighth_and_repeats_the_border(size: int):
    reach = size // 8
    picture = torch.arange(size * size).reshape(1, 1, size, size).expand(200, 3, -1, -1) % 251
    picture = picture.to(torch.uint8)
    moved = shift(picture, np.random.default_rng(0))
    assert moved.dtype == torch.uint8 and moved.shape == picture.shape
    padded = np.pad(picture[0].numpy(), ((0, 0), (reach, reach), (reach, reach)), mode="edge")
    windows = {
        padded[:, y : y + size, x : x + size].tobytes() for y in range(2 * reach + 1) for x in range(2 * reach + 1)
    }
    seen = {one.numpy().tobytes() for one in moved}
    assert seen <= windows and len(seen) > len(windows) / 2


def test_augmentation_follows_its_generator():
    augmented = data(augment=True)
    one, two, other = (augmented.batch(np.arange(40), np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, other)


# ---- learning rate and optimisers


def test_rate_factor_by_hand():
    config = replace(CONFIG, iterations=12, warmup=2, final_ratio=0.1)
    assert [rate_factor(i, config) for i in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert rate_factor(7, config) == pytest.approx(0.55)
    assert rate_factor(12, config) == pytest.approx(0.1)
    falling = [rate_factor(i, config) for i in range(2, 12)]
    assert falling == sorted(falling, reverse=True) and min(falling) > 0.1


def test_schedules_start_at_the_peak_and_come_down():
    def factors(schedule: str) -> list[float]:
        config = replace(CONFIG, iterations=12, warmup=2, final_ratio=0.1, schedule=schedule)
        return [rate_factor(i, config) for i in range(2, 13)]

    for schedule in ("linear", "cosine", "infinite"):
        assert factors(schedule)[0] == 1 and factors(schedule)[-1] == pytest.approx(0.1)
    assert factors("cosine")[5] == pytest.approx(0.55) and factors("cosine")[2] > factors("linear")[2]
    assert factors("infinite")[:9] == pytest.approx([1] * 9) and factors("infinite")[9] == pytest.approx(0.55)


def test_stopping_on_the_way_and_going_on_is_one_training():
    whole, parts = tiny_model(), tiny_model()
    data = TrainingSet(tiny_stream().train[:1], whole.tokenizer, 8)
    config = replace(CONFIG, iterations=6)
    fit(whole, data, config, 0)
    state = fit(parts, data, config, 0, stop=4)
    assert state.iteration == 4 and not weights_equal(whole.state_dict(), parts.state_dict())
    fit(parts, data, config, 0, state=state)
    assert weights_equal(whole.state_dict(), parts.state_dict())


@pytest.mark.parametrize("warmup", [0, 5, 50])
def test_rate_factor_of_short_trainings_is_sound(warmup: int):
    config = replace(CONFIG, iterations=5, warmup=warmup)
    assert all(0 < rate_factor(i, config) <= 1 for i in range(5))


def test_every_weight_has_one_optimiser():
    model = tiny_model()
    muon, adamw = make_optimizers(model, CONFIG)
    owned = [weight for optimizer in (muon, adamw) for group in optimizer.param_groups for weight in group["params"]]
    assert len(owned) == len({id(weight) for weight in owned}) == len(list(model.parameters()))
    assert all(weight.ndim == 2 for group in muon.param_groups for weight in group["params"])


def test_the_logit_scale_stays_in_its_range():
    model = tiny_model()
    with torch.no_grad():
        model.logit_scale.fill_(4.6)
    for factor, gradient, bound in ((5.0, -1e6, MAX_LOGIT_SCALE), (3000.0, 1e6, 0.0)):
        optimizers = make_optimizers(model, CONFIG)
        for weight in model.parameters():
            weight.grad = torch.zeros_like(weight)
        model.logit_scale.grad.fill_(gradient)
        train.update(optimizers, model, factor, CONFIG)
        assert model.logit_scale.item() == pytest.approx(bound) and model.logit_scale.grad is None


# ---- the loop


@pytest.mark.parametrize("ema_decay", [0.0, 0.9], ids=["plain", "with an average"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_training_saved_and_loaded_in_between_is_the_same(
    tmp_path: Path, saves_often, ema_decay: float, dtype: torch.dtype
):
    config = replace(CONFIG, ema_decay=ema_decay)
    whole = tiny_model()
    whole.compute_dtype = dtype
    path, half = tmp_path / "training.safetensors", config.iterations // 2 + 1

    def save_at_half(state: TrainingState) -> None:
        if state.iteration == half:
            save_training(path, whole, state, dict.fromkeys(TRAINING_FIELDS, 1))

    final = fit(whole, data(augment=True), config, seed=1, save=save_at_half)

    resumed = GrowCLIP(whole.architecture, whole.config, whole.tokenizer)
    resumed.compute_dtype = dtype
    state = load_training(path, resumed, config)
    assert state.iteration == half and [record["iteration"] for record in state.records] == [2, 4, 6]
    state = fit(resumed, data(augment=True), config, seed=1, state=state)
    assert weights_equal(resumed.state_dict(), whole.state_dict())
    assert state.records == final.records and state.iteration == config.iterations
    if ema_decay:
        assert weights_equal(state.average.state_dict(), final.average.state_dict())
        assert not weights_equal(state.average.module.state_dict(), whole.state_dict())
    for one, other in zip(state.optimizers, final.optimizers, strict=True):
        for index, values in one.state_dict()["state"].items():
            assert weights_equal(values, other.state_dict()["state"][index])


def test_the_average_is_exponential(saves_often):
    config = replace(CONFIG, iterations=4, ema_decay=0.7)
    model, weights = tiny_model(), []
    fit(model, data(), config, seed=0, save=lambda state: weights.append(model.text_projection.detach().clone()))
    # Saved at iterations 2 and 4 only: follow the others by a second training that stops earlier.
    by_iteration = {}
    for iterations in range(1, 5):
        other = tiny_model()
        state = TrainingState.begin(other, config)
        stop = replace(config, iterations=config.iterations)
        batches = batch_order(40, config.batch_size, [0, 0])
        for i in range(iterations):
            batch = data().batch(next(batches), np.random.default_rng([0, 1, i]))
            train.train_step(other, batch).backward()
            train.update(state.optimizers, other, rate_factor(i, stop), stop)
        by_iteration[iterations] = other.text_projection.detach().clone()
    assert torch.equal(by_iteration[4], weights[-1])
    expected = by_iteration[1]
    for i in (2, 3, 4):
        expected = 0.7 * expected + 0.3 * by_iteration[i]
    average = fit(tiny_model(), data(), config, seed=0).average.module.text_projection
    assert torch.allclose(average, expected, atol=1e-6)


def test_a_seed_gives_the_same_training_again():
    models = []
    for seed in (1, 1, 2):
        models.append(tiny_model())
        fit(models[-1], data(augment=True), CONFIG, seed=seed)
    one, two, other = (model.state_dict() for model in models)
    assert weights_equal(one, two) and not weights_equal(one, other)


def test_every_batch_has_random_numbers_of_its_own(monkeypatch: pytest.MonkeyPatch):
    original, drawn = TrainingSet.batch, []

    def watch(self, index, rng):
        drawn.append(rng.random())
        return original(self, index, rng)

    monkeypatch.setattr(TrainingSet, "batch", watch)
    fit(tiny_model(), data(), CONFIG, seed=0)
    assert len(set(drawn)) == CONFIG.iterations


def test_saving_does_not_change_the_result(saves_often):
    one, other, saved = tiny_model(), tiny_model(), []
    fit(one, data(), CONFIG, seed=0)
    fit(other, data(), CONFIG, seed=0, save=lambda state: saved.append(state.iteration))
    assert weights_equal(one.state_dict(), other.state_dict()) and saved == [2, 4, 6, 8, 10]


def test_states_are_saved_now_and_then_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(train, "RECORD_EVERY", 1)
    monkeypatch.setattr(train, "SAVE_SECONDS", 3600.0)
    saved: list[int] = []
    fit(tiny_model(), data(), CONFIG, seed=0, save=lambda state: saved.append(state.iteration))
    assert saved == []


def test_the_loss_falls():
    model = tiny_model()
    state = fit(model, data(), replace(CONFIG, iterations=60, batch_size=32), seed=0)
    losses = [record["loss"] for record in state.records]
    assert losses[-1] < 0.8 * losses[0]


def test_a_finished_training_is_left_alone():
    model = tiny_model()
    state = fit(model, data(), CONFIG, seed=0)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    again = fit(model, data(), CONFIG, seed=0, state=state)
    assert again.records == state.records and weights_equal(model.state_dict(), before)


def test_a_loss_that_is_no_number_stops_and_is_not_saved(saves_often):
    model, saved = tiny_model(), []
    original = TrainingSet.batch

    def poison(self, index, rng):
        if len(saved) == 2:
            with torch.no_grad():
                model.image_projection.fill_(float("nan"))
        return original(self, index, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingSet, "batch", poison)
        with pytest.raises(
            InputError, match=r"The loss became nan at iteration 6: lower the learning rate \(it is 0.02\)"
        ):
            fit(model, data(), CONFIG, seed=0, save=lambda state: saved.append(state.iteration))
    assert saved == [2, 4]


def test_captions_are_tokenised_block_by_block(monkeypatch):
    parts = [*numbered(7), tiny_pairs(9, THINGS[:1], 0)[0]]
    parts[1].captions[3] = "on the left"
    whole = TrainingSet(parts, TOKENIZER, LENGTH)
    monkeypatch.setattr(train, "TOKENIZED", 5)
    blocks = TrainingSet(parts, TOKENIZER, LENGTH)
    for name in ("tokens", "caption_ids", "sided"):
        assert torch.equal(getattr(blocks, name), getattr(whole, name)), name


def test_both_optimisers_have_their_rates_and_weights():
    model, config = tiny_model(), TrainConfig(3, 8, learning_rate=0.02, warmup=1, adam_ratio=0.15, weight_decay=0.03)
    optimizers = make_optimizers(model, config)
    names = {id(weight): name for name, weight in model.named_parameters()}
    matrices = {names[id(w)] for group in optimizers[0].param_groups for w in group["params"]}
    assert matrices == {name for name in names.values() if ".blocks." in name or ".stem." in name}
    assert [{group["weight_decay"] for group in one.param_groups} for one in optimizers] == [{0.03}, {0.0}]
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    update(optimizers, model, 0.5, config)
    assert [o.param_groups[0]["lr"] for o in optimizers] == pytest.approx([0.01, 0.0015])


def test_a_training_step_adds_the_penalty():
    model, batch = tiny_model(), data().batch(np.arange(8), np.random.default_rng(0))
    plain = train_step(model, batch)
    assert plain.item() == pytest.approx(contrastive_loss(*model(*batch[:2]), batch[2]).item())
    assert (train_step(model, batch, lambda *_: torch.tensor(0.5)) - plain).item() == pytest.approx(0.5)


def test_costs_count_the_pairs_that_a_batch_really_has():
    model, few = tiny_model(), TrainingSet(numbered(5), TOKENIZER, LENGTH)
    assert cost_of(model, few, CONFIG) == CONFIG.iterations * training_flops(model.architecture, model.config, 5)
