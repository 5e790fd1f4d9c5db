"""Where the rows of the studies were measured: every setting of a table, its rows, its words, and its command."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from growclip_lite.data.load import BUILT_IN
from growclip_lite.profiles import PROFILES
from growclip_lite.table import SETTING, first_setting, rows_of


def read(folder: Path, study: str, **key: object) -> pd.DataFrame:
    """The rows of a study with these values; an empty table where there are none."""
    return rows_of(folder / f"{study}.csv", key)


def read_first(folder: Path, study: str) -> pd.DataFrame:
    """The rows of a study at the data, profile and timetable of its first row."""
    return first_setting(read(folder, study))


def settings(folder: Path, study: str) -> list[dict[str, object]]:
    """Every data, profile and timetable that the study has rows of."""
    rows = read(folder, study)
    return rows[SETTING].drop_duplicates().to_dict("records") if len(rows) else []


def is_own(setting: dict[str, object], name: str) -> bool:
    """Whether it has the value that its profile sets."""
    profile = PROFILES.get(setting["profile"])
    return profile is not None and getattr(profile, name) == setting[name]


def place(setting: dict[str, object]) -> str:
    """Where something was measured, in words; iterations are told where they are not the profile's own."""
    power, iterations = setting["share_power"], setting["iterations"]
    share = {0: "equal steps", 1: "equal epochs"}.get(power, f"steps by pairs ^ {power:g}")
    told = "" if is_own(setting, "iterations") else f" with {iterations:,} iterations"
    return f"{setting['data']}, {setting['profile']}{told}, {share}"


def command(study: str, setting: dict[str, object], short: bool = False) -> str:
    """What measures such rows of a study. Tables know a folder by its name alone: kept in `data/`, it is found."""
    data, profile = setting["data"], setting["profile"]
    options = {
        "data": None if data == "scenes" else data if data in BUILT_IN else f"data/{data}",
        "profile": None if profile == "study" else profile,
        "iterations": None if is_own(setting, "iterations") else setting["iterations"],
        "share-power": None if is_own(setting, "share_power") else f"{setting['share_power']:g}",
    }
    given = [f"--{name} {value}" for name, value in options.items() if value is not None]
    return " ".join(["growclip study", study, *given, *(["--short"] if short else [])])


def growth_command(folder: Path, setting: dict[str, object]) -> str:
    """That of study 1; its short form has no view at equal iterations."""
    return command("growth", setting, short=read(folder, "growth", view="steps", **setting).empty)


def grown_at(folder: Path, setting: dict[str, object]) -> pd.DataFrame:
    return read(folder, "growth", method="growclip", **setting)
