"""The dynamic growth space: which larger architectures are allowed at a growth step.

Our reading of the paper's "dynamic growth space": the space is re-centred on the present
architecture at every step; every dimension stays or grows by up to `reach` units and never shrinks;
both the reach and the budget of FLOPs follow the growth of the data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from growclip_lite.architecture import Architecture, ModelConfig, forward_flops
from growclip_lite.errors import InputError


@dataclass(frozen=True)
class GrowthSpace:
    """All architectures from `base` up to `reach` units larger per dimension within `budget` FLOPs.

    `budget` counts the forward FLOPs of one pair, as `forward_flops` does.
    """

    base: Architecture
    reach: int
    budget: float
    config: ModelConfig

    @classmethod
    def at_step(cls, base: Architecture, config: ModelConfig, data_ratio: float, power: float) -> GrowthSpace:
        """The space when the data have grown by `data_ratio` = |D_t| / |D_{t-1}|.

        Our reading: budget = FLOPs(base) * data_ratio ** power; one unit of reach per doubling of the data.
        """
        reach = max(1, round(math.log2(data_ratio)))
        return cls(base, reach, forward_flops(base, config) * data_ratio**power, config)

    @property
    def largest(self) -> Architecture:
        """The smallest architecture that contains every member: the supernet."""
        return Architecture(*(size + self.reach for size in self.base.sizes))

    def __contains__(self, architecture: Architecture) -> bool:
        grown = architecture.contains(self.base) and self.largest.contains(architecture)
        return grown and self._distinct(architecture) and forward_flops(architecture, self.config) <= self.budget

    def _distinct(self, architecture: Architecture) -> bool:
        # Without shared blocks their width means nothing: one of the equal architectures is enough.
        return architecture.shared_depth > 0 or architecture.shared_width == self.base.shared_width

    def members(self) -> Iterator[Architecture]:
        """All members, from the base upwards."""
        ranges = (range(size, size + self.reach + 1) for size in self.base.sizes)
        return (a for a in itertools.starmap(Architecture, itertools.product(*ranges)) if a in self)

    def __len__(self) -> int:
        return sum(1 for _ in self.members())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A member drawn uniformly (by rejection; the base itself is always a member)."""
        while True:
            steps = rng.integers(self.reach + 1, size=len(self.base.sizes))
            member = Architecture(*(int(s) for s in np.add(self.base.sizes, steps)))
            if member in self:
                return member

    def mutate(self, member: Architecture, rng: np.random.Generator) -> Architecture:
        """A neighbour: one dimension, drawn at random, one unit more or less; the member itself if none is allowed."""
        moves = [(d, s) for d in range(len(member.sizes)) for s in (-1, 1)]
        for index in rng.permutation(len(moves)):
            dimension, step = moves[index]
            sizes = list(member.sizes)
            sizes[dimension] += step
            if self.base.sizes[dimension] <= sizes[dimension] <= self.largest.sizes[dimension]:
                neighbour = Architecture(*sizes)
                if neighbour in self:
                    return neighbour
        return member

    def check(self, architecture: Architecture) -> None:
        """Raises `InputError` where the architecture is outside the space."""
        if architecture not in self:
            raise InputError(
                f"The architecture ({architecture}) is outside the growth space: every dimension must lie between "
                f"({self.base}) and ({self.largest}), at {forward_flops(architecture, self.config):,} of at most "
                f"{self.budget:,.0f} FLOPs a pair."
            )

    def __str__(self) -> str:
        limit = f"at most {self.budget / 1e6:.1f} MFLOPs a pair"
        return f"{len(self):,} members from ({self.base}) to ({self.largest}), {limit}"
