"""The built-in world: reproducible, growing, honest captions, and nothing of the test in training."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from itertools import chain, combinations, permutations, product
from pathlib import Path

import numpy as np
import pytest
import torch

from growclip_lite.data import scene_stream, scene_tasks
from growclip_lite.data.disk import cached
from growclip_lite.data.drawing import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, Scenes, kind_names, render
from growclip_lite.data.scene_stream import load_scene_tests, load_scenes, make_pairs
from growclip_lite.data.scenes import (
    COLOUR_NAMES,
    GROUND,
    KINDS_OF_SCENE,
    NUMBERS,
    PLACES,
    RELATIONS,
    SYNONYMS,
    captions_of,
    concepts_at,
    held_out_pair,
    place_of,
    sample_scenes,
)  # fmt: skip
from growclip_lite.data.stream import Pairs, Stream
from growclip_lite.profiles import get_profile

STEPS, KINDS, SIZE = 4, 12, 16
PROFILE = replace(
    get_profile("smoke"),
    image_size=SIZE,
    growth_steps=STEPS,
    scene_pairs=(60, 130, 250, 400),
    kinds=KINDS,
    validation_pairs=40,
    retrieval_pairs=40,
    task_pictures=24,
    wrong_captions=0.05,
)
CONCEPTS = [concepts_at(step, STEPS, KINDS) for step in range(1, STEPS + 1)]
LAST = CONCEPTS[-1]
# What a word in a caption means, for shapes also in the plural.
COLOUR_WORDS = {word: i for i, name in enumerate(COLOUR_NAMES) for word in SYNONYMS.get(name, (name,))}
SHAPE_WORDS = {
    word + ending: i
    for i, name in enumerate(SHAPES)
    for word in SYNONYMS.get(name, (name,))
    for ending in ("", "s", "es")
}


@pytest.fixture(scope="module")
def stream(cache_folder) -> Stream:
    return load_scenes(PROFILE, seed=0)


@pytest.fixture(scope="module")
def training_captions() -> list[list[str]]:
    """Captions of many more scenes than a stream of the tests has, by growth step, without drawing them."""
    made = []
    for step, concepts in enumerate(CONCEPTS):
        rng = np.random.default_rng(step)
        made.append(captions_of(sample_scenes(4_000, concepts, rng), KINDS, rng))
    return made


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Scenes]:
    """Nothing is drawn; the list fills with the scenes that would be."""
    seen: list[Scenes] = []

    def remember(scene: Scenes, size: int, kinds: int, device: str = "cpu") -> torch.Tensor:
        seen.append(scene)
        return torch.zeros(len(scene), 3, size, size, dtype=torch.uint8)

    monkeypatch.setattr(scene_stream, "render", remember)
    monkeypatch.setattr(scene_tasks, "render", remember)
    return seen


def same_pairs(one: Pairs, other: Pairs) -> bool:
    return list(one.captions) == list(other.captions) and np.array_equal(one.images, other.images)


def hashes(*images: np.ndarray) -> set[str]:
    return {hashlib.sha256(picture.tobytes()).hexdigest() for part in images for picture in part}


def words_of(texts: list[str]) -> set[str]:
    return set(re.findall(r"\w+", " ".join(texts)))


def colour_shape_pairs(texts: list[str]) -> set[tuple[int, int]]:
    """All (colour, shape) that are said of one object."""
    found = set()
    for text in texts:
        words = re.findall(r"\w+", text)
        for colour, shape in zip(words, words[1:], strict=False):
            if colour in COLOUR_WORDS and shape in SHAPE_WORDS:
                found.add((COLOUR_WORDS[colour], SHAPE_WORDS[shape]))
    return found


# ---- reproducible, and apart


def test_a_seed_gives_the_same_stream_again(stream: Stream, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path))
    again = load_scenes(PROFILE, seed=0)
    for name in ("train", "validation"):
        assert all(
            same_pairs(one, other) for one, other in zip(getattr(stream, name), getattr(again, name), strict=True)
        )
    assert same_pairs(stream.retrieval, again.retrieval)
    for one, other in zip(stream.tasks, again.tasks, strict=True):
        assert np.array_equal(one.images, other.images) and one.labels.tolist() == other.labels.tolist()
        assert one.prompts == other.prompts


def test_seeds_differ_in_training_and_share_the_test(stream: Stream):
    other = load_scenes(PROFILE, seed=1)
    assert not any(same_pairs(one, two) for one, two in zip(stream.train, other.train, strict=True))
    assert not hashes(*(part.images for part in stream.train)) & hashes(*(part.images for part in other.train))
    assert same_pairs(stream.retrieval, other.retrieval) and same_pairs(stream.validation[0], other.validation[0])
    assert np.array_equal(stream.tasks[0].images, other.tasks[0].images)


def test_no_picture_is_in_two_splits(stream: Stream):
    splits = {
        "train": [part.images for part in stream.train],
        "validation": [part.images for part in stream.validation],
        "retrieval": [stream.retrieval.images],
        "tasks": [task.images for task in stream.tasks],
        "validation tasks": [task.images for task in stream.validation_tasks],
        "step tasks": [task.images for tasks in stream.step_tasks for task in tasks],
    }
    found = {name: hashes(*images) for name, images in splits.items()}
    for one, other in permutations(found, 2):
        assert not found[one] & found[other], (one, other)
    for name in ("train", "validation", "retrieval"):
        assert len(found[name]) == sum(len(images) for images in splits[name]), name


def test_the_world_holds_more_than_ten_million_scenes():
    """Only what captions can tell apart is counted, without named kinds: not where exactly, how large or how lit."""
    looks = [
        (shape, colour)
        for shape, colour in product(range(len(SHAPES)), range(len(COLOURS)))
        if not held_out_pair(np.array(colour), np.array(shape))
    ]
    per_look = len(TEXTURES) * 2  # small or large

    def sets(size: int) -> int:
        """How many sets of objects there are that differ in shape and in colour."""
        chosen = combinations(looks, size)
        return (
            sum(len(set(s)) == len(set(c)) == size for s, c in (zip(*one, strict=True) for one in chosen))
            * per_look**size
        )

    singles, pairs, crowds = sets(1) * len(PLACES), sets(2) * len(RELATIONS), sets(3)
    assert (singles + pairs + crowds) * len(BACKGROUNDS) >= 10_000_000


# ---- growing


def test_amount_and_concepts_grow(stream: Stream):
    assert np.cumsum([len(part) for part in stream.train]).tolist() == list(PROFILE.scene_pairs)
    for before, after in zip(CONCEPTS, CONCEPTS[1:], strict=False):
        for field in ("shapes", "colours", "textures", "backgrounds", "kinds", "kind_share"):
            assert getattr(before, field) <= getattr(after, field)
        assert sum(share > 0 for share in before.mix) <= sum(share > 0 for share in after.mix)
        assert before != after
    assert (LAST.shapes, LAST.colours) == (len(SHAPES), len(COLOURS))
    assert (LAST.textures, LAST.backgrounds, LAST.kinds) == (len(TEXTURES), len(BACKGROUNDS), KINDS)
    assert [share > 0 for share in CONCEPTS[0].mix] == [True, False, False, False] and all(LAST.mix)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
def test_any_number_of_steps_ends_with_everything_it_has_begun(steps: int):
    all_concepts = [concepts_at(step, steps, 100) for step in range(1, steps + 1)]
    for before, after in zip(all_concepts, all_concepts[1:], strict=False):
        assert before.shapes <= after.shapes and before.kinds <= after.kinds
    assert all_concepts[-1].kinds == 100


def test_new_words_arrive_with_every_step(training_captions: list[list[str]]):
    known: set[str] = set()
    for captions in training_captions:
        words = words_of(captions)
        assert words - known
        known |= words
    early = words_of(training_captions[0])
    assert set(kind_names(KINDS)) <= known and not set(kind_names(KINDS)) <= early
    assert not any(f" {relation} " in caption for caption in training_captions[0] for relation in RELATIONS)


def test_scenes_keep_to_their_concepts():
    for concepts in CONCEPTS:
        made = sample_scenes(2_000, concepts, np.random.default_rng(0))
        used = np.arange(made.look.shape[1]) < made.count[:, None]
        look, colour, texture = made.look[used], made.colour[used], made.texture[used]
        shapes = look[look < len(SHAPES)]
        assert shapes.max() < concepts.shapes and look.max() < len(SHAPES) + concepts.kinds
        assert colour.max() < concepts.colours and texture.max() < concepts.textures
        assert made.background.max() < concepts.backgrounds
        shares = np.bincount(made.kind_of_scene, minlength=4) / 2_000
        assert np.abs(shares - np.array(concepts.mix) / sum(concepts.mix)).max() < 0.05


def test_objects_lie_within_the_picture_and_apart():
    made = sample_scenes(2_000, LAST, np.random.default_rng(0))
    for i in range(len(made)):
        count = made.count[i]
        x, y = made.x[i, :count], made.y[i, :count]
        assert np.abs(x).max() < 0.75 and np.abs(y).max() < 0.75
        for a, b in permutations(range(count), 2):
            assert np.hypot(x[a] - x[b], y[a] - y[b]) > 0.5


# ---- what is kept out of training


def test_held_out_pairs_are_never_drawn_for_training():
    for concepts in CONCEPTS:
        made = sample_scenes(5_000, concepts, np.random.default_rng(1))
        used = np.arange(made.look.shape[1]) < made.count[:, None]
        shape = made.look < len(SHAPES)
        assert not held_out_pair(made.colour, made.look)[used & shape].any()
        assert (used & shape).sum() > 1_000


def test_held_out_pairs_are_never_spoken_of(stream: Stream, training_captions: list[list[str]]):
    parts = [part.captions for part in [*stream.train, *stream.validation]]
    spoken = colour_shape_pairs(list(chain(*parts, *training_captions)))
    assert len(spoken) > len(SHAPES) * len(COLOURS) / 2  # the search for pairs finds something
    assert not any(held_out_pair(np.array(colour), np.array(shape)) for colour, shape in spoken)


def test_every_shape_and_every_colour_has_held_out_and_trained_pairs():
    table = np.array(
        [[held_out_pair(np.array(c), np.array(s)) for s in range(len(SHAPES))] for c in range(len(COLOURS))]
    )
    for axis in (0, 1):
        assert table.any(axis).all() and not table.all(axis).any()


# ---- captions


def scene(kind_of_scene: str, *objects: tuple[str, str, str, str, float, float], ground: str = "snow") -> Scenes:
    """One hand-made scene; an object is (size, texture, colour, shape or name of a kind, x, y)."""
    made = sample_scenes(1, LAST, np.random.default_rng(0), kind_of_scene)
    made.count[:], made.background[:] = len(objects), BACKGROUNDS.index(ground)
    names = [*SHAPES, *kind_names(KINDS)]
    for slot, (size, texture, colour, look, x, y) in enumerate(objects):
        made.large[:, slot], made.texture[:, slot] = size == "large", TEXTURES.index(texture)
        made.colour[:, slot], made.look[:, slot] = COLOUR_NAMES.index(colour), names.index(look)
        made.x[:, slot], made.y[:, slot] = x, y
    return made


def many_captions(made: Scenes, detail: float) -> list[str]:
    everyone = Scenes(**{field.name: np.repeat(getattr(made, field.name), 300, axis=0) for field in fields(Scenes)})
    return captions_of(everyone, KINDS, np.random.default_rng(0), detail)


def says(text: str, *alternatives: str) -> bool:
    return any(re.search(rf"\b{re.escape(phrase)}\b", text) for phrase in alternatives)


def words_for(*concepts: str) -> list[str]:
    return [word for concept in concepts for word in SYNONYMS.get(concept, (concept,))]


def test_a_single_object_is_described_in_full():
    texts = many_captions(
        scene("single", ("small", "striped", "purple", "circle", -0.42, -0.42), ground="water"), detail=1
    )
    for text in texts:
        for concept in ("small", "striped", "purple", "circle"):
            assert says(text, *words_for(concept)), text
        assert "in the top left corner" in text and says(text, *GROUND["water"])
    assert {word for text in texts for word in words_for("circle", "purple") if says(text, word)} == {
        "circle", "disc", "purple", "violet",
    }  # fmt: skip


@pytest.mark.parametrize("index", range(len(PLACES)), ids=PLACES)
def test_places(index: int):
    x, y = (index % 3 - 1) * 0.42, (index // 3 - 1) * 0.42
    for text in many_captions(scene("single", ("large", "plain", "red", "star", x, y)), detail=1)[:20]:
        assert [place for place in PLACES if place in text] == [PLACES[index]], text


def test_nothing_false_is_said_where_something_is_left_out():
    made = scene("single", ("small", "striped", "purple", "circle", 0.42, 0.0), ground="sand")
    texts = many_captions(made, detail=0)
    false_words = {
        word
        for concept in [*SHAPES, *COLOUR_NAMES, *TEXTURES, "large", *NUMBERS, *kind_names(KINDS)]
        if concept not in ("circle", "purple", "striped")
        for word in words_for(concept)
    }
    true_words = set(words_for("circle", "purple", "striped", "small"))
    false_grounds = set(chain(*GROUND.values())) - set(GROUND["sand"])
    for text in texts:
        assert not words_of([text]) & (false_words - true_words), text
        assert not says(text, *false_grounds), text
        assert not [place for place in PLACES if place in text and place != "on the right side"], text
    shares = [
        np.mean([says(text, *words_for(concept)) for text in texts]) for concept in ("purple", "striped", "circle")
    ]
    assert all(0.5 < share < 1 for share in shares)


def test_relations_are_true_from_both_ends():
    red = ("small", "plain", "red", "square", -0.48, 0.0)
    blue = ("large", "plain", "blue", "star", 0.48, 0.0)
    for first, second in ((red, blue), (blue, red)):
        for text in many_captions(scene("relation", first, second), detail=1):
            red_first = text.index("red") < text.index("blue")
            assert says(text, "left of" if red_first else "right of"), text
            assert not says(text, "right of" if red_first else "left of"), text
    above, below = (*red[:4], 0.0, -0.48), (*blue[:4], 0.0, 0.48)
    for text in many_captions(scene("relation", above, below), detail=1):
        red_first = text.index("red") < text.index("blue")
        assert says(text, *(("above", "over") if red_first else ("below", "under"))), text


def test_colours_stay_with_their_shapes():
    red, blue = ("small", "striped", "red", "square", 0.5, 0.5), ("large", "spotted", "blue", "star", -0.5, -0.5)
    for text in many_captions(scene("crowd", red, blue, ("small", "plain", "pink", "bar", 0.5, -0.5)), detail=1):
        assert colour_shape_pairs([text]) == {
            (COLOUR_NAMES.index(colour), SHAPES.index(shape))
            for colour, shape in (("red", "square"), ("blue", "star"), ("pink", "bar"))
        }
        assert says(text, "striped red") and re.search(r"(spotted|dotted) blue", text)


def test_openings_fit_what_follows():
    one = ("small", "plain", "red", "square", 0.5, 0.5)
    single, three = (many_captions(scene(kind, *[one] * n), detail=1) for kind, n in (("single", 1), ("count", 3)))
    grounds = [name for names in GROUND.values() for name in names]
    for text in [*single, *three]:
        assert not any(re.search(rf"\b(of|is|are|see|shows) {ground} ", text) for ground in grounds), text
    assert any(text.startswith(tuple(grounds)) for text in single)
    assert any("there is" in text for text in single) and not any("there are" in text for text in single)
    assert any("there are" in text for text in three) and not any("there is" in text for text in three)


@pytest.mark.parametrize("count", [2, 3])
def test_counts_have_a_number_and_a_plural(count: int):
    one = ("small", "plain", "red", "square", 0.5, 0.5)
    for text in many_captions(scene("count", *[one] * count), detail=1):
        assert says(text, NUMBERS[count - 1]) and says(text, "squares", "boxes"), text


def test_a_named_kind_is_called_by_its_name():
    name = kind_names(KINDS)[3]
    for text in many_captions(scene("single", ("small", "striped", "purple", name, 0.0, 0.0)), detail=1):
        assert says(text, name) and not words_of([text]) & {"purple", "violet", "striped"}


def test_names_are_one_word_and_all_different():
    names = kind_names(500)
    assert len(set(names)) == 500 and all(name.isalpha() for name in names)
    assert kind_names(20) == names[:20]
    assert not set(names) & (set(COLOUR_WORDS) | set(SHAPE_WORDS) | set(TEXTURES))


def test_the_share_of_wrong_captions(drawn: list[Scenes]):
    right, wrong = (next(make_pairs(2_000, LAST, KINDS, SIZE, [7], wrong=share)).captions for share in (0.0, 0.3))
    share = np.mean([one != other for one, other in zip(right, wrong, strict=True)])
    assert 0.25 < share < 0.34
    assert sorted(right) == sorted(wrong)  # they belong to other pictures


# ---- pictures


def test_objects_are_drawn_where_and_in_the_colour_that_the_scene_says():
    for place, colour in product(range(9), ("red", "blue")):
        x, y = (place % 3 - 1) * 0.42, (place // 3 - 1) * 0.42
        made = scene("single", ("small", "plain", colour, "circle", x, y))
        made.radius[:], made.light[:] = 0.38, 1.0
        picture = render(made, 32, KINDS)[0].double() / 255
        wanted = torch.tensor(COLOURS[colour], dtype=torch.float64)[:, None, None]
        near = ((picture - wanted) ** 2).sum(0) < 0.1
        rows, columns = torch.nonzero(near, as_tuple=True)
        assert len(rows) > 20
        centre = ((columns.double().mean() + 0.5) / 16 - 1, (rows.double().mean() + 0.5) / 16 - 1)
        assert centre == pytest.approx((x, y), abs=0.08) and place_of(made)[0] == place


def test_every_look_is_a_picture_of_its_own():
    looks = [*SHAPES, *kind_names(KINDS)]
    pictures = torch.cat(
        [render(scene("single", ("large", "plain", "red", look, 0, 0)), SIZE, KINDS) for look in looks]
    )
    assert len(hashes(pictures.numpy())) == len(looks)
    assert pictures.dtype == torch.uint8 and pictures.shape == (len(looks), 3, SIZE, SIZE)


def test_drawing_does_not_depend_on_what_is_drawn_beside():
    made = sample_scenes(70, LAST, np.random.default_rng(0))
    together = render(made, SIZE, KINDS)
    apart = torch.cat([render(made[i : i + 1], SIZE, KINDS) for i in (0, 33, 69)])
    assert (together[[0, 33, 69]].int() - apart.int()).abs().max() <= 1
    assert render(made[:0], SIZE, KINDS).shape == (0, 3, SIZE, SIZE)


# ---- tasks


def test_there_are_nine_tasks_and_all_can_be_guessed(stream: Stream):
    assert [task.name for task in stream.tasks] == scene_tasks.TASK_NAMES and len(stream.tasks) == 9
    assert [task.name for task in stream.validation_tasks] == scene_tasks.TASK_NAMES
    for task in stream.tasks + stream.validation_tasks + [task for tasks in stream.step_tasks for task in tasks]:
        classes = len(task.prompts[0] if task.per_picture else task.prompts)
        assert len(task.images) == len(task.labels) > 0 and task.chance == 1 / classes
        assert task.labels.min() >= 0 and task.labels.max() < classes
        for candidates in task.prompts if task.per_picture else [task.prompts]:
            assert len(candidates) == classes and all(candidates)
            texts = [tuple(prompts) for prompts in candidates]
            assert len(set(texts)) == classes
    assert len(stream.step_tasks) == STEPS
    counts = [len(tasks) for tasks in stream.step_tasks]
    assert counts == sorted(counts) and counts[-1] == 9


def made_tasks(drawn: list[Scenes]) -> dict[str, tuple[scene_tasks.Task, Scenes]]:
    tasks = scene_tasks.make_tasks(LAST, KINDS, SIZE, 200, [9])
    return {task.name: (task, made) for task, made in zip(tasks, drawn, strict=True)}


@pytest.mark.parametrize(
    ("name", "values", "concepts"),
    [
        pytest.param("shape", lambda made: made.look[:, 0], SHAPES, id="shape"),
        pytest.param("colour", lambda made: made.colour[:, 0], COLOUR_NAMES, id="colour"),
        pytest.param("texture", lambda made: made.texture[:, 0], TEXTURES, id="texture"),
        pytest.param("kind", lambda made: made.look[:, 0] - len(SHAPES), kind_names(KINDS), id="kind"),
    ],
)
def test_labels_of_attributes(drawn: list[Scenes], name: str, values, concepts):
    task, made = made_tasks(drawn)[name]
    assert task.labels.tolist() == values(made).tolist() and (made.count == 1).all()
    for concept, prompts in zip(concepts, task.prompts, strict=True):
        assert all(says(prompt, *words_for(concept)) for prompt in prompts)


def test_labels_of_positions(drawn: list[Scenes]):
    task, made = made_tasks(drawn)["position"]
    for label, x, y in zip(task.labels, made.x[:, 0], made.y[:, 0], strict=True):
        place = PLACES[label]
        assert ("left" in place, "right" in place) == (x < -0.2, x > 0.2)
        assert ("top" in place, "bottom" in place) == (y < -0.2, y > 0.2)
    for place, prompts in zip(PLACES, task.prompts, strict=True):
        assert all(prompt.endswith(place) for prompt in prompts)


def test_labels_of_backgrounds(drawn: list[Scenes]):
    task, made = made_tasks(drawn)["background"]
    assert task.labels.tolist() == made.background.tolist()
    for ground, prompts in zip(BACKGROUNDS, task.prompts, strict=True):
        assert all(says(prompt, *GROUND[ground]) for prompt in prompts)


def test_labels_of_counts(drawn: list[Scenes]):
    task, made = made_tasks(drawn)["count"]
    assert (task.labels + 1).tolist() == made.count.tolist() and set(task.labels) == {0, 1, 2}
    for name in ("look", "colour", "texture", "large"):
        values = getattr(made, name)
        assert (values == values[:, :1]).all()
    assert all(prompt.split()[0] in ("a", "an") for prompt in task.prompts[0])
    for number in (2, 3):
        assert all(says(prompt, NUMBERS[number - 1]) for prompt in task.prompts[number - 1])


def test_labels_of_relations(drawn: list[Scenes]):
    task, made = made_tasks(drawn)["relation"]
    assert task.per_picture
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    for i, label in enumerate(task.labels):
        names = [f"{COLOUR_NAMES[made.colour[i, j]]} {SHAPES[made.look[i, j]]}" for j in (0, 1)]
        order = (0, 1) if re.match(rf"an? {names[0]} ", task.prompts[i][0][0]) else (1, 0)
        first, second = (names[j] for j in order)
        dx, dy = (v[i, order[0]] - v[i, order[1]] for v in (made.x, made.y))
        assert RELATIONS[label] == max((-dx, "left of"), (dx, "right of"), (-dy, "above"), (dy, "below"))[1]
        for relation, (prompt, turned) in zip(RELATIONS, task.prompts[i], strict=True):
            assert re.fullmatch(rf"an? {first} {relation} an? {second}", prompt)
            assert re.fullmatch(rf"an? {second} {opposite[relation]} an? {first}", turned)


def test_no_answer_is_much_more_frequent_than_the_others(drawn: list[Scenes]):
    for name, (task, _) in made_tasks(drawn).items():
        classes = len(task.prompts[0] if task.per_picture else task.prompts)
        counts = np.bincount(task.labels, minlength=classes)
        if name == "composition":  # asks for the unseen pairs only
            counts = counts[counts > 0]
        assert counts.max() < 2 * len(task.labels) / len(counts) + 10, name
        assert (counts > 0).mean() > 0.9, name


def test_composition_asks_for_held_out_pairs_only(drawn: list[Scenes]):
    task, made = made_tasks(drawn)["composition"]
    assert held_out_pair(made.colour[:, 0], made.look[:, 0]).all() and (made.look[:, 0] < len(SHAPES)).all()
    assert len(np.unique(task.labels)) > 10
    for i, label in enumerate(task.labels):
        pair = (made.colour[i, 0], made.look[i, 0])
        assert all(colour_shape_pairs([prompt]) == {pair} for prompt in task.prompts[label])
    everything = {pair for prompts in task.prompts for pair in colour_shape_pairs(prompts)}
    assert len(everything) == len(task.prompts) == len(SHAPES) * len(COLOURS)  # seen pairs are candidates, too


def test_prompts_use_words_of_the_training_captions(stream: Stream, training_captions: list[list[str]]):
    known: set[str] = set()
    for captions, tasks in zip(training_captions, stream.step_tasks, strict=True):
        known |= words_of(captions)
        for task in tasks:
            candidates = chain(*task.prompts) if task.per_picture else task.prompts
            unknown = words_of([prompt for prompts in candidates for prompt in prompts]) - known
            assert not unknown, task.name


# ---- retrieval


def test_retrieval_captions_are_unique(stream: Stream):
    captions = stream.retrieval.captions
    assert (
        len(set(captions)) == len(captions)
        and 0.9 * PROFILE.retrieval_pairs <= len(captions) <= PROFILE.retrieval_pairs
    )


def test_scenes_may_not_be_moved_or_mirrored(stream: Stream):
    assert not stream.augment


# ---- the cache


PAIRS = Pairs(np.arange(3 * 3 * 4, dtype=np.uint8).reshape(3, 3, 2, 2), ["one", "zwei ✓", "three"])


def blocks() -> Iterator[Pairs]:
    yield Pairs(PAIRS.images[:2], PAIRS.captions[:2])
    yield Pairs(PAIRS.images[2:], PAIRS.captions[2:])


def test_a_second_load_draws_nothing(stream: Stream, monkeypatch):
    monkeypatch.setattr(scene_stream, "make_pairs", lambda *_: pytest.fail("drawn again"))
    again = load_scenes(PROFILE, seed=0)
    assert all(same_pairs(one, other) for one, other in zip(stream.train, again.train, strict=True))


def test_test_data_come_without_drawing_training_pairs(stream: Stream, monkeypatch):
    monkeypatch.setattr(scene_stream, "make_pairs", lambda *_: pytest.fail("drawn"))
    tests = load_scene_tests(PROFILE)
    assert tests.train == [] and tests.image_size == stream.image_size and same_pairs(tests.retrieval, stream.retrieval)
    for one, other in zip(tests.tasks, stream.tasks, strict=True):
        assert np.array_equal(one.images, other.images) and one.prompts == other.prompts


def test_cached_pairs_are_the_same_and_mapped(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path))
    made = []
    for _ in range(2):
        pairs = cached("scenes", {"a": 1}, 3, lambda: made.append(1) or blocks())
        assert same_pairs(pairs, PAIRS) and isinstance(pairs.images, np.memmap)
        assert not pairs.images.flags.writeable
    assert len(made) == 1
    cached("scenes", {"a": 2}, 3, lambda: made.append(1) or blocks())
    assert len(made) == 2
    assert pairs.captions[-1] == "three" and pairs.captions[1:] == ["zwei ✓", "three"]


@pytest.mark.parametrize("fault", ["while drawing", "while writing pictures", "while writing captions"])
def test_an_interrupted_write_leaves_no_broken_entry(tmp_path: Path, monkeypatch, fault: str):
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path))

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    def stops_half_way() -> Iterator[Pairs]:
        yield next(blocks())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if fault == "while writing pictures":
            patch.setattr(np.lib.format, "write_array_header_1_0", interrupted)
        if fault == "while writing captions":
            patch.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached("scenes", {"a": 1}, 3, stops_half_way if fault == "while drawing" else blocks)
    assert list((tmp_path / "scenes").iterdir()) == []
    assert same_pairs(cached("scenes", {"a": 1}, 3, blocks), PAIRS)


@pytest.mark.parametrize("left", [-3, 0])
@pytest.mark.parametrize("name", ["images.npy", "captions.txt", "caption_ends.npy"])
def test_a_damaged_entry_is_drawn_again(tmp_path: Path, monkeypatch, name: str, left: int):
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path))
    cached("scenes", {"a": 1}, 3, blocks)
    (path,) = (tmp_path / "scenes").glob(f"*/{name}")
    path.write_bytes(path.read_bytes()[:left])
    assert same_pairs(cached("scenes", {"a": 1}, 3, blocks), PAIRS)


def test_two_processes_may_fill_the_cache_at_once(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("GROWCLIP_CACHE", str(tmp_path))

    def slow() -> Iterator[Pairs]:
        cached("scenes", {"a": 1}, 3, blocks)  # the other one is faster
        return blocks()

    assert same_pairs(cached("scenes", {"a": 1}, 3, slow), PAIRS)
    assert len(list((tmp_path / "scenes").iterdir())) == 1


def test_many_pairs_are_drawn_from_several_streams_and_in_blocks(monkeypatch):
    whole = next(make_pairs(100, LAST, KINDS, SIZE, [7]))
    monkeypatch.setattr(scene_stream, "SAMPLED", 60)
    monkeypatch.setattr(scene_stream, "RENDERED", 40)
    parts = list(make_pairs(100, LAST, KINDS, SIZE, [7]))
    assert [len(part) for part in parts] == [40, 20, 40]
    assert len({caption for part in parts for caption in part.captions}) > 90
    assert not hashes(parts[0].images, parts[1].images) & hashes(parts[2].images)
    monkeypatch.setattr(scene_stream, "SAMPLED", 100)
    blocks_of_one = list(make_pairs(100, LAST, KINDS, SIZE, [7]))
    assert same_pairs(blocks_of_one[0], Pairs(whole.images[:40], whole.captions[:40]))


def test_kinds_of_scenes_have_their_numbers_of_objects():
    for kind, counts in zip(KINDS_OF_SCENE, ({1}, {2, 3}, {2}, {3}), strict=True):
        made = sample_scenes(200, LAST, np.random.default_rng(0), kind)
        assert set(made.count.tolist()) == counts
        assert (made.kind_of_scene == KINDS_OF_SCENE.index(kind)).all()


def test_the_cache_knows_all_that_decides_the_pairs(monkeypatch):
    keys = []

    def remember(source, key, *more):
        keys.append(json.dumps(key))
        return Pairs(np.zeros((0, 3, 8, 8), np.uint8), [])

    def keys_of(profile, seed):
        keys.clear()
        load_scenes(profile, seed)
        return set(keys)

    monkeypatch.setattr(scene_stream, "cached", remember)
    monkeypatch.setattr(scene_stream, "load_scene_tests", lambda profile: Stream("scenes", [], [], None, []))
    monkeypatch.setattr(scene_stream, "scene_tasks", lambda *arguments: [])
    monkeypatch.setattr(scene_stream, "make_tasks", lambda *arguments: [])
    smoke = get_profile("smoke")
    usual = keys_of(smoke, 0)
    assert keys_of(smoke, 0) == usual and keys_of(smoke, 1) != usual
    for changes in (
        {"kinds": 12}, {"wrong_captions": 0.5}, {"image_size": 16}, {"scene_pairs": (200, 600, 1000)},
        {"validation_pairs": 9}, {"growth_steps": 2, "scene_pairs": (300, 600)},
    ):  # fmt: skip
        assert keys_of(replace(smoke, **changes), 0) - usual, changes
