"""The two hard streams: the same content, hard on one side only."""

import numpy as np
import pytest

from growclip_lite.data.hard_scenes import LANGUAGES, dictionaries, disguise, load_hard_scenes, translate
from growclip_lite.data.scenes import concepts_at
from growclip_lite.profiles import get_profile

PROFILE = get_profile("smoke")


@pytest.fixture(scope="module")
def streams():
    return {side: load_hard_scenes(side, PROFILE, 0) for side in ("text", "image")}


def test_both_streams_are_equal_but_for_the_hard_side(streams):
    text, image = streams["text"], streams["image"]
    assert np.array_equal(text.train[0].images, image.train[0].images)
    assert list(text.train[0].captions) == list(image.train[0].captions)
    assert not np.array_equal(text.train[1].images, image.train[1].images)
    assert [len(part) for part in text.train] == [len(part) for part in image.train]


def test_hard_text_is_said_in_words_that_were_never_heard_before(streams):
    easy, hard = ({word for caption in part.captions for word in caption.split()} for part in streams["text"].train)
    assert not easy & hard and len(hard) > 3 * len(easy)
    plain = {word for caption in streams["image"].train[1].captions for word in caption.split()}
    assert len(plain - easy) < 0.1 * len(plain)  # the other stream has hardly any


def test_languages_are_the_same_in_every_split_and_can_be_translated_back():
    concepts = concepts_at(1, 4, 4)
    languages = dictionaries(concepts)
    assert languages == dictionaries(concepts) and len(languages) == LANGUAGES
    captions = ["a red circle on snow", "a small blue star"] * 20
    for caption, foreign in zip(captions, translate(captions, languages, np.random.default_rng(0)), strict=True):
        back = set()
        for number, language in enumerate(languages):
            own = {name: word for word, name in language.items()}
            words = foreign.split()[:: -1 if number % 2 else 1]
            back.add(" ".join(own.get(word, word) for word in words))
        assert caption in back


def test_disguised_pictures_keep_their_size_and_lose_contrast():
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32)).astype(np.uint8)
    hidden = disguise(images, np.random.default_rng(1))
    assert hidden.shape == images.shape and hidden.dtype == np.uint8
    assert hidden.std() < images.std() and not np.array_equal(hidden[0], hidden[1])


def test_seeds_differ_in_training_only():
    one, other = (load_hard_scenes("text", PROFILE, seed) for seed in (0, 1))
    assert list(one.train[1].captions) != list(other.train[1].captions)
    assert list(one.validation[1].captions) == list(other.validation[1].captions)
    assert np.array_equal(one.retrieval.images, other.retrieval.images)


def test_validation_and_retrieval_of_the_hard_streams_are_hard_too(streams):
    stream = streams["text"]
    words = [{w for c in part.captions for w in c.split()} for part in (*stream.validation, stream.retrieval)]
    assert not words[0] & words[1] and not words[0] & words[2]
