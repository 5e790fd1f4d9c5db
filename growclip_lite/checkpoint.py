"""Checkpoints: safetensors beside JSON, read strictly; nothing is unpickled."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from growclip_lite.architecture import Architecture, ModelConfig, tensor_shapes
from growclip_lite.errors import InputError
from growclip_lite.files import read_json, write_atomically, write_json
from growclip_lite.model import GrowCLIP
from growclip_lite.tokenizer import Tokenizer
from growclip_lite.train import TrainConfig, TrainingState

SCHEMA = 1
FIELDS = {"schema", "architecture", "model", "about"}  # of config.json
TRAINING_FIELDS = {"schema", "step", "architecture", "model", "search", "phases", "iteration", "records"}


def write_model(model: GrowCLIP, folder: Path) -> None:
    """Writes model.safetensors, config.json and tokenizer.json into the folder; other files in it stay."""
    # `save` and write_bytes: `save_file` hides a full disk in an exception of its own.
    tensors = {name: weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
    weights, words = save(tensors), model.tokenizer.to_json()
    config = {
        "schema": SCHEMA, "architecture": model.architecture.to_dict(), "model": vars(model.config),
        "about": model.about,
    }  # fmt: skip
    # New files instead of new contents: a model that was loaded from here may still read the old ones.
    write_atomically(folder / "model.safetensors", lambda partial: partial.write_bytes(weights))
    write_atomically(folder / "tokenizer.json", lambda partial: partial.write_text(words, encoding="utf-8"))
    write_json(folder / "config.json", config)


def save_model(model: GrowCLIP, folder: Path, about: dict) -> None:
    """Writes model.safetensors, config.json and tokenizer.json into `folder`, all or nothing.

    `about` is a JSON-able description (data, profile, seed, step) that is stored in config.json.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    model.about = about
    try:
        write_model(model, partial)
        partial.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _load_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise InputError(f"There is no {path}; give a folder that growclip has written.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); please restore it or train again.") from error


def check_schema(config: dict, path: Path) -> None:
    """Raises `InputError` for a file of a later version, or of none."""
    schema = config.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise InputError(f"{path} has no valid schema number; it was not written by growclip.")
    if schema > SCHEMA:
        raise InputError(
            f"{path} has schema {schema}, but this version reads up to {SCHEMA}; please update growclip-lite."
        )


def load_model(folder: str | Path) -> GrowCLIP:
    """A model from a checkpoint folder. Raises `InputError` where anything is missing or does not fit."""
    folder = Path(folder)
    path = folder / "config.json"
    if not path.exists() and (folder / "step_1" / "config.json").exists():
        raise InputError(f"{folder} is a whole run; give the checkpoint of a growth step, such as {folder / 'step_1'}.")
    config = read_json(path)
    check_schema(config, path)
    if set(config) != FIELDS:
        raise InputError(f"{path} needs exactly the fields {sorted(FIELDS)}, but has {sorted(config)}.")
    if not isinstance(config["about"], dict):
        raise InputError(f"{path}: about must be an object, but is {config['about']!r}.")
    architecture, sizes = Architecture.from_dict(config["architecture"]), ModelConfig.from_dict(config["model"])
    tensors = _load_tensors(folder / "model.safetensors")
    expected = tensor_shapes(architecture, sizes)
    check_tensors(tensors, expected, folder / "model.safetensors")
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    if tokenizer.vocab_size != sizes.vocab_size:
        raise InputError(
            f"{folder / 'tokenizer.json'} has {tokenizer.vocab_size} tokens, but the model {sizes.vocab_size}; "
            "the files belong to different checkpoints."
        )
    with torch.device("meta"):
        model = GrowCLIP(architecture, sizes, tokenizer)
    model.load_state_dict(tensors, assign=True)
    model.about = config["about"]
    return model


def check_tensors(tensors: dict[str, Tensor], expected: dict[str, tuple[int, ...]], path: Path) -> None:
    """Raises `InputError` that names the first missing, unknown, misshapen or non-float32 tensor."""
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise InputError(f"{path} lacks the tensor {name}; it does not fit its config.json.")
        if name not in expected:
            raise InputError(f"{path} has an unknown tensor {name}; it does not fit its config.json.")
        if tuple(tensors[name].shape) != expected[name] or tensors[name].dtype != torch.float32:
            raise InputError(
                f"{path}: the tensor {name} is {tuple(tensors[name].shape)} {tensors[name].dtype}, "
                f"but {expected[name]} torch.float32 is needed."
            )
        if not tensors[name].isfinite().all():
            raise InputError(f"{path}: the tensor {name} holds values that are no numbers; please restore it.")


def save_training(path: Path, model: GrowCLIP, state: TrainingState, about: dict) -> None:
    """A resumable training in one file: weights, moving average, optimisers, and as JSON the records and `about`, which
    gives the other `TRAINING_FIELDS`."""
    tensors = {f"model.{name}": weight for name, weight in model.state_dict().items()}
    if state.average is not None:
        tensors |= {f"average.{name}": weight for name, weight in state.average.state_dict().items()}
    for number, optimizer in enumerate(state.optimizers):
        for index, values in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{index}.{name}": value for name, value in values.items()}
    about = about | {"schema": SCHEMA, "iteration": state.iteration, "records": state.records}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(path, lambda partial: partial.write_bytes(save(tensors, metadata={"about": json.dumps(about)})))


def read_about(path: Path) -> dict | None:
    """The description stored with a resumable training; None where there is no file."""
    if not path.exists():
        return None
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it to train this growth step again.") from error
    if isinstance(about, dict):
        check_schema(about, path)
    if not isinstance(about, dict) or not about.keys() >= TRAINING_FIELDS:
        raise InputError(f"{path} is damaged (it does not tell all of its step); delete it to train that step again.")
    return about


def load_training(path: Path, model: GrowCLIP, config: TrainConfig) -> TrainingState:
    """Puts the stored weights into `model` and returns the state to go on from."""
    tensors, about = _load_tensors(path), read_about(path)
    state = TrainingState.begin(model, config)
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        group, rest = name.split(".", 1)
        groups.setdefault(group, {})[rest] = tensor
    check_tensors(groups.get("model", {}), tensor_shapes(model.architecture, model.config), path)
    model.load_state_dict(groups["model"])
    if state.average is not None:
        state.average.load_state_dict(groups["average"])
    for number, optimizer in enumerate(state.optimizers):
        saved = optimizer.state_dict()
        for name, tensor in groups.get("optimizer", {}).items():
            owner, index, key = name.split(".", 2)
            if int(owner) == number:
                saved["state"].setdefault(int(index), {})[key] = tensor
        optimizer.load_state_dict(saved)
    state.iteration, state.records = about["iteration"], about["records"]
    return state
