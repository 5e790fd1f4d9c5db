"""GrowCLIP: an image and a text encoder, followed by one encoder that both share.

What differs from OpenAI's CLIP (measured one by one in results/speed.md): for speed on a
CPU, no biases and no affine normalisation, so that there is one kind of weight, matrices; for
accuracy, mean pooling instead of a class token or an end token, and a small convolutional stem
instead of one patch projection (Xiao et al. 2021, "Early convolutions help transformers see
better"); for simplicity, text that attends both ways.

Our reading, made for growth: normalised activations have a fixed length (`NORM`) instead of unit
variance per channel. A network widened by channels that carry the mean of the others then computes
the very same function, without rescaling of a single weight (`operators`), and a slice of a large
network is a network in its own right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub import ModelCard, PyTorchModelHubMixin
from torch import Tensor, nn

from growclip_lite.architecture import HEAD_SIZE, MLP_RATIO, Architecture, ModelConfig, stem_channels

NORM = 8.0  # length of a normalised activation vector; equals unit variance at 64 channels
EPSILON = 64e-5  # added to the squared length before dividing by it; layer_norm's default at 64 channels
PAD = 0  # token that fills captions up to the context length


def norm_linear(x: Tensor, weight: Tensor) -> Tensor:
    """Normalises x (..., D) to length `NORM`, then multiplies: (..., D) x (O, D) -> (..., O).

    The factor goes into the weight, which is far smaller than x.
    `layer_norm` adds its eps to the mean square, so eps is divided by D: what is added to the length
    must not depend on the width.
    """
    channels = x.shape[-1]
    scaled = weight * (NORM / math.sqrt(channels))
    return F.linear(F.layer_norm(x, (channels,), eps=EPSILON / channels), scaled.to(x.dtype))


def padding_bias(real: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, L) bool, which tokens are words -> (B, 1, 1, L), added to the scores of attention to leave out the rest."""
    return torch.zeros(real.shape, dtype=dtype, device=real.device).masked_fill(~real, -1e4)[:, None, None, :]


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    """Softmax attention over (B, H, L, K); `bias` (B, 1, 1, L) is added to the scores.

    The fused kernel is the faster one, in encoding on a CPU, too. But its backward
    pass in bf16 on a CPU is so slow that a training step takes more than twice as long as with these
    three plain products.
    """
    if query.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1) @ value


