"""Plausible wrong answers to the exercises of lesson 10; every one must be told "not yet"."""

import itertools

from growclip_lite.search import unevenness

PAIRS = itertools.combinations


def concordant(x, y):
    return [(x[i] - x[j]) * (y[i] - y[j]) > 0 for i, j in PAIRS(range(len(x)), 2)]


def _by_cost_alone(costs, losses):
    """Of equally dear members it takes the first one it meets, too."""
    front, best = [], float("inf")
    for i in sorted(range(len(costs)), key=lambda i: costs[i]):
        if losses[i] < best:
            front, best = [*front, i], losses[i]
    return front


def _always_two_percent(scores, tolerance):
    best = min(s.loss for s in scores)
    return min((s for s in scores if s.loss <= best * 1.02), key=lambda s: (unevenness(s.architecture), s.flops))


WRONG = {
    "check_corner": [
        lambda weight, shape: weight[: shape[0]] if shape else weight,
        lambda weight, shape: weight[tuple(slice(-size, None) for size in shape)],
        lambda weight, shape: weight[tuple(slice(size) for size in shape)].clone(),
        lambda weight, shape: weight.reshape(-1)[: 1 if not shape else shape[0]],
    ],
    "check_kendalls_tau": [
        lambda x, y: sum(concordant(x, y)) / len(concordant(x, y)),
        lambda x, y: sum(1 if c else -1 for c in concordant(x, y)),
        lambda x, y: -sum(1 if c else -1 for c in concordant(x, y)) / len(concordant(x, y)),
    ],
    "check_pareto_front": [
        _by_cost_alone,
        lambda costs, losses: [losses.index(min(losses))],
        lambda costs, losses: list(range(len(costs))),
        lambda costs, losses: sorted(range(len(costs)), key=lambda i: losses[i])[: len(costs) // 2],
    ],
    "check_choose": [
        _always_two_percent,
        lambda scores, tolerance: min(scores, key=lambda s: s.loss),
        lambda scores, tolerance: min(scores, key=lambda s: unevenness(s.architecture)),
        lambda scores, tolerance: min(
            (s for s in scores if s.loss <= min(t.loss for t in scores) + tolerance), key=lambda s: s.flops
        ),
        lambda scores, tolerance: min(
            (s for s in scores if s.loss <= min(t.loss for t in scores) * (1 + tolerance)),
            key=lambda s: unevenness(s.architecture),
        ),
    ],
}
