"""The search: members are slices of the supernet, and the same seed finds the same architecture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import THINGS, numbered, tiny_config, tiny_model, tiny_pairs, tiny_tokenizer, weights_equal

from growclip_lite import Architecture, GrowthSpace
from growclip_lite.architecture import forward_flops, tensor_shapes, training_flops
from growclip_lite.errors import InputError
from growclip_lite.evaluate import recall_at
from growclip_lite.losses import contrastive_loss
from growclip_lite.search import (
    Score,
    SearchConfig,
    extract,
    propose,
    run_member,
    sandwich,
    score,
    scoring_batches,
    search,
    select,
    skeleton,
    slice_state,
    train_supernet,
    unevenness,
)  # fmt: skip
from growclip_lite.train import TrainConfig, TrainingSet, rate_factor, update

BASE = Architecture(1, 1, 1, 1, 0, 1)
TOKENIZER = tiny_tokenizer()
CONFIG = tiny_config(TOKENIZER)
SPACE = GrowthSpace(BASE, reach=1, floor=0, budget=float("inf"), config=CONFIG)
TRAIN = TrainConfig(iterations=3, batch_size=8, learning_rate=0.02, warmup=1)
SETTINGS = SearchConfig(TRAIN, random_members=1, evaluations=100, scoring_pairs=16)


def data(seed: int, count: int = 24) -> TrainingSet:
    return TrainingSet([tiny_pairs(count, THINGS[:1], seed)[0]], TOKENIZER, CONFIG.context_length)


def supernet(space: GrowthSpace = SPACE):
    return tiny_model(space.largest)


def batch(seed: int = 7, count: int = 5):
    return data(seed).batch(np.arange(count), np.random.default_rng(0))


# ---- members


def check_members(space: GrowthSpace) -> None:
    """Every member of the space computes the same as its extracted model."""
    large = supernet(space)
    images, tokens, _ = batch()
    for member in space.members:
        alone = extract(large, member)
        assert alone.architecture == member and alone.tokenizer is large.tokenizer
        assert {name: tuple(weight.shape) for name, weight in alone.state_dict().items()} == tensor_shapes(
            member, CONFIG
        )
        with torch.no_grad():
            for slice_of, own in zip(run_member(large, member, images, tokens), alone(images, tokens), strict=True):
                assert torch.allclose(slice_of, own, rtol=0, atol=1e-6)


def test_every_member_computes_the_same_as_its_extracted_model():
    assert len(SPACE.members) == 2**4 * 3
    check_members(SPACE)


@pytest.mark.parametrize("base", [Architecture(1, 3, 1, 1, 0, 1), Architecture(1, 1, 1, 4, 0, 1)])
def test_wide_encoders_without_shared_blocks_fit_into_their_supernet(base: Architecture):
    """Their projections are as wide as they are, and the supernet's as its shared blocks."""
    space = GrowthSpace(base, reach=1, floor=0, budget=float("inf"), config=CONFIG)
    assert base in space.members and all(max(m.sizes[5] - base.sizes[5], 0) <= 1 for m in space.members)
    check_members(space)


def test_members_differ():
    large = supernet()
    images, tokens, _ = batch()
    with torch.no_grad():
        embeddings = [run_member(large, member, images, tokens)[0].flatten() for member in SPACE.members]
    image_parts = {tuple(round(float(v), 4) for v in embedding) for embedding in embeddings}
    assert len(image_parts) == 2 * 2 * 3  # image depth, image width, and no, a narrow or a wide shared block


@pytest.mark.parametrize("member", SPACE.members[::7], ids=str)
def test_gradients_reach_exactly_the_members_corner(member: Architecture):
    large = supernet()
    images, tokens, ids = batch()
    contrastive_loss(*run_member(large, member, images, tokens), ids).backward()
    shapes = tensor_shapes(member, CONFIG)
    used_words = torch.unique(tokens[tokens != 0])
    for name, weight in large.named_parameters():
        if name not in shapes:
            assert weight.grad is None or not weight.grad.any(), name
            continue
        corner = tuple(slice(size) for size in shapes[name])
        outside = weight.grad.clone()
        outside[corner] = 0
        assert not outside.any(), name
        inside = weight.grad[corner]
        if name == "text.token":
            inside = inside[used_words]
        elif name == "text.position":
            inside = inside[: int((tokens != 0).sum(1).max())]
        assert (inside != 0).float().mean() > 0.9, name


def test_an_extracted_model_owns_its_weights():
    large = supernet()
    before = {name: weight.clone() for name, weight in large.state_dict().items()}
    alone = extract(large, BASE)
    with torch.no_grad():
        for weight in alone.parameters():
            weight.add_(1)
    assert weights_equal(large.state_dict(), before)


