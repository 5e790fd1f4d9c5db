"""The loss and the measures, against numbers worked out by hand and against plain loops."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import FakeModel, fake_images, tiny_model, tiny_stream

from growclip_lite import evaluate as evaluate_stream
from growclip_lite.data.stream import Pairs, Stream, Task
from growclip_lite.evaluate import (
    BATCH,
    classify,
    embed_images,
    embed_labels,
    embed_texts,
    ensemble,
    forgetting,
    known_concepts,
    mean,
    mean_accuracy,
    recall_at,
    retrieval,
    split_labels,
    zero_shot,
    zero_shot_all,
)  # fmt: skip
from growclip_lite.losses import contrastive_loss, distillation, relation_distillation
from growclip_lite.model import PAD, GrowCLIP

ONE = torch.tensor(1.0)

# ---- the loss


def test_loss_of_two_pairs_by_hand():
    images = torch.eye(2)
    texts = torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    # Similarities, images in rows: [[0.6, 0], [0.8, 1]].
    by_image = (math.log(1 + math.exp(0 - 0.6)) + math.log(1 + math.exp(0.8 - 1))) / 2
    by_text = (math.log(1 + math.exp(0.8 - 0.6)) + math.log(1 + math.exp(0 - 1))) / 2
    assert contrastive_loss(images, texts, ONE).item() == pytest.approx((by_image + by_text) / 2)


def test_the_scale_multiplies_similarities():
    images, texts = torch.eye(2), torch.eye(2)
    for scale in (1.0, 7.0, 100.0):
        expected = math.log(1 + math.exp(-scale))
        assert contrastive_loss(images, texts, torch.tensor(scale)).item() == pytest.approx(expected, abs=1e-7)


def test_embeddings_all_alike_cost_the_logarithm_of_the_batch():
    features = F.normalize(torch.ones(8, 4), dim=-1)
    assert contrastive_loss(features, features, torch.tensor(10.0)).item() == pytest.approx(math.log(8))


def plain_loss(images: torch.Tensor, texts: torch.Tensor, scale: float, ids: list[int]) -> float:
    """The definition, as a loop: mean cross-entropy against targets spread over equal captions, both ways."""
    total, count = 0.0, len(ids)
    for one, other in ((images, texts), (texts, images)):
        for i in range(count):
            logits = [scale * float(one[i] @ other[j]) for j in range(count)]
            log_sum = math.log(sum(math.exp(logit) for logit in logits))
            same = [j for j in range(count) if ids[j] == ids[i]]
            total -= sum(logits[j] - log_sum for j in same) / len(same)
    return total / (2 * count)


@pytest.mark.parametrize("ids", [[0, 1, 2, 3, 4, 5], [0, 1, 0, 2, 1, 0], [3, 3, 3, 3, 3, 3]], ids=str)
def test_loss_equals_a_plain_loop(ids: list[int]):
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(6, 5, generator=generator), dim=-1) for _ in range(2))
    loss = contrastive_loss(images, texts, torch.tensor(5.0), torch.tensor(ids))
    assert loss.item() == pytest.approx(plain_loss(images, texts, 5.0, ids), rel=1e-5)


def test_different_captions_need_no_ids():
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(6, 5, generator=generator), dim=-1) for _ in range(2))
    with_ids = contrastive_loss(images, texts, ONE, torch.tensor([5, 3, 8, 1, 0, 2]))
    assert with_ids.item() == pytest.approx(contrastive_loss(images, texts, ONE).item(), rel=1e-6)


def test_equal_captions_are_no_negatives_of_each_other():
    """Two pictures of one caption: pulling both towards the text costs nothing more than the shared target."""
    features = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ids = torch.tensor([0, 0, 1])
    spread, strict = (contrastive_loss(features, features, torch.tensor(50.0), i) for i in (ids, None))
    assert spread.item() == pytest.approx(2 / 3 * math.log(2), abs=1e-6)
    turned = features.clone().requires_grad_()
    contrastive_loss(turned, features, torch.tensor(50.0), ids).backward()
    assert turned.grad.abs().max() < 1e-6 and strict.item() == pytest.approx(spread.item(), abs=1e-6)


def test_the_loss_is_symmetric_and_does_not_depend_on_the_order():
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(6, 5, generator=generator), dim=-1) for _ in range(2))
    ids, order = torch.tensor([0, 1, 0, 2, 1, 3]), torch.tensor([3, 5, 0, 1, 4, 2])
    loss = contrastive_loss(images, texts, ONE, ids).item()
    assert contrastive_loss(texts, images, ONE, ids).item() == pytest.approx(loss, rel=1e-6)
    assert contrastive_loss(images[order], texts[order], ONE, ids[order]).item() == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("ids", [None, torch.tensor([0, 1, 0, 2])], ids=["no ids", "equal captions"])
def test_gradients_against_finite_differences(ids):
    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.randn(4, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    inputs = (
        images.requires_grad_(),
        texts.requires_grad_(),
        torch.tensor(3.0, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(partial(contrastive_loss, caption_ids=ids), inputs)


# ---- recall

SIMILARITY = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.3], [0.1, 0.7, 0.6]])


def test_distillation_is_the_divergence_from_the_teacher():
    logits = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0], [0.0, 2.0]])
    by_hand = math.log(0.5) - 0.5 * (F.log_softmax(logits[0], -1).sum().item())
    assert distillation(logits, teacher).item() == pytest.approx(by_hand / 2, abs=1e-6)
    distillation(logits, teacher).backward()
    assert logits.grad[0].abs().min() > 0 and logits.grad[1].abs().max() < 1e-6


def test_relations_do_not_depend_on_a_rotation_of_the_embedding():
    features = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=-1)
    turned = features @ torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(1))).Q
    scale = torch.tensor(10.0)
    assert relation_distillation(turned, features, scale).item() == pytest.approx(0, abs=1e-5)
    assert relation_distillation(features.flip(0), features, scale).item() > 0.1


def test_recall_by_hand():
    relevant = torch.eye(3, dtype=torch.bool)  # ranks of the right items: 1, 2, 2
    assert [recall_at(SIMILARITY, relevant, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 1, 1])
    # From text to picture the ranks are 1, 2 and 1.
    assert [recall_at(SIMILARITY.T, relevant, k) for k in (1, 2)] == pytest.approx([2 / 3, 1])


def test_the_best_of_several_relevant_items_counts():
    relevant = torch.tensor([[False, True, True], [False, False, True], [True, True, False]])
    assert [recall_at(SIMILARITY, relevant, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_a_tie_counts_against_the_model():
    alike = torch.ones(4, 4)
    relevant = torch.eye(4, dtype=torch.bool)
    assert [recall_at(alike, relevant, k) for k in (1, 3, 4)] == [0, 0, 1]
    assert recall_at(alike, torch.ones(4, 4, dtype=torch.bool), 1) == 1
    assert [recall_at(torch.full((4, 4), torch.nan), relevant, k) for k in (1, 3)] == [0, 0]


def plain_recall(similarity: np.ndarray, relevant: np.ndarray, k: int) -> float:
    hits = 0
    for scores, right in zip(similarity, relevant, strict=True):
        # Ranked from most to least similar, irrelevant items first among equals.
        ranked = sorted(range(len(scores)), key=lambda j: (-scores[j], right[j]))
        hits += any(right[j] for j in ranked[:k])
    return hits / len(similarity)


@pytest.mark.parametrize("seed", range(5))
def test_recall_equals_brute_force(seed: int):
    rng = np.random.default_rng(seed)
    similarity = rng.integers(0, 6, (30, 12)).astype(np.float32) / 5  # many ties
    relevant = rng.random((30, 12)) < 0.2
    relevant[np.arange(30), rng.integers(12, size=30)] = True
    for k in (1, 2, 5, 12, 20):
        found = recall_at(torch.from_numpy(similarity), torch.from_numpy(relevant), k)
        assert found == pytest.approx(plain_recall(similarity, relevant, k))


def test_retrieval_of_equal_captions():
    """Pictures 1 and 2 share a caption and are close to it; picture 3 prefers the caption of the others."""
    model = FakeModel({1: [1, 0], 2: [0.9, 0.1], 3: [0.6, 0.5]}, {"a cat": [1, 0], "a dog": [0, 1]})
    scores = retrieval(model, Pairs(fake_images(1, 2, 3), ["a cat", "a cat", "a dog"]))
    assert scores == pytest.approx({"i2t_r1": 2 / 3, "i2t_r5": 1, "i2t_r10": 1, "t2i_r1": 1, "t2i_r5": 1, "t2i_r10": 1})


def test_retrieval_takes_very_long_captions():
    captions = ["word " * 100_000 + "a", "word " * 100_000 + "b"]
    model = FakeModel({1: [1, 0], 2: [0, 1]}, dict(zip(captions, ([1, 0], [0, 1]), strict=True)))
    assert retrieval(model, Pairs(fake_images(1, 2), captions))["i2t_r1"] == 1


# ---- embeddings

COLOURS = FakeModel(
    {1: [1, 0], 2: [0, 1], 3: [0.8, 0.6]},
    {"red": [1, 0], "crimson": [0, -1], "blue": [0, 1], "navy": [0.6, 0.8], "a": [1, 0], "b": [0.5, 0.5]},
)


def test_a_text_is_encoded_once():
    COLOURS.encoded.clear()
    features = embed_texts(COLOURS, ["red", "blue", "red", "red"])
    assert COLOURS.encoded == ["red", "blue"]
    assert torch.equal(features, torch.tensor([[1.0, 0], [0, 1], [1, 0], [1, 0]]))


def test_padding_that_all_texts_end_with_is_left_out(monkeypatch):
    """Of our own model only: others may add a position to every token that the context has room for."""
    model, texts, lengths = tiny_model(), ["red", "a red"], []
    whole = model.encode_text(model.tokenize(texts))
    encode = GrowCLIP.encode_text
    monkeypatch.setattr(GrowCLIP, "encode_text", lambda self, x: lengths.append(x.shape[1]) or encode(self, x))
    assert torch.allclose(embed_texts(model, texts), whole, atol=1e-6)
    longest = int((model.tokenize(texts) != PAD).sum(1).max())
    wrapped = SimpleNamespace(tokenize=model.tokenize, encode_text=model.encode_text, logit_scale=model.logit_scale)
    assert torch.allclose(embed_texts(wrapped, texts), whole, atol=1e-6)
    assert embed_texts(model, [""]).isfinite().all()
    assert lengths == [longest, model.config.context_length, 1] and longest < model.config.context_length


def test_large_sets_are_embedded_in_order():
    model = tiny_model()
    images = np.random.default_rng(0).integers(0, 256, (BATCH + 5, 3, 8, 8), dtype=np.uint8)
    texts = [f"number {i}" for i in range(BATCH + 5)]
    pictures, captions = embed_images(model, images), embed_texts(model, texts)
    for i in (0, BATCH - 1, BATCH, BATCH + 4):
        assert torch.allclose(pictures[i], embed_images(model, images[i : i + 1])[0], atol=1e-6)
        assert torch.allclose(captions[i], embed_texts(model, texts[i : i + 1])[0], atol=1e-6)
    assert not pictures.requires_grad


def test_read_only_pictures_are_embedded():
    images = fake_images(1, 2)
    images.flags.writeable = False
    assert embed_images(COLOURS, images).shape == (2, 2)


def test_the_ensemble_is_the_normalised_mean():
    found = ensemble(COLOURS, [["red", "blue"], ["navy"], ["red", "crimson", "blue"]])
    half = math.sqrt(0.5)
    assert torch.allclose(found, torch.tensor([[half, half], [0.6, 0.8], [1, 0]]), atol=1e-6)


# ---- zero-shot


def test_zero_shot_by_hand():
    task = Task("colour", fake_images(1, 2, 3), np.array([0, 1, 1]), [["red"], ["blue"]])
    assert zero_shot(COLOURS, task) == pytest.approx(2 / 3)  # picture 3 is closer to red
    # With navy in the mean, class 1 points to (0.6, 1.8) / 1.9, which is closer to picture 3: 0.82 to 0.8.
    task.prompts = [["red"], ["blue", "navy"]]
    assert zero_shot(COLOURS, task) == 1


def test_candidates_may_differ_from_picture_to_picture():
    prompts = [[["red"], ["blue"]], [["red"], ["blue"]], [["blue", "navy"], ["red", "crimson"]]]
    task = Task("which", fake_images(1, 2, 3), np.array([0, 0, 0]), prompts, per_picture=True)
    assert task.chance == 0.5
    assert zero_shot(COLOURS, task) == pytest.approx(2 / 3)


def test_per_picture_candidates_that_are_all_the_same_make_an_ordinary_task():
    images, labels, prompts = fake_images(1, 2, 3), np.array([0, 1, 1]), [["red"], ["blue", "navy"]]
    ordinary = Task("colour", images, labels, prompts)
    repeated = Task("colour", images, labels, [prompts] * 3, per_picture=True)
    assert zero_shot(COLOURS, ordinary) == zero_shot(COLOURS, repeated) and ordinary.chance == repeated.chance


def test_the_report_of_a_stream():
    task = Task("colour", fake_images(1, 2, 3), np.array([0, 1, 1]), [["red"], ["blue"]])
    other = Task("other", fake_images(1), np.array([0]), [["red"], ["blue"]])
    pairs = Pairs(fake_images(1, 2), ["red", "blue"])
    stream = Stream("fake", [pairs], [pairs], pairs, [task, other])
    scores = evaluate_stream(COLOURS, stream)
    assert scores["zero_shot"] == pytest.approx({"colour": 2 / 3, "other": 1})
    assert scores["zero_shot_mean"] == pytest.approx(5 / 6)
    assert set(scores["retrieval"].values()) == {1.0}


def test_nothing_to_average_is_none():
    assert zero_shot_all(COLOURS, []) == {} and mean({}) is None and mean({"a": 0.25, "b": 0.75}) == 0.5
    assert mean_accuracy(COLOURS, []) is None


def test_labels_get_one_fitting_article():
    """Whether or not they bring one of their own."""
    nouns, model = ("pink cross", "orange diamond", "theme"), tiny_model()
    prompts = [[noun, *(f"{start}{a} {noun}" for start in ("", "a photo of ", "a picture of "))]
               for noun, a in zip(nouns, ("a", "an", "a"), strict=True)]  # fmt: skip
    for labels in (
        nouns,
        ("a pink cross", "the orange diamond", "theme"),
        ("the pink cross", "an orange diamond", "theme"),
        ("A pink cross", "The orange diamond", "theme"),
    ):
        assert torch.equal(embed_labels(model, labels), ensemble(model, prompts))
    images = tiny_stream().retrieval.images[:2]
    torch.testing.assert_close(classify(model, images, nouns).sum(1), torch.ones(2))


def test_labels_are_split_at_commas():
    assert split_labels(" a red circle, star,,a red circle , ") == ["a red circle", "star"] and split_labels(",") == []


def test_evaluating_changes_nothing_and_repeats():
    model, stream = tiny_model(), tiny_stream()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert evaluate_stream(model, stream) == evaluate_stream(model, stream)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


# ---- forgetting


def test_forgetting_by_hand():
    history = [[0.8], [0.6, 0.9], [0.7, 0.5, 0.4]]
    assert forgetting(history) == pytest.approx([0.1, 0.4])  # 0.8 - 0.7 and 0.9 - 0.5; the last step cannot forget


def test_learning_more_is_no_forgetting():
    assert forgetting([[0.5]]) == [] and forgetting([[0.5], [0.9, 0.3]]) == [0.0]


def test_steps_without_tasks_bring_nothing_to_forget():
    assert forgetting([[], [0.5], [0.4, 0.6]]) == pytest.approx([0.1])
    assert forgetting([[0.5], [0.4], [0.3]]) == pytest.approx([0.2])
    assert forgetting([[0.5], [0.4, 0.6], [0.4, 0.5]]) == pytest.approx([0.1, 0.1])


def test_known_concepts_are_in_the_order_of_the_steps():
    model = FakeModel({1: [1, 0], 2: [0, 1]}, {"red": [1, 0], "blue": [0, 1]})

    def task(labels, name="colour"):
        return Task(name, fake_images(1, 2), np.array(labels), [["red"], ["blue"]])

    stream = Stream(
        "fake", [], [], None, [], step_tasks=[[task([0, 1])], [], [task([0, 0]), task([1, 0], "other")], [task([1, 0])]]
    )
    assert [known_concepts(model, stream, step) for step in (1, 2, 3, 4)] == [
        [1.0],
        [1.0],
        [1.0, 0.25],
        [1.0, 0.25, 0.0],
    ]
