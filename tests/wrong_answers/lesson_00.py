"""Typical mistakes, which the checks of lesson 00 must notice."""

import torch

WRONG = {
    "check_belief": [
        lambda picture, captions, factor: captions @ picture,  # cosines are no probabilities
        lambda picture, captions, factor: (captions @ picture).softmax(0),  # the factor is left out
        lambda picture, captions, factor: (-factor * captions @ picture).softmax(0),
        lambda picture, captions, factor: (factor * captions @ picture)[None].softmax(0),  # over the wrong axis
    ],
    "check_accuracy": [
        lambda similarity, labels: (similarity.argmax(1) == labels).sum(),  # a count
        lambda similarity, labels: (similarity.argmin(1) == labels).float().mean(),
        lambda similarity, labels: torch.diagonal(similarity).mean(),
    ],
    "check_mean_chance": [
        lambda classes: 1 / (sum(classes) / len(classes)),
        lambda classes: sum(classes) / len(classes),
        lambda classes: 1 / max(classes),
    ],
}
