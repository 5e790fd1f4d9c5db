"""Checkpoints: exact, all or nothing, and read with suspicion."""

from __future__ import annotations

import errno
import json
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from tiny import files_of, tiny_model, weights_equal

from growclip_lite import Architecture, GrowCLIP
from growclip_lite.checkpoint import (
    SCHEMA,
    TRAINING_FIELDS,
    check_tensors,
    load_model,
    load_training,
    read_about,
    save_model,
    save_training,
)
from growclip_lite.errors import InputError
from growclip_lite.files import read_json, write_atomically, write_json
from growclip_lite.tokenizer import Tokenizer
from growclip_lite.train import TrainConfig, TrainingState

ABOUT = {"data": "tiny", "profile": "smoke", "seed": 0, "step": 1}
ARCHITECTURES = [Architecture(1, 1, 1, 1, 1, 1), Architecture(2, 1, 1, 2, 0, 1), Architecture(1, 2, 2, 1, 2, 3)]
FEW = '{"schema": 1, "step": 1, "iteration": 2, "records": []}'  # of what a training between two batches tells
CONFIG = TrainConfig(iterations=4, batch_size=4, learning_rate=0.02, warmup=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tiny_model(), tmp_path / "model", ABOUT)
    return tmp_path / "model"


# ---- round trip


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_a_model_comes_back_bit_for_bit(tmp_path: Path, architecture: Architecture):
    model = tiny_model(architecture)
    save_model(model, tmp_path / "model", ABOUT)
    loaded = GrowCLIP.from_pretrained(str(tmp_path / "model"))
    assert (loaded.architecture, loaded.config) == (model.architecture, model.config)
    assert weights_equal(loaded.state_dict(), model.state_dict())
    assert list(loaded.state_dict()) == list(model.state_dict())
    texts, images = ["a red circle", "un chat"], torch.rand(2, 3, 8, 8)
    assert torch.equal(loaded.tokenize(texts), model.tokenize(texts))
    with torch.no_grad():
        assert torch.equal(loaded.encode_image(images), model.encode_image(images))
    assert all(weight.requires_grad for weight in loaded.parameters())


def test_the_files_say_what_they_are(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    assert config["schema"] == SCHEMA and config["about"] == ABOUT
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "model.safetensors").stat().st_mode & 0o044 == 0o044 and folder.stat().st_mode & 0o055 == 0o055


def test_a_checkpoint_is_replaced_as_a_whole(folder: Path):
    (folder / "old.txt").write_text("from before")
    other = tiny_model(ARCHITECTURES[1], seed=1)
    save_model(other, folder, ABOUT)
    assert weights_equal(load_model(folder).state_dict(), other.state_dict()) and not (folder / "old.txt").exists()


# ---- all or nothing


def full_disk(method: str, monkeypatch: pytest.MonkeyPatch, name: str = "") -> None:
    """Half of what `Path.<method>` writes gets through."""
    original = getattr(Path, method)

    def write(path: Path, data, **options):
        if name not in path.name:
            return original(path, data, **options)
        original(path, data[: len(data) // 2], **options)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, method, write)


@pytest.mark.parametrize(
    ("method", "name"), [("write_bytes", "model"), ("write_text", "tokenizer"), ("write_text", "config")]
)
def test_a_full_disk_leaves_the_old_checkpoint(folder: Path, monkeypatch, method: str, name: str):
    before = files_of(folder.parent)
    with monkeypatch.context() as patch:
        full_disk(method, patch, name)
        for target in (folder, folder.parent / "new"):
            with pytest.raises(OSError, match="No space left"):
                save_model(tiny_model(seed=1), target, ABOUT)
    assert files_of(folder.parent) == before and [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("limit", [200, 5_000])
def test_a_real_limit_on_file_size_is_an_os_error(folder: Path, limit: int):
    """Whatever the library writes with, the command line must meet an OSError."""
    before = files_of(folder.parent)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(OSError):
            save_model(tiny_model(seed=1), folder, ABOUT)
        with pytest.raises(OSError):
            model = tiny_model()
            save_training(folder.parent / "training.safetensors", model, TrainingState.begin(model, CONFIG), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_of(folder.parent) == before


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), RuntimeError("bug")], ids=repr)
def test_a_file_is_replaced_in_one_go(tmp_path: Path, error: BaseException):
    path = tmp_path / "deep" / "report.json"
    write_json(path, {"a": 1})

    def write(partial: Path) -> None:
        partial.write_text('{"a": 2, ')
        assert read_json(path) == {"a": 1}
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, write)
    assert read_json(path) == {"a": 1} and [p.name for p in path.parent.iterdir()] == ["report.json"]
    write_json(path, {"a": 3})
    assert read_json(path) == {"a": 3} and path.stat().st_mode & 0o044 == 0o044


