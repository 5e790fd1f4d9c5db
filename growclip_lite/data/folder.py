"""A user's own pictures: a folder with `captions.csv`, and what all user data share.

`captions.csv` has the columns `image` (path within the folder) and `caption`, and optionally `step` (growth step,
1, 2, ...), `label` (class name, for zero-shot classification) and `split` (train, val or test).

Every kind of user data becomes a list of `Record` and a dictionary of pictures; `make_stream` does the rest: splits,
growth steps, retrieval set and zero-shot task.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from tqdm.auto import tqdm

from growclip_lite.data.pictures import read_picture
from growclip_lite.data.stream import Pairs, Stream, Task, check_broken, fill, hold_out, step_sizes, tasks_by_step
from growclip_lite.errors import InputError

COLUMNS = ("image", "caption", "step", "label", "split")
MAX_FIELD = 1_000_000  # characters of a caption; much more is a double quote that was not closed
SPLITS = ("train", "val", "test")
HELD_OUT_SHARE = 0.1  # of the pictures, for validation and for test each
SMALL_FILE = 16_384  # bytes
MIN_FIRST_STEP = 8
MIN_HELD_OUT = 4
MAX_RETRIEVAL = 1000
TEMPLATES = ("{}", "a photo of a {}", "a picture of the {}", "this is a {}")
MAX_LEARNT_TEMPLATES = 8


@dataclass
class Record:
    """One pair as the user gave it; empty strings mean "not given".

    `where` names it in messages and `image` is the key of its picture. `make_stream` sets `growth_step`.
    """

    where: str
    image: str
    caption: str
    step: str = ""
    label: str = ""
    split: str = ""
    growth_step: int = 0

    def __post_init__(self) -> None:
        self.image = self.image.strip()
        self.caption = " ".join(self.caption.split())
        self.step = self.step.strip()
        self.label = " ".join(self.label.replace("_", " ").split())
        self.split = self.split.strip().lower()


def load_folder(folder: Path, image_size: int, growth_steps: int, seed: int) -> Stream:
    """Reads a folder with `captions.csv` into a stream of `image_size` pictures.

    `growth_steps` is used where there is no `step` column. Raises `InputError` where the table or too many pictures
    cannot be used; single broken pictures and empty captions are skipped and listed in `Stream.skipped`.
    """
    records, skipped = read_captions(folder)
    images = list(dict.fromkeys(record.image for record in records))
    pictures, broken = _read_pictures(folder, images, image_size)
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


def _read_pictures(folder: Path, images: list[str], size: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """The decoded pictures by path, and a line "path: reason" about each that cannot be read."""

    def read(image: str) -> np.ndarray | str:
        try:
            return read_picture(folder / image, size)
        except ValueError as error:
            return f"{image}: {error}"

    # Threads pay where decoding, which PIL does outside Python's lock, outweighs opening; not for thumbnails.
    sample = [folder / image for image in images[:100]]
    sizes = [path.stat().st_size for path in sample if os.path.isfile(path)]  # unlike Path.is_file, never raises
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        run = pool.map if sum(sizes) > SMALL_FILE * len(sizes) else map
        results = list(tqdm(run(read, images), "reading pictures", len(images), disable=None))
    decoded = {image: result for image, result in zip(images, results, strict=True) if not isinstance(result, str)}
    return decoded, [result for result in results if isinstance(result, str)]


def make_stream(
    name: str,
    records: list[Record],
    pictures: dict[str, np.ndarray],
    skipped: list[str],
    growth_steps: int,
    seed: int,
) -> Stream:
    """The stream of user data: `pictures` holds a (3, S, S) uint8 array per `Record.image` that could be read.

    Raises `InputError` for impossible splits or steps, and where too few pairs are left.
    """
    unique: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.image in pictures:
            unique.setdefault((record.image, record.caption), record)
    records = list(unique.values())
    rng = np.random.default_rng(seed)
    has_steps = _read_steps(records)
    _assign_splits(records, pictures, rng)
    train, validation, test = ([record for record in records if record.split == split] for split in SPLITS)
    if has_steps:
        growth_steps = _check_steps(train, validation)
    else:
        for part in (train, validation):
            _assign_steps_by_amount(part, growth_steps, rng)
    retrieval = _choose_retrieval(test, rng)
    _check_amounts(name, train, validation, test, retrieval)

    def by_step(part: list[Record]) -> list[Pairs]:
        steps = range(1, growth_steps + 1)
        return [_to_pairs([record for record in part if record.growth_step == step], pictures) for step in steps]

    class_steps = _class_steps(train, records, growth_steps)
    templates = list(dict.fromkeys([*TEMPLATES, *learn_templates(train)]))
    tasks = _label_tasks(test, list(class_steps), templates, pictures)
    return Stream(
        name=name,
        train=by_step(train),
        validation=by_step(validation),
        retrieval=_to_pairs(retrieval, pictures),
        tasks=tasks,
        validation_tasks=_label_tasks(validation, list(class_steps), templates, pictures),
        step_tasks=tasks_by_step(tasks[0], list(class_steps.values()), growth_steps) if tasks else [],
        skipped=skipped,
    )


def _read_steps(records: list[Record]) -> bool:
    """Turns the given steps into numbers; False where there are none. Raises `InputError` for anything else.

    Test pictures belong to no step, so theirs is ignored.
    """
    records = [record for record in records if record.split != "test"]
    if not any(record.step for record in records):
        return False
    for record in records:
        # Spreadsheets like to turn 1 into 1.0.
        match = re.fullmatch(r"0*([1-9][0-9]{0,8})(\.0*)?", record.step)
        if not match:
            raise InputError(f"{record.where} has the step {record.step!r}; steps must be 1, 2, 3, ...")
        record.growth_step = int(match[1])
    return True


def _check_steps(train: list[Record], validation: list[Record]) -> int:
    """The last growth step. Raises `InputError` where a step up to it has no training pair."""
    used = {record.growth_step for record in train}
    missing = next(step for step in count(1) if step not in used)
    last = max((record.growth_step for record in train + validation), default=0)
    if missing <= last:
        raise InputError(f"Growth step {missing} has no training pair; each of the steps 1 to {last} needs some.")
    return last


def _assign_splits(records: list[Record], pictures: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Gives every record a split, the same to all records of a picture. Raises `InputError`.

    Pictures without a split go where a copy of theirs was put by name, else they are for training. If no record names
    val (or test), that split is drawn at random from the training pictures; copies of a picture stay together.
    """
    named: dict[str, str] = {}
    for record in records:
        if record.split not in ("", *SPLITS):
            raise InputError(f"{record.where} has the split {record.split!r}; it must be train, val or test.")
        if record.split and named.setdefault(record.image, record.split) != record.split:
            raise InputError(
                f"{record.where} puts {record.image} in {record.split}, but it is in {named[record.image]} already; "
                "a picture must be in one split only."
            )
    content = cache(lambda image: hashlib.sha256(pictures[image]).digest())
    of_copy: dict[bytes, str] = {}
    for split in SPLITS:  # train first: of copies in different splits the held-out one counts
        of_copy |= {content(image): split for image, its in named.items() if its == split}
    splits = {r.image: named.get(r.image) or of_copy.get(content(r.image), "train") for r in records}
    for held_out in ("val", "test"):
        if held_out not in named.values():
            candidates = [image for image, split in splits.items() if split == "train"]
            share = HELD_OUT_SHARE * len(splits) / max(len(candidates), 1)
            copies: dict[bytes, list[str]] = {}
            for image in candidates:
                copies.setdefault(content(image), []).append(image)
            same = list(copies.values())
            for index in hold_out(len(same), share, least=0, rng=rng)[1]:
                splits |= dict.fromkeys(same[index], held_out)
    for record in records:
        record.split = splits[record.image]


