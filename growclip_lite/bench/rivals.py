"""What people would train instead: open_clip's and transformers' CLIP at our sizes, and one training step of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from growclip_lite.architecture import HEAD_SIZE, Architecture, ModelConfig
from growclip_lite.errors import InputError
from growclip_lite.model import PAD
from growclip_lite.torchvision_fix import import_torchvision
from growclip_lite.train import MAX_LOGIT_SCALE


def check_installed() -> None:
    """Raises `InputError` where something that the bench compares with, or measures with, is missing."""
    for name in ("torchvision", "open_clip", "transformers", "psutil"):
        if find_spec(name) is None:
            raise InputError(f"The bench needs {name}, which is not installed: pip install -e '.[bench]'.")


def open_clip_model(architecture: Architecture, config: ModelConfig) -> nn.Module:
    """open_clip's CLIP of equal widths, depths and heads; its vocabulary has one more token, the end of the text."""
    import_torchvision()  # open_clip needs it
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    a = architecture
    vision = CLIPVisionCfg(
        layers=a.image_depth, width=a.image_width * HEAD_SIZE, head_width=HEAD_SIZE, patch_size=config.patch_size,
        image_size=config.image_size,
    )  # fmt: skip
    text = CLIPTextCfg(
        context_length=config.context_length, vocab_size=config.vocab_size + 1, width=a.text_width * HEAD_SIZE,
        heads=a.text_width, layers=a.text_depth,
    )  # fmt: skip
    return CLIP(config.embed_dim, vision, text)


def transformers_model(architecture: Architecture, config: ModelConfig, attention: str) -> nn.Module:
    """transformers' CLIPModel of the same sizes, with `attention` "sdpa" or "eager"."""
    from transformers import CLIPConfig, CLIPModel

    a, end = architecture, config.vocab_size
    image, text = a.image_width * HEAD_SIZE, a.text_width * HEAD_SIZE
    vision_config = {
        "hidden_size": image, "intermediate_size": 4 * image, "num_hidden_layers": a.image_depth,
        "num_attention_heads": a.image_width, "image_size": config.image_size, "patch_size": config.patch_size,
        "hidden_act": "gelu",
    }  # fmt: skip
    text_config = {
        "hidden_size": text, "intermediate_size": 4 * text, "num_hidden_layers": a.text_depth,
        "num_attention_heads": a.text_width, "vocab_size": end + 1, "max_position_embeddings": config.context_length,
        "hidden_act": "gelu", "pad_token_id": PAD, "bos_token_id": end, "eos_token_id": end,
    }  # fmt: skip
    settings = CLIPConfig(text_config=text_config, vision_config=vision_config, projection_dim=config.embed_dim)
    settings._attn_implementation = attention
    return CLIPModel(settings)


def with_end_token(tokens: Tensor, end: int) -> Tensor:
    """Puts `end` behind every text, where OpenAI's CLIP pools; a text that fills the context loses its last token."""
    place = (tokens != PAD).sum(1).clamp(max=tokens.shape[1] - 1)
    return tokens.scatter(1, place[:, None], end)


# How a rival may compute: the type that automatic mixed precision works in, and that of its weights.
PRECISIONS = {
    "fp32": (torch.float32, torch.float32),
    "bf16 amp": (torch.bfloat16, torch.float32),
    "bf16": (torch.float32, torch.bfloat16),
}


def amp(dtype: torch.dtype, device: str):
    """Automatic mixed precision, or nothing for float32."""
    return nullcontext() if dtype is torch.float32 else torch.autocast(device, dtype)


def open_clip_optimizer(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW as open_clip's training script sets it: no decay of gains, biases and the temperature. (Fused, like
    ours.)"""
    small = [p for p in model.parameters() if p.ndim < 2]
    large = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": small, "weight_decay": 0.0}, {"params": large, "weight_decay": 0.2}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


def open_clip_loss(model: nn.Module, images: Tensor, tokens: Tensor, dtype: torch.dtype) -> Tensor:
    """open_clip's own loss. Pictures are float in [0, 1]; tokens have their end."""
    from open_clip.loss import ClipLoss

    with amp(dtype, images.device.type):
        return ClipLoss()(*model((images - 0.5) * 4, tokens))


def transformers_loss(model: nn.Module, images: Tensor, tokens: Tensor, dtype: torch.dtype) -> Tensor:
    """transformers' own loss."""
    with amp(dtype, images.device.type):
        return model(input_ids=tokens, pixel_values=(images - 0.5) * 4, return_loss=True).loss


def stepper(model: nn.Module, loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """One training step: loss, gradients, update."""

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)

    return step
