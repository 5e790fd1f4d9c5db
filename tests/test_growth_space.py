"""The growth space: which architectures are allowed, against brute force."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from growclip_lite import Architecture, GrowthSpace
from growclip_lite.architecture import ModelConfig, forward_flops

CONFIG = ModelConfig(image_size=16, patch_size=4, context_length=10, vocab_size=50, embed_dim=16)
SMALL = Architecture(1, 1, 1, 1, 1, 1)
UNSHARED = Architecture(2, 1, 1, 2, 0, 1)
COST, FREE = forward_flops(SMALL, CONFIG), float("inf")
SPACES = {
    "as in a run": GrowthSpace.at_step(SMALL, CONFIG, 2, power=0.7),
    "tight": GrowthSpace(SMALL, reach=1, floor=0, budget=1.5 * COST, config=CONFIG),
    "without limit": GrowthSpace(SMALL, reach=1, floor=0, budget=FREE, config=CONFIG),
    "no room": GrowthSpace.at_step(SMALL, CONFIG, 1, power=0.7),
    "unshared": GrowthSpace(UNSHARED, reach=2, floor=0, budget=3 * forward_flops(UNSHARED, CONFIG), config=CONFIG),
}
each_space = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


def brute_force(space: GrowthSpace) -> set[tuple[int, ...]]:
    """All combinations of sizes, filtered by the rules as they are stated in the docstrings."""
    found = set()
    for steps in itertools.product(range(space.reach + 1), repeat=6):
        sizes = tuple(size + step for size, step in zip(space.base.sizes, steps, strict=True))
        meaningless = sizes[4] == 0 and sizes[5] != space.base.shared_width
        cost = forward_flops(Architecture(*sizes), space.config)
        if not meaningless and space.floor <= cost <= space.budget:
            found.add(sizes)
    return found


@each_space
def test_members_equal_brute_force(space: GrowthSpace):
    members = space.members
    assert {member.sizes for member in members} == brute_force(space)
    assert len(members) == len(set(members)) == len(space)
    assert members == sorted(members)


@each_space
def test_membership_agrees_with_enumeration(space: GrowthSpace):
    members = set(space.members)
    for sizes in itertools.product(*(range(max(size - 1, 1), size + space.reach + 2) for size in space.base.sizes[:4])):
        candidate = Architecture(*sizes, space.base.shared_depth, space.base.shared_width)
        assert (candidate in space) == (candidate in members)


@each_space
def test_nothing_shrinks_and_all_keep_to_the_budget(space: GrowthSpace):
    for member in space.members:
        assert member.contains(space.base) and space.largest.contains(member)
        assert space.floor <= forward_flops(member, CONFIG) <= space.budget


def test_the_width_of_no_shared_blocks_is_counted_once():
    without = [member for member in SPACES["unshared"].members if member.shared_depth == 0]
    assert {member.shared_width for member in without} == {UNSHARED.shared_width}


def test_the_supernet_contains_all_and_may_exceed_the_budget():
    space = SPACES["tight"]
    assert space.largest == Architecture(2, 2, 2, 2, 2, 2)
    assert forward_flops(space.largest, CONFIG) > space.budget and space.largest not in space


@pytest.mark.parametrize(("ratio", "reach"), [(1.4, 1), (2.0, 1), (4.0, 2), (8.0, 3), (10.0, 3)])
def test_reach_and_budget_grow_with_the_data(ratio: float, reach: int):
    space = GrowthSpace.at_step(SMALL, CONFIG, ratio, power=0.5)
    assert space.reach == reach and space.budget == pytest.approx(COST * ratio**0.5)
    # Members spend at least half of the increase, so that amount decides how much grows, and the search where.
    assert space.floor == pytest.approx(COST + (space.budget - COST) / 2) and SMALL not in space


def test_more_data_allow_more():
    spaces = [GrowthSpace.at_step(SMALL, CONFIG, ratio, power=0.7) for ratio in (1.5, 2, 4, 8)]
    sizes = [len(space) for space in spaces]
    assert sizes == sorted(set(sizes))
    largest = [max(forward_flops(member, CONFIG) for member in space.members) for space in spaces]
    assert largest == sorted(set(largest))


@pytest.mark.parametrize(("ratio", "power"), [(1.0, 0.7), (1.001, 0.7), (8.0, 0.0)])
def test_too_little_room_leaves_the_architecture_as_it_is(ratio: float, power: float):
    space = GrowthSpace.at_step(SMALL, CONFIG, ratio, power)
    assert space.members == [SMALL] and space.sample(np.random.default_rng(0)) == SMALL


def test_the_space_is_centred_anew_on_what_has_grown():
    first = GrowthSpace.at_step(SMALL, CONFIG, 2, power=1)
    chosen = max(first.members, key=lambda member: sum(member.sizes))
    second = GrowthSpace.at_step(chosen, CONFIG, 2, power=1)
    assert second.base == chosen and second.budget > first.budget
    assert all(member.contains(chosen) and member not in first for member in second.members)


@each_space
def test_samples_are_members_and_follow_the_seed(space: GrowthSpace):
    one, two, other = ([space.sample(np.random.default_rng(seed + i)) for i in range(20)] for seed in (0, 0, 100))
    assert one == two and all(member in space for member in one)
    assert one != other or len(space) == 1


def test_samples_are_uniform():
    space, rng = SPACES["tight"], np.random.default_rng(0)
    draws = 40 * len(space)
    counts = Counter(space.sample(rng) for _ in range(draws))
    assert set(counts) == set(space.members)
    # Pearson's chi-squared has mean len - 1 and standard deviation sqrt(2 (len - 1)) here.
    freedom = len(space) - 1
    chi_squared = sum((count - 40) ** 2 / 40 for count in counts.values())
    assert abs(chi_squared - freedom) < 5 * (2 * freedom) ** 0.5


@each_space
def test_mutations_are_neighbours_and_follow_the_seed(space: GrowthSpace):
    walks = []
    for _ in range(2):
        rng, member, walk = np.random.default_rng(1), space.members[0], []
        for _ in range(20):
            neighbour = space.mutate(member, rng)
            distance = sum(abs(a - b) for a, b in zip(member.sizes, neighbour.sizes, strict=True))
            assert neighbour in space and (distance in (1, 2) or len(space) == 1)
            walk.append(member := neighbour)
        walks.append(walk)
    assert walks[0] == walks[1]


@pytest.mark.parametrize("name", ["as in a run", "tight"])
def test_mutations_reach_every_member(name: str):
    space, rng = SPACES[name], np.random.default_rng(0)
    reached = {space.members[0]}
    for _ in range(1000):
        reached.add(space.mutate(sorted(reached)[rng.integers(len(reached))], rng))
    assert reached == set(space.members)


@pytest.mark.parametrize(
    "outside",
    [
        pytest.param(Architecture(1, 1, 1, 1, 0, 1), id="smaller"),
        pytest.param(Architecture(3, 1, 1, 1, 1, 1), id="out of reach"),
        pytest.param(Architecture(2, 2, 2, 2, 2, 2), id="over the budget"),
        pytest.param(SMALL, id="too cheap"),
    ],
)
def test_what_is_outside_is_no_member(outside: Architecture):
    space = SPACES["as in a run"]
    assert all(member in space for member in space.members) and outside not in space


def test_the_size_is_printed():
    space = SPACES["tight"]
    assert str(space).startswith(f"{len(space)} members between ({space.base}) and ({space.largest})")


def test_the_reach_has_an_end():
    assert GrowthSpace.at_step(SMALL, CONFIG, 1000.0, 0.0).reach == 4