def test_a_member_must_fit_into_the_supernet():
    with pytest.raises(InputError, match="is no slice of the supernet"):
        slice_state({}, Architecture(9, 1, 1, 1, 1, 1), supernet())


# ---- training and scoring


def test_the_sandwich_has_both_ends():
    members = sandwich(SPACE, 3, np.random.default_rng(0))
    assert members[:2] == [SPACE.largest, SPACE.base] and len(members) == 5
    assert all(member in SPACE for member in members)
    # The smallest is trained, too, where it is too cheap to be chosen.
    space = replace(SPACE, floor=2 * forward_flops(BASE, CONFIG))
    largest, smallest, *others = sandwich(space, 20, np.random.default_rng(0))
    assert (largest, smallest) == (space.largest, BASE) and BASE not in space
    assert all(member in space for member in others)


def test_supernet_training_changes_weights_and_counts_flops():
    large = supernet()
    before = {name: weight.clone() for name, weight in large.state_dict().items()}
    flops = train_supernet(large, SPACE, data(0), replace(SETTINGS, random_members=0), seed=0)
    per_iteration = sum(training_flops(member, CONFIG, TRAIN.batch_size) for member in (SPACE.largest, SPACE.base))
    assert flops == TRAIN.iterations * per_iteration
    unchanged = [name for name, weight in large.named_parameters() if torch.equal(weight, before[name])]
    assert unchanged == []


def test_a_score_is_loss_and_recall_of_the_member():
    large, held_out = supernet(), data(5)
    batches = [held_out.batch(part, np.random.default_rng(0)) for part in np.array_split(np.arange(16), 2)]
    found = score(large, BASE, batches)
    alone = extract(large, BASE)
    with torch.no_grad():
        losses = [contrastive_loss(*alone(images, tokens), ids).item() for images, tokens, ids in batches]
    assert found.loss == pytest.approx(np.mean(losses), abs=1e-5)
    assert 0 <= found.recall <= 1 and found.flops == forward_flops(BASE, CONFIG)
    assert found.to_dict() == {
        "architecture": BASE.to_dict(), "loss": found.loss, "i2t_r1": found.recall, "flops": found.flops,
    }  # fmt: skip


def test_search_follows_the_seed():
    results = [search(supernet(), SPACE, data(0), data(1), SETTINGS, seed) for seed in (4, 4, 5)]
    one, two, other = results
    assert one.ranking == two.ranking and one.flops == two.flops
    assert weights_equal(one.model.state_dict(), two.model.state_dict())
    assert one.ranking != other.ranking


def test_a_small_space_is_searched_completely_and_ranked():
    large = supernet()
    found = search(large, SPACE, data(0), data(1), SETTINGS, seed=0)
    assert {entry.architecture for entry in found.ranking} == set(SPACE.members)
    assert found.space_size == len(found.ranking) == len(SPACE)
    assert [entry.loss for entry in found.ranking] == sorted(entry.loss for entry in found.ranking)
    assert found.model.architecture == select(found.ranking).architecture
    # The winner keeps what the search has trained.
    assert weights_equal(found.model.state_dict(), extract(large, found.model.architecture).state_dict())


def test_search_flops_are_training_and_scoring():
    trained = train_supernet(supernet(), SPACE, data(0), SETTINGS, seed=0)
    found = search(supernet(), SPACE, data(0), data(1), SETTINGS, seed=0)
    assert found.flops == trained + SETTINGS.scoring_pairs * sum(entry.flops for entry in found.ranking)


def test_the_budget_holds_for_the_winner():
    space = replace(SPACE, budget=1.2 * forward_flops(BASE, CONFIG))
    found = search(supernet(space), space, data(0), data(1), SETTINGS, seed=0)
    assert found.model.architecture in space and all(entry.architecture in space for entry in found.ranking)


@pytest.mark.parametrize("evaluations", [1, 2, 3, 12])
def test_a_large_space_is_searched_by_evolution(evaluations: int):
    settings = replace(SETTINGS, evaluations=evaluations, scoring_pairs=8)
    found = search(supernet(), SPACE, data(0), data(1), settings, seed=0)
    members = [entry.architecture for entry in found.ranking]
    assert len(set(members)) == len(members) <= evaluations < found.space_size == len(SPACE)
    assert len(members) >= min(evaluations, 6) and all(member in SPACE for member in members)


def test_evolution_beats_chance():
    """With a loss that falls with size, mutation climbs towards the largest member."""
    space = GrowthSpace(BASE, reach=3, floor=0, budget=float("inf"), config=CONFIG)

    def best_of(at_most: int, learn: bool) -> float:
        scored, rng = [], np.random.default_rng(0)
        for member in propose(space, scored, at_most, rng) if learn else (space.sample(rng) for _ in range(at_most)):
            scored.append(Score(member, -float(sum(member.sizes)), 0.0, 0))
        return min(entry.loss for entry in scored)

    assert best_of(60, learn=True) < best_of(60, learn=False)


