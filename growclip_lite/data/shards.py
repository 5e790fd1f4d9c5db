"""A user's own pictures in WebDataset tar shards, such as `shards/{000..009}.tar`.

A sample is a group of files with the same name: a picture (`.jpg`, `.jpeg`, `.png` or `.webp`), its caption (`.txt`,
or `caption` in a `.json`), and optionally its class (`.label.txt`, `.cls`, or `label` in the json) and growth step
(`step` in the json).
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tqdm.auto import tqdm
from webdataset.shardlists import expand_urls
from webdataset.tariterators import group_by_keys, tar_file_expander

from growclip_lite.data.disk import picture_file
from growclip_lite.data.pictures import read_picture
from growclip_lite.data.records import Record, make_stream
from growclip_lite.data.stream import Stream, check_broken
from growclip_lite.errors import InputError

PICTURE_SUFFIXES = ("jpg", "jpeg", "png", "webp")


def load_shards(source: str, image_size: int, growth_steps: int, seed: int) -> Stream:
    """Reads tar shards, named in brace notation, into a stream of `image_size` pictures.

    `growth_steps` is used where the samples name no step. Validation and test pictures are chosen at random by `seed`.
    Raises `InputError` where a shard is missing or broken, or too many pictures are; single broken samples are
    skipped and listed in `Stream.skipped`.
    """
    records: list[Record] = []
    skipped: list[str] = []
    broken: list[str] = []
    with picture_file() as pictures:
        for where, sample in tqdm(_samples(source), "reading shards", unit=" samples", disable=None):
            picture = next((sample[suffix] for suffix in PICTURE_SUFFIXES if suffix in sample), None)
            try:
                record = _to_record(where, sample)
            except (ValueError, RecursionError) as error:  # the second: json nested too deeply
                skipped.append(f"{where}: {error}")
                continue
            if picture is None or not record.caption:
                skipped.append(f"{where}: no {'picture' if picture is None else 'caption'}")
                continue
            # The picture itself is its key, so that copies of it cannot end up in two splits.
            record.image = hashlib.sha256(picture).hexdigest()
            try:
                if record.image not in pictures:
                    pictures.add(record.image, read_picture(picture, image_size))
            except ValueError as error:
                broken.append(f"{where}: {error}")
            records.append(record)
        if not records:
            raise InputError(
                f"{source} has no usable sample; each needs a picture (.jpg, .png, .webp) and a caption (.txt)."
            )
        check_broken(broken, len(records), source)
        return make_stream(Path(source).name, records, pictures, skipped + broken, growth_steps, seed)


def _samples(source: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """All samples with a name for messages, by file suffix. Raises `InputError` for missing and broken shards."""
    try:
        paths = expand_urls(source)
    except (ValueError, AssertionError) as error:  # unbalanced braces; an unknown ${VARIABLE}
        raise InputError(f"{source} is not in brace notation such as 'shards/{{000..009}}.tar' ({error}).") from error
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"There is no shard {path}; check the name and the numbers in {source}.")
    for path in paths:
        try:
            # `webdataset.WebDataset` would do the same, but leaves its files open.
            with open(path, "rb") as stream:
                _check_end(stream)
                for sample in group_by_keys(tar_file_expander([{"url": path, "stream": stream}])):
                    yield f"{sample['__key__']} in {Path(path).name}", sample
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            # webdataset appends objects to the arguments; the first one, or strerror, is the reason.
            reason = " ".join(str(getattr(error, "strerror", None) or error.args[0]).split())
            raise InputError(f"The shard {path} cannot be read ({reason}); please make it again.") from error


def _check_end(stream: BinaryIO) -> None:
    """Raises `EOFError` where there is no block of zeros at the end; tarfile would take some cuts for the end."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(size - tarfile.BLOCKSIZE, 0))
    if stream.read() != bytes(tarfile.BLOCKSIZE):
        raise EOFError("it does not end like a tar archive")
    stream.seek(0)


def _to_record(where: str, sample: dict[str, bytes]) -> Record:
    """The sample's texts, without its picture. Raises `ValueError` where they are not UTF-8 or no json object."""
    texts = {name: sample[name].decode("utf-8-sig") for name in ("txt", "label.txt", "cls") if name in sample}
    facts = json.loads(sample.get("json", b"{}"))
    if not isinstance(facts, dict):
        raise ValueError("the json is not an object")
    told = {name: str(value) for name, value in facts.items() if value is not None}  # null: not given
    return Record(
        where,
        image="",
        caption=texts.get("txt") or told.get("caption", ""),
        step=told.get("step", ""),
        label=texts.get("label.txt") or texts.get("cls") or told.get("label", ""),
    )
