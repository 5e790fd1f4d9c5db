"""The architecture that grows, and its exact cost, computed without building anything.

Legend of dimension letters, used in the whole package:
B batch, N image tokens, L text tokens, D channels (heads x head size), H heads, K head size,
V vocabulary, E embedding, S picture side in pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from growclip_lite.errors import InputError

HEAD_SIZE = 32  # K: the unit of width; wide enough that two cores are not busy with many small heads
MLP_RATIO = 4
MAX_UNITS = 64  # refuses absurd sizes in a config before anything is allocated


def _whole_numbers(what: str, values: dict[str, object], low: dict[str, int], high: dict[str, int]) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or not low[name] <= value <= high[name]:
            raise InputError(
                f"{what}: {name} is {value!r}, but must be a whole number from {low[name]} to {high[name]}."
            )


def _known_fields(cls: type, values: object) -> dict:
    names = {f.name for f in fields(cls)}
    if not isinstance(values, dict) or set(values) != names:
        given = sorted(values) if isinstance(values, dict) else values
        raise InputError(f"{cls.__name__} needs exactly the fields {sorted(names)}, but got {given!r}.")
    return values


@dataclass(frozen=True, order=True)
class Architecture:
    """The six growth dimensions: depth in blocks, width in heads of `HEAD_SIZE` channels.

    Image and text encoder come first; the shared encoder, whose weights process both modalities,
    follows. Shared depth 0 is plain CLIP (and the shared width then has no effect).
    Raises `InputError` where a dimension is outside its range.
    """

    image_depth: int
    image_width: int
    text_depth: int
    text_width: int
    shared_depth: int
    shared_width: int

    def __post_init__(self) -> None:
        values = vars(self)  # and not `asdict`, which is slow: growth spaces make very many of these
        low = {name: 0 if name == "shared_depth" else 1 for name in values}
        _whole_numbers("Architecture", values, low, dict.fromkeys(values, MAX_UNITS))

    def to_dict(self) -> dict[str, int]:
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: object) -> Architecture:
        return cls(**_known_fields(cls, values))

    def contains(self, other: Architecture) -> bool:
        """Whether `other` is at most as large in every dimension, so that it can be a slice of this one."""
        return all(mine >= theirs for mine, theirs in zip(self.sizes, other.sizes, strict=True))

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(vars(self).values())

    def __str__(self) -> str:
        return (
            f"image {self.image_depth}x{self.image_width * HEAD_SIZE}, "
            f"text {self.text_depth}x{self.text_width * HEAD_SIZE}, "
            f"shared {self.shared_depth}x{self.shared_width * HEAD_SIZE}"
        )


@dataclass(frozen=True)
class ModelConfig:
    """What does not grow with the architecture (the vocabulary grows with the words in the data).

    image_size S in pixels; patch_size in pixels, a power of two; context_length L in tokens;
    vocab_size V; embed_dim E.
    """

    image_size: int
    patch_size: int
    context_length: int
    vocab_size: int
    embed_dim: int

    def __post_init__(self) -> None:
        low = {"image_size": 8, "patch_size": 2, "context_length": 2, "vocab_size": 2, "embed_dim": 8}
        high = {
            "image_size": 512, "patch_size": 64, "context_length": 512, "vocab_size": 200_000, "embed_dim": 2048,
        }  # fmt: skip
        _whole_numbers("ModelConfig", vars(self), low, high)
        if self.patch_size & (self.patch_size - 1) or self.image_size % self.patch_size:
            raise InputError(
                f"ModelConfig: patch_size is {self.patch_size}, but must be a power of two "
                f"that divides image_size {self.image_size}."
            )

    @classmethod
    def from_dict(cls, values: object) -> ModelConfig:
        return cls(**_known_fields(cls, values))

    @property
    def image_tokens(self) -> int:
        return (self.image_size // self.patch_size) ** 2


def stem_channels(channels: int, patch_size: int) -> list[int]:
    """Channels of the convolutional stem from the picture's 3 to `channels`: one halving of the side each.

    The last two convolutions have the full width: shape and texture are told apart there.
    """
    halvings = patch_size.bit_length() - 1
    return [3] + [channels >> max(halvings - 1 - i, 0) for i in range(1, halvings + 1)]


def _block_shapes(channels: int) -> dict[str, tuple[int, ...]]:
    return {
        "qkv": (3 * channels, channels),
        "out": (channels, channels),
        "up": (MLP_RATIO * channels, channels),
        "down": (channels, MLP_RATIO * channels),
    }


def tensor_shapes(architecture: Architecture, config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight of the model, in the order of its state.

    A smaller architecture's tensors are leading corners of a larger one's: channels, heads, hidden
    units and blocks are all counted from the front. `inherit` and `search` rest on this.
    """
    a, c = architecture, config
    image, text, shared = (w * HEAD_SIZE for w in (a.image_width, a.text_width, a.shared_width))
    stem = stem_channels(image, c.patch_size)
    shapes: dict[str, tuple[int, ...]] = {"logit_scale": ()}
    shapes["image_projection"] = (c.embed_dim, shared if a.shared_depth else image)
    shapes["text_projection"] = (c.embed_dim, shared if a.shared_depth else text)
    shapes["image.position"] = (c.image_tokens, image)
    shapes |= {f"image.stem.{i}": (stem[i + 1], 9 * stem[i]) for i in range(len(stem) - 1)}
    shapes |= {f"image.blocks.{i}.{n}": s for i in range(a.image_depth) for n, s in _block_shapes(image).items()}
    shapes["text.token"] = (c.vocab_size, text)
    shapes["text.position"] = (c.context_length, text)
    shapes |= {f"text.blocks.{i}.{n}": s for i in range(a.text_depth) for n, s in _block_shapes(text).items()}
    if a.shared_depth:
        shapes |= {"shared.image_adapter": (shared, image), "shared.text_adapter": (shared, text)}
        shapes |= {f"shared.blocks.{i}.{n}": s for i in range(a.shared_depth) for n, s in _block_shapes(shared).items()}
    return shapes


