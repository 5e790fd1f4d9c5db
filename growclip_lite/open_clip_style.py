"""Models as users of open_clip write it: a model, a preprocessing and a tokenizer from one name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from growclip_lite.model import GrowCLIP


def create_model_and_transforms(name: str, revision: str | None = None) -> tuple[GrowCLIP, Callable, Callable]:
    """(model, preprocessing for training, preprocessing for use) of a checkpoint folder or a name on the Hub.

    Both preprocessings are the same, PIL picture -> (3, S, S): augmenting is a part of training (`train`).
    """
    model = GrowCLIP.from_pretrained(name, revision=revision).eval()
    return model, model.preprocess, model.preprocess


def get_tokenizer(name: str, revision: str | None = None) -> Callable[[str | Sequence[str]], Tensor]:
    """The tokenizer of a checkpoint: texts -> (B, L) int64."""
    return GrowCLIP.from_pretrained(name, revision=revision).tokenize
