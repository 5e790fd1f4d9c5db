"""Zero-shot classification, retrieval and forgetting, for anything with `encode_image`, `encode_text`, `tokenize` and
`logit_scale`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from growclip_lite.data.stream import Pairs, Stream, Task, fill
from growclip_lite.model import PAD, GrowCLIP, as_images

BATCH = 512
RECALL_AT = (1, 5, 10)
TEMPLATES = ("{}", "a {}", "a photo of a {}", "a picture of a {}")  # for labels of anybody's choice


@torch.inference_mode()
def embed_images(model: GrowCLIP, images: np.ndarray) -> Tensor:
    """(M, 3, S, S) uint8 -> (M, E) on the CPU."""
    device = model.logit_scale.device
    chunks = (as_images(images[i : i + BATCH]).to(device) for i in range(0, len(images), BATCH))
    return torch.cat([model.encode_image(chunk).float().cpu() for chunk in chunks])


@torch.inference_mode()
def embed_texts(model: GrowCLIP, texts: Sequence[str]) -> Tensor:
    """M texts -> (M, E) on the CPU. A text that occurs several times is encoded once."""
    device = model.logit_scale.device
    unique = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    tokens = model.tokenize(list(unique))
    if isinstance(model, GrowCLIP):  # prompts are short: less than half the time; others may need the whole context
        tokens = tokens[:, : int((tokens != PAD).any(0).sum())]
    features = torch.cat([model.encode_text(chunk.to(device)).float().cpu() for chunk in tokens.split(BATCH)])
    return features[[unique[text] for text in texts]]


def ensemble(model: GrowCLIP, classes: Sequence[Sequence[str]]) -> Tensor:
    """(C, E): the normalised mean of every class's prompt embeddings (CLIP, section 3.1.4)."""
    features = embed_texts(model, [prompt for prompts in classes for prompt in prompts])
    parts = features.split([len(prompts) for prompts in classes])
    return torch.nn.functional.normalize(torch.stack([part.mean(0) for part in parts]), dim=-1)


def probabilities(model: GrowCLIP, images: np.ndarray, classes: Tensor) -> Tensor:
    """(M, C): softmax over classes of the scaled cosine similarities.

    `images` are (M, 3, S, S) uint8, `classes` unit-norm (C, E).
    """
    similarity = embed_images(model, images) @ classes.T
    return (model.logit_scale.exp().item() * similarity).softmax(1)


def split_labels(text: str) -> list[str]:
    """The different labels of a text such as "a red circle, a blue square", in its order."""
    return list(dict.fromkeys(label.strip() for label in text.split(",") if label.strip()))


def embed_labels(model: GrowCLIP, labels: Sequence[str]) -> Tensor:
    """(C, E): labels such as "red circle" or "a red circle", whose article gives way to those of `TEMPLATES`."""
    bare = [re.sub(r"^(an?|the) ", "", label, flags=re.IGNORECASE) for label in labels]
    return ensemble(model, [[fill(template, label) for template in TEMPLATES] for label in bare])


def classify(model: GrowCLIP, images: np.ndarray, labels: Sequence[str]) -> Tensor:
    """(M, C): the `probabilities` of labels."""
    return probabilities(model, images, embed_labels(model, labels))


def answers(model: GrowCLIP, task: Task) -> Tensor:
    """(M,) the class, or candidate, that the model chooses for every picture."""
    images = embed_images(model, task.images)
    if not task.per_picture:
        return (images @ ensemble(model, task.prompts).T).argmax(1)
    classes = ensemble(model, [prompts for picture in task.prompts for prompts in picture])
    return torch.einsum("me,mce->mc", images, classes.view(len(images), -1, images.shape[1])).argmax(1)


def zero_shot(model: GrowCLIP, task: Task) -> float:
    """Top-1 accuracy in [0, 1]."""
    return (answers(model, task) == torch.from_numpy(task.labels)).float().mean().item()


def ranks(similarity: Tensor, relevant: Tensor) -> Tensor:
    """(queries,) how many irrelevant items are at least as similar as the best relevant one.

    similarity and relevant (bool) are (queries, items). A tie counts against the model: items that
    are as similar as the best relevant one are ranked before it. So does a similarity that is no number.
    """
    best = similarity.masked_fill(~relevant, -torch.inf).max(1, keepdim=True).values
    return (~(similarity < best) & ~relevant).sum(1)


def recall_at(similarity: Tensor, relevant: Tensor, k: int) -> float:
    """Share of queries with a relevant item among their k most similar; arguments and ties as in `ranks`."""
    return (ranks(similarity, relevant) < k).float().mean().item()


def retrieval(model: GrowCLIP, pairs: Pairs) -> dict[str, float]:
    """R@1, R@5 and R@10 in both directions (i2t: image to text, t2i: text to image), in [0, 1].

    Pairs with equal captions are relevant to each other.
    """
    similarity = embed_images(model, pairs.images) @ embed_texts(model, pairs.captions).T
    numbers = {caption: i for i, caption in enumerate(pairs.captions)}
    ids = torch.tensor([numbers[caption] for caption in pairs.captions])
    relevant = ids[:, None] == ids[None, :]
    scores = {f"i2t_r{k}": recall_at(similarity, relevant, k) for k in RECALL_AT}
    return scores | {f"t2i_r{k}": recall_at(similarity.T, relevant.T, k) for k in RECALL_AT}


def zero_shot_all(model: GrowCLIP, tasks: Iterable[Task]) -> dict[str, float]:
    """Top-1 accuracy by task name."""
    return {task.name: zero_shot(model, task) for task in tasks}


def mean(scores: dict[str, float]) -> float | None:
    """Plain mean; None where there is nothing to average."""
    return sum(scores.values()) / len(scores) if scores else None


def mean_accuracy(model: GrowCLIP, tasks: Iterable[Task]) -> float | None:
    """Mean top-1 accuracy over tasks, in [0, 1]; None where there are none."""
    return mean(zero_shot_all(model, tasks))


def evaluate(model: GrowCLIP, stream: Stream) -> dict:
    """The report's `zero_shot`, `zero_shot_mean` and `retrieval`, on test data."""
    scores = zero_shot_all(model, stream.tasks)
    return {"zero_shot": scores, "zero_shot_mean": mean(scores), "retrieval": retrieval(model, stream.retrieval)}


def known_concepts(model: GrowCLIP, stream: Stream, step: int) -> list[float]:
    """Mean zero-shot accuracy on the `step_tasks` of each growth step up to `step`; one without tasks has no entry."""
    return [mean_accuracy(model, tasks) for tasks in stream.step_tasks[:step] if tasks]


def forgetting(history: Sequence[Sequence[float]]) -> list[float]:
    """For all concepts known before the last step: best mean accuracy so far minus the present one.

    `history[t]` are the `known_concepts` after step t + 1: a row has an entry more than the one before,
    or as many where its step had no tasks. After Chaudhry et al. (2018), but that the present counts
    among the best, too: never negative, and 0 where accuracy rose.
    """
    if len(history) < 2:
        return []
    return [max(row[s] for row in history if s < len(row)) - history[-1][s] for s in range(len(history[-2]))]
