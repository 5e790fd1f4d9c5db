"""Plausible wrong answers to the exercises of lesson 15; every one must be told "not yet"."""

import numpy as np

from growclip_lite.architecture import forward_flops, training_flops


def rows_instead_of_pictures(images, seed):
    return np.random.default_rng(seed).choice(["train", "val", "test"], len(images), p=[0.8, 0.1, 0.1]).tolist()


WRONG = {
    "check_splits": [
        rows_instead_of_pictures,
        lambda images, seed: ["train"] * len(images),
        lambda images, seed: [("val", "test")[i % 2] if i < len(images) // 5 else "train" for i in range(len(images))],
        lambda images, seed: [{0: "val", 1: "test"}.get(int(image[:-4]) % 10, "train") for image in images],
    ],
    "check_hours": [
        lambda a, config, batch, iterations, rate: iterations * training_flops(a, config, batch) / rate,
        lambda a, config, batch, iterations, rate: iterations * batch * forward_flops(a, config) / rate / 3600,
        lambda a, config, batch, iterations, rate: iterations * training_flops(a, config, 1) / rate / 3600,
        lambda a, config, batch, iterations, rate: training_flops(a, config, batch) / rate / 3600,
    ],
}