def test_scoring_pairs_may_exceed_what_is_held_out():
    found = search(supernet(), SPACE, data(0), data(1, count=5), replace(SETTINGS, scoring_pairs=500, evaluations=2), 0)
    supernet_flops = train_supernet(supernet(), SPACE, data(0), SETTINGS, 0)
    scored = found.flops - supernet_flops
    assert len(found.ranking) == 2 and scored == 5 * sum(entry.flops for entry in found.ranking)


# ---- selection


def entry(loss: float, flops: int) -> Score:
    return Score(Architecture(flops, 1, 1, 1, 1, 1), loss, 0.0, flops)


@pytest.mark.parametrize(
    ("scores", "winner"),
    [
        pytest.param([(1.0, 9), (1.1, 1)], 9, id="clearly better"),
        pytest.param([(1.0, 9), (1.001, 5), (1.002, 7)], 5, id="the cheapest of equals"),
        pytest.param([(1.001, 5), (1.0, 9), (1.0005, 5)], 5, id="any order"),
        pytest.param([(1.0, 9), (1.021, 1)], 9, id="just outside the tolerance"),
        pytest.param([(2.0, 3)], 3, id="one"),
    ],
)
def test_selection(scores: list[tuple[float, int]], winner: int):
    assert select([entry(*values) for values in scores]).flops == winner


def test_among_equals_the_most_even_architecture_wins_over_cheaper_ones():
    even, wide = Architecture(2, 2, 1, 2, 1, 2), Architecture(1, 1, 1, 3, 1, 1)
    assert (unevenness(even), unevenness(wide), unevenness(Architecture(1, 2, 1, 2, 0, 2))) == (1, 2, 1)
    assert select([Score(wide, 1.0, 0.0, 5), Score(even, 1.01, 0.0, 9)]).architecture == even
    assert select([Score(wide, 1.0, 0.0, 5), Score(even, 1.03, 0.0, 9)]).architecture == wide


def test_equally_cheap_members_are_decided_by_loss():
    assert select([entry(1.001, 5), entry(1.0, 5)]).loss == 1.0


def test_a_search_that_diverges_is_told_in_a_sentence():
    large = supernet()
    with torch.no_grad():
        large.image_projection.fill_(float("nan"))
    with pytest.raises(InputError, match="loss .* nan.*learning rate"):
        search(large, SPACE, data(0), data(1), SETTINGS, seed=0)


def test_members_are_scored_on_held_out_pairs():
    large, held_out = supernet(), data(1)
    found = search(large, SPACE, data(0), held_out, SETTINGS, seed=0)
    batches = scoring_batches(held_out, SETTINGS, np.random.default_rng([0, 3]))
    losses = {entry.architecture: entry.loss for entry in found.ranking}
    for member in (BASE, SPACE.largest):
        assert losses[member] == pytest.approx(score(large, member, batches).loss, abs=1e-6)


def test_scoring_pairs_are_drawn_from_all_steps():
    held_out = TrainingSet(numbered(100, 100), TOKENIZER, 8)
    draws = [
        torch.cat([b[0][:, 0, 0, 0] for b in scoring_batches(held_out, SETTINGS, np.random.default_rng(s))]).tolist()
        for s in (0, 1)
    ]
    for drawn in draws:
        assert len(set(drawn)) == len(drawn) == SETTINGS.scoring_pairs and min(drawn) < 100 <= max(drawn)
    assert draws[0] != draws[1]


def test_a_scores_recall_is_image_to_text():
    large, held_out = supernet(), data(5)
    (batch,) = [held_out.batch(np.arange(24), np.random.default_rng(0))]
    with torch.no_grad():
        images, texts, _ = extract(large, BASE)(*batch[:2])
    same = batch[2][:, None] == batch[2][None, :]
    by_hand, other = recall_at(images @ texts.T, same, 1), recall_at(texts @ images.T, same, 1)
    assert score(large, BASE, [batch]).recall == by_hand != other


def test_the_supernets_rate_follows_its_schedule(monkeypatch):
    factors = []
    monkeypatch.setattr(
        "growclip_lite.search.update", lambda o, m, factor, c: factors.append(factor) or update(o, m, factor, c)
    )
    config = replace(TRAIN, warmup=2)
    train_supernet(supernet(), SPACE, data(0), replace(SETTINGS, train=config), seed=0)
    assert factors == [rate_factor(i, config) for i in range(3)] and len(set(factors)) > 1


def test_members_are_run_in_the_supernets_precision():
    large = supernet()
    large.compute_dtype = torch.bfloat16
    assert skeleton(BASE, large).compute_dtype is torch.bfloat16
