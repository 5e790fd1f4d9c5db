"""Typical mistakes, which the checks of lesson 12 must notice."""

import numpy as np


def without_maximum(ps):
    order, found = np.argsort(ps), [0.0] * len(ps)
    for rank, i in enumerate(order):
        found[i] = min(1, (len(ps) - rank) * ps[i])
    return found


WRONG = {
    "check_added_flops": [
        lambda blocks, tokens, channels: blocks * 24 * tokens * channels**2,  # no attention
        lambda blocks, tokens, channels: blocks * (12 * tokens * channels**2 + 2 * tokens**2 * channels),
        lambda blocks, tokens, channels: 24 * tokens * channels**2 + 4 * tokens**2 * channels,  # one block
    ],
    "check_mean_difference": [
        lambda one, other: np.mean(list(one.values())) - np.mean(list(other.values())),  # not paired
        lambda one, other: np.mean([other[s] - one[s] for s in one if s in other]),
        lambda one, other: np.sum([one[s] - other[s] for s in one if s in other]),
    ],
    "check_holm": [
        lambda ps: [min(1, len(ps) * p) for p in ps],  # Bonferroni
        lambda ps: ps,
        without_maximum,
        lambda ps: sorted(min(1, (len(ps) - i) * p) for i, p in enumerate(sorted(ps))),
    ],
}
