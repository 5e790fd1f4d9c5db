"""Plausible wrong answers to the exercises of lesson 07; every one must be told "not yet"."""

from growclip_lite.architecture import Architecture, forward_flops

WRONG = {
    "check_one_unit_more": [
        lambda base: [base.sizes],
        lambda base: [tuple(size + 1 for size in base.sizes)] * 6,
        lambda base: [base.sizes, *(base.sizes[:i] + (base.sizes[i] + 1,) + base.sizes[i + 1 :] for i in range(6))],
        lambda base: [base.sizes[:i] + (base.sizes[i] * 2,) + base.sizes[i + 1 :] for i in range(6)],
    ],
    "check_is_member": [
        lambda a, base, reach, floor, budget, config: forward_flops(a, config) <= budget,
        lambda a, base, reach, floor, budget, config: floor <= forward_flops(a, config) <= budget,
        lambda a, base, reach, floor, budget, config: a.contains(base) and floor <= forward_flops(a, config) <= budget,
        # Forgets that the width of an absent shared encoder means nothing.
        lambda a, base, reach, floor, budget, config: (
            a.contains(base)
            and Architecture(*(s + reach for s in base.sizes)).contains(a)
            and floor <= forward_flops(a, config) <= budget
        ),
    ],
    "check_ends_of": [
        lambda space: (space.base, space.largest),
        lambda space: (space.members[0], space.members[-1]),
        lambda space: (
            max(space.members, key=lambda a: forward_flops(a, space.config)),
            min(space.members, key=lambda a: forward_flops(a, space.config)),
        ),
        lambda space: (min(space.members, key=lambda a: sum(a.sizes)), max(space.members, key=lambda a: sum(a.sizes))),
    ],
    "check_how_uneven": [
        lambda a: max(a.sizes) - min(a.sizes),
        lambda a: max(a.sizes[::2]) - min(a.sizes[::2]),
        lambda a: abs(a.image_depth - a.text_depth) + abs(a.image_width - a.text_width),
    ],
}
