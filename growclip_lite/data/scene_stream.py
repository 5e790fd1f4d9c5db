"""The stream of scenes: pairs of every growth step, and the retrieval set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from growclip_lite.data.disk import cached
from growclip_lite.data.drawing import SHAPES, Scenes, kind_names, render
from growclip_lite.data.scene_tasks import make_tasks
from growclip_lite.data.scenes import Concepts, caption, captions_of, concepts_at, place_objects, sample_scenes
from growclip_lite.data.stream import Pairs, Stream, Task
from growclip_lite.devices import default_device
from growclip_lite.profiles import Profile

VERSION = 2  # of the world: part of the cache's key, to be raised whenever drawing or captions change
SAMPLED = 100_000  # scenes drawn from one random stream
RENDERED = 6_400  # pictures in memory at a time; a multiple of what is drawn together


def make_pairs(
    count: int, concepts: Concepts, kinds: int, size: int, seed: list[int], wrong: float = 0.0
) -> Iterator[Pairs]:
    """Draws `count` pairs, in blocks, on a GPU where there is one.

    A share `wrong` of the captions belongs to another picture, as on the web.
    """
    for begin in range(0, count, SAMPLED):
        rng = np.random.default_rng([*seed, begin] if begin else seed)
        scenes = sample_scenes(min(SAMPLED, count - begin), concepts, rng)
        captions = captions_of(scenes, kinds, rng)
        moved = np.flatnonzero(rng.random(len(scenes)) < wrong)
        for i, taken in zip(moved, [captions[j] for j in np.roll(moved, 1)], strict=True):
            captions[i] = taken
        for first in range(0, len(scenes), RENDERED):
            block = slice(first, first + RENDERED)
            yield Pairs(render(scenes[block], size, kinds, default_device()).cpu().numpy(), captions[block])


def near_twins(scenes: Scenes, concepts: Concepts, rng: np.random.Generator) -> list[Scenes]:
    """Three variants of every scene, each with one thing changed: a texture (of a kind: the background),
    a look, and the arrangement (of a single object: its place)."""
    everywhere = np.arange(len(scenes))
    other_texture, other_look, other_order = (scenes[everywhere] for _ in range(3))
    named = scenes.look[:, 0] >= len(SHAPES)
    step = rng.integers(1, concepts.textures, size=len(scenes))
    changed = (scenes.texture[:, 0] + step) % concepts.textures
    other_texture.texture[~named, 0] = changed[~named]
    step = rng.integers(1, concepts.backgrounds, size=len(scenes))
    other_texture.background[named] = ((scenes.background + step) % concepts.backgrounds)[named]
    other_look.look[:, 0] = rng.integers(concepts.shapes, size=len(scenes))
    single = scenes.count == 1
    moved = scenes[everywhere]
    place_objects(moved, rng)
    for name in ("x", "y"):
        values = getattr(scenes, name)
        swapped = np.concatenate([values[:, 1:2], values[:, :1], values[:, 2:]], 1)
        getattr(other_order, name)[:] = np.where(single[:, None], getattr(moved, name), swapped)
    return [other_texture, other_look, other_order]


def retrieval_pairs(count: int, concepts: Concepts, kinds: int, size: int, seed: list[int]) -> Pairs:
    """Pairs in groups of four near twins, whose captions leave nothing out and fit no other picture of the set."""
    rng = np.random.default_rng(seed)
    # Objects of a count scene are alike, so that no single one of them can be changed.
    concepts = replace(concepts, mix=(concepts.mix[0], 0, concepts.mix[2], 0))
    scenes = sample_scenes(2 * count, concepts, rng)
    variants = [scenes, *near_twins(scenes, concepts, rng)]
    # The facts of a picture as a sentence with all chances fixed: equal facts give equal sentences.
    plain = [[caption(v, i, kind_names(kinds), iter([0.0] * 40), 1.0) for v in variants] for i in range(len(scenes))]
    chosen, seen = [], set()
    for i, sentences in enumerate(plain):
        if len(chosen) < count // 4 and len(set(sentences)) == 4 and seen.isdisjoint(sentences):
            chosen.append(i)
            seen.update(sentences)
    texts = [captions_of(v[chosen], kinds, rng, detail=1.0) for v in variants]
    images = [render(v[chosen], size, kinds).numpy() for v in variants]
    return Pairs(np.concatenate(images), [text for part in texts for text in part])


def all_concepts(profile: Profile) -> Concepts:
    """What is known after the last growth step."""
    return concepts_at(profile.growth_steps, profile.growth_steps, profile.kinds)


def scene_tasks(profile: Profile, split: str, pictures: int) -> list[Task]:
    """The nine tasks; `split` is "test", or "validation" for other pictures and prompts."""
    code = {"test": 3, "validation": 4}[split]
    return make_tasks(all_concepts(profile), profile.kinds, profile.image_size, pictures, [code])


def scene_retrieval(profile: Profile, count: int) -> Pairs:
    """Test pairs for retrieval."""
    return retrieval_pairs(count, all_concepts(profile), profile.kinds, profile.image_size, [2, 0])


def load_scene_tests(profile: Profile) -> Stream:
    """The stream's test data alone, which are drawn much faster than its training pairs."""
    retrieval = scene_retrieval(profile, profile.retrieval_pairs)
    tasks = scene_tasks(profile, "test", profile.task_pictures)
    return Stream(name="scenes", train=[], validation=[], retrieval=retrieval, tasks=tasks)


def load_scenes(profile: Profile, seed: int) -> Stream:
    """The stream of a profile. Training pairs depend on `seed`; validation and test are the same for all seeds.

    Every split draws its scenes from a random stream of its own; positions, sizes and angles are
    continuous, so that no scene is met twice.
    """
    kinds, size, steps = profile.kinds, profile.image_size, profile.growth_steps
    concepts = [concepts_at(t, steps, kinds) for t in range(1, steps + 1)]
    new = np.diff([0, *profile.scene_pairs])
    train, validation = [], []
    for t in tqdm(range(steps), desc="drawing scenes", unit="step", leave=False):
        for split, amount, parts, code, own_seed, wrong in (
            ("train", int(new[t]), train, 0, seed, profile.wrong_captions),
            ("validation", profile.validation_pairs, validation, 1, 0, 0.0),
        ):
            key = {"version": VERSION, "split": split, "size": size, "step": t, "of": steps, "kinds": kinds,
                   "amount": amount, "seed": own_seed, "wrong": wrong}  # fmt: skip
            make = partial(make_pairs, amount, concepts[t], kinds, size, [code, t, own_seed], wrong)
            parts.append(cached("scenes", key, amount, make))
    return replace(
        load_scene_tests(profile), train=train, validation=validation,
        validation_tasks=scene_tasks(profile, "validation", profile.task_pictures // 2),
        step_tasks=[make_tasks(c, kinds, size, profile.task_pictures // 4, [5, t]) for t, c in enumerate(concepts)],
        augment=False,  # a moved or mirrored scene would contradict its caption, and fresh scenes cost nothing
    )  # fmt: skip
