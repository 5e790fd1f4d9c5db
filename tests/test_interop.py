"""Other people's tools on our models: clip_benchmark, onnxruntime, torch.export, scikit-learn, open_clip's idioms."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from tiny import COLOURS, tiny_pairs, tiny_stream, tiny_task
from torch.utils.data import DataLoader, TensorDataset

from growclip_lite import GrowCLIP, create_model_and_transforms, get_tokenizer
from growclip_lite.__main__ import main
from growclip_lite.course.place import checkpoint as shipped
from growclip_lite.evaluate import embed_images, embed_texts, recall_at, retrieval, zero_shot
from growclip_lite.export import SIDES, Encoder, example, export_program
from growclip_lite.features import GrowCLIPFeatures

# clip_benchmark and open_clip import torchvision; see the module for why it needs help on some machines.
from growclip_lite.torchvision_fix import import_torchvision

import_torchvision()
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval  # noqa: E402


@pytest.fixture(scope="module")
def folder(tiny_run) -> Path:
    return tiny_run[1] / "step_3"


@pytest.fixture(scope="module")
def model(folder: Path) -> GrowCLIP:
    return GrowCLIP.from_pretrained(folder)


# ---- clip_benchmark


def top_k(output: torch.Tensor, target: torch.Tensor, topk: tuple[int, ...]) -> list[float]:
    """As `zeroshot_classification.accuracy`, whose float() of an array of one number NumPy 2.4 refuses."""
    correct = output.topk(max(topk), 1).indices == target[:, None]
    return [correct[:, :k].any(1).float().mean().item() for k in topk]


def test_clip_benchmark_classifies_as_we_do(model: GrowCLIP, monkeypatch):
    monkeypatch.setattr(zeroshot_classification, "accuracy", top_k)
    task = tiny_task(("circle", "zeppelin"), seed=6)
    task.labels[::3] = (task.labels[::3] + 1) % len(COLOURS)  # so that not every answer is right
    data = TensorDataset(torch.from_numpy(task.images), torch.from_numpy(task.labels))
    data.classes = list(COLOURS)
    metrics = zeroshot_classification.evaluate(
        model, DataLoader(data, 7), model.tokenize, data.classes, ["a {c} circle", "a {c} zeppelin"], "cpu", amp=False
    )
    balanced = metrics["mean_per_class_recall"]  # by scikit-learn, from clip_benchmark's own logits
    assert 0 < balanced < 1 and metrics["acc1"] == pytest.approx(zero_shot(model, task), abs=1e-4)


def test_clip_benchmark_retrieves_as_we_do(model: GrowCLIP):
    pairs = tiny_stream().retrieval
    unique = sorted({caption: i for i, caption in enumerate(pairs.captions)}.values())  # it knows no equal captions
    images, captions = pairs.images[unique], [pairs.captions[i] for i in unique]
    data = [(torch.from_numpy(images[i : i + 7]), [[c] for c in captions[i : i + 7]]) for i in range(0, len(images), 7)]
    metrics = zeroshot_retrieval.evaluate(model, data, model.tokenize, "cpu", amp=False, recall_k_list=[1, 5])
    ours = retrieval(model, type(pairs)(images, captions))
    for k in (1, 5):
        assert metrics[f"text_retrieval_recall@{k}"] == pytest.approx(ours[f"i2t_r{k}"], abs=1e-4)
        assert metrics[f"image_retrieval_recall@{k}"] == pytest.approx(ours[f"t2i_r{k}"], abs=1e-4)
    assert 0 < ours["i2t_r5"] < 1


# ---- ONNX and torch.export


def inputs_of(model: GrowCLIP, side: str, count: int) -> torch.Tensor:
    if side == "image":
        return torch.rand(count, *example(model, side).shape[1:], generator=torch.Generator().manual_seed(count))
    return model.tokenize([f"a {list(COLOURS)[i % 4]} circle{' and a zeppelin' * (i % 3)}" for i in range(count)])


def test_onnx_computes_the_same_for_any_batch(tmp_path: Path, capsys):
    model = GrowCLIP.from_pretrained(shipped())
    assert main(["export", str(shipped()), str(tmp_path / "onnx")]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2 and "MB" in printed.out, printed
    assert sorted(p.name for p in (tmp_path / "onnx").iterdir()) == ["image.onnx", "text.onnx"]
    for side in SIDES:
        session = onnxruntime.InferenceSession(tmp_path / "onnx" / f"{side}.onnx")
        for count in (1, 2, 9):
            inputs = inputs_of(model, side, count)
            (found,) = session.run(["features"], {side: inputs.numpy()})
            assert np.abs(found - Encoder(model, side)(inputs).detach().numpy()).max() < 1e-4


@pytest.mark.parametrize("side", SIDES)
def test_torch_export_computes_the_same_for_any_batch(side: str, model: GrowCLIP):
    program = export_program(model, side).module()
    for count in (1, 2, 9):
        inputs = inputs_of(model, side, count)
        torch.testing.assert_close(program(inputs), Encoder(model, side)(inputs), atol=1e-5, rtol=0)


def test_a_missing_exporter_is_told(folder: Path, tmp_path: Path):
    arguments = ["export", str(folder), str(tmp_path / "onnx")]
    code = (
        "import sys; sys.modules['onnxscript'] = None\n"
        f"from growclip_lite.__main__ import main; sys.exit(main({arguments}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 2 and "growclip-lite[interop]" in result.stderr and not (tmp_path / "onnx").exists()


# ---- scikit-learn


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_set_params,
        estimator_checks.check_valid_tag_types,
    ],
    ids=lambda check: check.__name__,
)
def test_checks_of_scikit_learn(check):
    """Those that need no table of numbers as input."""
    check("GrowCLIPFeatures", GrowCLIPFeatures(str(shipped())))


def test_features_have_no_checkpoint_of_their_own():
    with pytest.raises(TypeError, match="checkpoint"):
        GrowCLIPFeatures()


def test_a_linear_probe_and_a_neighbour_in_a_few_lines(folder: Path):
    pairs, colours = tiny_pairs(80, ("circle",), seed=9)
    for last in (LogisticRegression(max_iter=1_000), KNeighborsClassifier(3)):
        pipeline = make_pipeline(GrowCLIPFeatures(str(folder)), last).fit(pairs.images[:40], colours[:40])
        assert pipeline.score(pairs.images[40:], colours[40:]) > 0.8


def test_features_of_pictures_and_texts(folder: Path, model: GrowCLIP):
    pairs, _ = tiny_pairs(6, ("circle",), seed=9)
    features = GrowCLIPFeatures(str(folder)).fit(None).set_output(transform="default")
    expected = embed_images(model, pairs.images).numpy()
    np.testing.assert_array_equal(features.transform(pairs.images), expected)
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in pairs.images]
    np.testing.assert_array_equal(features.transform(pictures), expected)
    np.testing.assert_array_equal(features.transform(pairs.captions), embed_texts(model, pairs.captions).numpy())
    assert features.transform([]).shape == (0, 16) and len(features.get_feature_names_out()) == 16
    series = pd.Series(pairs.captions, index=range(3, 9))
    np.testing.assert_array_equal(features.transform(series), features.transform(pairs.captions))
    for wrong in ([3, 4], ["a", 3], [pictures[0], "a"], pairs.images.astype(float), pairs.images[:, :, :4]):
        with pytest.raises(ValueError, match="must be"):
            features.transform(wrong)


# ---- open_clip's idioms


def test_open_clip_users_find_their_way(folder: Path):
    model, _, preprocess = create_model_and_transforms(str(folder))
    tokenizer = get_tokenizer(str(folder))

    image = preprocess(Image.new("RGB", (20, 14), COLOURS["red"])).unsqueeze(0)
    text = tokenizer([f"a {name} circle" for name in COLOURS])
    with torch.no_grad():
        image_features, text_features = model.encode_image(image), model.encode_text(text)
        image_features /= image_features.norm(dim=-1, keepdim=True)
        text_features /= text_features.norm(dim=-1, keepdim=True)
        shares = (model.logit_scale.exp() * image_features @ text_features.T).softmax(dim=-1)
    assert list(COLOURS)[shares.argmax()] == "red" and shares.sum() == pytest.approx(1)
    assert recall_at(shares, torch.tensor([[True, False, False, False]]), 1) == 1
