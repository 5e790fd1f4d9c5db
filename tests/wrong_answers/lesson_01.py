"""Typical mistakes, which the checks of lesson 01 must notice."""

WRONG = {
    "check_new_words": [
        lambda before, now: set(now) - set(before),  # whole captions
        lambda before, now: set(" ".join(now).split()),  # the known ones too
        lambda before, now: set(" ".join(now).split()) ^ set(" ".join(before).split()),  # what vanished too
        lambda before, now: set(now[0].split()) - set(before[0].split()),
    ],
    "check_find_pair": [
        lambda index, sizes: (1, index),
        lambda index, sizes: (sum(index >= sum(sizes[:i]) for i in range(len(sizes))), index),  # row in D_t
        lambda index, sizes: (index // sizes[0] + 1, index % sizes[0]),  # as if all were equally large
    ],
    "check_flawless_batch": [
        lambda wrong, batch: 1 - wrong * batch,
        lambda wrong, batch: 1 - wrong**batch,
        lambda wrong, batch: wrong**batch,
    ],
}
