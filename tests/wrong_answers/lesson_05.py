"""Typical mistakes, which the checks of lesson 05 must notice."""

import numpy as np


def linear_crossing(budgets, small, large):
    gap = np.array(large) - np.array(small)
    for i in range(len(gap) - 1):
        if gap[i] < 0 <= gap[i + 1]:
            return budgets[i] + (budgets[i + 1] - budgets[i]) * gap[i] / (gap[i] - gap[i + 1])
    return float("nan")


def crossing_either_way(budgets, small, large):
    gap = np.array(large) - np.array(small)
    for i in range(len(gap) - 1):
        if gap[i] * gap[i + 1] < 0:
            return budgets[i] * (budgets[i + 1] / budgets[i]) ** (gap[i] / (gap[i] - gap[i + 1]))
    return float("nan")


WRONG = {
    "check_best_size": [
        lambda table, budget: max(table, key=lambda size: max(table[size].values())),  # best at any budget
        lambda table, budget: max(table, key=lambda size: table[size].get(budget, 1)),  # what was not trained wins
        lambda table, budget: min(table, key=lambda size: table[size].get(budget, 1)),
        lambda table, budget: table["size 4"][budget],  # an accuracy
    ],
    "check_wasted_share": [
        lambda iterations, grown: 1 - sum(grown) / (len(grown) * grown[-1]),  # iterations left out
        lambda iterations, grown: np.dot(iterations, grown) / (sum(iterations) * grown[-1]),
        lambda iterations, grown: sum(iterations) * grown[-1] - np.dot(iterations, grown),
    ],
    "check_crossing_point": [
        linear_crossing,  # over the budget instead of its logarithm
        crossing_either_way,  # passing is from behind to ahead
        lambda budgets, small, large: budgets[int(np.argmin(np.abs(np.array(large) - np.array(small))))],
        lambda budgets, small, large: budgets[int(np.argmax(np.array(large) > np.array(small)))],
    ],
}
