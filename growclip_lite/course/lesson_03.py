"""Lesson 03, two encoders: the figures of shapes, kernels, attention and cost, and its exercises."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from growclip_lite.architecture import (
    HEAD_SIZE,
    Architecture,
    ModelConfig,
    count_parameters,
    forward_flops,
    stem_channels,
    tensor_shapes,
)
from growclip_lite.course.display import subplots
from growclip_lite.course.exercises import exercise, random_tensor, require
from growclip_lite.plots import COLOURS, GREY

# The shipped checkpoint's: the widget turns one encoder at a time, and leaves the others as they are here.
BASE = Architecture(2, 2, 2, 3, 1, 3)
SIZES = ModelConfig(image_size=32, patch_size=8, context_length=24, vocab_size=1406, embed_dim=64)
PARTS = ("image stem", "image encoder", "word tables", "text encoder", "shared encoder", "projections")


def stages(given: Tensor, seen: list, embedding: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """What `draw_shapes` takes, from (block's name, shape in, shape out) as forward hooks noted them in one pass."""
    pixels = [("pixels", tuple(given.shape[1:]))] if given.dim() == 4 else []
    listed = [*pixels, ("stem" if pixels else "tokens", tuple(seen[0][1][1:]))]
    for name, before, after in seen:
        if name == "shared.blocks.0":  # what enters it is what the adapter made
            listed.append((f"{'image' if pixels else 'text'}\nadapter", tuple(before[1:])))
        listed.append((name.replace(".blocks.", "\nblock "), tuple(after[1:])))
    return [*listed, ("embedding", tuple(embedding.shape))]


def draw_shapes(passes: dict[str, list[tuple[str, tuple[int, ...]]]]) -> Figure:
    """What flows through the model: one row per pass, one rectangle per stage. Widths and heights have a scale each.

    passes[name] lists (stage, shape), shape being (tokens, channels), or (3, S, S) for pixels.
    """
    figure, rows = subplots(len(passes), 1, figsize=(11, 6.2), sharex=True, sharey=True)
    for axes, (name, stages) in zip(rows, passes.items(), strict=True):
        x = 0.0
        for stage, shape in stages:
            height, width = shape[-2:]
            part = "shared" if "shared" in stage else name
            axes.add_patch(Rectangle((x, -height / 2), width, height, color=COLOURS[part], alpha=0.75, lw=0))
            axes.text(x + width / 2, height / 2 + 2, " x ".join(map(str, shape)), ha="center", va="bottom", fontsize=9)
            axes.text(x + width / 2, -height / 2 - 2, stage, ha="center", va="top", fontsize=9, color="#333333")
            x += width + 46
        axes.set(xlim=(-20, max(x, axes.get_xlim()[1])), ylim=(-30, 26), yticks=[], xticks=[], title=f"{name} pass")
        axes.set(xlabel="channels (pixels: columns)", ylabel="tokens (pixels: rows)")
        axes.grid(False)
    return figure


def draw_kernels(kernels: Tensor) -> Figure:
    """The kernels (O, 3, 3, 3) of the first convolution as small pictures; grey is zero."""
    figure, panels = subplots(2, math.ceil(len(kernels) / 2), figsize=(9, 2.8))
    shown = 0.5 + 0.5 * kernels / kernels.abs().amax((1, 2, 3), keepdim=True)
    for number, axes in enumerate(panels.flat):
        axes.axis("off")
        if number < len(kernels):
            axes.imshow(shown[number].permute(1, 2, 0).numpy())
            axes.set_title(str(number), fontsize=9)
    figure.suptitle("3 x 3 kernels on red, green and blue (each scaled to its largest weight; grey: zero)")
    return figure


def draw_attention(weights: Tensor, words: list[str]) -> Figure:
    """Attention (H, L, L) of one block, one panel per head; rows are the words that look."""
    figure, panels = subplots(1, len(weights), figsize=(3.7 * len(weights) + 1, 4.2), sharey=True, squeeze=False)
    for head, axes in enumerate(panels[0]):
        picture = axes.imshow(weights[head].numpy(), vmin=0, vmax=1, cmap="viridis")
        axes.set(xticks=range(len(words)), yticks=range(len(words)), title=f"head {head}", xlabel="looked at")
        axes.set_xticklabels(words, rotation=90, fontsize=9)
        axes.set_yticklabels(words, fontsize=9)
        axes.grid(False)
    panels[0, 0].set_ylabel("word that looks")
    figure.colorbar(picture, ax=panels, shrink=0.7, label=f"attention (even: 1/{len(words)})")
    return figure


def costs_by_part(architecture: Architecture, config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Parameters, and FLOPs of encoding one pair, of every one of PARTS; logit_scale is left out."""
    a, parameters = architecture, dict.fromkeys(PARTS, 0)
    for name, shape in tensor_shapes(a, config).items():
        part = {"image.stem": 0, "image.position": 1, "image.blocks": 1, "text.token": 2, "text.position": 2,
                "text.blocks": 3}.get(".".join(name.split(".")[:2]), 4 if name.startswith("shared") else 5)  # fmt: skip
        parameters[PARTS[part]] += math.prod(shape) if shape else 0
    image, text, shared = (HEAD_SIZE * w for w in (a.image_width, a.text_width, a.shared_width))
    n, length, stem = config.image_tokens, config.context_length, stem_channels(image, config.patch_size)
    sides = [config.image_size // 2 ** (i + 1) for i in range(len(stem) - 1)]
    joint = a.shared_depth * (block_flops(n, shared) + block_flops(length, shared))
    joint += 2 * shared * (n * image + length * text) if a.shared_depth else 0
    flops = (
        sum(2 * side**2 * 9 * stem[i] * stem[i + 1] for i, side in enumerate(sides)),
        a.image_depth * block_flops(n, image),
        0,
        a.text_depth * block_flops(length, text),
        joint,
        2 * config.embed_dim * (2 * shared if a.shared_depth else image + text),
    )
    assert sum(flops) == forward_flops(a, config) and sum(parameters.values()) + 1 == count_parameters(a, config)
    return {part: (parameters[part], count) for part, count in zip(PARTS, flops, strict=True)}


def block_flops(tokens: int, channels: int) -> int:
    """FLOPs of one block on (tokens, channels): four matrices (the last two four times as large), and attention."""
    return 24 * tokens * channels**2 + 4 * tokens**2 * channels


def draw_costs(encoder: str, width: int, depth: int) -> Figure:
    """Bars of parameters and FLOPs by part, with one encoder of BASE set to `depth` blocks of `width` heads."""
    architecture = Architecture(**BASE.to_dict() | {f"{encoder}_width": width, f"{encoder}_depth": depth})
    costs = costs_by_part(architecture, SIZES)
    colours = [COLOURS.get(part.split()[0], GREY) for part in PARTS]
    colours[PARTS.index("word tables")] = COLOURS["text"]
    figure, panels = subplots(1, 2, figsize=(11, 3.6), sharey=True)
    names = ("parameters (millions)", "FLOPs for one pair (millions)")
    for axes, values, name in zip(panels, zip(*costs.values(), strict=True), names, strict=True):
        bars = axes.barh(PARTS, [value / 1e6 for value in values], color=colours)
        axes.bar_label(bars, [f"{value / 1e6:.3g}" for value in values], padding=3, fontsize=9)
        axes.set(xlabel=name, title=f"{sum(values) / 1e6:.3g} million in all")
        axes.margins(x=0.15)
    panels[0].invert_yaxis()
    figure.suptitle(str(architecture))
    return figure


@exercise
def check_one_head(answer) -> None:
    for seed in range(5):
        query, key, value = (random_tensor(4 + seed, 32, seed=3 * seed + i) for i in range(3))
        real = torch.arange(4 + seed) < 4
        unmasked = query @ key.T
        scaled, scores = unmasked / math.sqrt(32), unmasked.masked_fill(~real, -math.inf)
        expected = (scores / math.sqrt(32)).softmax(1) @ value
        got = torch.as_tensor(answer(query, key, value, real))
        require(got.shape == expected.shape, f"the result must be {tuple(expected.shape)}, not {tuple(got.shape)}.")
        mistakes = {
            "the scores grow with the head size: scale them down first.": scores.softmax(1) @ value,
            "that is divided by too much: think of a root.": (scores / 32).softmax(1) @ value,
            "every *query* must share out a sum of 1.": scaled.softmax(0) @ value,
        }
        if not real.all():
            mistakes["padding is attended to."] = scaled.softmax(1) @ value
            zeroed = scaled.masked_fill(~real, 0.0)
            mistakes["a score of 0 still has a weight: exp(0) is 1."] = zeroed.softmax(1) @ value
        for hint, wrong in mistakes.items():
            require(not torch.allclose(got, wrong, atol=1e-4), hint)
        require(
            torch.allclose(got, expected, atol=1e-4), "scores, softmax over keys, weighted sum: one of them is off."
        )


@exercise
def check_parameters_of_a_block(answer) -> None:
    for heads in (1, 2, 3, 8):
        channels = HEAD_SIZE * heads
        got, expected = answer(heads), sum(math.prod(s) for n, s in _shapes(heads).items() if "image.blocks." in n)
        require(got != 4 * channels**2, "that is attention alone; the block has two more matrices, up and down.")
        require(got != 12 * heads**2, "the width is given in heads here, of 32 channels each.")
        require(got == expected, f"with {heads} heads, {got} is not what the model's matrices hold.")


def _shapes(heads: int) -> dict[str, tuple[int, ...]]:
    return tensor_shapes(Architecture(1, heads, 1, 1, 0, 1), SIZES)


@exercise
def check_tokens_where_attention_costs_as_much(answer) -> None:
    for channels in (32, 64, 96, 768):
        got = float(answer(channels))
        require(got > 0, "a number of tokens is positive.")
        matrices, attention = 24 * got * channels**2, 4 * got**2 * channels
        hint = (
            f"with {channels} channels and {got:g} tokens the matrices cost {matrices:.4g}, attention {attention:.4g}."
        )
        require(abs(matrices - attention) < 0.01 * matrices, hint)