def _assign_steps_by_amount(records: list[Record], growth_steps: int, rng: np.random.Generator) -> None:
    """Spreads the pictures over the growth steps at random; all records of a picture arrive together."""
    images = list(dict.fromkeys(record.image for record in records))
    steps = np.repeat(np.arange(1, growth_steps + 1), step_sizes(len(images), growth_steps))
    step_of = dict(zip(images, rng.permutation(steps).tolist(), strict=True))
    for record in records:
        record.growth_step = step_of[record.image]


def _check_amounts(
    name: str, train: list[Record], validation: list[Record], test: list[Record], retrieval: list[Record]
) -> None:
    """Raises `InputError` where there are too few pairs to train, to choose or to test on."""
    first = sum(record.growth_step == 1 for record in train)
    if first < MIN_FIRST_STEP:
        raise InputError(
            f"{name} has {first} training pairs in the first growth step, but at least {MIN_FIRST_STEP} are needed; "
            "add pairs, or put more of them into step 1."
        )
    for split, part in (("validation", validation), ("test", test)):
        if len(part) < MIN_HELD_OUT:
            raise InputError(
                f"{name} has {len(part)} {split} pairs, but at least {MIN_HELD_OUT} are needed; add pairs."
            )
    if len(retrieval) < 2:
        raise InputError(
            f"{name} has too few test pairs that differ in both picture and caption; retrieval needs at least 2."
        )


