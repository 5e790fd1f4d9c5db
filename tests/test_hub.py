"""Pushing to and loading from the Hugging Face Hub: its real client against a local server (`hub_server`)."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hub_server import OWNER, READER, Hub, Repository, card_errors, local_hub
from tiny import files_of, tiny_model

from growclip_lite import GrowCLIP
from growclip_lite.__main__ import main
from growclip_lite.card import half_width, model_card
from growclip_lite.checkpoint import load_model
from growclip_lite.errors import InputError
from growclip_lite.features import GrowCLIPFeatures
from growclip_lite.hub import is_repo_id

NAMES = ["README.md", "config.json", "growth.png", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with local_hub() as hub:
        yield hub


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of three growth steps, with model cards. Read only."""
    from growclip_lite.card import write_card

    report, out = tiny_run
    folder = shutil.copytree(out, tmp_path_factory.mktemp("run") / "run")
    for step in range(1, 4):
        write_card(folder / f"step_{step}", report)
    return folder


# Runs one command line after another, as starting Python anew for each would take most of the tests' time.
WORKER = """
import contextlib, io, json, sys
from growclip_lite.__main__ import main

for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(json.loads(line))
    print(json.dumps([status, out.getvalue(), err.getvalue()]), flush=True)
"""


class User:
    """Somebody at another machine: processes of their own, with their token and their cache."""

    def __init__(self, hub: Hub, home: Path, token: str | None) -> None:
        self.hub, self.home = hub, home
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TQDM_"))} | {
            # The server speaks Git LFS and not Xet, as the Hub does with clients that have no Xet.
            "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        if token:
            self.environment["HF_TOKEN"] = token
        self.workers: dict[str, subprocess.Popen] = {}

    def growclip(self, *arguments: object, offline: str = "0") -> subprocess.CompletedProcess:
        """The command line, with or without `HF_HUB_OFFLINE`."""
        if offline not in self.workers:
            command, pipe = [sys.executable, "-c", WORKER], subprocess.PIPE
            environment = self.environment | {"HF_HUB_OFFLINE": offline}
            self.workers[offline] = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
            )
        worker, command = self.workers[offline], [str(argument) for argument in arguments]
        worker.stdin.write(json.dumps(command) + "\n")
        worker.stdin.flush()
        if not (answer := worker.stdout.readline()):  # an exception that nobody has caught
            return subprocess.CompletedProcess(command, 1, "", self.workers.pop(offline).communicate()[1])
        return subprocess.CompletedProcess(command, *json.loads(answer))

    def python(self, code: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300)

    def leave(self) -> None:
        for worker in self.workers.values():
            worker.communicate()

    def cached(self) -> list[str]:
        """Whole files of weights in the cache: by content, as blobs, and by name, as links."""
        found = (self.home / "hub").glob("models--*/*/**/*")
        return [
            str(p) for p in found if p.exists() and p.is_file() and p.stat().st_size > 5_000 and "trees" not in p.parts
        ]


def user(hub: Hub, home: Path, token: str | None) -> Iterator[User]:
    someone = User(hub, home, token)
    yield someone
    someone.leave()


@pytest.fixture
def owner(hub: Hub, tmp_path: Path) -> Iterator[User]:
    yield from user(hub, tmp_path / "owner", OWNER)


@pytest.fixture
def reader(hub: Hub, tmp_path: Path) -> Iterator[User]:
    yield from user(hub, tmp_path / "reader", READER)


@pytest.fixture
def nobody(hub: Hub, tmp_path: Path) -> Iterator[User]:
    yield from user(hub, tmp_path / "nobody", None)


def refused(result: subprocess.CompletedProcess, *words: str) -> None:
    """One sentence, exit status 2, no traceback, and the remedy's words are in it."""
    lines = [line for line in result.stderr.strip().splitlines() if line.startswith("growclip:")]
    assert result.returncode == 2 and len(lines) == 1 and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert word in lines[0], lines[0]


def put(hub: Hub, folder: Path, repo_id: str = "owner/model", private: bool = False) -> Repository:
    """A checkpoint that lies on the server already."""
    repository = hub.repositories[repo_id] = Repository(private)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.large |= {hashlib.sha256(content).hexdigest(): content for content in files.values()}
    repository.branches["main"] = repository.add(files, "a checkpoint")
    return repository


