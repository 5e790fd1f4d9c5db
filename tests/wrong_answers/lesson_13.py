"""Wrong answers to the exercises of lesson 13: mistakes that students make."""

import numpy as np


def _unpaired(one, other):
    rng = np.random.default_rng(0)
    means = [rng.choice(one, len(one)).mean() - rng.choice(other, len(other)).mean() for _ in range(2000)]
    return np.quantile(means, (0.025, 0.975))


def _turned(one, other):
    rng = np.random.default_rng(0)
    means = [rng.choice(other - one, len(one)).mean() for _ in range(2000)]
    return np.quantile(means, (0.025, 0.975))


def _ninety(one, other):
    means = np.random.default_rng(0).choice(one - other, (10_000, len(one))).mean(1)
    return np.quantile(means, (0.05, 0.95))


def _range(one, other):
    return (one - other).min(), (one - other).max()


def _judge_without_p(low, high, p, seeds):
    if seeds < 5:
        return "too few seeds"
    return "supported" if low > 0 else "contradicted" if high < 0 else "undecided"


def _judge_without_seeds(low, high, p, seeds):
    if p < 0.05 and (low > 0 or high < 0):
        return "supported" if low > 0 else "contradicted"
    return "undecided"


def _ignores_the_upper_end(low, high, p, seeds):
    if seeds < 5 or p >= 0.05:
        return "too few seeds" if seeds < 5 else "undecided"
    return "supported" if low > 0 else "contradicted" if low < 0 else "undecided"


def _judge_with_a_lax_p(low, high, p, seeds):
    if seeds < 5 or p >= 0.15:
        return "too few seeds" if seeds < 5 else "undecided"
    return "supported" if low > 0 else "contradicted" if high < 0 else "undecided"


def _not_supported_is_contradicted(low, high, p, seeds):
    if seeds < 5:
        return "too few seeds"
    return "supported" if low > 0 and p < 0.05 else "contradicted"


WRONG = {
    "check_paired_interval": [_unpaired, _turned, _range, _ninety],
    "check_judge": [
        _judge_without_p,
        _judge_without_seeds,
        _not_supported_is_contradicted,
        _ignores_the_upper_end,
        _judge_with_a_lax_p,
    ],
    "check_forgotten": [
        lambda history: [history[s][s] - history[-1][s] for s in range(len(history) - 1)],
        lambda history: [history[-2][s] - history[-1][s] for s in range(len(history) - 1)],
        lambda history: [history[-1][s] - max(row[s] for row in history[s:]) for s in range(len(history) - 1)],
    ],
}
