"""Where the notebooks find the project's files, and how much they compute."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

Amount = TypeVar("Amount")


def root() -> Path:
    """The project's folder: the nearest one, from here upwards, that holds notebooks and results."""
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if (folder / "notebooks" / "source").is_dir() and (folder / "results").is_dir():
            return folder
    raise FileNotFoundError("The notebooks need the project's folder; please start Jupyter inside of it.")


def folder(out: str) -> Path:
    """The notebook's output folder, made; a relative one lies in the project's folder."""
    path = root() / out
    path.mkdir(parents=True, exist_ok=True)
    return path


def checkpoint(step: int | None = None) -> Path:
    """The folder of a shipped checkpoint: the last growth step's, or that of an earlier one."""
    return root() / "checkpoints" / ("scenes-laptop" if step is None else f"scenes-laptop-step-{step}")


def amount(profile: str, smoke: Amount, laptop: Amount) -> Amount:
    """How much to compute: `smoke` in the profile of that name, `laptop` in all others."""
    return smoke if profile == "smoke" else laptop