# ---- whole round trips


def test_a_pushed_checkpoint_comes_back_bit_for_bit(owner: User, reader: User, run: Path, tmp_path: Path):
    pushed = owner.growclip("push", run / "step_3", "owner/model")
    assert pushed.returncode == 0 and "/owner/model/commit/" in pushed.stdout, pushed.stderr
    pulled = reader.growclip("pull", "owner/model", tmp_path / "mine")
    assert pulled.returncode == 0, pulled.stderr
    assert files_of(tmp_path / "mine") == files_of(run / "step_3")
    assert sorted(p.name for p in (tmp_path / "mine").iterdir()) == NAMES
    assert "100%" in pushed.stderr and "100%" in pulled.stderr, "both show progress bars"


def test_a_history_is_a_branch_per_growth_step(owner: User, reader: User, run: Path, hub: Hub):
    assert owner.growclip("push", run, "owner/history").returncode == 0
    repository = hub.repositories["owner/history"]
    assert sorted(repository.branches) == ["main", "step-1", "step-2", "step-3"]
    for branch, step in {"main": 3, "step-1": 1, "step-2": 2, "step-3": 3}.items():
        files = repository.at(branch)[1]
        assert files["model.safetensors"] == (run / f"step_{step}" / "model.safetensors").read_bytes()
    code = (
        "from growclip_lite import GrowCLIP; import json\n"
        "for r in (None, 'step-1'):\n"
        "    m = GrowCLIP.from_pretrained('owner/history', revision=r)\n"
        "    print(json.dumps([m.about, list(m.architecture.sizes)]))"
    )
    loaded = reader.python(code)
    assert loaded.returncode == 0, loaded.stderr
    found = [json.loads(line) for line in loaded.stdout.splitlines()]
    expected = [load_model(run / f"step_{step}") for step in (3, 1)]
    assert found == [[model.about, list(model.architecture.sizes)] for model in expected]
    again = owner.growclip("push", run, "owner/history")
    assert again.returncode == 0, "a history can be pushed again"


def test_the_mixin_of_huggingface_hub_works(owner: User, reader: User, tmp_path: Path, hub: Hub):
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from tiny import tiny_model\n"
        "print(tiny_model().push_to_hub('owner/mixed', private=True, commit_message='mine'))"
    )
    pushed = owner.python(code)
    assert pushed.returncode == 0 and "/owner/mixed/commit/" in pushed.stdout, pushed.stderr
    repository = hub.repositories["owner/mixed"]
    assert repository.private and repository.messages[-1] == "mine"
    files = repository.at("main")[1]
    assert not card_errors(files["README.md"].decode()) and b"growclip-lite" in files["README.md"]
    loaded = owner.python(
        "from growclip_lite import GrowCLIP; print(GrowCLIP.from_pretrained('owner/mixed').architecture)"
    )
    assert loaded.stdout.strip() == str(tiny_model().architecture), loaded.stderr
    refused(reader.growclip("pull", "owner/mixed", tmp_path / "x"), "no repository owner/mixed", "hf auth login")


