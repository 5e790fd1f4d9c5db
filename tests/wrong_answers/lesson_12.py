"""Typical mistakes, which the checks of lesson 12 must notice."""

import numpy as np


def without_maximum(ps):
    order, found = np.argsort(ps), [0.0] * len(ps)
    for rank, i in enumerate(order):
        found[i] = min(1, (len(ps) - rank) * ps[i])
    return found


def without_cap(ps):
    found, worst = [0.0] * len(ps), 0.0
    for rank, i in enumerate(np.argsort(ps)):
        found[i] = worst = max(worst, (len(ps) - rank) * ps[i])
    return found


WRONG = {
    "check_gained_flops": [
        lambda t, c, more: 24 * t * ((c + more) ** 2 - c**2),  # no attention
        lambda t, c, more: 12 * t * ((c + more) ** 2 - c**2) + 2 * t**2 * more,  # counts multiplications only
        lambda t, c, more: 24 * t * (c + more) ** 2 + 4 * t**2 * (c + more),  # the whole block
        lambda t, c, more: 24 * t * more**2 + 4 * t**2 * more,  # a block of the added channels
        lambda t, c, more: 24 * t * more + 4 * t**2 * more,  # no square
        lambda t, c, more: 24 * t * c * more + 4 * t**2 * more,  # half of the mixed term, no square
    ],
    "check_mean_difference": [
        lambda one, other: np.mean(list(one.values())) - np.mean(list(other.values())),  # not paired
        lambda one, other: np.mean([other[s] - one[s] for s in one if s in other]),
        lambda one, other: np.sum([one[s] - other[s] for s in one if s in other]),
    ],
    "check_holm": [
        without_cap,
        lambda ps: [min(1, len(ps) * p) for p in ps],  # Bonferroni
        lambda ps: ps,
        without_maximum,
        lambda ps: sorted(min(1, (len(ps) - i) * p) for i, p in enumerate(sorted(ps))),
    ],
}
