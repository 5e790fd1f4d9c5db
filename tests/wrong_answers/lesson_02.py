"""Typical mistakes, which the checks of lesson 02 must notice."""

import math

import torch

WRONG = {
    "check_loss_of_one_row": [
        lambda logits, target: logits[target] - torch.logsumexp(logits, 0),  # the sign
        lambda logits, target: torch.log(logits.exp().sum()) - logits[target],  # overflows
        lambda logits, target: -logits[target],  # no normalisation
        lambda logits, target: -torch.log(logits.softmax(0)[target]),  # infinite where a mistake is confident
    ],
    "check_gradient_of_the_loss": [
        lambda logits: (logits.softmax(1) - torch.eye(5)) / 5,  # one direction
        lambda logits: (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(5)) / 5,  # the sum of both
        lambda logits: (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(5)) / 2,  # not divided by the batch
        lambda logits: (logits.softmax(1) + logits.softmax(1).T - 2 * torch.eye(5)) / 10,  # transposed too late
        lambda logits: (2 * torch.eye(5) - logits.softmax(1) - logits.softmax(0)) / 10,  # the sign
    ],
    "check_best_possible_loss": [
        lambda batch, factor: 0.0,
        lambda batch, factor: math.log1p((batch - 1) * math.exp(-2 * factor)),  # all opposite: impossible for B > 2
        lambda batch, factor: math.log(batch),
    ],
}
