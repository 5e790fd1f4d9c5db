"""Typical mistakes, which the checks of lesson 04 must notice."""

import numpy as np
import torch.nn.functional as F


def optimistic(similarity, relevant, k):  # ties count for the model
    order = (similarity + 1e-6 * relevant).argsort(1, descending=True)[:, :k]
    return relevant.gather(1, order).any(1).float().mean().item()


def share_of_the_relevant(similarity, relevant, k):  # how many of them are found
    best = similarity.topk(k).indices
    return (relevant.gather(1, best).sum(1) / relevant.sum(1)).mean().item()


def precision(similarity, relevant, k):
    return relevant.gather(1, similarity.topk(k).indices).float().mean().item()


def resampled(one, other, size=None, ends=(2.5, 97.5)):
    differences, rng = other.astype(float) - one, np.random.default_rng(0)
    size = size or len(differences)
    return np.percentile([differences[rng.integers(len(differences), size=size)].mean() for _ in range(1000)], ends)


def unpaired(one, other):  # draws other pictures for the second model
    rng = np.random.default_rng(0)
    draws = [[a[rng.integers(len(a), size=len(a))].mean() for a in (one, other)] for _ in range(1000)]
    return np.percentile([b - a for a, b in draws], [2.5, 97.5])


def spread_of_pictures(one, other):
    return np.percentile(other.astype(float) - one, [2.5, 97.5])


def between(*ends):
    return lambda one, other: resampled(one, other, ends=ends)


WRONG = {
    "check_ensemble_of_prompts": [
        lambda features: features.mean(1),  # not normalised
        lambda features: F.normalize(features.mean(0), dim=-1),  # over the classes
        lambda features: features[:, 0],  # a single prompt
    ],
    "check_recall_with_ties": [optimistic, share_of_the_relevant, precision],
    "check_paired_interval": [
        unpaired,
        spread_of_pictures,
        lambda one, other: resampled(one, other, size=20),
        lambda one, other: resampled(other, one),  # the other way round
        between(5, 95),
        between(10, 90),
        between(0.5, 99.5),
        between(0, 95),
        between(5, 100),
    ],
}
