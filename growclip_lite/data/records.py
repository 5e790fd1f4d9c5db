"""What all user data share: records, as a folder or tar shards gave them, become a stream.

`make_stream` does splits, growth steps, retrieval set and zero-shot task.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import count

import numpy as np

from growclip_lite.data.disk import PictureFile
from growclip_lite.data.stream import Pairs, Stream, Task, fill, hold_out, step_sizes, tasks_by_step
from growclip_lite.errors import InputError

SPLITS = ("train", "val", "test")
HELD_OUT_SHARE = 0.1  # of the pictures, for validation and for test each
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


def make_stream(
    name: str,
    records: list[Record],
    pictures: PictureFile,
    skipped: list[str],
    growth_steps: int,
    seed: int,
) -> Stream:
    """The stream of user data: `pictures` holds every `Record.image` that could be read.

    Raises `InputError` for impossible splits or steps, and where too few pairs are left.
    """
    records = [record for record in records if record.image in pictures]
    named = _named_splits(records)
    records = _without_repeats(records)
    rng = np.random.default_rng(seed)
    has_steps = _read_steps(records)
    _assign_splits(records, named, pictures, rng)
    train, validation, test = ([record for record in records if record.split == split] for split in SPLITS)
    if has_steps:
        growth_steps = _check_steps(train, validation)
    else:
        for part in (train, validation):
            _assign_steps_by_amount(part, growth_steps, rng)
    retrieval = _choose_retrieval(test, pictures, rng)
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


def _named_splits(records: list[Record]) -> dict[str, str]:
    """The splits that the user gave, by picture; all records of it get it. Raises `InputError`."""
    named: dict[str, str] = {}
    for record in records:
        if record.split not in ("", *SPLITS):
            raise InputError(f"{record.where} has the split {record.split!r}; it must be train, val or test.")
        if record.split and named.setdefault(record.image, record.split) != record.split:
            raise InputError(
                f"{record.where} puts {record.image} in {record.split}, but it is in {named[record.image]} already; "
                "a picture must be in one split only."
            )
    for record in records:
        record.split = named.get(record.image, "")
    return named


def _without_repeats(records: list[Record]) -> list[Record]:
    """One record for every picture and caption; what its first row leaves out, a later one may give."""
    unique: dict[tuple[str, str], Record] = {}
    for record in records:
        kept = unique.setdefault((record.image, record.caption), record)
        kept.step, kept.label = kept.step or record.step, kept.label or record.label
    return list(unique.values())


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


def _assign_splits(
    records: list[Record], named: dict[str, str], pictures: PictureFile, rng: np.random.Generator
) -> None:
    """Gives every record a split, the same to all records of a picture.

    Pictures without a split go where a copy of theirs was put by name, else they are for training. If no record names
    val (or test), that split is drawn at random from the training pictures; copies of a picture stay together.
    """
    of_copy: dict[int, str] = {}
    for split in SPLITS:  # train first: of copies in different splits the held-out one counts
        of_copy |= {pictures.numbers[image]: split for image, its in named.items() if its == split}
    splits = {r.image: named.get(r.image) or of_copy.get(pictures.numbers[r.image], "train") for r in records}
    for held_out in ("val", "test"):
        if held_out not in named.values():
            candidates = [image for image, split in splits.items() if split == "train"]
            share = HELD_OUT_SHARE * len(splits) / max(len(candidates), 1)
            copies: dict[int, list[str]] = {}
            for image in candidates:
                copies.setdefault(pictures.numbers[image], []).append(image)
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


def _to_pairs(records: list[Record], pictures: PictureFile) -> Pairs:
    return Pairs(pictures.rows([record.image for record in records]), [record.caption for record in records])


def _choose_retrieval(test: list[Record], pictures: PictureFile, rng: np.random.Generator) -> list[Record]:
    """At most `MAX_RETRIEVAL` test records in which every caption and every picture occurs once."""
    captions: set[str] = set()
    numbers: set[int] = set()
    chosen = []
    for record in test:
        number = pictures.numbers[record.image]
        if record.caption not in captions and number not in numbers:
            captions.add(record.caption)
            numbers.add(number)
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


def _label_tasks(held_out: list[Record], classes: list[str], templates: list[str], pictures: PictureFile) -> list[Task]:
    """The zero-shot task "label" over held-out pictures, or none where there is nothing to tell apart.

    A picture with several captions counts once, one with several labels not at all: either answer would be right.
    """
    of_picture: dict[str, set[str]] = {}
    for record in held_out:
        if record.label:
            of_picture.setdefault(record.image, set()).add(record.label)
    labelled = {image: label for image, (label, *others) in of_picture.items() if not others}
    if len(classes) < 2 or not labelled:
        return []
    index = {label: number for number, label in enumerate(classes)}
    labels = np.array([index[label] for label in labelled.values()])
    prompts = [[fill(template, label) for template in templates] for label in classes]
    return [Task("label", pictures.rows(list(labelled)), labels, prompts)]
