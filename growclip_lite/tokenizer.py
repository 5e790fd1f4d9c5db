"""A tokenizer whose vocabulary grows with the data: a thin layer over the `tokenizers` library.

Byte-level pairs are learnt on the first growth step, so that any text of any script has tokens.
Later, every new word that is common enough gets one token of its own at the end of the vocabulary;
the ids of older tokens never change, and their embeddings are inherited.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from growclip_lite.errors import InputError
from growclip_lite.model import PAD

FIRST_VOCABULARY = 384
COMMON = 3  # occurrences from which a new word is worth a token
MOST_NEW_WORDS = 4_000  # per growth step


def _valid(text: str) -> str:
    """The text with half characters (lone surrogates, from broken JSON or arguments), which have no bytes, as "?"."""
    return text.encode("utf-8", "replace").decode("utf-8")


class Tokenizer:
    """Texts to token ids; made by `Tokenizer.train`, extended by `grow`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.backend.encode_special_tokens = True  # a caption that says "[PAD]" means the word

    def __reduce__(self) -> tuple:
        """Copies and pickles are made anew from the backend, which does not keep the flag above."""
        return Tokenizer, (self.backend,)

    @classmethod
    def train(cls, captions: Sequence[str]) -> Tokenizer:
        """Learns byte-level pairs (BPE) from the first growth step's captions."""
        backend = Backend(models.BPE())
        backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        trainer = trainers.BpeTrainer(
            vocab_size=FIRST_VOCABULARY, special_tokens=["[PAD]", "[START]"], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )  # fmt: skip
        backend.train_from_iterator((_valid(caption) for caption in captions), trainer)
        start = ("[START]", backend.token_to_id("[START]"))
        backend.post_processor = processors.TemplateProcessing(single="[START] $0", special_tokens=[start])
        return cls(backend)

    def grow(self, captions: Sequence[str]) -> int:
        """Gives every common word that now takes several tokens one of its own; returns how many were added."""
        normalize = self.backend.normalizer.normalize_str
        split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
        counts = Counter(word for caption in captions for word, _ in split(normalize(_valid(caption))))
        common = [word for word, count in counts.most_common() if count >= COMMON]
        pieces = self.backend.encode_batch(common, add_special_tokens=False)
        new = [word for word, piece in zip(common, pieces, strict=True) if len(piece) > 1][:MOST_NEW_WORDS]
        return self.backend.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in new])

    @property
    def vocab_size(self) -> int:
        return self.backend.get_vocab_size()

    def __call__(self, texts: Sequence[str], context_length: int) -> Tensor:
        """Texts -> (B, context_length) int64, cut or padded; the first token marks the start."""
        # The library's own padding would be a state: saved with the vocabulary, and in the way of `grow`.
        padding = [PAD] * context_length
        encodings = self.backend.encode_batch([_valid(text) for text in texts])
        ids = [(encoding.ids + padding)[:context_length] for encoding in encodings]
        return torch.tensor(ids, dtype=torch.int64).view(len(texts), context_length)

    def to_json(self) -> str:
        return self.backend.to_str()

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Raises `InputError` where the file is missing or is not a tokenizer."""
        try:
            tokenizer = cls(Backend.from_str(path.read_text(encoding="utf-8")))
        except Exception as error:  # the library raises bare Exception for a malformed file
            raise InputError(f"{path} is not a readable tokenizer file ({error}); please restore it.") from error
        if max(tokenizer.backend.get_vocab().values(), default=-1) + 1 != tokenizer.vocab_size:
            raise InputError(f"{path} does not number its tokens from 0 on without gaps; please restore it.")
        return tokenizer
