"""How long the model takes to use: encoding, evaluating, importing, classifying one picture.

Whole processes are fresh, but find their files in the system's page cache.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from PIL import Image

from growclip_lite.architecture import Architecture
from growclip_lite.bench.rivals import PRECISIONS, amp, open_clip_model, transformers_model, with_end_token
from growclip_lite.bench.throughput import OUR_NAME, Setting, in_low_precision
from growclip_lite.bench.timing import rows_in_turns
from growclip_lite.checkpoint import save_model
from growclip_lite.evaluate import zero_shot_all
from growclip_lite.grow import Run, tokenizer_at
from growclip_lite.memory import keep_freed_memory
from growclip_lite.model import GrowCLIP, new_model

# A size that `make demo` has ended with; kept, so that rows stay comparable.
GROWN = Architecture(4, 2, 1, 5, 1, 2)


def encoders(setting: Setting, side: str) -> dict[str, Callable[[], object]]:
    """Encoding of one batch by every contender; `side` is "image" or "text"."""
    a, c = setting.architecture, setting.config
    images, tokens = setting.batch()
    own = images if side == "image" else tokens
    others = images if side == "image" else with_end_token(tokens, c.vocab_size)

    def encoding(model: torch.nn.Module, method: str, inputs: torch.Tensor, dtype: torch.dtype = torch.float32):
        model.to(setting.device).eval()

        def call() -> None:
            with torch.inference_mode(), amp(dtype, setting.device):
                getattr(model, method)(inputs)

        return call

    calls = {
        f"{OUR_NAME} fp32": encoding(new_model(a, c, 0), f"encode_{side}", own),
        f"{OUR_NAME} bf16": encoding(in_low_precision(new_model(a, c, 0)), f"encode_{side}", own),
    }
    for word, (mixed, weights) in PRECISIONS.items():
        inputs = others.to(weights) if side == "image" else others
        calls[f"open_clip {word}"] = encoding(open_clip_model(a, c).to(weights), f"encode_{side}", inputs, mixed)
        for attention in ("sdpa", "eager"):
            rival = transformers_model(a, c, attention).to(weights)
            calls[f"transformers {word} {attention}"] = encoding(rival, f"get_{side}_features", inputs, mixed)
    return calls


def grown_model(run: Run) -> GrowCLIP:
    """A model of size `GROWN` with all words of the stream; its weights do not matter here."""
    tokenizer = tokenizer_at(run, len(run.stream.train))
    return new_model(GROWN, run.model_config(tokenizer), 0, tokenizer)


def commands(model: GrowCLIP, folder: Path) -> dict[str, Callable[[], object]]:
    """Whole processes: two imports, and the classification of one picture."""
    save_model(model, folder / "model", {})
    Image.new("RGB", (64, 64), "red").save(folder / "picture.png")
    classify = ["-m", "growclip_lite", "classify", str(folder / "model"), str(folder / "picture.png")]
    lines = {
        "import torch": ["-c", "import torch"],
        "import growclip_lite": ["-c", "import growclip_lite"],
        "growclip classify": [*classify, "--labels", "a red circle,a blue star"],
    }
    return {
        name: lambda line=line: subprocess.run([sys.executable, *line], check=True, capture_output=True)
        for name, line in lines.items()
    }


def inference(setting: Setting, run: Run, windows: int, seconds: float) -> pd.DataFrame:
    """Rows of part, contender, window and seconds per call."""
    keep_freed_memory()  # for all contenders alike
    model = grown_model(run).to(setting.device)
    with tempfile.TemporaryDirectory() as folder:
        parts = {
            "encode_image": encoders(setting, "image"),
            "encode_text": encoders(setting, "text"),
            "nine tasks": {OUR_NAME: lambda: zero_shot_all(model, run.stream.tasks)},
            "process": commands(model, Path(folder)),
        }
        tables = [rows_in_turns(part, calls, windows, seconds, setting.device) for part, calls in parts.items()]
    return pd.concat(tables, ignore_index=True)
