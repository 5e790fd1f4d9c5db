"""Both encoders for other runtimes: `torch.export` programs and ONNX files, with a batch of any size."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from growclip_lite.errors import InputError
from growclip_lite.files import write_atomically
from growclip_lite.model import GrowCLIP

SIDES = ("image", "text")


class Encoder(nn.Module):
    """One encoder as a module of its own: pictures (B, 3, S, S) float32 in [0, 1], or tokens (B, L) int64 -> (B, E)."""

    def __init__(self, model: GrowCLIP, side: str) -> None:
        super().__init__()
        self.model, self.side = model, side

    def forward(self, inputs: Tensor) -> Tensor:
        return self.model.encode_image(inputs) if self.side == "image" else self.model.encode_text(inputs)


def example(model: GrowCLIP, side: str, count: int = 2) -> Tensor:
    """Inputs of the right shape and type: grey pictures, or texts of one token."""
    config = model.config
    if side == "image":
        return torch.full((count, 3, config.image_size, config.image_size), 0.5)
    return torch.ones(count, config.context_length, dtype=torch.int64)


@torch.no_grad()
def export_program(model: GrowCLIP, side: str) -> ExportedProgram:
    """The program of one encoder, `side` "image" or "text", in float32."""
    encoder = Encoder(model, side).eval()
    return torch.export.export(encoder, (example(model, side),), dynamic_shapes=({0: Dim("batch")},))


def export_onnx(model: GrowCLIP, folder: Path) -> list[Path]:
    """Writes image.onnx and text.onnx into `folder`, with a batch of any size; returns their paths.

    Input and output are called `image` or `text`, and `features`. Raises `InputError` where the
    packages that the export needs are not installed.
    """
    programs = {folder / f"{side}.onnx": onnx_program(model, side) for side in SIDES}
    for path, program in programs.items():
        write_atomically(path, lambda partial, program=program: program.save(partial))
    return list(programs)


def onnx_program(model: GrowCLIP, side: str) -> torch.onnx.ONNXProgram:
    """One encoder in ONNX; the exporter's own talk of its progress and its innards is kept back."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        log.setLevel(logging.ERROR)
        try:
            names = {"input_names": [side], "output_names": ["features"]}
            return torch.onnx.export(export_program(model, side), dynamo=True, **names)
        except ImportError as error:
            raise InputError(f"{error.name} is needed for ONNX: pip install 'growclip-lite[interop]'.") from error
        finally:
            log.setLevel(level)
