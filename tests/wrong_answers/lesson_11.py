"""Typical mistakes, which the checks of lesson 11 must notice."""

WRONG = {
    "check_iterations_of_steps": [
        lambda pairs, total, power: [total / len(pairs)] * len(pairs),  # the data are left out
        lambda pairs, total, power: [total * n / sum(pairs) for n in pairs],  # the power is left out
        lambda pairs, total, power: [n**power for n in pairs],  # shares without the total
    ],
    "check_flops_range": [
        lambda cost, old, new, power: (cost, cost * (new / old) ** power),  # nothing has to be spent
        lambda cost, old, new, power: (cost, cost * new / old),
        lambda cost, old, new, power: (cost * (new / old) ** power / 2, cost * (new / old) ** power),
    ],
}
