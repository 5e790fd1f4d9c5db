"""`scenes`, the built-in world: what is in a scene, what is said about it, and how both grow.

The world grows in amount *and* in concepts: first single objects of a few shapes, colours and
textures; then all textures and counts; then pairs in a spatial relation; then crowds of three; and
with every step more *named kinds*, each with a look and a name of its own, which are the long tail.
Some colour-shape pairs are never trained on, for the composition task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from growclip_lite.data.drawing import (
    BACKGROUNDS,
    COLOURS,
    OBJECTS,
    PHASES,
    SHAPES,
    TEXTURES,
    Scenes,
    kind_names,
)  # fmt: skip

COLOUR_NAMES = list(COLOURS)
KINDS_OF_SCENE = ["single", "count", "relation", "crowd"]
PLACES = [
    "in the top left corner", "at the top", "in the top right corner",
    "on the left side", "in the middle", "on the right side",
    "in the bottom left corner", "at the bottom", "in the bottom right corner",
]  # fmt: skip
GROUND = {
    "snow": ("on snow", "in the snow"), "grass": ("on grass", "on a green lawn"), "night": ("at night", "in the dark"),
    "sand": ("on sand", "at the beach"), "water": ("in water", "in the sea"), "brick": ("on bricks", "on a brick wall"),
}  # fmt: skip
SYNONYMS = {
    "circle": ("circle", "disc"), "square": ("square", "box"), "hexagon": ("hexagon",), "moon": ("moon", "crescent"),
    "ring": ("ring", "hoop"), "bar": ("bar", "plank"), "cross": ("cross", "plus"), "diamond": ("diamond", "rhombus"),
    "purple": ("purple", "violet"), "turquoise": ("turquoise", "teal"), "spotted": ("spotted", "dotted"),
    "checkered": ("checkered", "chequered"), "framed": ("framed", "bordered"), "large": ("large", "big"),
    "small": ("small", "little"),
}  # fmt: skip
NUMBERS = ["one", "two", "three"]
RELATIONS = ("left of", "right of", "above", "below")
RELATION_WORDS = {
    "left of": ("left of", "to the left of"), "right of": ("right of", "to the right of"),
    "above": ("above", "over"), "below": ("below", "under"),
}  # fmt: skip
OPENINGS = ("", "", "", "a photo of ", "a picture of ", "there is ", "i see ", "this shows ")
_AFTER_GROUND = ("", "there is ", "i see ")  # openings that may follow "on snow"


@dataclass(frozen=True)
class Concepts:
    """What the world holds at one growth step: how many of each list, and the mix of `KINDS_OF_SCENE`."""

    shapes: int
    colours: int
    textures: int
    backgrounds: int
    kinds: int
    kind_share: float
    mix: tuple[float, float, float, float]


def concepts_at(step: int, steps: int, kinds: int) -> Concepts:
    """The concepts of growth step `step` of `steps`, when there are `kinds` named kinds in the end.

    The world's four stages are spread over the steps; the number of kinds is four times larger with each.
    """
    stage = round(1 + 3 * (step - 1) / max(steps - 1, 1))
    counts = {1: (5, 5, 2, 3), 2: (8, 8, 5, 6), 3: (12, 10, 5, 6), 4: (12, 10, 5, 6)}[stage]
    mix = {1: (1, 0, 0, 0), 2: (0.7, 0.3, 0, 0), 3: (0.5, 0.15, 0.35, 0), 4: (0.35, 0.1, 0.37, 0.18)}[stage]
    now = max(round(kinds * 0.25 ** (steps - step)), 4)
    return Concepts(*counts, kinds=min(now, kinds), kind_share=(0.2, 0.35, 0.45, 0.55)[stage - 1], mix=mix)


def held_out_pair(colour: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Whether a colour-shape pair is kept out of training: two colours of ten for every shape."""
    return (colour + 3 * shape) % 5 == 0


