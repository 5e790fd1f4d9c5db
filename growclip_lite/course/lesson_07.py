"""Lesson 07, the growth space: the lattice of its members, its size, and its exercises."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from growclip_lite.architecture import Architecture, ModelConfig, forward_flops, tensor_shapes
from growclip_lite.course.display import PALETTE, subplots
from growclip_lite.course.exercises import exercise, require
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.search import unevenness

NAMES = ("image depth", "image width", "text depth", "text width", "shared depth", "shared width")
WHICH = {
    "all six": range(6), "depths only": (0, 2, 4), "widths only": (1, 3, 5),
    "image only": (0, 1), "text only": (2, 3), "shared only": (4, 5),
}  # fmt: skip
PALE, LIT, BAND = "#b5b5b5", PALETTE[0], PALETTE[1]


@dataclass(frozen=True)
class Lattice:
    """All candidates around a base: `sizes` (M, 6), `flops` (M,), which are `members` (M,) bool, the `space`."""

    sizes: np.ndarray
    flops: np.ndarray
    members: np.ndarray
    space: GrowthSpace

    @property
    def added(self) -> np.ndarray:
        """(M,) units more than the base."""
        return (self.sizes - self.space.base.sizes).sum(1)


def lattice_of(space: GrowthSpace, grows: str = "all six") -> Lattice:
    """The candidates within reach where only the dimensions `grows` may grow; a key of `WHICH`."""
    free = WHICH[grows]
    ranges = [range(s, s + 1 + space.reach * (i in free)) for i, s in enumerate(space.base.sizes)]
    candidates = [Architecture(*sizes) for sizes in itertools.product(*ranges)]
    flops = np.array([forward_flops(a, space.config) for a in candidates])
    members = np.array([a in space for a in candidates])
    return Lattice(np.array([a.sizes for a in candidates]), flops, members, space)


def draw_on(axes: Axes, lattice: Lattice, title: str) -> None:
    """Candidates by added units and cost, an edge for one unit more, members lit, the band of allowed cost."""
    # Candidates with as many units stand side by side, in order of their cost, so that none hides another.
    x, y = lattice.added.astype(float), lattice.flops / 1e6
    for units in np.unique(lattice.added):
        here = np.flatnonzero(lattice.added == units)
        x[here[np.argsort(y[here])]] += np.linspace(-0.18, 0.18, len(here)) if len(here) > 1 else 0
    place = {tuple(sizes): i for i, sizes in enumerate(lattice.sizes)}
    more = [(i, place.get(tuple(s + step))) for i, s in enumerate(lattice.sizes) for step in np.eye(6, dtype=int)]
    edges = [[(x[i], y[i]), (x[j], y[j])] for i, j in more if j is not None]
    axes.add_collection(LineCollection(edges, colors=PALE, linewidths=0.5, alpha=min(0.6, 60 / max(len(edges), 1))))
    floor, budget = lattice.space.floor / 1e6, lattice.space.budget / 1e6
    axes.axhspan(floor, budget, color=BAND, alpha=0.25, lw=0, label="from floor to budget")
    out, lit = ~lattice.members, lattice.members
    axes.scatter(x[out], y[out], s=14, color=PALE, zorder=2, label="candidates")
    axes.scatter(x[lit], y[lit], s=36, color=LIT, zorder=3, label=f"members: {lit.sum()} of {len(lit)}")
    axes.set(xlabel="added units (dots of one column spread sideways)", ylabel="cost of a pair (MFLOPs)", title=title)
    axes.set(xticks=range(int(lattice.added.max()) + 1), ylim=(0, None))
    axes.legend(loc="upper left")


def name_members(axes: Axes, lattice: Lattice) -> None:
    """Beside the lattice: what its members grow, in the order of their cost."""
    lines = []
    for i in sorted(np.flatnonzero(lattice.members), key=lambda i: -lattice.flops[i]):
        grown = zip(NAMES, lattice.sizes[i] - lattice.space.base.sizes, strict=True)
        what = ", ".join(f"+{more} {name}" for name, more in grown if more)
        lines.append(f"{lattice.flops[i] / 1e6:.1f} MFLOPs: {what}")
    axes.text(1.02, 0.98, "\n".join(["members", *lines]), transform=axes.transAxes, va="top", fontsize=9, color=LIT)


def draw_sampling(shares: np.ndarray, spread: float, distances: np.ndarray) -> Figure:
    """Left: each member's share (M,) of the draws, bars: twice `spread`. Right: the `distances` (M, M) in units."""
    figure, (left, right) = subplots(1, 2, figsize=(10, 3.8))
    left.errorbar(range(len(shares)), shares, 2 * spread, fmt="o", capsize=3)
    left.axhline(1 / len(shares), color=PALE, ls=":", label="chance")
    left.set(xlabel="member, by its number above", ylabel="share of draws", title="sampling", ylim=(0, None))
    left.legend()
    picture = right.imshow(distances, cmap="viridis_r")
    right.grid(False)
    right.set(xlabel="member, by its number above", ylabel="member", title="distance in units")
    for (row, column), value in np.ndenumerate(distances):
        colour = "white" if value > distances.max() / 2 else "black"
        right.text(column, row, f"{value}", ha="center", va="center", fontsize=9, color=colour)
    figure.colorbar(picture, ax=right, label="units (a mutation: up to 2)", ticks=range(int(distances.max()) + 1))
    return figure


def draw_lattice(base: Architecture, config: ModelConfig, data_ratio: float, power: float, grows: str) -> Figure:
    """What the widget shows: the space of a growth step as a lattice."""
    space = GrowthSpace.at_step(base, config, data_ratio, power)
    figure, axes = subplots(figsize=(8.5, 4.8))
    told = f"data x {data_ratio:g}, power {power:g}: cost up to x {data_ratio**power:.2f}, reach {space.reach}"
    draw_on(axes, lattice_of(space, grows), told)
    return figure


