"""Makes the shipped checkpoints: grows, measures the ONNX export, writes the cards.

    .venv/bin/python checkpoints/build.py [NAME ...]      # scenes-laptop, cifar10-laptop, emoji-laptop

Runs go to runs/checkpoints and can be interrupted and resumed; needed are the extras `interop` and `test`, for
cifar10 also data/cifar10 (`data_scripts/prepare_cifar10.py`). On the same machine, with as many threads, a commit
gives the same weights again, bit for bit.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnxruntime
import torch

from growclip_lite import GrowCLIP, grow, load_stream
from growclip_lite.bench.timing import in_turns
from growclip_lite.card import write_card
from growclip_lite.checkpoint import save_model
from growclip_lite.devices import machine
from growclip_lite.export import SIDES, Encoder, example, export_onnx
from growclip_lite.profiles import get_profile
from growclip_lite.table import provenance

HERE = Path(__file__).resolve().parent
PROFILE, SEED, BATCH = "laptop", 0, 64


@dataclass(frozen=True)
class Recipe:
    """What to grow on, for how many iterations (None: the profile's), and whether earlier growth steps are kept."""

    data: str
    iterations: int | None
    every_step: bool


FAMILY = {
    "scenes-laptop": Recipe("scenes", None, every_step=True),
    "cifar10-laptop": Recipe("data/cifar10", 3_600, every_step=False),
    "emoji-laptop": Recipe("emoji", None, every_step=False),
}


@torch.inference_mode()
def measured_onnx(model: GrowCLIP) -> dict:
    """Bytes of both files, and items per second in onnxruntime and in torch, in turns, medians over 5 windows."""
    sides = {}
    with tempfile.TemporaryDirectory() as folder:
        for side, path in zip(SIDES, export_onnx(model, Path(folder)), strict=True):
            session, inputs = onnxruntime.InferenceSession(path), example(model, side, BATCH)
            calls = {
                "onnxruntime": partial(session.run, None, {side: inputs.numpy()}),
                "torch": partial(Encoder(model, side), inputs),
            }
            seconds = in_turns(calls, windows=5, seconds=0.5, title=path.name).median()
            sides[side] = {"bytes": path.stat().st_size} | {name: round(BATCH / s) for name, s in seconds.items()}
    return {"machine": machine(), "batch": BATCH, "sides": sides}


def build(name: str, recipe: Recipe) -> None:
    """Grows into runs/checkpoints (or goes on there), then replaces checkpoints/NAME and its earlier growth steps."""
    profile = get_profile(PROFILE)
    profile = replace(profile, iterations=recipe.iterations or profile.iterations)
    commit = provenance()["commit"]
    if commit.endswith("+"):
        raise SystemExit("The package has changes that are not committed: a checkpoint names the commit it comes from.")
    run = HERE.parent / "runs" / "checkpoints" / f"{name}-{commit}"
    report = grow(load_stream(recipe.data, PROFILE, SEED), profile, run, seed=SEED, resume=True)
    steps = [entry["step"] for entry in report["steps"]]
    for step in steps if recipe.every_step else steps[-1:]:
        model = GrowCLIP.from_pretrained(run / f"step_{step}")
        folder = HERE / (name if step == steps[-1] else f"{name}-step-{step}")
        save_model(model, folder, model.about | {"commit": commit, "onnx": measured_onnx(model)})
        write_card(folder, report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FAMILY))
    names = parser.parse_args().names or list(FAMILY)
    if unknown := set(names) - set(FAMILY):
        parser.error(f"there is no {sorted(unknown)}; choose of {', '.join(FAMILY)}")
    for name in names:
        build(name, FAMILY[name])