def sample_scenes(count: int, concepts: Concepts, rng: np.random.Generator, kind_of_scene: str | None = None) -> Scenes:
    """Draws `count` scenes from the concepts at hand; no object has a held-out colour-shape pair."""
    m, shape = count, (count, OBJECTS)
    mix = np.eye(4)[KINDS_OF_SCENE.index(kind_of_scene)] if kind_of_scene else np.array(concepts.mix)
    scene = rng.choice(4, size=m, p=mix / mix.sum())
    objects = np.select(
        [scene == 0, scene == 1, scene == 2], [np.ones(m, int), rng.integers(2, 4, m), np.full(m, 2)], 3
    )
    look, colour = rng.integers(concepts.shapes, size=shape), rng.integers(concepts.colours, size=shape)
    texture = rng.integers(concepts.textures, size=shape)
    # Kinds are a long tail: the k-th is drawn with a weight of (k + 5) ** -0.5.
    weights = (np.arange(concepts.kinds) + 5.0) ** -0.5
    named = rng.random(shape) < concepts.kind_share
    kind = rng.choice(concepts.kinds, size=shape, p=weights / weights.sum())
    look = np.where(named, len(SHAPES) + kind, look)
    while (wrong := ~named & held_out_pair(colour, look)).any():
        colour[wrong] = rng.integers(concepts.colours, size=wrong.sum())
    large = rng.integers(2, size=shape)
    scenes = Scenes(
        kind_of_scene=scene, background=rng.integers(concepts.backgrounds, size=m), phase=rng.integers(PHASES, size=m),
        light=rng.uniform(0.8, 1.1, m), count=objects, look=look, colour=colour, texture=texture, large=large,
        radius=np.zeros(shape), angle=rng.uniform(-0.25, 0.25, shape), x=np.zeros(shape), y=np.zeros(shape),
    )  # fmt: skip
    _tell_apart(scenes, concepts, rng)
    place_objects(scenes, rng)
    return scenes


def _tell_apart(scenes: Scenes, concepts: Concepts, rng: np.random.Generator) -> None:
    """Objects of a count scene are alike; those of other scenes differ in look and in colour."""
    alike = scenes.kind_of_scene == KINDS_OF_SCENE.index("count")
    for values in (scenes.look, scenes.colour, scenes.texture, scenes.large):
        values[alike] = values[alike, :1]
    several = ~alike & (scenes.count > 1)
    while True:
        clash = np.zeros(scenes.look.shape, bool)
        for i in range(1, OBJECTS):
            for j in range(i):
                clash[:, i] |= scenes.look[:, i] == scenes.look[:, j]
                clash[:, i] |= scenes.colour[:, i] == scenes.colour[:, j]
        clash |= (scenes.look < len(SHAPES)) & held_out_pair(scenes.colour, scenes.look)
        clash &= several[:, None]
        if not clash.any():
            return
        scenes.look[clash] = rng.integers(concepts.shapes, size=clash.sum())
        scenes.colour[clash] = rng.integers(concepts.colours, size=clash.sum())


