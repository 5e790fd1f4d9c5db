"""A user's own pictures: a folder with `captions.csv`.

`captions.csv` has the columns `image` (path within the folder) and `caption`, and optionally `step` (growth step,
1, 2, ...), `label` (class name, for zero-shot classification) and `split` (train, val or test).
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from tqdm.auto import tqdm

from growclip_lite.data.disk import PictureFile, picture_file
from growclip_lite.data.pictures import read_picture
from growclip_lite.data.records import Record, make_stream
from growclip_lite.data.stream import Stream, check_broken
from growclip_lite.errors import InputError

COLUMNS = ("image", "caption", "step", "label", "split")
MAX_FIELD = 1_000_000  # characters of a caption; much more is a double quote that was not closed
SMALL_FILE = 16_384  # bytes
BLOCK = 1_000  # pictures in memory at a time


def load_folder(folder: Path, image_size: int, growth_steps: int, seed: int) -> Stream:
    """Reads a folder with `captions.csv` into a stream of `image_size` pictures.

    `growth_steps` is used where there is no `step` column. Raises `InputError` where the table or too many pictures
    cannot be used; single broken pictures and empty captions are skipped and listed in `Stream.skipped`.
    """
    records, skipped = read_captions(folder)
    images = list(dict.fromkeys(record.image for record in records))
    with picture_file() as pictures:
        broken = _read_pictures(folder, images, image_size, pictures)
        check_broken(broken, len(images), str(folder))
        return make_stream(folder.resolve().name, records, pictures, skipped + broken, growth_steps, seed)


def read_captions(folder: Path) -> tuple[list[Record], list[str]]:
    """The rows of `captions.csv` and a line about each row without a caption. Raises `InputError`."""
    path = folder / "captions.csv"
    if not path.is_file():
        raise InputError(f"{folder} has no captions.csv; write one with the columns image and caption.")
    rows = _read_table(path)
    if not rows:
        raise InputError(f"{path} is empty; it needs a first line 'image,caption' and a row per pair.")
    names = [name.strip().lower() for name in rows.pop(0)[1]]
    if doubled := [name for name, times in Counter(names).items() if name and times > 1]:
        raise InputError(f"{path} has the column {' and '.join(doubled)} more than once; please rename all but one.")
    if missing := [name for name in ("image", "caption") if name not in names]:
        raise InputError(f"{path} lacks the column {' and '.join(missing)}; its first line must be 'image,caption'.")
    records, skipped = [], []
    for number, row in rows:
        if len(row) > len(names):
            raise InputError(
                f"Row {number} of {path} has {len(row)} fields, but there are {len(names)} columns; "
                "put captions with commas in double quotes."
            )
        given = dict(zip(names, row, strict=False))  # the last fields may be left out
        fields = {name: given.get(name, "") for name in COLUMNS}
        record = Record(f"row {number} of {path}", **fields)
        empty = [name for name in ("image", "caption") if not getattr(record, name)]
        if empty:
            skipped.append(f"row {number}: empty {' and '.join(empty)}")
        else:
            record.image = _inside(record)
            records.append(record)
    if not records:
        raise InputError(f"{path} has no row with an image and a caption; please add one per pair.")
    return records, skipped


def _read_table(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with their numbers from 1. Raises `InputError` where the file is no CSV in UTF-8."""
    rows: list[list[str]] = []
    limit = csv.field_size_limit(MAX_FIELD)  # the whole process has one: it is set back below
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "\0" in text.partition("\n")[0]:  # in a caption they do no harm
            raise InputError(f"{path} has NUL bytes in its first line, as UTF-16 has; please save it as UTF-8.")
        for row in csv.reader(io.StringIO(text, newline=""), strict=True):
            rows.append(row)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text ({error}); please save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); please check the file.") from error
    except csv.Error as error:
        raise InputError(
            f"Row {len(rows) + 1} of {path} cannot be read ({error}); close all double quotes, write those within a "
            "quoted caption twice, and nothing between a closing quote and the comma."
        ) from error
    finally:
        csv.field_size_limit(limit)
    return [(number, row) for number, row in enumerate(rows, 1) if len(row) > 1 or "".join(row).strip()]


def _inside(record: Record) -> str:
    """The record's image path in normal form. Raises `InputError` where it leads out of the folder."""
    path = PurePosixPath(record.image.replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(path).drive or ".." in path.parts:
        raise InputError(f"{record.where}: image {record.image!r} must be a path within the folder.")
    return str(path)


def _read_pictures(folder: Path, images: list[str], size: int, pictures: PictureFile) -> list[str]:
    """Decodes the pictures into `pictures`, by path. A line "path: reason" about each that cannot be read."""
    broken = []

    def read(image: str) -> np.ndarray | str:
        try:
            return read_picture(folder / image, size)
        except ValueError as error:
            return f"{image}: {error}"

    # Threads pay where decoding, which PIL does outside Python's lock, outweighs opening; not for thumbnails.
    sample = [folder / image for image in images[:100]]
    sizes = [path.stat().st_size for path in sample if os.path.isfile(path)]  # unlike Path.is_file, never raises
    progress = tqdm(desc="reading pictures", total=len(images), disable=None)
    with progress, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        run = pool.map if sum(sizes) > SMALL_FILE * len(sizes) else map
        for begin in range(0, len(images), BLOCK):  # a pool would take them all, and keep what it has decoded
            block = images[begin : begin + BLOCK]
            for image, result in zip(block, run(read, block), strict=True):
                progress.update()
                if isinstance(result, str):
                    broken.append(result)
                else:
                    pictures.add(image, result)
    return broken
