"""Pairs on disk: pictures and captions are mapped, and read when they are asked for."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

import numpy as np

from growclip_lite.data.stream import Pairs, Rows
from growclip_lite.files import cache_folder, writing_pictures


class PictureFile:
    """Pictures of one size by key, in a file of `folder`, not in memory; equal ones have one number, and one copy."""

    def __init__(self, file: BinaryIO, folder: Path) -> None:
        self.file, self.folder = file, folder
        self.numbers: dict[str, int] = {}  # by key
        self.copies: dict[bytes, int] = {}  # by content

    def add(self, key: str, picture: np.ndarray) -> None:
        """`picture` is (3, S, S) uint8."""
        data = picture.tobytes()
        count = len(self.copies)
        self.numbers[key] = self.copies.setdefault(hashlib.sha256(data).digest(), count)
        if self.numbers[key] == count:
            self.shape = picture.shape
            with writing_pictures(self.folder):
                self.file.write(data)

    def __contains__(self, key: str) -> bool:
        return key in self.numbers

    @cached_property
    def array(self) -> np.ndarray:
        """All of them, (M, 3, S, S), mapped; none can be added any more."""
        with writing_pictures(self.folder):
            self.file.flush()
        return np.memmap(self.file, np.uint8, "r", shape=(len(self.copies), *self.shape))

    def rows(self, keys: Sequence[str]) -> Rows:
        return Rows(self.array, np.array([self.numbers[key] for key in keys], dtype=np.int64))


@contextmanager
def picture_file() -> Iterator[PictureFile]:
    """A file without a name in `cache_folder`. Its `rows` outlive the block; without them its space is free again."""
    folder = cache_folder()
    with writing_pictures(folder):
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    with file:
        yield PictureFile(file, folder)


class Captions(Sequence[str]):
    """The captions of a folder that `write_pairs` has filled; raises `OSError` or `ValueError` where it is damaged."""

    def __init__(self, folder: Path) -> None:
        self.ends = np.load(folder / "caption_ends.npy", mmap_mode="r", allow_pickle=False)
        self.text = np.asarray(np.memmap(folder / "captions.txt", np.uint8, "r"))
        if len(self.ends) and self.ends[-1] != len(self.text):
            raise ValueError(f"{folder} holds captions of another length.")

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        return self.text[self.ends[index - 1] if index else 0 : self.ends[index]].tobytes().decode()


def write_pairs(folder: Path, count: int, blocks: Iterable[Pairs]) -> None:
    """Writes `count` pairs, block by block. Plain writing instead of a memory map: a full disk is an `OSError`."""
    ends = array("q", [0])
    with open(folder / "images.npy", "wb") as images, open(folder / "captions.txt", "wb") as text:
        for number, block in enumerate(blocks):
            if number == 0:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, *block.images.shape[1:])}
                np.lib.format.write_array_header_1_0(images, header)
            images.write(np.ascontiguousarray(block.images).data)
            for caption in block.captions:
                ends.append(ends[-1] + text.write(caption.encode()))
    np.save(folder / "caption_ends.npy", np.array(ends[1:]))


def read_pairs(folder: Path) -> Pairs:
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    return Pairs(images, Captions(folder))


def cached(source: str, key: dict, count: int, make: Callable[[], Iterable[Pairs]]) -> Pairs:
    """`count` pairs from the disk cache; `make` yields them in blocks where they are not there yet."""
    folder = cache_folder() / source / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    if folder.exists():
        try:
            return read_pairs(folder)
        except (OSError, ValueError, EOFError):  # damaged: make it again
            shutil.rmtree(folder)
    with writing_pictures(folder.parent):
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            write_pairs(partial, count, make())
            partial.rename(folder)
        except OSError:
            if not folder.exists():  # else another process was faster
                raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return read_pairs(folder)
