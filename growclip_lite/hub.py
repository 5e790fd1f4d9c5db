"""The Hugging Face Hub: push a checkpoint or a whole growth history, fetch one into the cache, pull one into a folder.

All traffic goes through huggingface_hub, so `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN`, `HF_HOME`, the cache and
its progress bars mean what the Hub's users know.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of the HTTP library in use, whichever that is
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from growclip_lite.checkpoint import load_model
from growclip_lite.errors import InputError
from growclip_lite.report import read_report

NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
FILES = (*NEEDED, "README.md", "growth.png")
SHA256, GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def is_repo_id(source: str) -> bool:
    """Whether `source` can be a name on the Hub, user/name."""
    try:
        validate_repo_id(source)
    except HFValidationError:
        return False
    return source.count("/") == 1


@contextmanager
def hub_errors(repo_id: str, revision: str | None = None) -> Iterator[None]:
    """Turns what goes wrong on the way to the Hub into an `InputError` of one sentence, which names the remedy."""
    hub = constants.ENDPOINT
    try:
        yield
    except GatedRepoError as error:
        raise InputError(f"{repo_id} on {hub} asks for consent first: give it on its page, then log in.") from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"There is no folder and no repository {repo_id} on {hub}, or it is private; "
            "check the name, or log in with `hf auth login`."
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(
            f"{repo_id} on {hub} has no revision {revision!r}; its page lists branches and tags."
        ) from error
    except LocalTokenNotFoundError as error:
        raise InputError(f"{repo_id} was to be asked for with a token, and there is none; `hf auth login`.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise InputError(
            f"{repo_id} is not (whole) in the cache, and {hub} cannot be reached or is not asked in offline mode; "
            "get online once, or give a folder."
        ) from error
    except EntryNotFoundError as error:
        raise InputError(f"{repo_id} on {hub} lacks a file of the checkpoint; was it pushed by growclip?") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise InputError(
                f"{hub} gives no permission for {repo_id} (status {status}); "
                "log in with `hf auth login`, with a token that may do this."
            ) from error
        reason = error.server_message or "no reason given"
        detail = f"refuses what is sent for {repo_id}" if isinstance(error, BadRequestError) else "fails"
        raise InputError(f"{hub} {detail} (status {status}: {reason}); please try again later.") from error
    except HTTPError as error:
        raise InputError(
            f"No connection to {hub}, or it broke off ({type(error).__name__}); please try again."
        ) from error
    except ValueError as error:  # a wrong name; metadata in README.md that the Hub does not take
        raise InputError(f"{repo_id} cannot be sent to {hub} or had from it: {error}") from error
    except (RuntimeError, OSError) as error:
        if getattr(error, "errno", None) is not None:  # this machine's disk, not the way to the Hub
            raise
        raise InputError(f"Sending {repo_id} to {hub}, or getting it, broke off; please try again.") from error


def damaged(path: Path) -> bool:
    """Whether a cached file is not what its name says: the SHA-256 of a large file, git's id of a small one."""
    blob = path.resolve()
    content = blob.read_bytes()
    if SHA256.fullmatch(blob.name):
        return hashlib.sha256(content).hexdigest() != blob.name
    if GIT_SHA1.fullmatch(blob.name):
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() != blob.name
    return False  # a cache without links, as on some Windows machines: sizes were compared in the download


def fetch(
    repo_id: str, revision: str | None = None, *, token: str | bool | None = None, cache_dir: str | Path | None = None,
    local_files_only: bool = False, force_download: bool = False,
) -> Path:  # fmt: skip
    """Downloads a checkpoint into the Hub's cache, or finds it there; returns its folder.

    `revision` is a branch, a tag or a commit. Raises `InputError` where it cannot be had, or where
    a file is not what the Hub says it is; such a file is taken out of the cache again.
    """
    with hub_errors(repo_id, revision):
        folder = snapshot_download(
            repo_id, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only,
            force_download=force_download, allow_patterns=list(FILES),
        )  # fmt: skip
    found = [path for name in FILES if (path := Path(folder) / name).exists()]
    if missing := set(NEEDED) - {path.name for path in found}:
        raise InputError(
            f"{repo_id} lacks {', '.join(sorted(missing))}; it is not a checkpoint that growclip has written."
        )
    if broken := [path for path in found if damaged(path)]:
        for path in broken:
            path.resolve().unlink()
            path.unlink(missing_ok=True)
        names = ", ".join(path.name for path in broken)
        raise InputError(f"Wrong checksum of {names} of {repo_id}: taken out of the cache; please try again.")
    return Path(folder)


def pull(repo_id: str, folder: Path, revision: str | None = None) -> None:
    """Copies a checkpoint from the Hub into the new folder `folder`, all or nothing, after loading it once."""
    if folder.exists():
        raise InputError(f"{folder} exists already; please give another folder.")
    source = fetch(repo_id, revision)
    load_model(source)
    partial = folder.parent / f".{folder.name}-partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name in FILES:
            if (source / name).exists():
                shutil.copyfile(source / name, partial / name)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def upload(folder: Path, repo_id: str, private: bool | None, branch: str = "main") -> str:
    """Sends a checkpoint in one commit; makes the repository and the branch where they do not exist."""
    if not is_repo_id(repo_id):
        raise InputError(f"{repo_id!r} is no name of a repository; give user/name.")
    operations = [CommitOperationAdd(name, folder / name) for name in FILES if (folder / name).exists()]
    api = HfApi()
    with hub_errors(repo_id, branch):
        api.create_repo(repo_id, private=private, exist_ok=True)
        if branch != "main":
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        message = f"Upload {folder.name}"
        return api.create_commit(repo_id, operations, commit_message=message, revision=branch).commit_url


def push(folder: Path, repo_id: str, *, private: bool | None = None) -> str:
    """Uploads a checkpoint to main, in one commit. Returns the commit's address.

    Raises `InputError` where the checkpoint cannot be loaded, or the Hub refuses.
    """
    load_model(folder)
    return upload(folder, repo_id, private)


def growth_history(folder: Path) -> list[Path]:
    """The checkpoints of a run in the order of its growth steps; raises `InputError` where there is none."""
    report = read_report(folder / "report.json")
    steps = [folder / f"step_{entry['step']}" for entry in report["steps"]]
    if not steps:
        raise InputError(f"{folder} has not finished a growth step yet; go on with --resume first.")
    return steps


def push_history(folder: Path, repo_id: str, *, private: bool | None = None) -> str:
    """Uploads every growth step of a run to a branch of its own, step-1, step-2, ..., then the last one to main.

    So main never holds an unfinished history. Returns the address of the commit on main.
    """
    steps = growth_history(folder)
    for step in steps:
        load_model(step)
    for number, step in enumerate(steps, 1):
        upload(step, repo_id, private, branch=f"step-{number}")
    return upload(steps[-1], repo_id, private)
