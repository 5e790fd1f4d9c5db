"""OpenAI's CLIP at any size, with every simplification of this kit as a switch.

With all switches off the model is `GrowCLIP` without shared blocks, weight for weight; with all on it
has the layers of OpenAI's code, in the manner of this kit (plain attention, activations in one low
precision). So what each simplification gains can be measured one by one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from growclip_lite.architecture import HEAD_SIZE, Architecture, ModelConfig
from growclip_lite.model import NORM, PAD, Block, GrowCLIP, attention, initialize, new_model, norm_linear, padding_bias


@dataclass(frozen=True)
class Switches:
    """Layers of OpenAI's CLIP that `GrowCLIP` does without, or has another one for.

    `biases` of all linear layers; `gains` and offsets of all normalisations; `class_token` (and the text's last
    token, which is a word's where no end token is added) pooled instead of a mean; `causal` attention in the text
    encoder; `patch_stem`, one linear projection of each patch and a normalisation, instead of small convolutions.
    """

    biases: bool = True
    gains: bool = True
    class_token: bool = True
    causal: bool = True
    patch_stem: bool = True


ADDED = (".gain", ".offset", ".bias", "class_token")  # names that start as ones or zeros
OPENAI = Switches()
OURS = Switches(False, False, False, False, False)


class Norm(nn.Module):
    """Layer normalisation with gains and offsets, in the precision of its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.offset = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.gain.shape, self.gain.to(x.dtype), self.offset.to(x.dtype))


class Linear(nn.Module):
    """Normalises where asked to, then multiplies; the matrix is a `GrowCLIP` weight that others hold."""

    def __init__(self, weight: Tensor, switches: Switches, norm: bool) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.normalize = norm
        self.norm = Norm(inputs) if norm and switches.gains else None
        self.bias = nn.Parameter(torch.zeros(outputs)) if switches.biases else None
        self.scale = NORM / inputs**0.5  # where gains are there, unit variance is wanted of the normalisation

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        if self.norm is not None:
            return F.linear(self.norm(x), (weight * self.scale).to(x.dtype), bias)
        if self.normalize:
            x = norm_linear(x, weight)
            return x if bias is None else x + bias
        return F.linear(x, weight.to(x.dtype), bias)


class VariantBlock(Block):
    """A block with the layers that the switches ask for."""

    def __init__(self, channels: int, switches: Switches) -> None:
        super().__init__(channels)
        self.layers = nn.ModuleDict(
            {
                name: Linear(getattr(self, name), switches, norm=name in ("qkv", "up"))
                for name in ("qkv", "out", "up", "down")
            }
        )

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        batch, length, channels = x.shape
        qkv = self.layers["qkv"](x, self.qkv).view(batch, length, channels // HEAD_SIZE, 3, HEAD_SIZE)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)
        mixed = attention(query, key, value, bias).transpose(1, 2).reshape(batch, length, channels)
        x = x + self.layers["out"](mixed, self.out)
        return x + self.layers["down"](F.gelu(self.layers["up"](x, self.up)), self.down)


class VariantCLIP(GrowCLIP):
    """`GrowCLIP` without shared blocks, with the layers that the switches ask for."""

    def __init__(self, architecture: Architecture, config: ModelConfig, switches: Switches, tokenizer=None) -> None:
        if architecture.shared_depth:
            raise ValueError("OpenAI's CLIP has no shared blocks; give an architecture of shared depth 0.")
        super().__init__(architecture, config, tokenizer)
        self.switches = switches
        channels = architecture.image_width * HEAD_SIZE
        for encoder in (self.image, self.text):
            encoder.blocks = nn.ModuleList(VariantBlock(len(block.out), switches) for block in encoder.blocks)
        if switches.patch_stem:
            self.image.stem = nn.ParameterList([nn.Parameter(torch.empty(channels, 3 * config.patch_size**2))])
            self.stem_norm = Norm(channels) if switches.gains else None
        if switches.class_token:
            self.class_token = nn.Parameter(torch.zeros(channels))
            self.image.position = nn.Parameter(torch.empty(config.image_tokens + 1, channels))
        self.image_head = Linear(self.image_projection, switches, norm=True)
        self.text_head = Linear(self.text_projection, switches, norm=True)
        self.image_head.bias = self.text_head.bias = None  # OpenAI's projections have none either

    def image_tokens(self, images: Tensor) -> Tensor:
        if self.switches.patch_stem:
            x = ((images - 0.5) * 4).to(self.compute_dtype)
            kernels = self.image.stem[0].to(x.dtype).unflatten(1, (3, *[self.config.patch_size] * 2))
            x = F.conv2d(x, kernels, stride=self.config.patch_size).flatten(2).transpose(1, 2)
        else:
            x = self.image.patches(images, self.compute_dtype)
        if self.switches.class_token:
            x = torch.cat([self.class_token.to(x.dtype).expand(len(x), 1, -1), x], 1)
        x = x + self.image.position.to(x.dtype)
        return self.stem_norm(x) if self.switches.patch_stem and self.stem_norm is not None else x

    def encode_image(self, images: Tensor, normalize: bool = True) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255
        x = self.image_tokens(images)
        for block in self.image.blocks:
            x = block(x)
        pooled = x[:, 0].float() if self.switches.class_token else x.float().mean(1)
        features = self.image_head(pooled, self.image_projection)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, tokens: Tensor, normalize: bool = True) -> Tensor:
        real = tokens != PAD
        bias = padding_bias(real, self.compute_dtype)
        if self.switches.causal:
            # As in OpenAI's code, the future alone is masked: padding lies behind the token that is pooled.
            bias = bias.new_full((tokens.shape[1],) * 2, -1e4).triu(1)[None, None]
        x = (F.embedding(tokens, self.text.token) + self.text.position[: tokens.shape[1]]).to(self.compute_dtype)
        for block in self.text.blocks:
            x = block(x, bias)
        count = real.sum(1).clamp(min=1)
        if self.switches.class_token:
            pooled = x[torch.arange(len(x), device=x.device), count - 1].float()
        else:
            pooled = (x.float() * real[..., None]).sum(1) / count[:, None]
        features = self.text_head(pooled, self.text_projection)
        return F.normalize(features, dim=-1) if normalize else features


def new_variant(
    architecture: Architecture, config: ModelConfig, switches: Switches, seed: int, tokenizer=None
) -> VariantCLIP:
    """A freshly initialised variant: weights that `GrowCLIP` has too, in the same shape, start as they do there."""
    model = VariantCLIP(architecture, config, switches, tokenizer)
    added = {name: weight.detach().clone() for name, weight in model.named_parameters() if name.endswith(ADDED)}
    common = new_model(architecture, config, seed).state_dict()
    initialize(model, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            start = added.get(name, common.get(name))
            if start is not None and start.shape == weight.shape:
                weight.copy_(start)
    return model
