"""Typical mistakes, which the checks of lesson 06 must notice."""

import torch

WRONG = {
    "check_saved_parameters": [
        lambda blocks, image, text, shared: blocks * 12 * (image**2 + text**2 - shared**2),  # without the adapters
        lambda blocks, image, text, shared: blocks * (12 * (image**2 + text**2 - shared**2) - shared * (image + text)),
        lambda blocks, image, text, shared: blocks * 12 * (image**2 + text**2 - shared**2) - 2 * shared**2,
        lambda blocks, image, text, shared: blocks * 12 * shared**2 - shared * (image + text),  # equal widths only
        lambda blocks, image, text, shared: (  # with the projections
            blocks * 12 * (image**2 + text**2 - shared**2) - shared * (image + text) + 100 * (image + text - 2 * shared)
        ),
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