def sizes_by_ratio(
    base: Architecture, config: ModelConfig, ratios: list[float], powers: list[float]
) -> dict[float, list[int]]:
    """By power, the number of members at every ratio of the data."""
    return {p: [len(GrowthSpace.at_step(base, config, ratio, p)) for ratio in ratios] for p in powers}


def draw_corners(
    largest: Architecture, base: Architecture, members: list[Architecture], config: ModelConfig, names: tuple[str, ...]
) -> Figure:
    """By how many architectures (supernet, base, members) every entry of some of the supernet's matrices is used."""
    figure, panels = subplots(1, len(names), figsize=(3.4 * len(names), 3.8))
    everyone = [largest, base, *members]
    for axes, name in zip(panels, names, strict=True):
        used = np.zeros(tensor_shapes(largest, config)[name])
        for shape in (tensor_shapes(a, config).get(name, (0, 0)) for a in everyone):
            used[: shape[0], : shape[1]] += 1
        picture = axes.imshow(used, vmin=0, vmax=len(everyone), cmap="viridis", aspect="auto")
        axes.grid(False)
        axes.set(title=name, xlabel="input channel", ylabel="output row")
    figure.colorbar(picture, ax=panels, label=f"architectures that use it, of {len(everyone)}: base, members, supernet")
    return figure


def small_config() -> ModelConfig:
    return ModelConfig(image_size=32, patch_size=8, context_length=24, vocab_size=100, embed_dim=64)


def random_base(rng: np.random.Generator, shared: bool = True) -> Architecture:
    depths, widths = rng.integers(1, 4, 3).tolist(), rng.integers(1, 4, 3).tolist()
    if not shared:
        depths[2] = 0
    return Architecture(*itertools.chain.from_iterable(zip(depths, widths, strict=True)))


def _spaces(shared: bool = True) -> list[GrowthSpace]:
    rng = np.random.default_rng(0)
    pairs = [(random_base(rng, shared), ratio) for ratio in (1.05, 2.5, 4.0, 2.5)]
    return [GrowthSpace.at_step(base, small_config(), ratio, 0.5) for base, ratio in pairs]


@exercise
def check_one_unit_more(answer: Callable) -> None:
    rng = np.random.default_rng(0)
    for base in (random_base(rng) for _ in range(5)):
        expected = {base.sizes[:i] + (base.sizes[i] + 1,) + base.sizes[i + 1 :] for i in range(6)}
        got = [tuple(int(n) for n in getattr(sizes, "sizes", sizes)) for sizes in answer(base)]
        require(tuple(base.sizes) not in got, "the base itself is not one unit larger.")
        require(len(got) == 6, f"there are six dimensions, so six neighbours; you have {len(got)}.")
        require(set(got) == expected, "each neighbour has one more unit in one dimension, and no other change.")


@exercise
def check_is_member(answer: Callable) -> None:
    rng = np.random.default_rng(2)
    for space in (*_spaces(), *_spaces(shared=False)):
        least = (1, 1, 1, 1, 0, 1)
        steps = rng.integers(-1, space.reach + 2, (150, 6))
        around = [np.maximum(space.base.sizes + step, least) for step in steps]
        # Where nothing is shared, the same members once more with another shared width.
        twins = [np.add(a.sizes, (0, 0, 0, 0, 0, 1)) for a in space.members if not a.shared_depth]
        for a in [*(Architecture(*sizes.tolist()) for sizes in (*around, *twins)), *space.members, space.base]:
            got = bool(answer(a, space.base, space.reach, space.floor, space.budget, space.config))
            if got == (a in space):
                continue
            shrunk = any(x < y for x, y in zip(a.sizes, space.base.sizes, strict=True))
            far = any(x > y + space.reach for x, y in zip(a.sizes, space.base.sizes, strict=True))
            cost = forward_flops(a, space.config)
            require(not (got and shrunk), f"({a}) is smaller than ({space.base}) somewhere: nothing ever shrinks.")
            require(not (got and far), f"({a}) has grown by more than the reach of {space.reach}.")
            require(not (got and cost < space.floor), f"({a}) costs less than the floor.")
            require(not (got and cost > space.budget), f"({a}) costs more than the budget.")
            twin = not a.shared_depth and a.shared_width != space.base.shared_width
            require(not (got and twin), f"({a}) equals a member: without shared blocks their width means nothing.")
            require(False, f"({a}) is {'no' if got else 'a'} member of the space around ({space.base}).")


@exercise
def check_ends_of(answer: Callable) -> None:
    for space in _spaces():
        low, high = answer(space)
        given = all(isinstance(end, Architecture) for end in (low, high))
        require(given, "give the two architectures, not their costs.")
        costs = [forward_flops(a, space.config) for a in space.members]
        found = [forward_flops(a, space.config) for a in (low, high)]
        require(low in space and high in space, "both must be members; the base and the supernet often are none.")
        require(found[0] <= found[1], "give the cheapest first.")
        require(found == [min(costs), max(costs)], "compare members by forward_flops, not by their dimensions.")


@exercise
def check_how_uneven(answer: Callable) -> None:
    rng = np.random.default_rng(1)
    for base in [Architecture(1, 4, 2, 4, 1, 4), *(random_base(rng) for _ in range(8))]:
        depths, widths = base.sizes[::2], base.sizes[1::2]
        got = float(answer(base))
        mixed = max(base.sizes) - min(base.sizes)
        right = unevenness(base)
        hint = "depths are compared with depths and widths with widths."
        require(got == right or got != mixed, hint)
        require(got == right, f"({base}): depths {depths}, widths {widths} in heads; {got:g} is not it.")