def test_saving_keeps_what_else_is_in_the_folder(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    model = tiny_model()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    again = GrowCLIP.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert "GrowCLIP" in (tmp_path / "README.md").read_text()


# ---- the cache, and working offline


def test_what_was_loaded_once_is_there_offline(hub: Hub, reader: User, run: Path, tmp_path: Path):
    put(hub, run / "step_3")
    refused(reader.growclip("pull", "owner/model", tmp_path / "a", offline="1"), "offline mode", "get online once")
    assert reader.growclip("pull", "owner/model", tmp_path / "b").returncode == 0
    before = len(hub.requests)
    assert reader.growclip("pull", "owner/model", tmp_path / "c", offline="1").returncode == 0
    code = "from growclip_lite import GrowCLIP; GrowCLIP.from_pretrained('owner/model', local_files_only=True)"
    assert reader.python(code).returncode == 0
    assert len(hub.requests) == before, "offline, nothing is asked"
    hub.fault = "down"
    assert reader.growclip("pull", "owner/model", tmp_path / "d").returncode == 0, (
        "the cache serves while the Hub is down"
    )
    refused(reader.growclip("pull", "owner/other", tmp_path / "e"), "cannot be reached")
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["b", "c", "d", "reader"]


def test_a_download_that_breaks_off_leaves_nothing(hub: Hub, reader: User, run: Path, tmp_path: Path):
    put(hub, run / "step_3")
    hub.fault = "truncated"
    refused(reader.growclip("pull", "owner/model", tmp_path / "mine"), "try again")
    assert not (tmp_path / "mine").exists() and not reader.cached()
    refused(reader.growclip("pull", "owner/model", tmp_path / "mine", offline="1"), "not (whole) in the cache")
    hub.fault = None
    assert reader.growclip("pull", "owner/model", tmp_path / "mine").returncode == 0
    assert files_of(tmp_path / "mine") == files_of(run / "step_3")


def test_a_wrong_checksum_is_noticed(hub: Hub, reader: User, run: Path, tmp_path: Path):
    put(hub, run / "step_3")
    hub.fault = "wrong bytes"
    refused(reader.growclip("pull", "owner/model", tmp_path / "mine"), "Wrong checksum", "model.safetensors")
    assert not (tmp_path / "mine").exists() and not [name for name in reader.cached() if "model.safetensors" in name]
    hub.fault = None
    assert reader.growclip("pull", "owner/model", tmp_path / "mine").returncode == 0
    assert files_of(tmp_path / "mine") == files_of(run / "step_3")


NAMES_ON_THE_HUB = ("user/name", "user/my-model.v2")
PATHS = ("name", "a/b/c", "./a", "/a/b", "user/na me", "user/", "../name", "user/name.git", "~/name")


def test_names_on_the_hub_are_told_from_paths():
    assert all(map(is_repo_id, NAMES_ON_THE_HUB)) and not any(map(is_repo_id, PATHS))


def test_a_folder_comes_before_the_hub(run: Path, tmp_path: Path, monkeypatch):
    shutil.copytree(run / "step_1", tmp_path / "owner" / "model")
    monkeypatch.chdir(tmp_path)
    assert GrowCLIP.from_pretrained("owner/model").about["step"] == 1
    with pytest.raises(InputError, match="offline mode"):
        GrowCLIP.from_pretrained("owner/other")
    with pytest.raises(InputError, match="There is no"):
        GrowCLIP.from_pretrained("owner/model/deeper")


# ---- what is refused


def test_what_is_not_there(hub: Hub, reader: User, run: Path, tmp_path: Path):
    put(hub, run / "step_3")
    hub.repositories["owner/empty"] = Repository(private=False)
    refused(
        reader.growclip("pull", "owner/nothing", tmp_path / "mine"), "no repository owner/nothing", "check the name"
    )
    refused(reader.growclip("pull", "owner/model", tmp_path / "mine", "--revision", "step-9"), "no revision 'step-9'")
    refused(reader.growclip("pull", "owner/empty", tmp_path / "mine"), "lacks config.json")
    refused(reader.growclip("pull", "not a name", tmp_path / "mine"), "'not a name'")
    refused(reader.growclip("evaluate", "owner/nothing"), "no folder and no repository owner/nothing")
    (tmp_path / "mine").mkdir()
    refused(reader.growclip("pull", "owner/model", tmp_path / "mine"), "exists already")
    assert not any((tmp_path / "mine").iterdir())


def test_pushing_needs_permission_and_a_sound_checkpoint(
    hub: Hub, owner: User, reader: User, nobody: User, run: Path, tmp_path: Path
):
    repository = put(hub, run / "step_3")
    before = repository.branches["main"]
    refused(reader.growclip("push", run / "step_3", "owner/new"), "no permission for owner/new", "403", "hf auth login")
    refused(nobody.growclip("push", run / "step_3", "owner/new"), "owner/new", "hf auth login")
    broken = shutil.copytree(run / "step_3", tmp_path / "broken")
    os.truncate(broken / "model.safetensors", 1_000)
    refused(owner.growclip("push", broken, "owner/model"), "is damaged")
    refused(owner.growclip("push", tmp_path / "nowhere", "owner/model"), "nowhere")
    refused(owner.growclip("push", run / "step_3", "model"), "'model' is no name", "user/name")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.json").write_text('{"steps": [1]}')
    refused(owner.growclip("push", tmp_path / "other", "owner/model"), "no valid schema")
    (tmp_path / "other" / "report.json").write_text('{"schema": 1}')
    refused(owner.growclip("push", tmp_path / "other", "owner/model"), "report.json lacks", "steps")
    hub.fault = "rejected"
    refused(owner.growclip("push", run / "step_2", "owner/model"), "refuses", "this commit is rejected")
    hub.fault = "storage full"
    refused(owner.growclip("push", run / "step_1", "owner/model"), "owner/model", "broke off")
    assert repository.branches["main"] == before and "owner/new" not in hub.repositories


def test_a_broken_card_is_refused_before_anything_is_sent(hub: Hub, owner: User, run: Path, tmp_path: Path):
    broken = shutil.copytree(run / "step_3", tmp_path / "broken")
    text = (broken / "README.md").read_text()
    (broken / "README.md").write_text(text.replace("license: apache-2.0", "license: [1]"))
    refused(owner.growclip("push", broken, "owner/model"), "license must be a string")
    assert not hub.large


def test_the_token_is_neither_printed_nor_stored(hub: Hub, owner: User, run: Path, tmp_path: Path):
    outputs = [
        owner.growclip("push", run / "step_3", "owner/model"),
        owner.growclip("pull", "owner/model", tmp_path / "a"),
    ]
    hub.fault = "down"
    outputs.append(owner.growclip("push", run / "step_3", "owner/model"))
    text = "".join(output.stdout + output.stderr for output in outputs)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert OWNER not in text and OWNER.encode() not in kept


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable, tuple]:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled(hub: Hub, reader: User, run: Path, tmp_path: Path):
    """The mixin would load pytorch_model.bin where it finds no safetensors."""
    folder = shutil.copytree(run / "step_3", tmp_path / "bomb")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    put(hub, folder)
    refused(reader.growclip("pull", "owner/model", tmp_path / "mine"), "lacks model.safetensors")
    refused(reader.growclip("classify", folder, "x.png", "--labels", "a,b"), "model.safetensors")
    assert not (tmp_path / "exploded").exists()