def place_objects(scenes: Scenes, rng: np.random.Generator) -> None:
    """Sets positions and radii, in place: nine places for a single object, a line for a pair, corners else."""
    m = len(scenes)
    jitter = rng.uniform(-0.07, 0.07, (m, OBJECTS, 2))
    single, pair = scenes.count == 1, scenes.kind_of_scene == KINDS_OF_SCENE.index("relation")
    place = rng.integers(9, size=m)
    corners = np.argsort(rng.random((m, 4)), 1)[:, :OBJECTS]
    scenes.x[:], scenes.y[:] = (corners % 2 - 0.5) * 0.96, (corners // 2 - 0.5) * 0.96
    across = rng.integers(2, size=m)
    side = np.array([-0.48, 0.48, 0.0])
    scenes.x[pair] = np.where(across[:, None], side, 0.0)[pair]
    scenes.y[pair] = np.where(across[:, None], 0.0, side)[pair]
    scenes.x[single] = ((place % 3 - 1) * 0.42)[single, None]
    scenes.y[single] = ((place // 3 - 1) * 0.42)[single, None]
    scenes.x += jitter[..., 0]
    scenes.y += jitter[..., 1]
    small, big = np.where(single, 0.44, 0.35)[:, None], np.where(single, 0.66, 0.46)[:, None]
    scenes.radius[:] = np.where(scenes.large, big, small) * rng.uniform(0.93, 1.07, (m, OBJECTS))


def place_of(scenes: Scenes) -> np.ndarray:
    """(M,) index into PLACES of the first object."""
    column, row = (np.digitize(v[:, 0], [-0.21, 0.21]) for v in (scenes.x, scenes.y))
    return row * 3 + column


def relation_of(scenes: Scenes) -> np.ndarray:
    """(M,) index into RELATIONS: how the first object of a pair lies to the second."""
    dx, dy = (v[:, 0] - v[:, 1] for v in (scenes.x, scenes.y))
    return np.where(np.abs(dx) > np.abs(dy), np.where(dx < 0, 0, 1), np.where(dy < 0, 2, 3))


def article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _pick(options: tuple[str, ...], chance: float) -> str:
    return options[min(int(chance * len(options)), len(options) - 1)]


def _word(concept: str, chance: float) -> str:
    return _pick(SYNONYMS.get(concept, (concept,)), chance)


def noun_phrase(
    scenes: Scenes, i: int, slot: int, names: tuple[str, ...], chances: Iterator[float], detail: float
) -> str:
    """E.g. "small striped red circle"; attributes are dropped at random unless `detail` is 1."""
    look = scenes.look[i, slot]
    words = []
    if next(chances) < max(0.4, detail):
        words.append(_word("large" if scenes.large[i, slot] else "small", next(chances)))
    if look >= len(SHAPES):
        return " ".join([*words, names[look - len(SHAPES)]])
    texture = TEXTURES[scenes.texture[i, slot]]
    if next(chances) < max(0.4 if texture == "plain" else 0.75, detail):
        words.append(_word(texture, next(chances)))
    if next(chances) < max(0.88, detail):
        words.append(_word(COLOUR_NAMES[scenes.colour[i, slot]], next(chances)))
    words.append(_word(SHAPES[look], next(chances)) if next(chances) < max(0.92, detail) else "thing")
    return " ".join(words)


def caption(scenes: Scenes, i: int, names: tuple[str, ...], chances: Iterator[float], detail: float = 0.0) -> str:
    """One sentence about scene i. `chances` yields numbers in [0, 1); with `detail` 1 nothing is left out."""
    count = int(scenes.count[i])
    kind_of_scene = KINDS_OF_SCENE[scenes.kind_of_scene[i]]
    order = range(count) if next(chances) < 0.5 else range(count - 1, -1, -1)
    if kind_of_scene == "count":
        text = f"{NUMBERS[count - 1]} {noun_phrase(scenes, i, 0, names, chances, detail)}"
        text += "es" if text.endswith(("s", "x")) else "s"
    else:
        parts = [article(noun_phrase(scenes, i, slot, names, chances, detail)) for slot in order]
        if kind_of_scene == "relation":
            index = relation_of(scenes[i : i + 1])[0]
            relation = RELATIONS[index if order[0] == 0 else index ^ 1]
            text = f"{parts[0]} {_pick(RELATION_WORDS[relation], next(chances))} {parts[1]}"
        elif kind_of_scene == "crowd":
            text = f"{parts[0]} , {parts[1]} and {parts[2]}"
        else:
            text = parts[0]
            if next(chances) < max(0.55, detail):
                text += f" {PLACES[place_of(scenes[i : i + 1])[0]]}"
    ground = _pick(GROUND[BACKGROUNDS[scenes.background[i]]], next(chances))
    tells_ground = next(chances) < max(0.5, detail)
    if tells_ground and next(chances) < 0.2:
        text = f"{ground} {_pick(_AFTER_GROUND, next(chances))}{text}"
    else:
        text = _pick(OPENINGS, next(chances)) + text + (f" {ground}" if tells_ground else "")
    return text.replace("there is", "there are") if kind_of_scene == "count" else text


def captions_of(scenes: Scenes, kinds: int, rng: np.random.Generator, detail: float = 0.0) -> list[str]:
    names, chances = kind_names(kinds), rng.random((len(scenes), 40))
    return [caption(scenes, i, names, iter(row.tolist()), detail) for i, row in enumerate(chances)]
