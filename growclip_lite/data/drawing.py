"""Draws scenes: vectorised in torch, on any device, thousands of pictures per second on two cores.

Every look (a basic shape with a texture, or a named kind) is a tile in an atlas. Objects are tiles,
turned, scaled, moved and coloured. They are sampled at twice the size and averaged down, which
smooths their edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SHAPES = [
    "circle", "square", "triangle", "star", "cross", "heart",
    "ring", "diamond", "moon", "arrow", "hexagon", "bar",
]  # fmt: skip
COLOURS = {
    "red": (0.87, 0.10, 0.12), "green": (0.10, 0.62, 0.18), "blue": (0.12, 0.28, 0.92),
    "yellow": (1.00, 0.90, 0.10), "white": (0.98, 0.98, 0.98), "purple": (0.55, 0.12, 0.75),
    "orange": (1.00, 0.52, 0.05), "pink": (1.00, 0.52, 0.76), "brown": (0.47, 0.26, 0.10),
    "turquoise": (0.18, 0.85, 0.80),
}  # fmt: skip
TEXTURES = ["plain", "striped", "spotted", "checkered", "framed"]
BACKGROUNDS = ["snow", "grass", "night", "sand", "water", "brick"]
_BACKGROUND_RGB = [
    (0.93, 0.95, 0.97), (0.60, 0.78, 0.48), (0.13, 0.13, 0.27),
    (0.90, 0.81, 0.60), (0.50, 0.71, 0.88), (0.74, 0.50, 0.43),
]  # fmt: skip
TILE = 40
PHASES = 16  # variants of each background
_CHUNK = 64  # pictures drawn together: small enough that everything stays in the processor's cache
OBJECTS = 3  # at most, in one scene
_WORLD_SEED = 2023  # the looks and names of the kinds are the same for every stream


@dataclass
class Scenes:
    """M scenes as arrays.

    `kind_of_scene` (an index into `scenes.KINDS_OF_SCENE`), `background`, `phase` (of the background),
    `light` and `count` are (M,), the rest (M, OBJECTS). `look` counts the basic shapes first, then the
    named kinds. `x`, `y` and `radius` are in half picture sides, from -1 to 1; `angle` in radians.
    """

    kind_of_scene: np.ndarray
    background: np.ndarray
    phase: np.ndarray
    light: np.ndarray
    count: np.ndarray
    look: np.ndarray
    colour: np.ndarray
    texture: np.ndarray
    large: np.ndarray
    radius: np.ndarray
    angle: np.ndarray
    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.count)

    def __getitem__(self, index) -> Scenes:
        return Scenes(**{name: values[index] for name, values in vars(self).items()})


def _grid() -> tuple[Tensor, Tensor]:
    axis = (torch.arange(TILE) + 0.5) / TILE * 2.5 - 1.25  # a margin, so that neighbouring tiles never bleed
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    return u, v


def _shape_fields() -> list[Tensor]:
    """Signed distances, negative inside, in units of the radius."""
    u, v = _grid()  # the y axis points down
    r, angle = torch.hypot(u, v), torch.atan2(v, u)
    star = 0.72 + 0.28 * torch.cos(5 * (angle + math.pi / 2))
    x, y = u.abs(), -v + 0.15
    heart = torch.minimum(
        torch.hypot(x - 0.42, y - 0.38) - 0.46,
        torch.maximum(0.82 * x - 0.56 * y - 0.51, y - 0.38),
    )
    arrow = torch.minimum(
        torch.maximum(torch.maximum(v.abs() - 0.85 * (0.95 - u), -u - 0.05), v.abs() - 0.85),
        torch.maximum(v.abs() - 0.3, (u + 0.4).abs() - 0.5),
    )
    hexagon = torch.maximum(v.abs(), (u.abs() * 0.866 + v.abs() * 0.5)) - 0.82
    return [
        r - 0.9,
        torch.maximum(u.abs(), v.abs()) - 0.76,
        torch.maximum(v - 0.62, u.abs() * 0.88 - v * 0.48 - 0.48),
        r - star,
        torch.minimum(torch.maximum(u.abs() - 0.3, v.abs() - 0.95), torch.maximum(v.abs() - 0.3, u.abs() - 0.95)),
        heart,
        (r - 0.68).abs() - 0.24,
        (u.abs() * 1.35 + v.abs() * 0.9) - 0.9,
        torch.maximum(r - 0.92, 0.75 - torch.hypot(u - 0.5, v)),
        arrow,
        hexagon,
        torch.maximum(u.abs() - 0.98, v.abs() - 0.34),
    ]


@cache
def _kind_tiles(kinds: int) -> tuple[Tensor, Tensor]:
    """Outline and mark fields (kinds, TILE, TILE): mirror-symmetric creatures with a face of their own."""
    generator = torch.Generator().manual_seed(_WORLD_SEED)
    u, v = _grid()
    fields = []
    for cells, bias in ((6, 0.15), (7, -0.25)):
        # One draw per kind, so that the first looks do not depend on how many kinds there are.
        noise = torch.stack([torch.randn(1, cells, cells, generator=generator) for _ in range(kinds)])
        noise = noise + noise.flip(-1)
        smooth = F.interpolate(noise, size=(TILE, TILE), mode="bicubic", align_corners=False)[:, 0]
        fields.append(smooth + bias)
    disc = torch.hypot(u, v)
    outline = torch.sigmoid(6 * (fields[0] * 0.8 + 2.6 * (0.62 - disc)) / 2)
    outline = outline * (disc < 1.1)
    return outline, torch.sigmoid(5 * fields[1])


@cache
def kind_colours(kinds: int) -> np.ndarray:
    """(kinds, 2) indices into COLOURS: body and mark of every named kind."""
    rng = np.random.default_rng(_WORLD_SEED)
    pairs = np.array([(a, b) for a in range(len(COLOURS)) for b in range(len(COLOURS)) if a != b])
    return pairs[rng.integers(len(pairs), size=kinds)]


@cache
def kind_names(kinds: int) -> tuple[str, ...]:
    """Invented one-word names, all different."""
    rng = np.random.default_rng(_WORLD_SEED)
    names: dict[str, None] = {}
    while len(names) < kinds:
        a, b, c, d, e = (
            rng.choice(list(s)) for s in ("bdfgklmnprstvz", "aeiou", "bdgklmnprtvz", "aiou", "bdfklmnpstx")
        )
        names[f"{a}{b}{c}{d}{e}"] = None
    return tuple(names)


def _texture_marks(outline: Tensor) -> list[Tensor]:
    """The pattern of each texture, (TILE, TILE) in [0, 1]."""
    u, v = _grid()
    dots = torch.sin(u * 7.5) * torch.sin(v * 7.5)
    return [
        torch.zeros_like(u),
        (torch.sin(u * 8.5) > 0).float(),
        (dots.abs() > 0.45).float(),
        ((torch.sin(u * 5) > 0) ^ (torch.sin(v * 5) > 0)).float(),
        (outline < 0.9).float(),
    ]


@cache
def _atlas(kinds: int, device: str) -> Tensor:
    """(1, 3, looks * TILE, TILE): opacity, share of body colour and share of ink, tile below tile.

    Shape s with texture t is tile s * len(TEXTURES) + t; the kinds follow. A dark rim keeps objects
    from melting into their ground.
    """
    u, v = _grid()
    shapes = torch.sigmoid(-torch.stack(_shape_fields()) * 9) * (torch.hypot(u, v) < 1.15)
    marks = torch.stack([mark for outline in shapes for mark in _texture_marks(outline)])
    kind_outlines, kind_marks = _kind_tiles(kinds)
    outline = torch.cat([shapes.repeat_interleave(len(TEXTURES), 0), kind_outlines])
    mark = torch.cat([marks, kind_marks])
    opacity = ((outline - 0.18) * 8).clamp(0, 1)
    lit = opacity * ((outline - 0.3) * 4).clamp(0.15, 1)
    return torch.stack([opacity, lit * (1 - mark), lit * mark]).flatten(1, 2)[None].to(device)


@cache
def _background_bank(size: int, device: str) -> Tensor:
    """(backgrounds * PHASES, 3, size, size): a base colour with a pattern of its own, in several variants."""
    axis = (torch.arange(size) + 0.5) / size * 2 - 1
    v, u = torch.meshgrid(axis, axis, indexing="ij")
    generator = torch.Generator().manual_seed(_WORLD_SEED)
    bank = []
    for index, rgb in enumerate(_BACKGROUND_RGB):
        for _ in range(PHASES):
            phase = torch.rand((), generator=generator) * 2 * math.pi
            grain = torch.randn(size, size, generator=generator)
            row = torch.sign(torch.sin(6 * v + phase))
            pattern = [
                grain * 0.012,
                grain * 0.05,
                (grain > 2.2) * 0.5,
                torch.sin(5 * (u + v) + phase) * 0.05,
                torch.sin(9 * v + 2 * torch.sin(4 * u + phase)) * 0.07,
                ((torch.sin(12 * v + 2 * phase) > 0.9) | (torch.sin(7 * u + 3 * row) > 0.95)) * 0.14,
            ][index]
            bank.append(torch.tensor(rgb)[:, None, None] + pattern + grain * 0.01)
    return torch.stack(bank).to(device)


def _draw(scenes: Scenes, size: int, kinds: int, device: str) -> Tensor:
    canvas = _background_bank(size, device)[torch.tensor(scenes.background * PHASES + scenes.phase, device=device)]
    atlas = _atlas(kinds, device)
    axis = (torch.arange(2 * size, device=device) + 0.5) / size - 1
    palette = torch.tensor(list(COLOURS.values()), device=device)
    for slot in range(OBJECTS):
        chosen = np.flatnonzero(scenes.count > slot)
        if not len(chosen):
            break
        part = scenes[chosen]
        look, colour, texture = part.look[:, slot], part.colour[:, slot], part.texture[:, slot]
        named, kind = look >= len(SHAPES), np.maximum(look - len(SHAPES), 0)
        owner = kind_colours(kinds)[kind]
        tile = np.where(named, len(SHAPES) * len(TEXTURES) + kind, look * len(TEXTURES) + texture)
        x, y, radius, angle, tile = (
            torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]
            for values in (part.x[:, slot], part.y[:, slot], part.radius[:, slot], part.angle[:, slot], tile)
        )
        du, dv = (axis[None, None, :] - x) / (1.25 * radius), (axis[None, :, None] - y) / (1.25 * radius)
        cos, sin = torch.cos(angle), torch.sin(angle)
        # u, v in -1..1 span the tile; outside of it, its empty margin is read.
        u = (du * cos + dv * sin).clamp(-0.99, 0.99)
        v = (dv * cos - du * sin).clamp(-0.99, 0.99)
        grid = torch.stack([u, (2 * tile + 1 + v) * (TILE / atlas.shape[2]) - 1], -1).flatten(0, 1)[None]
        sampled = F.grid_sample(atlas, grid, align_corners=False)[0].view(3, *u.shape)
        opacity, lit, inked = F.avg_pool2d(sampled, 2)[:, :, None]  # each (M, 1, size, size)
        body = palette[torch.tensor(np.where(named, owner[:, 0], colour), device=device)]
        ink = torch.where(
            torch.tensor(named, device=device)[:, None], palette[torch.tensor(owner[:, 1], device=device)], body * 0.25
        )
        index = torch.tensor(chosen, device=device)
        canvas[index] = canvas[index] * (1 - opacity) + lit * body[:, :, None, None] + inked * ink[:, :, None, None]
    light = torch.tensor(scenes.light, dtype=torch.float32, device=device)[:, None, None, None]
    return ((canvas * light).clamp(0, 1) * 255).round().to(torch.uint8)


def render(scenes: Scenes, size: int, kinds: int, device: str = "cpu") -> Tensor:
    """Pictures (M, 3, size, size) uint8 of M scenes, on `device`; `kinds` is the number of named kinds."""
    chunk = _CHUNK if device == "cpu" else 8192
    parts = [_draw(scenes[begin : begin + chunk], size, kinds, device) for begin in range(0, len(scenes), chunk)]
    return torch.cat(parts) if parts else torch.zeros(0, 3, size, size, dtype=torch.uint8, device=device)
