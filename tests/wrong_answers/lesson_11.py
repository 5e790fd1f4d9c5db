"""Typical mistakes, which the checks of lesson 11 must notice."""

WRONG = {
    "check_iterations_of_steps": [
        lambda pairs, total, power: [total / len(pairs)] * len(pairs),  # the data are left out
        lambda pairs, total, power: [total * n / sum(pairs) for n in pairs],  # the power is left out
        lambda pairs, total, power: [n**power for n in pairs],  # shares without the total
    ],
    "check_choose": [
        lambda members, tolerance: min(members),  # lowest loss only
        lambda members, tolerance: min(members, key=lambda m: m[1:]),  # ties with everybody
        lambda members, tolerance: min(
            (m for m in members if m[0] <= min(members)[0] * (1 + tolerance)), key=lambda m: (m[2], m[1])
        ),  # cheapest before most even
        lambda members, tolerance: min(members)[0],
    ],
    "check_flops_range": [
        lambda cost, old, new, power: (cost, cost * (new / old) ** power),  # nothing has to be spent
        lambda cost, old, new, power: (cost, cost * new / old),
        lambda cost, old, new, power: (cost * (new / old) ** power / 2, cost * (new / old) ** power),
    ],
}
