"""Wrong answers to the exercises of lesson 09: mistakes that students make."""


def _in_place(inherited, fresh, m):
    for name, weight in inherited.items():
        weight.mul_(m).add_((1 - m) * fresh[name])
    return inherited


WRONG = {
    "check_blend": [
        lambda inherited, fresh, m: {k: (1 - m) * inherited[k] + m * fresh[k] for k in fresh},
        lambda inherited, fresh, m: {k: m * inherited[k] + fresh[k] for k in fresh},
        _in_place,
    ],
    "check_average_after": [
        lambda decay, steps, start, weight: (1 - decay) ** steps * start + (1 - (1 - decay) ** steps) * weight,
        lambda decay, steps, start, weight: decay**steps * start,
        lambda decay, steps, start, weight: decay * start + (1 - decay) * weight,
    ],
    "check_surviving_cosine": [
        lambda m, old, fresh: m,
        lambda m, old, fresh: m * old / (m * old + (1 - m) * fresh),
        lambda m, old, fresh: m / (m**2 + (1 - m) ** 2) ** 0.5,
    ],
}
