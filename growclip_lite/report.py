"""What a run writes beside its checkpoints: report.json and metrics.jsonl, and with which folders it may go on."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from growclip_lite.checkpoint import SCHEMA, check_schema
from growclip_lite.data.load import BUILT_IN
from growclip_lite.data.stream import Stream
from growclip_lite.errors import InputError
from growclip_lite.files import read_json, write_atomically, write_json

if TYPE_CHECKING:
    from growclip_lite.grow import Run

# Fields of report.json that resuming and finding checkpoints need.
REQUIRED = {
    "data": str, "data_digest": str, "profile": str, "seed": int, "settings": dict, "versions": dict, "steps": list,
}  # fmt: skip
# Fields of each entry of `steps`.
ENTRY = {
    "step", "samples_total", "architecture", "parameters", "train_flops", "search", "zero_shot", "zero_shot_mean",
    "retrieval", "known_concepts", "seconds", "phases",
}  # fmt: skip
# Temporary names in a run's folder, up to what differs.
PARTIAL = (".report.json-", ".metrics.jsonl-", ".growth.png-", ".training.safetensors-", ".step_", ".average_")


def versions(precision: torch.dtype | None = None) -> dict[str, str]:
    """Software, threads and precision that a result depends on besides the seed."""
    names = ("growclip-lite", "torch", "numpy", "tokenizers", "safetensors")
    found = {name: metadata.version(name) for name in names}
    found |= {"threads": str(torch.get_num_threads())}
    if precision:
        found["precision"] = str(precision).removeprefix("torch.")
    return {"python": platform.python_version()} | found


def data_digest(stream: Stream) -> str:
    """Hash of the data's content, as two folders may share a name.

    Built-in data: the training captions in order. User data: held-out captions and tasks too, and up to some 200
    pictures of every part.
    """
    digest, own = hashlib.sha256(), stream.name not in BUILT_IN
    for part in (*stream.train, *([*stream.validation, stream.retrieval] if own else [])):
        digest.update(f"{len(part)} pairs\n".encode())
        for caption in part.captions:
            digest.update(json.dumps(caption).encode())
        if own:
            digest.update(part.images[:: max(len(part) // 100, 1)].tobytes())
    for task in (*stream.tasks, *stream.validation_tasks) if own else ():
        digest.update(json.dumps(task.prompts).encode() + task.labels.tobytes())
    return digest.hexdigest()[:16]


def read_report(path: Path) -> dict:
    """A run's report.json. Raises `InputError` where there is none, or not all of it in its form."""
    report = read_json(path)
    check_schema(report, path)
    if missing := sorted(REQUIRED.keys() - report.keys()):
        raise InputError(f"{path} lacks {', '.join(missing)}; please restore it or run again.")
    if wrong := sorted(name for name, kind in REQUIRED.items() if not isinstance(report[name], kind)):
        raise InputError(f"{path} does not give {', '.join(wrong)} in its form; please restore it or run again.")
    if report["versions"].get("precision") not in ("float32", "bfloat16"):
        raise InputError(f"{path} does not tell the precision of its run; please restore it or run again.")
    if not all(isinstance(entry, dict) and entry.keys() >= ENTRY for entry in report["steps"]):
        raise InputError(f"{path} does not tell all of its growth steps; please restore it or run again.")
    return report


def shown_accuracy(entry: dict) -> str:
    """The mean zero-shot accuracy of a growth step's entry, as tables show it: "-" where the data have no tasks."""
    return "-" if entry["zero_shot_mean"] is None else f"{entry['zero_shot_mean']:.3f}"


def check_folder(out: Path, resume: bool) -> None:
    """Raises `InputError` unless `out` is new or empty, or holds a run to resume. A run that was killed while it wrote
    its first report has left part of that one, and no more."""
    if (out / "report.json").exists():
        if not resume:
            raise InputError(f"{out} holds a run already; give --resume to go on with it, or another folder.")
    elif out.exists() and not (out.is_dir() and all(path.name.startswith(".report.json-") for path in out.iterdir())):
        raise InputError(f"{out} is not an empty folder and holds no run; please give another one.")


def start_report(run: Run, resume: bool) -> dict:
    """A new report, or that of the run to go on with. Raises `InputError` where `out` does not allow it."""
    check_folder(run.out, resume)
    path = run.out / "report.json"
    report = {
        "schema": SCHEMA, "data": run.stream.name, "data_digest": data_digest(run.stream),
        "profile": run.profile.name, "seed": run.seed,
        "versions": versions(run.precision),
        "settings": json.loads(json.dumps(asdict(run.profile))),
        "test_sizes": {
            "zero_shot": {task.name: len(task.labels) for task in run.stream.tasks},
            "retrieval": len(run.stream.retrieval),
        },
        "skipped": run.stream.skipped, "steps": [], "total_flops": 0, "seconds": 0.0,
    }  # fmt: skip
    if resumed := path.exists():
        old = read_report(path)
        described = {
            "data": "data source", "profile": "profile", "seed": "seed", "settings": "setting of the profile",
            "data_digest": "content of the data",
        }  # fmt: skip
        for name, words in described.items():
            if old.get(name) != report[name]:
                raise InputError(f"{run.out} holds a run with another {words}; give the same one, or another folder.")
        report |= old
    for leftover in run.out.glob(".*-*"):  # of a write that was killed
        if leftover.name.startswith(PARTIAL):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    if resumed:
        metrics_before(run.out / "metrics.jsonl", len(report["steps"]) + 1)  # a damaged file is told before training
    else:
        write_json(path, report)
    return report


def metrics_before(path: Path, step: int) -> list[str]:
    """The lines of earlier growth steps; none where there is no file. Raises `InputError` where it is damaged."""
    if not path.exists():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if json.loads(line)["step"] < step]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} is damaged ({error}); please restore or delete it.") from error


def write_metrics(path: Path, step: int, records: list[dict]) -> None:
    """Replaces the lines of this growth step, so that repeating a step after a crash leaves no line twice."""
    lines = metrics_before(path, step)
    lines += [json.dumps({"step": step} | record) for record in records]
    write_atomically(path, lambda partial: partial.write_text("\n".join(lines) + "\n", encoding="utf-8"))
