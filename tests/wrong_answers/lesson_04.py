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


def spread_of_pictures(correct):
    return np.percentile(np.asarray(correct, dtype=float), [2.5, 97.5])


def one_standard_error(correct):
    error = np.std(correct) / len(correct) ** 0.5
    return np.mean(correct) - error / 2, np.mean(correct) + error / 2


def few_pictures(correct):
    rng = np.random.default_rng(0)
    means = [np.asarray(correct)[rng.integers(len(correct), size=20)].mean() for _ in range(500)]
    return np.percentile(means, [2.5, 97.5])


def between(*ends):
    def interval(correct):
        rng, correct = np.random.default_rng(0), np.asarray(correct)
        return np.percentile([correct[rng.integers(len(correct), size=len(correct))].mean() for _ in range(1000)], ends)

    return interval


WRONG = {
    "check_ensemble_of_prompts": [
        lambda features: features.mean(1),  # not normalised
        lambda features: F.normalize(features.mean(0), dim=-1),  # over the classes
        lambda features: features[:, 0],  # a single prompt
    ],
    "check_recall_with_ties": [optimistic, share_of_the_relevant, precision],
    "check_bootstrap_interval": [
        spread_of_pictures,
        one_standard_error,
        few_pictures,
        between(5, 95),
        between(10, 90),
        between(0.5, 99.5),
        between(0, 95),
        between(5, 100),
    ],
}
