"""The tokenizer: its vocabulary grows, what it knew before stays, and it takes any text."""

from __future__ import annotations

import copy
import pickle
import unicodedata
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
import torch
from tokenizers import decoders

from growclip_lite.errors import InputError
from growclip_lite.model import PAD
from growclip_lite.tokenizer import COMMON, FIRST_VOCABULARY, Tokenizer

FIRST = ["a red circle", "a blue square on snow", "été en été", "一只 猫"] * COMMON
SECOND = ["a zeppelin over the sea", "la montgolfière bleue", "热气球 和 猫", "Der Zeppelin"] * COMMON
TEXTS = [
    "a red circle",
    "A RED Zeppelin!",
    "été",
    "montgolfière",
    "一只红色的猫 热气球",
    "قطة حمراء",
    "Ωμέγα ‽",
    "🐈 👩‍👩‍👧 ❤️ 🇳🇴",
    "\u202eright to left",
    "a\x00b\x07c",
    "don't e-mail 3.14%",
    "",
    "  spaces  and\ttabs\n",
    "[PAD] [START]",
    "\ud83d half",
]


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text without padding and start."""
    return [i for i in tokenizer([text], 400)[0].tolist()[1:] if i != PAD]


def spell(tokenizer: Tokenizer, ids: list[int]) -> str:
    """The text of the ids: added words as they are, all others spelt in bytes."""
    added, backend = tokenizer.backend.get_added_tokens_decoder(), tokenizer.backend
    runs = [(known, list(run)) for known, run in groupby(ids, lambda i: i in added)]
    return "".join(
        "".join(added[i].content for i in run)
        if known
        else decoders.ByteLevel().decode([backend.id_to_token(i) for i in run])
        for known, run in runs
    )


def grown() -> Tokenizer:
    tokenizer = Tokenizer.train(FIRST)
    tokenizer.grow(FIRST)
    tokenizer(["in use"], 12)
    tokenizer.grow(SECOND)
    return tokenizer


# ---- growing


def test_old_ids_never_change():
    tokenizer = Tokenizer.train(FIRST)
    vocabularies, texts = [], []
    for captions in (FIRST, SECOND, [f"brandnewword{i} x" for i in range(50) for _ in range(COMMON)]):
        tokenizer.grow(captions)
        vocabularies.append(tokenizer.backend.get_vocab())
        texts.append([ids_of(tokenizer, text) for text in FIRST])  # also with the tokenizer in use in between
    for before, after in zip(vocabularies, vocabularies[1:], strict=False):
        assert before.items() < after.items()
        assert {after[word] for word in after.keys() - before.keys()} == set(range(len(before), len(after)))
    assert texts[0] == texts[1] == texts[2]


def test_ids_are_dense():
    tokenizer = grown()
    assert sorted(tokenizer.backend.get_vocab().values()) == list(range(tokenizer.vocab_size))


def test_use_in_between_changes_nothing():
    used = grown()
    unused = Tokenizer.train(FIRST)
    unused.grow(FIRST)
    unused.grow(SECOND)
    assert used.to_json() == unused.to_json()


def test_new_common_words_become_one_token():
    tokenizer = Tokenizer.train(FIRST)
    tokenizer.grow(FIRST)
    words = ["zeppelin", "montgolfière", "热气球"]
    assert all(len(ids_of(tokenizer, word)) > 1 for word in words)
    size = tokenizer.vocab_size
    added = tokenizer.grow(SECOND)
    assert all(len(ids_of(tokenizer, word)) == 1 for word in words)
    assert tokenizer.vocab_size == size + added
    (zeppelin,) = ids_of(tokenizer, "zeppelin")
    assert zeppelin in ids_of(tokenizer, "a ZEPPELIN, over it") and zeppelin not in ids_of(tokenizer, "zeppelins")


def test_rare_words_get_no_token():
    tokenizer = Tokenizer.train(FIRST)
    before = tokenizer.vocab_size
    assert tokenizer.grow(["kaleidoscope"] * (COMMON - 1)) == 0 and tokenizer.vocab_size == before


def test_growing_twice_on_the_same_captions_adds_nothing():
    tokenizer = grown()
    size = tokenizer.vocab_size
    assert tokenizer.grow(SECOND) == tokenizer.grow(FIRST) == 0 and tokenizer.vocab_size == size


def test_known_words_do_not_count_among_the_most_that_are_added(monkeypatch):
    monkeypatch.setattr("growclip_lite.tokenizer.MOST_NEW_WORDS", 2)
    tokenizer, captions = grown(), ["xylophones zeppelins quagmires"] * 3
    assert [tokenizer.grow(captions) for _ in range(3)] == [2, 1, 0]


def test_the_first_vocabulary_has_its_size():
    captions = [f"word{i % 97} thing{i % 89} and sea shore {i}" for i in range(3000)]
    assert 256 < Tokenizer.train(captions).vocab_size <= FIRST_VOCABULARY


def test_training_is_reproducible():
    assert grown().to_json() == grown().to_json()


# ---- any text


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_any_text_has_tokens_that_spell_it(text: str):
    tokenizer = grown()
    ids = ids_of(tokenizer, text)
    assert all(0 <= i < tokenizer.vocab_size for i in ids)
    whole = text.encode("utf-8", "replace").decode()
    normal = unicodedata.normalize("NFKC", whole).lower()
    if "[PAD]" in text:
        return  # these two names stand for themselves
    # Spaces separate words and have no token of their own.
    spelt = "".join(character for character in spell(tokenizer, ids) if not character.isspace())
    wanted = "".join(character for character in normal if not character.isspace())
    assert spelt == wanted


def test_upper_case_and_wide_letters_are_the_same():
    tokenizer = grown()
    assert (
        ids_of(tokenizer, "A Red CIRCLE") == ids_of(tokenizer, "a red circle") == ids_of(tokenizer, "ａ ｒｅｄ circle")
    )


# ---- shape


def test_padding_and_truncation():
    tokenizer = grown()
    tokens = tokenizer(["a red circle", "a", "a red circle " * 50], 6)
    assert tokens.shape == (3, 6) and tokens.dtype == torch.int64
    start = tokens[0, 0].item()
    assert (tokens[:, 0] == start).all() and start != PAD
    assert tokens[1].tolist()[2:] == [PAD] * 4 and (tokens[2] != PAD).all()
    assert tokens[2].tolist() == tokenizer(["a red circle " * 50], 30)[0].tolist()[:6]


def test_the_length_is_that_of_every_call():
    tokenizer = grown()
    long, short, again = (tokenizer(["a red circle"], length)[0].tolist() for length in (10, 3, 10))
    assert long == again and long[:3] == short


def test_no_texts_are_no_rows():
    assert grown()([], 7).shape == (0, 7)


# ---- files and copies


@pytest.mark.parametrize("again", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))], ids=["copy", "pickle"])
def test_a_copy_reads_as_the_original_does(again: Callable):
    tokenizer = grown()
    texts = ["a [PAD] between [START] words", "a red circle"]
    assert torch.equal(again(tokenizer)(texts, 40), tokenizer(texts, 40))


def test_saved_and_loaded_is_the_same(tmp_path: Path):
    tokenizer, path = grown(), tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_json(), encoding="utf-8")
    loaded = Tokenizer.load(path)
    assert loaded.vocab_size == tokenizer.vocab_size and loaded.to_json() == tokenizer.to_json()
    assert torch.equal(loaded(TEXTS, 16), tokenizer(TEXTS, 16))
    more = ["a kaleidoscope"] * COMMON
    assert loaded.grow(more) == tokenizer.grow(more) == 1 and loaded.to_json() == tokenizer.to_json()


@pytest.mark.parametrize("data", [None, b"", b"{}", b"[1, 2", b"\xff\xfe", b'{"version": "1.0"}'], ids=str)
def test_a_broken_file_is_told_in_a_sentence(tmp_path: Path, data: bytes | None):
    path = tmp_path / "tokenizer.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match="is not a readable tokenizer file .*; please restore it"):
        Tokenizer.load(path)
