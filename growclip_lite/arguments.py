"""What the arguments of the command line may be."""

from __future__ import annotations

import argparse
import math

from growclip_lite.errors import InputError


class Parser(argparse.ArgumentParser):
    """Tells wrong usage like all other bad input, in one sentence."""

    def error(self, message: str) -> None:
        raise InputError(f"{message}; see `{self.prog} --help`.")


def at_least_one(text: str) -> int:
    if not text.strip().isdecimal() or (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return value


def power(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 4")
    return float(f"{value:.6g}")  # as tables keep it: rows are found again by it
