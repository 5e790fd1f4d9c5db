"""Tables of rows, one per job: written whole or not at all, with the provenance of every row."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from growclip_lite.devices import machine
from growclip_lite.errors import InputError
from growclip_lite.files import write_atomically
from growclip_lite.report import versions

PACKAGE = Path(__file__).resolve().parent
RESULTS = PACKAGE.parent / "results"  # the tables that come with the project
TIMETABLE = ["profile", "iterations", "share_power"]
SETTING = ["data", *TIMETABLE]


@cache
def commit() -> str:
    """The commit of this package, with + where its files were changed since. Asked once: what is committed while a
    study runs is not what its processes have loaded. "unknown" without git, or where the package is installed."""
    if not shutil.which("git") or not (PACKAGE.parent / ".git").exists():
        return "unknown"

    def git(*words: str) -> str:
        result = subprocess.run(["git", *words], capture_output=True, text=True, cwd=PACKAGE)
        return result.stdout.strip() if result.returncode == 0 else "unknown"

    changed = "+" if git("status", "--porcelain", "--", ".") not in ("", "unknown") else ""
    return git("rev-parse", "--short", "HEAD") + changed


def provenance(precision: torch.dtype | None = None) -> dict[str, str]:
    """Commit, versions and machine of a row, and the precision where a job has one."""
    about = ", ".join(f"{name} {version}" for name, version in versions(precision).items())
    return {"commit": commit(), "versions": about, "machine": machine()}


def flat(scores: dict) -> dict[str, float]:
    """Evaluation results as columns."""
    columns = {f"zero_shot_{name}": value for name, value in scores["zero_shot"].items()}
    return columns | {"zero_shot_mean": scores["zero_shot_mean"]} | scores["retrieval"]


def read_table(path: Path) -> pd.DataFrame:
    """A table as it was written. A commit is a word, also where it happens to be all digits, or like 12e4567; so is the
    name of a folder of data. Raises `InputError` for a file that is no table."""
    try:
        return pd.read_csv(path, dtype={"commit": str, "data": str})
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no table ({error}); please restore or remove it.") from error


def rows_of(path: Path, key: dict) -> pd.DataFrame:
    """The rows of `path` with these values; none where there is no such file."""
    if not path.exists():
        return pd.DataFrame()
    rows = read_table(path)
    match = pd.Series(True, index=rows.index)
    for name, value in key.items():
        match &= rows[name] == value if name in rows else False
    return rows[match]


def done(path: Path, key: dict) -> bool:
    """Whether `path` has a row with these values."""
    return not rows_of(path, key).empty


def write_table(path: Path, rows: pd.DataFrame) -> None:
    write_atomically(path, lambda partial: rows.to_csv(partial, index=False, float_format="%.6g"))


def add_row(path: Path, row: dict) -> None:
    rows = [read_table(path)] if path.exists() else []
    write_table(path, pd.concat([*rows, pd.DataFrame([row])]))


def measured_at(rows: pd.DataFrame) -> dict[str, object]:
    """The data, profile and timetable of the first row."""
    return rows[SETTING].iloc[0].to_dict()


def first_setting(rows: pd.DataFrame, columns: Sequence[str] = SETTING) -> pd.DataFrame:
    """The rows with the data, profile and timetable of the first one, or what else of it `columns` name."""
    if rows.empty:
        return rows
    return rows[(rows[list(columns)] == rows[list(columns)].iloc[0]).all(axis=1)]


def steps_of(rows: pd.DataFrame, column: str) -> np.ndarray:
    """(seeds, growth steps) from a column that lists one number per step."""
    return np.array([[float(value) for value in str(text).split()] for text in rows[column]])