def test_the_card_of_an_earlier_step_tells_of_that_step(tiny_run):
    report, out = tiny_run
    for step, entry in enumerate(report["steps"], start=1):
        card = model_card(load_model(out / f"step_{step}"), report)
        told = {result.metric_name: result.metric_value for result in card.data.eval_results}
        colour = entry["zero_shot"]["colour"]
        scores = {"colour, top-1": colour, "mean, top-1": entry["zero_shot_mean"]} | entry["retrieval"]
        assert told == pytest.approx(scores, abs=1e-4)
        table = str(card).split("## How it grew")[1].split("\n\n")[1].splitlines()
        assert len(table) == 2 + step and f"| zero-shot, colour, top-1 | 24 | {colour:.3f} ± " in str(card)
    assert half_width(0.5, 100) == pytest.approx(0.0962, abs=1e-4)  # Wilson: 0.404 to 0.596


def test_the_hubs_options_reach_the_hub(tiny_run, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "growclip_lite.hub.snapshot_download",
        lambda name, **options: asked.append((name, options)) or str(tiny_run[1] / "step_1"),
    )
    options = {
        "revision": "step-1",
        "token": "secret",
        "cache_dir": "there",
        "local_files_only": True,
        "force_download": True,
    }
    GrowCLIP.from_pretrained("me/model", **options)
    GrowCLIPFeatures("me/model", revision="step-2").fit(None)
    (_, first), (_, second) = asked
    assert first.items() >= options.items() and second["revision"] == "step-2"


def test_a_private_push_is_private(tmp_path, monkeypatch, capsys):
    asked = []
    for name in ("push", "push_history"):
        monkeypatch.setattr(
            f"growclip_lite.hub.{name}", lambda folder, repo, *, private=None: asked.append(private) or "there"
        )
    for more in ([], ["--private"]):
        assert main(["push", str(tmp_path), "me/model", *more]) == 0
    assert asked == [None, True]
