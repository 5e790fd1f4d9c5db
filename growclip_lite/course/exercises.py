"""Exercises that check themselves: every check prints "right", that it was not attempted, or what is still wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

NOT_ATTEMPTED, RIGHT = "not attempted (or a function returned nothing)", "right"


class NotAttempted(Exception):
    """The reader has written nothing yet."""


class Wrong(Exception):
    """What is wrong with an answer, in a sentence that helps without giving the solution away."""


def require(condition: bool, hint: str) -> None:
    """Raises `Wrong` with the hint unless the condition holds."""
    if not condition:
        raise Wrong(hint)


def attempted(answer: object) -> object:
    """The answer itself. Raises `NotAttempted` for None and `...`; a function is checked whenever it is called."""
    if answer is None or answer is ...:
        raise NotAttempted
    if not callable(answer):
        return answer

    @functools.wraps(answer)
    def checked(*arguments: object, **named: object) -> object:
        return attempted(answer(*arguments, **named))

    return checked


def verdict(check: Callable[[object], None], answer: object) -> str:
    """What the reader is told about an answer. Never raises, whatever the reader has written."""
    try:
        check(attempted(answer))
    except NotAttempted:
        return NOT_ATTEMPTED
    except Wrong as hint:
        return f"not yet: {hint}"
    except Exception as error:  # the reader's code may fail in any way, and so may what reads its result
        return f"not yet: your code, or the check of what it returned, stopped with {type(error).__name__}: {error}"
    return RIGHT


def random_tensor(*shape: int, seed: int) -> Tensor:
    """Normal numbers for an answer to be tried on."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def exercise(check: Callable[[object], None]) -> Callable[[object], None]:
    """Decorates `check(answer)`, which raises `Wrong` (best by `require`) where the answer fails.

    The decorated check prints its verdict and lets the notebook go on; the bare one is its `__wrapped__`.
    """

    @functools.wraps(check)
    def run(answer: object) -> None:
        print(f"{check.__name__.removeprefix('check_').replace('_', ' ')}: {verdict(check, answer)}")

    return run
