"""The nine zero-shot tasks on scenes.

Prompts are phrased like the captions, and every class gets many of them, over the attributes that
it does not ask for: "a circle" alone is a sentence that hardly occurs in training.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np

from growclip_lite.data.drawing import BACKGROUNDS, SHAPES, TEXTURES, Scenes, kind_names, render
from growclip_lite.data.scenes import (
    COLOUR_NAMES,
    GROUND,
    NUMBERS,
    PLACES,
    RELATIONS,
    SYNONYMS,
    Concepts,
    article,
    held_out_pair,
    place_objects,
    place_of,
    relation_of,
    sample_scenes,
)  # fmt: skip
from growclip_lite.data.stream import Task

SHOTS = 16  # prompts per class

TASK_NAMES = ["shape", "colour", "texture", "position", "background", "count", "relation", "composition", "kind"]


def _words(*concepts: str) -> list[str]:
    return [word for concept in concepts for word in SYNONYMS.get(concept, (concept,))]


def _phrases(rng: np.random.Generator, *parts: list[str], shots: int = SHOTS) -> list[str]:
    """`shots` phrases, each of one random choice from every part; empty choices leave the part out."""
    rows = [[part[rng.integers(len(part))] for part in parts] for _ in range(shots)]
    return [" ".join(word for word in row if word) for row in rows]


def _with_article(phrases: list[str]) -> list[str]:
    return [article(phrase) for phrase in phrases]


def _mixed_counts(pictures: int, concepts: Concepts, rng: np.random.Generator) -> Scenes:
    """Count scenes of one, two or three objects alike, a third each."""
    scenes = sample_scenes(pictures, concepts, rng, "count")
    alone = scenes[np.arange(pictures)]
    alone.count[:] = 1
    place_objects(alone, rng)
    one = rng.random(pictures) < 1 / 3
    for name, values in vars(scenes).items():
        values[one] = getattr(alone, name)[one]
    return scenes


def make_tasks(concepts: Concepts, kinds: int, size: int, pictures: int, seed: list[int]) -> list[Task]:
    """The tasks that these concepts allow (all nine after the last step), `pictures` pictures each."""
    c = replace(concepts, kind_share=0.0)
    rngs = {name: np.random.default_rng([*seed, i]) for i, name in enumerate(TASK_NAMES)}
    shapes, colours, textures = SHAPES[: c.shapes], COLOUR_NAMES[: c.colours], TEXTURES[: c.textures]
    grounds, names = BACKGROUNDS[: c.backgrounds], kind_names(kinds)[: c.kinds]
    some_shape, some_colour, some_texture = _words(*shapes), _words(*colours), [*_words(*textures), "", "", "", ""]
    tails = ["", *PLACES, *itertools.chain(*(GROUND[g] for g in grounds))]
    tasks = []

    def add(name: str, scenes: Scenes, labels: np.ndarray, prompts: list, per_picture: bool = False) -> None:
        images = render(scenes, size, kinds).numpy()
        tasks.append(Task(name, images, np.asarray(labels, dtype=np.int64), prompts, per_picture))

    # What is asked for by one word of a phrase: labels from the scenes, and the parts of every class's phrases.
    asked = {
        "shape": (lambda s: s.look[:, 0], [(some_texture, some_colour, _words(name), tails) for name in shapes]),
        "colour": (lambda s: s.colour[:, 0], [(some_texture, _words(name), some_shape, tails) for name in colours]),
        "texture": (lambda s: s.texture[:, 0], [(_words(name), some_colour, some_shape, tails) for name in textures]),
        "position": (place_of, [(some_texture, some_colour, some_shape, [place]) for place in PLACES]),
        "background": (
            lambda s: s.background, [(some_texture, some_colour, some_shape, list(GROUND[name])) for name in grounds],
        ),
    }  # fmt: skip
    for name, (labels_of, classes) in asked.items():
        rng = rngs[name]
        scenes = sample_scenes(pictures, c, rng, "single")
        add(name, scenes, labels_of(scenes), [_with_article(_phrases(rng, *parts)) for parts in classes])

    if c.mix[1]:
        rng = rngs["count"]
        scenes = _mixed_counts(pictures, c, rng)
        plain = [s for s in shapes if s != "cross"]  # all but the cross, whose plural is not made by an s alone
        prompts = [_with_article(_phrases(rng, some_texture, some_colour, plain))]
        prompts += [_phrases(rng, [n], some_texture, some_colour, [f"{s}s" for s in plain]) for n in NUMBERS[1:]]
        add("count", scenes, scenes.count - 1, prompts)

    if c.mix[2]:
        rng = rngs["relation"]
        scenes = sample_scenes(pictures, c, rng, "relation")
        # The first object always lies left or above, so half of the questions begin with the second one.
        turned = rng.integers(2, size=pictures)
        prompts = []
        for i in range(pictures):
            order = (1, 0) if turned[i] else (0, 1)
            one, other = (article(f"{colours[scenes.colour[i, j]]} {shapes[scenes.look[i, j]]}") for j in order)
            # Each candidate is told from both ends: the relations stand in pairs of opposites.
            prompts.append(
                [[f"{one} {r} {other}", f"{other} {RELATIONS[place ^ 1]} {one}"] for place, r in enumerate(RELATIONS)]
            )
        add("relation", scenes, relation_of(scenes) ^ turned, prompts, per_picture=True)

    rng = rngs["composition"]
    scenes = sample_scenes(pictures, c, rng, "single")
    pairs = np.array(list(itertools.product(range(c.colours), range(c.shapes))))
    unseen = np.flatnonzero(held_out_pair(*pairs.T))
    labels = unseen[rng.integers(len(unseen), size=pictures)]
    scenes.colour[:, 0], scenes.look[:, 0] = pairs[labels].T
    prompts = [
        _with_article(_phrases(rng, some_texture, _words(colours[i]), _words(shapes[j]), tails)) for i, j in pairs
    ]
    add("composition", scenes, labels, prompts)

    rng = rngs["kind"]
    scenes = sample_scenes(pictures, c, rng, "single")
    labels = rng.integers(c.kinds, size=pictures)
    scenes.look[:, 0] = len(SHAPES) + labels
    prompts = [_with_article(_phrases(rng, ["", *_words("small", "large")], [name], tails, shots=6)) for name in names]
    add("kind", scenes, labels, prompts)
    return tasks
