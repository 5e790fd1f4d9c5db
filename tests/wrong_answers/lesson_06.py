"""Typical mistakes, which the checks of lesson 06 must notice."""

import torch

WRONG = {
    "check_saved_parameters": [
        lambda shared, channels: shared * 12 * channels**2,  # without the adapters
        lambda shared, channels: shared * 10 * channels**2,  # adapters for every block
        lambda shared, channels: shared * 8 * channels**2 - 2 * channels**2,  # without attention
    ],
    "check_gap": [
        lambda images, texts: torch.linalg.vector_norm(images - texts, dim=1).mean(),  # within pairs
        lambda images, texts: (images.mean(0) - texts.mean(0)).pow(2).sum(),  # squared
        lambda images, texts: (images.mean() - texts.mean()).abs(),
    ],
    "check_shared_gradient": [
        lambda x, y, from_x, from_y: from_x.T @ x,  # one modality only
        lambda x, y, from_x, from_y: (from_x.T @ x + from_y.T @ y) / 2,
        lambda x, y, from_x, from_y: x.T @ from_x + y.T @ from_y,  # transposed
    ],
}