class Block(nn.Module):
    """A pre-norm transformer block on (B, L, D).

    The rows of `qkv` are ordered by head (query, key, value of head 0, then of head 1, ...), so
    that a leading corner of the matrix is a block with fewer heads.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.qkv = nn.Parameter(torch.empty(3 * channels, channels))
        self.out = nn.Parameter(torch.empty(channels, channels))
        self.up = nn.Parameter(torch.empty(MLP_RATIO * channels, channels))
        self.down = nn.Parameter(torch.empty(channels, MLP_RATIO * channels))

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        batch, length, channels = x.shape
        qkv = norm_linear(x, self.qkv).view(batch, length, channels // HEAD_SIZE, 3, HEAD_SIZE)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)  # each (B, H, L, K)
        mixed = attention(query, key, value, bias).transpose(1, 2).reshape(batch, length, channels)
        x = x + F.linear(mixed, self.out.to(x.dtype))
        return x + F.linear(F.gelu(norm_linear(x, self.up)), self.down.to(x.dtype))


def make_blocks(depth: int, channels: int) -> nn.ModuleList:
    return nn.ModuleList(Block(channels) for _ in range(depth))


class ImageEncoder(nn.Module):
    """Pictures (B, 3, S, S) in [0, 1] -> tokens (B, N, D).

    The 3x3 kernels of the stem are stored as matrices (outputs, 9 * inputs), for Muon trains matrices.
    """

    def __init__(self, depth: int, channels: int, config: ModelConfig) -> None:
        super().__init__()
        sizes = stem_channels(channels, config.patch_size)
        self.stem = nn.ParameterList(
            nn.Parameter(torch.empty(outputs, 9 * inputs)) for inputs, outputs in zip(sizes, sizes[1:], strict=False)
        )
        self.position = nn.Parameter(torch.empty(config.image_tokens, channels))
        self.blocks = make_blocks(depth, channels)

    def patches(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        """The stem alone: (B, N, D) without positions."""
        # With the channels last, convolutions on a CPU are faster: some 10 % of a training step.
        x = ((images - 0.5) * 4).to(dtype, memory_format=torch.channels_last)
        for i, weight in enumerate(self.stem):
            kernels = weight.to(dtype).unflatten(1, (-1, 3, 3))
            x = F.conv2d(F.gelu(x) if i else x, kernels, stride=2, padding=1)
        return x.flatten(2).transpose(1, 2)

    def forward(self, images: Tensor, dtype: torch.dtype) -> Tensor:
        x = self.patches(images, dtype) + self.position.to(dtype)
        for block in self.blocks:
            x = block(x)
        return x


class TextEncoder(nn.Module):
    """Tokens (B, L) -> (B, L, D); `bias` keeps attention off the padding."""

    def __init__(self, depth: int, channels: int, config: ModelConfig) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.empty(config.vocab_size, channels))
        self.position = nn.Parameter(torch.empty(config.context_length, channels))
        self.blocks = make_blocks(depth, channels)

    def forward(self, tokens: Tensor, bias: Tensor, dtype: torch.dtype) -> Tensor:
        x = (F.embedding(tokens, self.token) + self.position[: tokens.shape[1]]).to(dtype)
        for block in self.blocks:
            x = block(x, bias)
        return x


class SharedEncoder(nn.Module):
    """Blocks whose weights serve both modalities, each in its own pass, behind an adapter per modality.

    The adapters stand there also where widths happen to be equal: otherwise growing one width would
    make an adapter appear or vanish, and neither slices nor inherited functions would survive that.
    """

    def __init__(self, depth: int, channels: int, image_channels: int, text_channels: int) -> None:
        super().__init__()
        if depth:
            self.image_adapter = nn.Parameter(torch.empty(channels, image_channels))
            self.text_adapter = nn.Parameter(torch.empty(channels, text_channels))
        self.blocks = make_blocks(depth, channels)

    def forward(self, x: Tensor, modality: str, bias: Tensor | None = None) -> Tensor:
        if len(self.blocks):
            adapter = self.image_adapter if modality == "image" else self.text_adapter
            x = F.linear(x, adapter.to(x.dtype))
        for block in self.blocks:
            x = block(x, bias)
        return x


class GrowCLIP(nn.Module, PyTorchModelHubMixin):
    """The model of one architecture; `compute_dtype` is the precision of its activations up to the pooling (automatic
    mixed precision, which keeps some of them in float32, takes some 6 % longer for a training step).

    `encode_image`, `encode_text` and `logit_scale` mean what they mean in open_clip; `save_pretrained`,
    `from_pretrained` and `push_to_hub` what they mean in huggingface_hub. `about` describes where the
    weights come from (data, profile, seed, growth step), as far as that is known.
    """

    def __init__(self, architecture: Architecture, config: ModelConfig, tokenizer=None) -> None:
        super().__init__()
        a = architecture
        image, text, shared = (w * HEAD_SIZE for w in (a.image_width, a.text_width, a.shared_width))
        self.architecture, self.config, self.tokenizer = architecture, config, tokenizer
        self.about: dict = {}
        self.compute_dtype = torch.float32
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.image = ImageEncoder(a.image_depth, image, config)
        self.text = TextEncoder(a.text_depth, text, config)
        self.shared = SharedEncoder(a.shared_depth, shared, image, text)
        self.image_projection = nn.Parameter(torch.empty(config.embed_dim, shared if a.shared_depth else image))
        self.text_projection = nn.Parameter(torch.empty(config.embed_dim, shared if a.shared_depth else text))

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        """(B, 3, S, S), uint8 or float in [0, 1] -> (B, E) float32, unit norm."""
        if images.dtype == torch.uint8:
            images = images.float() / 255
        x = self.shared(self.image(images, self.compute_dtype), "image")
        features = norm_linear(x.float().mean(1), self.image_projection)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, tokens: Tensor, normalize: bool = True) -> Tensor:
        """(B, L) int64 -> (B, E) float32, unit norm. Padding has no influence."""
        real = tokens != PAD
        bias = padding_bias(real, self.compute_dtype)
        x = self.shared(self.text(tokens, bias, self.compute_dtype), "text", bias).float()
        pooled = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        features = norm_linear(pooled, self.text_projection)
        return F.normalize(features, dim=-1) if normalize else features

    def forward(self, images: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of both sides, and the factor exp(logit_scale) on their cosine similarities."""
        return self.encode_image(images), self.encode_text(tokens), self.logit_scale.exp()

    def tokenize(self, texts: str | Sequence[str]) -> Tensor:
        """Texts -> (B, L) int64."""
        return self.tokenizer([texts] if isinstance(texts, str) else list(texts), self.config.context_length)

    def preprocess(self, picture) -> Tensor:
        """A PIL picture of any mode and size -> (3, S, S) uint8."""
        from growclip_lite.data.pictures import to_pixels

        return torch.from_numpy(to_pixels(picture, self.config.image_size))

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, revision: str | None = None, token: str | bool | None = None,
        cache_dir: str | Path | None = None, local_files_only: bool = False, force_download: bool = False,
    ) -> GrowCLIP:  # fmt: skip
        """Loads a checkpoint folder, or user/name from the Hub; the options mean what they mean on the Hub.

        Raises `InputError` where it is missing or damaged. The mixin's own way is not taken: it would
        unpickle weights where it finds no safetensors.
        """
        from growclip_lite.checkpoint import load_model
        from growclip_lite.hub import fetch, is_repo_id

        if Path(source).exists() or not is_repo_id(str(source)):
            return load_model(source)
        options = {"token": token, "cache_dir": cache_dir, "local_files_only": local_files_only}
        return load_model(fetch(str(source), revision, force_download=force_download, **options))

    def _save_pretrained(self, save_directory: Path) -> None:
        from growclip_lite.checkpoint import write_model

        write_model(self, save_directory)

    def generate_model_card(self, **_: object) -> ModelCard:
        """The card of a model of which no report is at hand; `growclip grow` writes fuller ones."""
        from growclip_lite.card import model_card

        return model_card(self)


