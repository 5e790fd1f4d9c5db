"""The dynamic growth space: which larger architectures are allowed at a growth step.

Our reading of the paper's "dynamic growth space": the space is re-centred on the present
architecture at every step; every dimension stays or grows by up to `reach` units and never shrinks;
both the reach and the budget of FLOPs follow the growth of the data. *How much* to grow is thus
given by the amount of data; *where* to grow is left to the search, among members of similar cost.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from growclip_lite.architecture import Architecture, ModelConfig, forward_flops


@dataclass(frozen=True)
class GrowthSpace:
    """All architectures from `base` up to `reach` units larger per dimension, from `floor` to `budget` FLOPs.

    `floor` and `budget` count the forward FLOPs of one pair, as `forward_flops` does.
    """

    base: Architecture
    reach: int
    floor: float
    budget: float
    config: ModelConfig

    @classmethod
    def at_step(cls, base: Architecture, config: ModelConfig, data_ratio: float, power: float) -> GrowthSpace:
        """The space when the data have grown by `data_ratio` = |D_t| / |D_{t-1}|.

        Our reading: budget = FLOPs(base) * data_ratio ** power, of whose increase a member spends at
        least half; one unit of reach per doubling of the data, at most 4 (listing the members takes
        seconds then, and minutes with more). Where the increase is too small for any growth, the base
        itself is the only member.
        """
        cost = forward_flops(base, config)
        budget = cost * data_ratio**power
        reach = min(max(1, round(math.log2(data_ratio))), 4)
        space = cls(base, reach, (cost + budget) / 2, budget, config)
        return space if space.members else cls(base, reach, cost, cost, config)

    @property
    def largest(self) -> Architecture:
        """The smallest architecture that contains all that the reach allows: the supernet.

        Without shared blocks a projection is as wide as its encoder. So where there are none yet, those
        of the supernet are as wide as either encoder may become, whatever the reach.
        """
        sizes = [size + self.reach for size in self.base.sizes]
        if not self.base.shared_depth:
            sizes[5] = max(sizes[1], sizes[3], sizes[5])
        return Architecture(*sizes)

    def without_budget(self) -> GrowthSpace:
        """All sizes between base and supernet, whatever they cost."""
        return replace(self, floor=0.0, budget=math.inf)

    def __contains__(self, architecture: Architecture) -> bool:
        if not all(0 <= more <= self.reach for more in np.subtract(architecture.sizes, self.base.sizes)):
            return False
        # Without shared blocks their width means nothing: one of the equal architectures is enough.
        if not architecture.shared_depth and architecture.shared_width != self.base.shared_width:
            return False
        return self.floor <= forward_flops(architecture, self.config) <= self.budget

    @cached_property
    def members(self) -> list[Architecture]:
        """All members, in lexical order of their dimensions."""
        ranges = (range(size, size + self.reach + 1) for size in self.base.sizes)
        return [a for a in itertools.starmap(Architecture, itertools.product(*ranges)) if a in self]

    def __len__(self) -> int:
        return len(self.members)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """A member, all with equal chance."""
        return self.members[rng.integers(len(self))]

    def mutate(self, member: Architecture, rng: np.random.Generator) -> Architecture:
        """A member at most two units away (one more here, one less there); the member itself if there is none."""
        near = [m for m in self.members if 0 < np.abs(np.subtract(m.sizes, member.sizes)).sum() <= 2]
        return near[rng.integers(len(near))] if near else member

    def __str__(self) -> str:
        cost = f"{self.floor / 1e6:.1f} to {self.budget / 1e6:.1f} MFLOPs a pair"
        return f"{len(self):,} member{'s' if len(self) > 1 else ''} between ({self.base}) and ({self.largest}), {cost}"
