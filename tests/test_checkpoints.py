"""The shipped checkpoints: each scores what its card says, and each card is one that the Hub takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hub_server import card_errors
from huggingface_hub import ModelCard
from tiny import CIFAR10

from growclip_lite import GrowCLIP, evaluate, load_stream
from growclip_lite.architecture import count_parameters
from growclip_lite.course import lesson_04
from growclip_lite.data import emoji
from growclip_lite.errors import InputError
from growclip_lite.hub import FILES
from growclip_lite.markdown import markdown_table

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = sorted(path.parent for path in (ROOT / "checkpoints").glob("*/config.json"))


@pytest.fixture(scope="module")
def test_data(tmp_path_factory: pytest.TempPathFactory):
    """What a model is tested on, by the name of its data; skips where this machine lacks it."""
    made = {}

    def make(data: str):
        if data == "scenes":
            tasks = list(lesson_04.tasks_of("test", 1_000).values())
            return SimpleNamespace(tasks=tasks, retrieval=lesson_04.test_pairs(1_000))
        if data == "emoji":
            try:
                emoji.find_font()
            except InputError as error:
                pytest.skip(str(error))
            return load_stream("emoji", "laptop", 0)
        if not CIFAR10.is_file():
            pytest.skip("there is no cifar10-jpeg.tar.xz; set GROWCLIP_DATA to its folder")
        folder = tmp_path_factory.mktemp("data") / "cifar10"
        script = [sys.executable, str(ROOT / "data_scripts" / "prepare_cifar10.py")]
        subprocess.run([*script, "--source", str(CIFAR10), "--out", str(folder)], check=True, capture_output=True)
        return load_stream(str(folder), "laptop", 0)

    def get(data: str):
        if data not in made:
            made[data] = make(data)
        return made[data]

    return get


def card_of(folder: Path) -> dict[str, float]:
    """The scores on a card by the names of their metrics."""
    results = ModelCard.load(folder / "README.md").data.eval_results
    return {found.metric_name: found.metric_value for found in results}


def test_the_whole_family_is_there():
    names = {path.name for path in CHECKPOINTS}
    assert names == {"scenes-laptop", "cifar10-laptop", "emoji-laptop", *(f"scenes-laptop-step-{i}" for i in (1, 2, 3))}


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)
def test_a_checkpoint_scores_what_its_card_says(folder: Path, test_data):
    model = GrowCLIP.from_pretrained(folder)
    data = test_data(model.about["data"])
    scores = evaluate(model, data)
    measured = scores["zero_shot"] | {"mean": scores["zero_shot_mean"]}
    measured = {f"{name}, top-1": value for name, value in measured.items()} | scores["retrieval"]
    card = card_of(folder)
    # Another processor may sum in another order: one picture of a test may change sides.
    fewest = min(len(data.retrieval), *(len(task.labels) for task in data.tasks))
    assert card == pytest.approx(measured, abs=1.5 / fewest) and len(card) >= 7


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda path: path.name)
def test_a_card_is_complete(folder: Path):
    text = (folder / "README.md").read_text(encoding="utf-8")
    card = ModelCard(text)
    assert card_errors(text) == [] and card.data.license == "apache-2.0" and card.data.library_name == "growclip-lite"
    about = GrowCLIP.from_pretrained(folder).about
    assert not about["commit"].endswith("+") and f"at commit {about['commit']}" in text
    for heading in (
        "Use",
        "How it grew",
        "Scores",
        "Made by",
        "ONNX",
        "Intended use and limits",
        "Licence and citation",
    ):
        assert f"## {heading}\n" in text
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000


def test_readme_quotes_the_cards():
    head, rows = "checkpoint | parameters | weights | zero-shot, mean | image-to-text R@1", []
    for folder in CHECKPOINTS:
        card, model = card_of(folder), GrowCLIP.from_pretrained(folder)
        size = (folder / "model.safetensors").stat().st_size
        parameters = count_parameters(model.architecture, model.config)
        sizes = f"{parameters / 1e6:.2f} M", f"{size / 1e6:.1f} MB"
        link = f"[{folder.name}](checkpoints/{folder.name}/README.md)"
        rows.append((link, *sizes, f"{card['mean, top-1']:.3f}", f"{card['i2t_r1']:.3f}"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    quoted = readme.split("<!-- checkpoints -->")[1].split("<!-- /checkpoints -->")[0].strip()
    assert quoted == markdown_table(head, rows)