def initialize(model: GrowCLIP, generator: torch.Generator) -> GrowCLIP:
    """Fresh weights, in place.

    Everything that reads normalised activations gets standard deviation 1 / NORM, so that its
    output has unit variance at any width. What writes into the residual stream starts at zero, so
    that a new block, head or hidden unit is silent at first; this is usual, and it is what makes
    growing gentle.
    """
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name == "logit_scale":
                weight.fill_(math.log(1 / 0.07))
            elif name.endswith((".out", ".down")):
                weight.zero_()
            elif name.endswith("_adapter"):
                nn.init.eye_(weight)
            elif ".stem." in name:
                gain = 1 if name.endswith(".0") else 2
                weight.normal_(0, math.sqrt(gain / weight.shape[1]), generator=generator)
            elif name.endswith(".position"):
                weight.normal_(0, 0.1, generator=generator)
            elif name == "text.token":
                weight.normal_(0, 0.5, generator=generator)
            else:
                weight.normal_(0, 1 / NORM, generator=generator)
    return model


def new_model(architecture: Architecture, config: ModelConfig, seed: int, tokenizer=None) -> GrowCLIP:
    """A freshly initialised model; the same seed gives the same weights."""
    return initialize(GrowCLIP(architecture, config, tokenizer), torch.Generator().manual_seed(seed))


def as_images(pixels: np.ndarray) -> Tensor:
    """(B, 3, S, S) uint8 array -> tensor; copies, as the array may be a read-only memory map."""
    return torch.from_numpy(np.array(pixels))
