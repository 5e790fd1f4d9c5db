"""Two streams for the question whether the search follows the data (claim C2).

Both begin with plain scenes of single objects. What arrives in the second growth step shows and says the
same, but is hard on one side: in `hard-text` it is said in several invented languages, each with words
and an order of its own; in `hard-image` it is seen through noise, poor light and branches in front.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from growclip_lite.data.drawing import kind_names
from growclip_lite.data.scene_stream import make_pairs
from growclip_lite.data.scene_tasks import make_tasks
from growclip_lite.data.scenes import Concepts, captions_of, concepts_at, sample_scenes
from growclip_lite.data.stream import Pairs, Stream
from growclip_lite.profiles import Profile

LANGUAGES = 6


def dictionaries(concepts: Concepts) -> list[dict[str, str]]:
    """The words of the captions about these concepts in every invented language."""
    rng = np.random.default_rng(0)
    captions = captions_of(sample_scenes(5_000, concepts, rng), 4, rng)
    words = sorted({word for caption in captions for word in caption.split()})
    names = np.array(kind_names(LANGUAGES * len(words))).reshape(LANGUAGES, -1)
    return [dict(zip(words, language, strict=True)) for language in names.tolist()]


def translate(captions: list[str], languages: list[dict[str, str]], rng: np.random.Generator) -> list[str]:
    """Every caption in one of the languages: word by word, in every other one from the last word to the first."""
    translated = []
    for caption in captions:
        number = rng.integers(len(languages))
        words = [languages[number].get(word, word) for word in caption.split()]
        translated.append(" ".join(words[::-1] if number % 2 else words))
    return translated


def disguise(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Less contrast, noise, and three dark branches in front of every picture (M, 3, S, S) uint8."""
    count, _, size, _ = images.shape
    contrast, light = rng.uniform(0.35, 0.9, (2, count, 1, 1, 1))
    pixels = (images / 255.0 - 0.5) * contrast + 0.5 * light
    y, x = np.mgrid[:size, :size] / size - 0.5
    for _ in range(3):
        angle, offset = rng.uniform(0, np.pi, (count, 1, 1)), rng.uniform(-0.4, 0.4, (count, 1, 1))
        branch = np.abs(np.cos(angle) * x + np.sin(angle) * y - offset) < 0.03
        pixels = np.where(branch[:, None], 0.15, pixels)
    pixels += rng.normal(0, 0.08, pixels.shape)
    return (pixels.clip(0, 1) * 255).astype(np.uint8)


def load_hard_scenes(side: str, profile: Profile, seed: int) -> Stream:
    """Two growth steps; the second brings twice as many pairs again, hard on `side` ("text" or "image")."""
    concepts = replace(concepts_at(1, 4, 4), kind_share=0.0)
    size, first = profile.image_size, profile.scene_pairs[0]

    def pairs(count: int, code: int, own_seed: int, hard: bool) -> Pairs:
        blocks = list(make_pairs(count, concepts, 4, size, [8, code, own_seed, int(hard)]))
        images = np.concatenate([block.images for block in blocks])
        captions = [caption for block in blocks for caption in block.captions]
        rng = np.random.default_rng([9, code, own_seed])
        if hard and side == "text":
            captions = translate(captions, dictionaries(concepts), rng)
        if hard and side == "image":
            images = disguise(images, rng)
        return Pairs(images, captions)

    held_out = profile.validation_pairs
    return Stream(
        name=f"hard-{side}",
        train=[pairs(first, 0, seed, False), pairs(2 * first, 0, seed, True)],
        validation=[pairs(held_out, 1, 0, False), pairs(held_out, 1, 0, True)],
        retrieval=pairs(profile.retrieval_pairs, 2, 0, True),
        tasks=make_tasks(concepts, 4, size, profile.task_pictures, [10]),
        validation_tasks=make_tasks(concepts, 4, size, profile.task_pictures // 2, [11]),
        augment=False,
    )