def count_parameters(architecture: Architecture, config: ModelConfig) -> int:
    """Number of trained weights."""
    return sum(math.prod(shape) for shape in tensor_shapes(architecture, config).values())


def _stem_flops(channels: int, config: ModelConfig) -> list[int]:
    stem, side, flops = stem_channels(channels, config.patch_size), config.image_size, []
    for inputs, outputs in zip(stem, stem[1:], strict=False):
        side //= 2
        flops.append(2 * side * side * inputs * outputs * 9)
    return flops


def _block_flops(tokens: int, channels: int) -> int:
    matrices = 2 * tokens * channels * channels * (4 + 2 * MLP_RATIO)
    attention = 2 * 2 * tokens * tokens * channels
    return matrices + attention


def forward_flops(architecture: Architecture, config: ModelConfig) -> int:
    """FLOPs of encoding one image-text pair (a multiply-add counts as 2; matrix products and
    convolutions only, as torch.utils.flop_counter counts them)."""
    a, c = architecture, config
    image, text, shared = (w * HEAD_SIZE for w in (a.image_width, a.text_width, a.shared_width))
    n, length = c.image_tokens, c.context_length
    flops = sum(_stem_flops(image, c))
    flops += a.image_depth * _block_flops(n, image) + a.text_depth * _block_flops(length, text)
    if a.shared_depth:
        flops += 2 * n * image * shared + 2 * length * text * shared
        flops += a.shared_depth * (_block_flops(n, shared) + _block_flops(length, shared))
        image = text = shared
    return flops + 2 * c.embed_dim * (image + text)


def training_flops(architecture: Architecture, config: ModelConfig, batch_size: int) -> int:
    """FLOPs of one training iteration: forward, loss and backward of a batch (the optimiser's own
    work is left out, as is usual).

    The backward pass costs twice the forward pass, but for the first convolution: nobody asks for
    the gradient of the pixels.
    """
    first = _stem_flops(architecture.image_width * HEAD_SIZE, config)[0]
    logits = 2 * batch_size * batch_size * config.embed_dim
    return batch_size * (3 * forward_flops(architecture, config) - first) + 3 * logits
