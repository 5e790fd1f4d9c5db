"""The contrastive loss, and the distillation terms of the continual-learning peers: functions of tensors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def contrastive_loss(
    image_features: Tensor, text_features: Tensor, logit_scale: Tensor, caption_ids: Tensor | None = None
) -> Tensor:
    """Symmetric InfoNCE of CLIP (Radford et al. 2021, figure 3).

    image_features and text_features are (B, E) of unit norm, row by row a pair; logit_scale is the
    factor on their cosine similarities. Pairs with equal `caption_ids` (B,) are no negatives of
    each other: the target is spread over them (as in UniCL, Yang et al. 2022). Where their texts have equal
    features, as from an encoder without dropout, that changes neither the loss nor its gradient.
    """
    logits = logit_scale * image_features @ text_features.T
    if caption_ids is None:
        target = torch.arange(len(logits), device=logits.device)
    else:
        same = (caption_ids[:, None] == caption_ids[None, :]).to(logits.dtype)
        target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def distillation(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean over rows of KL(teacher || student), of (B, C) logits: keeps what was believed (Hinton et al. 2015)."""
    return F.kl_div(logits.log_softmax(-1), teacher_logits.log_softmax(-1), reduction="batchmean", log_target=True)


def relation_distillation(features: Tensor, teacher_features: Tensor, logit_scale: Tensor) -> Tensor:
    """`distillation` of the similarities within a batch, (B, E) of unit norm each; widths E may differ."""
    return distillation(logit_scale * features @ features.T, logit_scale * teacher_features @ teacher_features.T)
