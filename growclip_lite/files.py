"""Files: written whole or not at all, and where those are kept that can be made again."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from growclip_lite.errors import InputError


def cache_folder() -> Path:
    """Where pictures wait on disk, and what was drawn or measured once: GROWCLIP_CACHE, else ~/.cache/growclip-lite."""
    given = os.environ.get("GROWCLIP_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "growclip-lite"


@contextmanager
def writing_pictures(folder: Path) -> Iterator[None]:
    """Makes `folder`, which is for pictures, and raises `InputError` where it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise InputError(
            f"{folder} cannot keep pictures ({error.strerror}); set GROWCLIP_CACHE to a folder that can be written and "
            "has space."
        ) from error


def write_json(path: Path, value: object) -> None:
    """Replaces `path` in one go, so that a reader never sees half a file."""
    write_atomically(path, lambda partial: partial.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8"))


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write` with a temporary path beside `path`, then renames it; removes it if writing fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=path.suffix)
    os.close(handle)
    partial = Path(name)
    try:
        write(partial)
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_json(path: Path) -> dict:
    """Raises `InputError` where the file is missing or holds no JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There is no {path}; give a folder that growclip has written.") from error
    except (OSError, ValueError, RecursionError) as error:  # too deeply nested JSON recurses
        raise InputError(f"{path} cannot be read ({error}); please restore it or run again.") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds {type(value).__name__}, not a JSON object; please restore it.")
    return value