# ---- read with suspicion


def change_config(folder: Path, change) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


def change_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def cut(folder: Path, size: int) -> None:
    os.truncate(folder / "model.safetensors", size)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(
            lambda f: change_tensors(f, lambda t: t.pop("logit_scale")), "lacks the tensor logit_scale", id="missing"
        ),
        pytest.param(
            lambda f: change_tensors(f, lambda t: t.update(z=torch.ones(1))), "unknown tensor z", id="unknown"
        ),
        pytest.param(
            lambda f: change_tensors(f, lambda t: t.update({"text.token": t["text.token"][:-1].clone()})),
            "text.token is",
            id="shape",
        ),
        pytest.param(
            lambda f: change_tensors(f, lambda t: t.update(logit_scale=torch.tensor(1.0, dtype=torch.float64))),
            "float64",
            id="type",
        ),
        pytest.param(lambda f: cut(f, 4), "is damaged", id="cut in the length"),
        pytest.param(lambda f: cut(f, 100), "is damaged", id="cut in the header"),
        pytest.param(lambda f: cut(f, (f / "model.safetensors").stat().st_size - 1), "is damaged", id="last byte cut"),
        pytest.param(lambda f: (f / "config.json").write_text("{"), "config.json cannot be read", id="broken JSON"),
        pytest.param(lambda f: (f / "config.json").write_text("3"), "not a JSON object", id="no object"),
        pytest.param(
            lambda f: change_config(f, lambda c: c.update(schema=SCHEMA + 1)), "please update", id="later schema"
        ),
        pytest.param(lambda f: change_config(f, lambda c: c.update(schema=0)), "no valid schema", id="schema 0"),
        pytest.param(lambda f: change_config(f, lambda c: c.update(schema="1")), "no valid schema", id="schema a text"),
        pytest.param(
            lambda f: change_config(f, lambda c: c["architecture"].update(image_width=10**6)),
            "image_width is 1000000",
            id="huge",
        ),
        pytest.param(
            lambda f: change_config(f, lambda c: c["architecture"].update(image_depth=64)),
            "lacks the tensor",
            id="large",
        ),
        pytest.param(
            lambda f: change_config(f, lambda c: c["model"].update(embed_dim=None)), "embed_dim is None", id="no number"
        ),
        pytest.param(
            lambda f: change_config(f, lambda c: c["model"].update(layers=3)), "exactly the fields", id="unknown field"
        ),
        pytest.param(
            lambda f: change_config(f, lambda c: c.update(model="small")), "exactly the fields", id="no sizes"
        ),
        pytest.param(
            lambda f: (f / "tokenizer.json").write_text(Tokenizer.train(["other"]).to_json()),
            "different checkpoints",
            id="tokenizer",
        ),
    ],
)
def test_damage_is_told_in_one_sentence(folder: Path, damage, message: str):
    damage(folder)
    with pytest.raises(InputError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_a_sound_file_of_the_wrong_sizes_allocates_nothing(folder: Path, monkeypatch):
    change_config(folder, lambda c: c["architecture"].update(image_width=64, image_depth=64))
    monkeypatch.setattr("growclip_lite.checkpoint.GrowCLIP", None)  # must not be reached
    with pytest.raises(InputError):
        load_model(folder)


def test_tensors_are_checked_by_name_shape_and_type():
    good = {"a": torch.zeros(2, 3), "b": torch.zeros(())}
    check_tensors(good, {"a": (2, 3), "b": ()}, Path("x"))
    for shapes in ({"a": (2, 3)}, {"a": (2, 3), "b": (1,)}, {"a": (2, 3), "b": (), "c": ()}):
        with pytest.raises(InputError):
            check_tensors(good, shapes, Path("x"))


# ---- a training in between


def test_no_state_is_none_and_a_broken_one_is_an_error(tmp_path: Path):
    path = tmp_path / "training.safetensors"
    assert read_about(path) is None
    for broken in (b"garbage", *(save({}, metadata={"about": about}) for about in ("[]", '{"schema": 1}', FEW))):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="is damaged .*delete it"):
            read_about(path)


def test_a_state_of_another_model_is_refused(tmp_path: Path):
    path, model = tmp_path / "training.safetensors", tiny_model()
    save_training(path, model, TrainingState.begin(model, CONFIG), dict.fromkeys(TRAINING_FIELDS, 1))
    assert read_about(path)["step"] == 1
    with pytest.raises(InputError, match="training.safetensors"):
        load_training(path, tiny_model(ARCHITECTURES[2]), CONFIG)
