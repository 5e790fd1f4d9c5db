"""A stream: image-text pairs that arrive in growth steps, with what is needed to test on them.

Every source (`scenes`, `emoji`, a folder, tar shards) ends up as one `Stream`; nothing after this
module knows where the pairs came from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from growclip_lite.errors import InputError

# One fifth of broken pictures is more than bad luck: the folder is probably not what the user thinks it is.
MAX_BROKEN_SHARE = 0.2


class Rows:
    """Chosen rows of a large array on disk, read when they are asked for: `rows[i]` and `rows[i:j]` are arrays."""

    def __init__(self, array: np.ndarray, index: np.ndarray) -> None:
        self.array, self.index = array, index
        self.shape = (len(index), *array.shape[1:])

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, index: int | slice | np.ndarray) -> np.ndarray:
        return np.asarray(self.array[self.index[index]])

    def take(self, index: np.ndarray, axis: int = 0) -> Rows:
        """As numpy's along axis 0, but nothing is read yet."""
        return Rows(self.array, self.index[index])


@dataclass
class Pairs:
    """Pictures and their captions, aligned: `images[i]` is described by `captions[i]`.

    `images` is (M, 3, S, S) uint8, in memory, memory-mapped or `Rows`; captions may likewise lie on disk (`disk`).
    """

    images: np.ndarray | Rows
    captions: Sequence[str]

    def __post_init__(self) -> None:
        if len(self.images) != len(self.captions):
            raise ValueError(f"{len(self.images)} images but {len(self.captions)} captions.")

    def __len__(self) -> int:
        return len(self.captions)


@dataclass
class Task:
    """A zero-shot classification task.

    `images` (M, 3, S, S) uint8 and `labels` (M,) int64. `prompts[c]` holds the templates of class c,
    to be ensembled in embedding space. Where the candidates differ from picture to picture
    (`per_picture`), `prompts[i][c]` holds the templates of candidate c of picture i.
    """

    name: str
    images: np.ndarray | Rows
    labels: np.ndarray
    prompts: list
    per_picture: bool = False

    @property
    def classes(self) -> int:
        """How many there are to choose from."""
        return len(self.prompts[0] if self.per_picture else self.prompts)

    @property
    def chance(self) -> float:
        """Accuracy of guessing, in [0, 1]."""
        return 1 / self.classes


@dataclass
class Stream:
    """Growth steps of training pairs, with held-out pairs for choosing and for reporting.

    `train[t - 1]` and `validation[t - 1]` are the *new* pairs of growth step t; D_t of the paper is
    the union of the parts up to t. Validation pairs serve the search and every other choice;
    `retrieval` and `tasks` are test data, which only reports may touch. `validation_tasks` mirror
    `tasks` on pictures that are neither trained nor tested on.
    `step_tasks[s - 1]` are test tasks of growth step s, for forgetting: on scenes about all concepts known by then,
    elsewhere about those that it introduced.
    `skipped` names user pictures that could not be read. `augment` allows training to move pictures
    a little, and to mirror those whose captions do not speak of left or right.
    """

    name: str
    train: list[Pairs]
    validation: list[Pairs]
    retrieval: Pairs
    tasks: list[Task]
    validation_tasks: list[Task] = field(default_factory=list)
    step_tasks: list[list[Task]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    augment: bool = True

    @property
    def image_size(self) -> int:
        return (self.train[0] if self.train else self.retrieval).images.shape[-1]


def step_sizes(total: int, steps: int) -> list[int]:
    """Sizes of the new parts when `total` pairs are split into growth steps by amount.

    The data so far double from step to step; the sizes sum to `total`.
    """
    ends = [round(total * 2.0 ** (t - steps)) for t in range(1, steps + 1)]
    return [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def hold_out(count: int, share: float, least: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Splits range(count) at random into (kept, held out), both sorted."""
    held = min(max(round(count * share), least), count // 2)
    order = rng.permutation(count)
    return np.sort(order[held:]), np.sort(order[:held])


def tasks_by_step(task: Task, class_steps: Sequence[int], steps: int) -> list[list[Task]]:
    """`Stream.step_tasks` from one task: what each step introduced, among the classes known by then.

    `class_steps[c]` is the growth step (from 1) in which class c first appears in training. A step that brings
    nothing new to test, or nothing to tell it from, gets no task.
    """
    first = np.asarray(class_steps)
    parts: list[list[Task]] = []
    for step in range(1, steps + 1):
        known = np.flatnonzero(first <= step)
        rows = np.flatnonzero(first[task.labels] == step)
        labels = np.searchsorted(known, task.labels[rows])
        part = Task(task.name, task.images.take(rows, axis=0), labels, [task.prompts[c] for c in known])
        parts.append([part] if len(rows) and len(known) > 1 else [])
    return parts


def fill(template: str, label: str) -> str:
    """The template with the label in place of {}; "a" or "an" in front of it is chosen by the label's first letter."""
    n = "n" if label[:1].lower() in tuple("aeiou") else ""
    return re.sub(r"\b([Aa])n? \{\}", rf"\1{n} {{}}", template).replace("{}", label)


def check_broken(broken: Sequence[str], total: int, where: str) -> None:
    """Stops where more than `MAX_BROKEN_SHARE` of the pictures could not be read."""
    if total and len(broken) > MAX_BROKEN_SHARE * total:
        raise InputError(
            f"{len(broken)} of {total} pictures in {where} cannot be read (first: {broken[0]}); "
            f"at most {MAX_BROKEN_SHARE:.0%} may be broken, so please check the folder."
        )


def check_seed(seed: object) -> None:
    """Raises `InputError` unless it is a whole number that every generator of random numbers takes."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"The seed is {seed!r}, but must be a whole number from 0 to {2**32 - 1}.")
