"""Typical mistakes, which the checks of lesson 02 must notice."""

import math

import torch
import torch.nn.functional as F

WRONG = {
    "check_loss_of_one_row": [
        lambda logits, target: logits[target] - torch.logsumexp(logits, 0),  # the sign
        lambda logits, target: torch.log(logits.exp().sum()) - logits[target],  # overflows
        lambda logits, target: -logits[target],  # no normalisation
        lambda logits, target: -torch.log(logits.softmax(0)[target]),  # infinite where a mistake is confident
    ],
    "check_images_as_queries_only": [
        lambda images, texts, factor: F.cross_entropy(factor * texts @ images.T, torch.arange(len(images))),
        lambda images, texts, factor: F.cross_entropy(images @ texts.T, torch.arange(len(images))),
        lambda images, texts, factor: F.cross_entropy(factor * images @ texts.T, torch.arange(len(images))) / 2,
    ],
    "check_best_possible_loss": [
        lambda batch, factor: 0.0,
        lambda batch, factor: math.log1p((batch - 1) * math.exp(-2 * factor)),  # all opposite: impossible for B > 2
        lambda batch, factor: math.log(batch),
    ],
}
