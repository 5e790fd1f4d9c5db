"""Continual-learning methods for a CLIP that is updated on new pairs only, without growing or together with it.

Each is our reading of its paper in this kit's terms: the teacher is the model that the growth step
before delivered, and the penalty is added to the contrastive loss on the new pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from growclip_lite.losses import distillation, relation_distillation
from growclip_lite.model import GrowCLIP
from growclip_lite.train import Batch, Penalty, TrainingSet

VOCABULARY_TEXTS, WORDS = 64, 6  # replayed texts per batch (VR-LwF), words in each
REFERENCE = 64  # reference pictures and captions per batch (ZSCL)
Features = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Teachers:
    """Frozen models to learn from: the one before, and the first one. Both can read the words of the present step,
    but only the first `known_words` of the vocabulary have meant anything to the one before. `reference` are pairs of
    the first growth step, used as unpaired pictures and captions."""

    previous: GrowCLIP
    first: GrowCLIP
    known_words: int
    reference: TrainingSet
    seed: int


@torch.no_grad()
def taught(teacher: GrowCLIP, batch: Batch) -> Features:
    return teacher(batch[0], batch[1])


def logits_of(features: Features) -> Tensor:
    """(B, B) image to text."""
    images, texts, scale = features
    return scale * images @ texts.T


def lwf(teachers: Teachers) -> Penalty:
    """Learning without forgetting (Li and Hoiem 2016): the teacher's matching of the new batch, in both directions."""

    def penalty(model: GrowCLIP, batch: Batch, features: Features) -> Tensor:
        student, teacher = logits_of(features), logits_of(taught(teachers.previous, batch))
        return (distillation(student, teacher) + distillation(student.T, teacher.T)) / 2

    return penalty


def vr_lwf(teachers: Teachers) -> Penalty:
    """LwF with a replayed vocabulary (Ding et al. 2022): the teacher's matching of new pictures with random words that
    it knows."""
    old = teachers.previous
    generator = torch.Generator().manual_seed(teachers.seed)

    def penalty(model: GrowCLIP, batch: Batch, features: Features) -> Tensor:
        tokens = torch.zeros(VOCABULARY_TEXTS, old.config.context_length, dtype=torch.int64)
        tokens[:, 0] = 1  # the start token
        tokens[:, 1 : WORDS + 1] = torch.randint(
            2, teachers.known_words, (VOCABULARY_TEXTS, WORDS), generator=generator
        )
        tokens = tokens.to(batch[0].device)
        with torch.no_grad():
            teacher = old.logit_scale.exp() * old.encode_image(batch[0]) @ old.encode_text(tokens).T
        return distillation(features[2] * features[0] @ model.encode_text(tokens).T, teacher)

    return penalty


def zscl(teachers: Teachers) -> Penalty:
    """ZSCL (Zheng et al. 2023), in short: the teacher's matching of reference pictures with reference captions.

    The source's teacher is the model as it was before all of this, its reference data are public ones, and it averages
    weights all along the way. Here nothing was trained before the stream: the teacher is the previous model, the first
    growth step's pairs are the reference, which no other method on new pairs sees again, and `METHODS` averages once,
    at the end of a growth step.
    """
    rng, reference = np.random.default_rng(teachers.seed), teachers.reference

    def some() -> np.ndarray:
        return rng.permutation(len(reference))[:REFERENCE]

    def penalty(model: GrowCLIP, batch: Batch, features: Features) -> Tensor:
        images, _, _ = reference.batch(some(), rng)
        tokens = reference.tokens[torch.from_numpy(some())].long().to(images.device)
        student = logits_of(model(images, tokens))
        teacher = logits_of(taught(teachers.previous, (images, tokens, tokens)))
        return (distillation(student, teacher) + distillation(student.T, teacher.T)) / 2

    return penalty


def mulki(teachers: Teachers) -> Penalty:
    """MulKI (Zhang et al. 2024), in short: two teachers, the first and the previous model, weighted in each batch by
    how well they match it; distilled are the relations within images, within texts, and of both to the prototypes (the
    middle of every matching pair)."""

    def penalty(model: GrowCLIP, batch: Batch, features: Features) -> Tensor:
        both = [taught(teacher, batch) for teacher in (teachers.first, teachers.previous)]
        match = torch.stack([F.log_softmax(logits_of(f), -1).diagonal().mean() for f in both])
        total = 0.0
        for weight, teacher in zip(match.softmax(0), both, strict=True):
            scale = teacher[2]
            within = [relation_distillation(features[i], teacher[i], scale) for i in (0, 1)]
            prototypes, old_prototypes = (F.normalize(f[0] + f[1], dim=-1) for f in (features, teacher))
            across = [
                distillation(scale * features[i] @ prototypes.T, scale * teacher[i] @ old_prototypes.T) for i in (0, 1)
            ]
            total = total + weight * sum(within + across) / 4
        return total

    return penalty


@dataclass(frozen=True)
class Method:
    """How a growth step is trained: on new pairs only or with replay; with which penalty; how much of the weights
    at its beginning is averaged into what it delivers; with which learning-rate schedule (`train.SCHEDULES`)."""

    replay: bool = False
    penalty: Callable[[Teachers], Penalty] | None = None
    averaged: float = 0.0
    schedule: str = "linear"


METHODS = {
    "fine-tuning": Method(),
    "replay": Method(replay=True),
    "LwF": Method(penalty=lwf),
    "VR-LwF": Method(penalty=vr_lwf),
    "ZSCL": Method(penalty=zscl, averaged=0.3),
    "MulKI": Method(penalty=mulki),
    "weight averaging": Method(averaged=0.5),
    "repeated cosine": Method(schedule="cosine"),
    "infinite schedule": Method(schedule="infinite"),
}