def _stack(records: list[Record], pictures: dict[str, np.ndarray]) -> np.ndarray:
    """The records' pictures as (M, 3, S, S) uint8, also for M = 0."""
    shape = next(iter(pictures.values())).shape
    return np.stack([pictures[record.image] for record in records]) if records else np.empty((0, *shape), np.uint8)


def _to_pairs(records: list[Record], pictures: dict[str, np.ndarray]) -> Pairs:
    return Pairs(_stack(records, pictures), [record.caption for record in records])


def _choose_retrieval(test: list[Record], rng: np.random.Generator) -> list[Record]:
    """At most `MAX_RETRIEVAL` test records in which every caption and every picture occurs once."""
    captions: set[str] = set()
    images: set[str] = set()
    chosen = []
    for record in test:
        if record.caption not in captions and record.image not in images:
            captions.add(record.caption)
            images.add(record.image)
            chosen.append(record)
    if len(chosen) > MAX_RETRIEVAL:
        chosen = [chosen[i] for i in np.sort(rng.choice(len(chosen), MAX_RETRIEVAL, replace=False))]
    return chosen


def learn_templates(records: list[Record]) -> list[str]:
    """The most frequent captions with their own label replaced by {}, most frequent first.

    Zero-shot classification needs prompts that look like the captions of the training data.
    """
    patterns = {r.label: re.compile(rf"(?<!\w){re.escape(r.label)}(?!\w)", re.IGNORECASE) for r in records if r.label}
    templates: Counter[str] = Counter()
    for record in records:
        if record.label:
            template, found = patterns[record.label].subn("{}", record.caption)
            if found:
                templates[re.sub(r"\b([Aa])n \{\}", r"\1 {}", template)] += 1
    # Met only once, it is a caption and not a template.
    return [template for template, times in templates.most_common(MAX_LEARNT_TEMPLATES) if times > 1]


def _class_steps(train: list[Record], records: list[Record], last_step: int) -> dict[str, int]:
    """The first growth step of every label in training; one that training lacks counts as arriving last."""
    steps = dict.fromkeys(sorted({record.label for record in records if record.label}), last_step)
    for record in train:
        if record.label:
            steps[record.label] = min(steps[record.label], record.growth_step)
    return steps


def _label_tasks(
    held_out: list[Record], classes: list[str], templates: list[str], pictures: dict[str, np.ndarray]
) -> list[Task]:
    """The zero-shot task "label" over held-out pictures, or none where there is nothing to tell apart."""
    # A picture with several captions counts once.
    labelled = list({record.image: record for record in held_out if record.label}.values())
    if len(classes) < 2 or not labelled:
        return []
    index = {label: number for number, label in enumerate(classes)}
    labels = np.array([index[record.label] for record in labelled])
    prompts = [[fill(template, label) for template in templates] for label in classes]
    return [Task("label", _stack(labelled, pictures), labels, prompts)]
