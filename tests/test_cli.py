"""The command line: what it prints and writes, and that bad input costs one sentence and nothing else."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from tiny import COLOURS, THINGS, files_of, tiny_pairs, tiny_profile

from growclip_lite import GrowCLIP, evaluate, load_stream, profiles
from growclip_lite import __main__ as command_line
from growclip_lite.__main__ import main, parser, profile_of
from growclip_lite.card import DATA
from growclip_lite.checkpoint import SCHEMA
from growclip_lite.data import disk, emoji, load
from growclip_lite.data.disk import PictureFile
from growclip_lite.data.load import BUILT_IN
from growclip_lite.data.stream import Pairs
from growclip_lite.evaluate import embed_images, embed_texts
from growclip_lite.grow import describe
from growclip_lite.profiles import get_profile
from growclip_lite.report import data_digest
from growclip_lite.studies import jobs, momentum
from growclip_lite.studies.jobs import Grid
from growclip_lite.studies.run import expected_seconds, job_count
from growclip_lite.table import RESULTS, read_table, write_table
from growclip_lite.tokenizer import Tokenizer

grow_module = sys.modules["growclip_lite.grow"]  # the package gives this name to the function
PAIRS = 96


@pytest.fixture(autouse=True)
def tiny_smoke_profile(monkeypatch: pytest.MonkeyPatch):
    """The profile `smoke` is even smaller here; the others are as they are."""
    monkeypatch.setitem(profiles.PROFILES, "smoke", tiny_profile(iterations=6, growth_steps=2, evaluations=2))


def png(picture: Image.Image, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format)
    return buffer.getvalue()


def make_folder(folder: Path, pictures: dict[int, bytes] | None = None, **columns: Callable[[int], object]) -> Path:
    """A user's folder of `PAIRS` coloured pictures; `columns` and single `pictures` replace the usual ones."""
    pairs, _ = tiny_pairs(PAIRS, THINGS, seed=5)
    folder.mkdir(parents=True)
    for i, image in enumerate(pairs.images):
        data = (pictures or {}).get(i) or png(Image.fromarray(image.transpose(1, 2, 0)))
        (folder / f"{i}.png").write_bytes(data)
    rows = [{"image": f"{i}.png", "caption": pairs.captions[i]} for i in range(PAIRS)]
    rows = [row | {name: str(make(i)) for name, make in columns.items()} for i, row in enumerate(rows)]
    with open(folder / "captions.csv", "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder with labels. Read only."""
    names = list(COLOURS)
    colours = tiny_pairs(PAIRS, THINGS, seed=5)[1]
    return make_folder(tmp_path_factory.mktemp("user") / "pictures", label=lambda i: names[colours[i]])


@pytest.fixture(scope="module")
def checkpoint(tiny_run) -> Path:
    """A good checkpoint. Read only."""
    return tiny_run[1] / "step_3"


def picture_file(path: Path, colour: str) -> Path:
    Image.new("RGB", (12, 12), COLOURS[colour]).save(path)
    return path


# ---- what the commands do


def test_grow_writes_a_run_and_prints_its_steps(folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "run"
    assert main(["grow", "--data", str(folder), "--profile", "smoke", "--seed", "1", "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert [entry["step"] for entry in report["steps"]] == [1, 2] and report["seed"] == 1
    assert (out / "growth.png").read_bytes().startswith(b"\x89PNG") and (out / "step_2" / "config.json").exists()
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert printed.err == "" and str(out / "report.json") in lines[-1]
    assert lines[:-1] == [describe(entry) for entry in report["steps"]]

    before = files_of(out)
    assert (
        main(["grow", "--data", str(folder), "--profile", "smoke", "--seed", "1", "--out", str(out), "--resume"]) == 0
    )
    assert files_of(out) == before and capsys.readouterr().out.splitlines() == lines


def test_evaluate_prints_the_scores(checkpoint: Path, folder: Path, capsys):
    command = ["evaluate", str(checkpoint), "--data", str(folder), "--profile", "smoke"]
    assert main([*command, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores == evaluate(GrowCLIP.from_pretrained(checkpoint), load_stream(str(folder), "smoke"))
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"{scores['zero_shot']['label']:.3f}  (chance 0.250)" in printed and "i2t_r1" in printed


def test_classify_finds_the_colour(checkpoint: Path, tmp_path: Path, capsys):
    files = [str(picture_file(tmp_path / f"{colour}.png", colour)) for colour in ("red", "blue")]
    labels = ", ".join(f"{colour} circle" for colour in COLOURS)
    assert main(["classify", str(checkpoint), *files, "--labels", labels, "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == files
    assert [line.split(": ")[1].split()[0] for line in lines] == ["red", "blue"]
    assert all(line.count("%") == 2 for line in lines)


def test_find_prints_captions_from_best_to_worst(checkpoint: Path, folder: Path, tmp_path: Path, capsys):
    sheet = tmp_path / "found.png"
    command = ["find", str(checkpoint), "a blue circle", "--data", str(folder), "--profile", "smoke", "--top", "3"]
    assert main([*command, "--save", str(sheet)]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    model, pairs = GrowCLIP.from_pretrained(checkpoint), load_stream(str(folder), "smoke").retrieval
    similarity = (embed_images(model, pairs.images) @ embed_texts(model, ["a blue circle"]).T)[:, 0]
    best = similarity.argsort(descending=True)[:3].tolist()
    assert lines == [f" {rank}. {similarity[i]:.3f}  {pairs.captions[i]}" for rank, i in enumerate(best, 1)]
    found = np.asarray(Image.open(sheet))[::4, ::4].transpose(2, 0, 1)
    assert str(sheet) in last and np.array_equal(found, np.concatenate(pairs.images[best], axis=2))


def test_any_text_can_be_asked_for(checkpoint: Path, folder: Path, capsys):
    for text in ("", "一只红色的猫 🐈", "word " * 5000, "\udcff half a character"):
        assert main(["find", str(checkpoint), text, "--data", str(folder), "--profile", "smoke", "--top", "1"]) == 0
    assert capsys.readouterr().out.count(" 1. ") == 4


def run_python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "growclip_lite", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_real_process_ends_with_the_right_status(checkpoint: Path, tmp_path: Path):
    picture_file(tmp_path / "red.png", "red")
    good = run_python("classify", str(checkpoint), "red.png", "--labels", "red circle,blue circle", cwd=tmp_path)
    assert (good.returncode, good.stderr) == (0, "") and good.stdout.startswith("red.png: red circle")
    bad = run_python("classify", str(checkpoint), "none.png", "--labels", "red circle,blue circle", cwd=tmp_path)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == "growclip: none.png cannot be read as a picture: No such file or directory.\n"


@pytest.mark.parametrize(
    ("study", "option"),
    [("ceilings", ("--iterations", "5")), ("sharing", ("--share-power", "1")), ("sharing", ("--short",)),
     ("choice", ("--data", "emoji"))],
)  # fmt: skip
def test_options_are_refused_where_they_mean_nothing(study: str, option: tuple, tmp_path: Path, capsys):
    assert main(["study", study, *option, "--results", str(tmp_path)]) == 2
    assert f"{option[0]} would change nothing in the study {study}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_claims_need_tables_but_not_all_of_them(tmp_path: Path, capsys):
    assert main(["claims", "--results", str(tmp_path)]) == 2
    assert f"no table in {tmp_path}" in capsys.readouterr().err
    rows = [{"data": "scenes", "iterations": 5, "method": m, "seed": 0, "zero_shot_mean": 0.5, "i2t_r1": 0.5}
            for m in ("growclip", "from scratch")]  # fmt: skip
    (tmp_path / "main.csv").write_text(pd.DataFrame(rows).to_csv(index=False))
    assert main(["claims", "--results", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert (
        "## The claims" in told
        and "| C7 |" in told
        and "| scenes | 5 | 1 | 0.500 | 0.500 | 0.500 | not measured |" in told
    )


def test_the_plan_of_reproducing_tells_hours_and_runs_nothing(tmp_path: Path, capsys):
    assert main(["reproduce", "--plan", "--results", str(tmp_path), "--workers", "2"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "hours, 2 jobs side by side" in told[0] and told[-1].startswith("in all") and not list(tmp_path.iterdir())
    assert sum(line.startswith("growth") for line in told) >= 3


def test_the_plan_counts_all_jobs_also_of_seeds_and_methods_without_a_row_yet(tmp_path: Path):
    """Of ten seeds of growing the tables may have five, and of eight growers three: all are counted."""
    grid = Grid("scenes", get_profile("online"), 10)
    assert job_count("growers", grid, RESULTS) == 80 and job_count("growers", grid, tmp_path) == 0
    assert job_count("growth", replace(grid, short=True), RESULTS) == 60
    assert job_count("momentum", grid, tmp_path) == len(momentum.jobs(grid))
    mean = read_table(RESULTS / "growers.csv").query("profile == 'online'")["seconds"].mean()
    assert expected_seconds("growers", grid, RESULTS, tmp_path) == pytest.approx(80 * mean)


def test_every_built_in_source_has_its_words_on_a_card():
    assert set(DATA) == set(BUILT_IN)


def test_an_interruption_is_no_traceback(folder: Path, tmp_path: Path, monkeypatch, capsys):
    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(grow_module, "fit", interrupt)
    assert main(["grow", "--data", str(folder), "--profile", "smoke", "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == "growclip: interrupted; the same command with --resume goes on.\n"


# ---- odd input that is fine

GOOD_PICTURES = {
    "CMYK": png(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG"),
    "palette": png(Image.new("RGB", (9, 9), "red").quantize(4), "GIF"),
    "16 bit": png(Image.fromarray(np.full((9, 9), 32768, np.uint16))),
    "one pixel": png(Image.new("RGB", (1, 1), "red")),
    "transparent": png(Image.new("RGBA", (9, 9), (255, 0, 0, 0))),
}
GOOD_CAPTIONS = {
    "very long": "word " * 20_000,
    "other script": "一只红色的猫",
    "right to left": "قطة حمراء",
    "emoji": "🐈 👩‍👩‍👧 ❤️",
    "control characters": "a\x07b\x00c",
    "special tokens": "[PAD] [START]",
}


def grow_folder(folder: Path, out: Path) -> dict:
    assert main(["grow", "--data", str(folder), "--profile", "smoke", "--out", str(out)]) == 0
    return json.loads((out / "report.json").read_text())


def test_odd_pictures_are_accepted(tmp_path: Path):
    mine = make_folder(tmp_path / "mine", dict(enumerate(GOOD_PICTURES.values())))
    assert grow_folder(mine, tmp_path / "run")["skipped"] == []


def test_odd_captions_are_accepted(tmp_path: Path):
    captions = list(GOOD_CAPTIONS.values())
    pairs, _ = tiny_pairs(PAIRS, THINGS, seed=5)
    # Every second pair is odd, so that odd captions are in training, validation and test.
    mine = make_folder(
        tmp_path / "mine", caption=lambda i: pairs.captions[i] if i % 2 else captions[i // 2 % len(captions)]
    )
    assert grow_folder(mine, tmp_path / "run")["skipped"] == []
    stream = load_stream(str(mine), "smoke", 0)
    for parts in (stream.train, stream.validation, [stream.retrieval]):
        assert {caption for part in parts for caption in part.captions} & set(captions)


def test_a_truncated_picture_among_good_ones_is_skipped_and_named(tmp_path: Path, capsys):
    broken = png(Image.effect_noise((40, 40), 80), "JPEG")[:-100]
    report = grow_folder(make_folder(tmp_path / "mine", {7: broken}), tmp_path / "run")
    assert len(report["skipped"]) == 1 and report["skipped"][0].startswith("7.png: ")
    assert "1 pictures could not be used" in capsys.readouterr().out


def test_empty_captions_are_skipped_and_named(tmp_path: Path):
    mine = make_folder(tmp_path / "mine", caption=lambda i: " " if i == 4 else f"thing {i}")
    assert grow_folder(mine, tmp_path / "run")["skipped"] == ["row 6: empty caption"]


def test_duplicate_rows_count_once(tmp_path: Path):
    mine = make_folder(tmp_path / "mine")
    once = grow_folder(mine, tmp_path / "once")
    table = (mine / "captions.csv").read_text(encoding="utf-8")
    (mine / "captions.csv").write_text(table + table.split("\n", 1)[1], encoding="utf-8")
    twice = grow_folder(mine, tmp_path / "twice")
    assert [e["samples_total"] for e in once["steps"]] == [e["samples_total"] for e in twice["steps"]]


def test_one_class_only_gives_no_task(tmp_path: Path):
    report = grow_folder(make_folder(tmp_path / "mine", label=lambda i: "cat"), tmp_path / "run")
    assert report["steps"][-1]["zero_shot"] == {} and report["steps"][-1]["zero_shot_mean"] is None


def test_a_step_without_a_validation_pair_of_its_own_is_fine(tmp_path: Path):
    mine = make_folder(
        tmp_path / "mine",
        step=lambda i: 1 + i % 3,
        split=lambda i: "val" if i % 9 == 0 else "test" if i % 9 == 4 else "train",
    )
    assert len(grow_folder(mine, tmp_path / "run")["steps"]) == 3


# ---- bad input


class Case:
    """One kind of bad input.

    `arrange(bench)` prepares it and returns the arguments; `words` must occur in the message.
    `kept` names the complete files that may be written before the fault shows.
    """

    def __init__(self, name: str, arrange: Callable, words: str, kept: tuple[str, ...] = ()) -> None:
        self.name, self.arrange, self.words, self.kept = name, arrange, words, kept


class Bench:
    """What a case may use: an empty folder `path`, good material to spoil, and a `patch`."""

    def __init__(self, path: Path, folder: Path, checkpoint: Path, run: Path, patch: pytest.MonkeyPatch) -> None:
        self.path, self.folder, self.good_checkpoint, self.run, self.patch = path, folder, checkpoint, run, patch

    def grow(self, data: object, *more: str, out: object = None) -> list[str]:
        return ["grow", "--data", str(data), "--profile", "smoke", "--out", str(out or self.path / "out"), *more]

    def spoiled(self, **columns: Callable[[int], object]) -> list[str]:
        return self.grow(make_folder(self.path / "mine", **columns))

    def table(self, text: bytes) -> list[str]:
        (self.path / "mine").mkdir()
        (self.path / "mine" / "captions.csv").write_bytes(text)
        return self.grow(self.path / "mine")

    def pictures(self, spoil: Callable[[int], bool]) -> list[str]:
        return self.grow(make_folder(self.path / "mine", {i: b"hello" for i in range(PAIRS) if spoil(i)}))

    def shard(self, cut: int | None = None, name: str = "a.tar") -> list[str]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for i in range(60):
                for suffix, data in (("png", png(Image.new("RGB", (9, 9), (i, i, i)))), ("txt", b"thing %d" % i)):
                    member = tarfile.TarInfo(f"{i:03d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        (self.path / "a.tar").write_bytes(buffer.getvalue()[:cut])
        return self.grow(self.path / name)

    def finished(self, change: Callable[[Path], object], *more: str, data: object = None) -> list[str]:
        """A finished run, changed."""
        shutil.copytree(self.run, self.path / "out")
        change(self.path / "out")
        return self.grow(data or self.folder, *more)

    def report(self, **changes: object) -> list[str]:
        def change(out: Path) -> None:
            report = json.loads((out / "report.json").read_text())
            (out / "report.json").write_text(json.dumps(report | changes))

        return self.finished(change, "--resume")

    def negatives(self) -> list[str]:
        """A finished run is to be resumed on a folder with the same captions, but other pictures."""
        folder = shutil.copytree(self.folder, self.path / "other" / self.folder.name)
        for path in folder.glob("*.png"):
            ImageOps.invert(Image.open(path)).save(path)
        return self.finished(lambda out: None, "--resume", data=folder)

    def unfinished(self, state: bytes) -> list[str]:
        """A run whose second step is to be resumed from `state`."""

        def change(out: Path) -> None:
            report = json.loads((out / "report.json").read_text())
            report["steps"].pop()
            (out / "report.json").write_text(json.dumps(report))
            (out / "training.safetensors").write_bytes(state)

        return self.finished(change, "--resume")

    def checkpoint(self, change: Callable[[Path], object], labels: str = "a,b") -> list[str]:
        """A checkpoint, changed, to classify a good picture."""
        shutil.copytree(self.good_checkpoint, self.path / "checkpoint")
        change(self.path / "checkpoint")
        picture_file(self.path / "red.png", "red")
        return ["classify", str(self.path / "checkpoint"), str(self.path / "red.png"), "--labels", labels]

    def config(self, change: Callable[[dict], object]) -> list[str]:
        def apply(folder: Path) -> None:
            config = json.loads((folder / "config.json").read_text())
            change(config)
            (folder / "config.json").write_text(json.dumps(config))

        return self.checkpoint(apply)

    def tensors(self, change: Callable[[dict[str, torch.Tensor]], object]) -> list[str]:
        def apply(folder: Path) -> None:
            tensors = load_file(folder / "model.safetensors")
            change(tensors)
            save_file(tensors, folder / "model.safetensors")

        return self.checkpoint(apply)

    def write(self, name: str, data: bytes) -> list[str]:
        return self.checkpoint(lambda folder: (folder / name).write_bytes(data))

    def classify(self, picture: bytes | None = None, labels: str = "a,b", *more: str) -> list[str]:
        if picture is not None:
            (self.path / "picture.png").write_bytes(picture)
        return ["classify", str(self.good_checkpoint), str(self.path / "picture.png"), "--labels", labels, *more]

    def find(self, *more: str, profile: str = "smoke") -> list[str]:
        return ["find", str(self.good_checkpoint), "a cat", "--data", str(self.folder), "--profile", profile, *more]

    def full_disk(self, name: str) -> list[str]:
        """The disk is full once a file whose name contains `name` is written: half of it gets through."""
        for method in ("write_bytes", "write_text"):
            original = getattr(Path, method)

            def write(path: Path, data, original=original, **options):
                if name not in path.name:
                    return original(path, data, **options)
                original(path, data[: len(data) // 2], **options)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

            self.patch.setattr(Path, method, write)
        return self.grow(self.folder)

    def full_cache(self) -> list[str]:
        full = Mock(write=Mock(side_effect=OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
        self.patch.setattr(disk, "PictureFile", lambda file, folder: PictureFile(full, folder))
        return self.grow(self.folder)

    def no_cache(self) -> list[str]:
        self.patch.setenv("GROWCLIP_CACHE", str(self.folder / "0.png"))
        return self.grow(self.folder)

    def no_font(self) -> list[str]:
        self.patch.setattr(emoji, "FONT_PATHS", ())
        self.patch.setattr(emoji.shutil, "which", lambda name: None)
        return self.grow("emoji")

    def diverging(self) -> list[str]:
        original = grow_module.begin_step

        def begin(*arguments):
            model, *others = original(*arguments)
            with torch.no_grad():
                model.image_projection.fill_(float("nan"))
            return model, *others

        self.patch.setattr(grow_module, "begin_step", begin)
        return self.grow(self.folder)


def set_in(part: str, name: str, value: object) -> Callable[[Bench], list[str]]:
    return lambda bench: bench.config(lambda config: config[part].update({name: value}))


def renumber(path: Path, token: str, number: int) -> None:
    """Gives a token of a tokenizer another id."""
    words = json.loads(path.read_text())
    words["model"]["vocab"][token] = number
    for added in words["added_tokens"]:
        added["id"] = number if added["content"] == token else added["id"]
    path.write_text(json.dumps(words))


def state_of_schema(schema: int) -> bytes:
    from safetensors.torch import save

    return save({"a": torch.zeros(1)}, metadata={"about": json.dumps({"schema": schema, "step": 2})})


CASES = [
    # the command itself
    Case("no command", lambda b: [], "required: command"),
    Case("unknown command", lambda b: ["glow"], "invalid choice: 'glow'"),
    Case("unknown option", lambda b: b.grow(b.folder, "--fast"), "unrecognized arguments: --fast"),
    Case("no out", lambda b: ["grow", "--data", str(b.folder)], "required: --out"),
    Case("seed in words", lambda b: b.grow(b.folder, "--seed", "one"), "argument --seed: invalid int value: 'one'"),
    Case("negative seed", lambda b: b.grow(b.folder, "--seed=-1"), "The seed is -1, but must be"),
    Case("huge seed", lambda b: b.grow(b.folder, "--seed", "9" * 30), "must be a whole number from 0"),
    Case(
        "unknown profile", lambda b: b.grow(b.folder, "--profile", "tiny"), "There is no profile 'tiny'; choose one of"
    ),
    Case("unknown source", lambda b: b.grow("scenery"), "There is no data source 'scenery'; give scenes, emoji"),
    # folders
    Case("missing folder", lambda b: b.grow(b.path / "none"), "There is no data source"),
    Case("empty folder", lambda b: (b.path / "mine").mkdir() or b.grow(b.path / "mine"), "has no captions.csv"),
    Case(
        "name of built-in data",
        lambda b: (b.path / "emoji").mkdir() or b.grow(b.path / "emoji"),
        "is named like data that are built in; please rename it",
    ),
    Case("empty table", lambda b: b.table(b""), "is empty; it needs a first line"),
    Case("header only", lambda b: b.table(b"image,caption\n"), "no row with an image and a caption"),
    Case("missing columns", lambda b: b.table(b"file,text\na.png,cat\n"), "lacks the column image and caption"),
    Case(
        "column twice", lambda b: b.table(b"Image,image,caption\nb.png,a.png,cat\n"), "has the column image more than"
    ),
    Case(
        "the same column twice", lambda b: b.table(b"image,image,caption\nb.png,a.png,cat\n"), "column image more than"
    ),
    Case("missing column", lambda b: b.table(b"image,text\na.png,cat\n"), "lacks the column caption"),
    Case("not UTF-8", lambda b: b.table("image,caption\na.png,Bär\n".encode("latin-1")), "not UTF-8 text"),
    Case("unquoted comma", lambda b: b.table(b"image,caption\na.png,cat, red\n"), "in double quotes"),
    Case("no valid picture", lambda b: b.pictures(lambda i: True), f"{PAIRS} of {PAIRS} pictures"),
    Case(
        "too many broken", lambda b: b.pictures(lambda i: i % 4 == 0), "(first: 0.png: not a picture in a known format)"
    ),
    Case("picture outside", lambda b: b.spoiled(image=lambda i: "../secret.png"), "must be a path within the folder"),
    Case("no caption", lambda b: b.spoiled(caption=lambda i: ""), "no row with an image and a caption"),
    Case(
        "same caption",
        lambda b: b.spoiled(caption=lambda i: "a cat"),
        "too few test pairs that differ in both picture and caption",
    ),
    Case(
        "unknown split",
        lambda b: b.spoiled(split=lambda i: "dev"),
        "has the split 'dev'; it must be train, val or test",
    ),
    Case(
        "too few pairs",
        lambda b: b.spoiled(split=lambda i: "train" if i < 6 else "test"),
        "training pairs in the first",
    ),
    Case("step in words", lambda b: b.spoiled(step=lambda i: "one"), "has the step 'one'; steps must be 1, 2, 3"),
    Case("step zero", lambda b: b.spoiled(step=lambda i: i % 2), "has the step '0'"),
    Case("step without data", lambda b: b.spoiled(step=lambda i: (1, 3)[i % 2]), "Growth step 2 has no training pair"),
    Case(
        "steps without validation data",
        lambda b: b.spoiled(step=lambda i: 1 + i // 32, split=lambda i: "val" if i > 80 else "train"),
        "fewer than two validation pairs in growth steps 1 and 2",
    ),
    # shards and emoji
    Case("missing shard", lambda b: b.shard(name="{a..b}.tar"), "b.tar; check the name and the numbers"),
    Case("truncated shard", lambda b: b.shard(cut=20_000), "a.tar cannot be read"),
    Case(
        "shard without samples",
        lambda b: (b.path / "z.tar").write_bytes(bytes(10240)) and b.grow(b.path / "z.tar"),
        "no usable",
    ),
    Case("odd braces", lambda b: b.grow("{000..009.tar"), "brace notation"),
    Case(
        "no space for pictures", Bench.full_cache, "cannot keep pictures (No space left on device); set GROWCLIP_CACHE"
    ),
    Case("no place for pictures", Bench.no_cache, "set GROWCLIP_CACHE to a folder that can be written"),
    Case("no emoji font", Bench.no_font, "There is no colour-emoji font; install one"),
    # the folder of results
    Case("out is a file", lambda b: b.grow(b.folder, out=b.folder / "0.png"), "holds no run; please give another one"),
    Case("out below a file", lambda b: b.grow(b.folder, out=b.folder / "0.png" / "run"), "cannot read or write"),
    Case("out of something else", lambda b: b.grow(b.folder, out=b.folder), "is not an empty folder and holds no run"),
    Case(
        "resume something else",
        lambda b: b.grow(b.folder, "--resume", out=b.folder),
        "is not an empty folder and holds no",
    ),
    Case("out holds a run", lambda b: b.finished(lambda out: None), "holds a run already; give --resume"),
    Case(
        "resume another seed",
        lambda b: b.finished(lambda out: None, "--resume", "--seed", "2"),
        "a run with another seed",
    ),
    Case(
        "resume other data of the same name",
        lambda b: b.finished(
            lambda out: None, "--resume", data=make_folder(b.path / b.folder.name, caption=lambda i: f"thing {i}")
        ),
        "a run with another content of the data",
    ),
    Case(
        "resume other data",
        lambda b: b.finished(lambda out: None, "--resume", data=make_folder(b.path / "x")),
        "another data",
    ),
    Case("resume another profile", lambda b: b.report(profile="laptop"), "a run with another profile"),
    Case("resume other settings", lambda b: b.report(settings={}), "a run with another setting"),
    Case("resume a later schema", lambda b: b.report(schema=99), "has schema 99, but this version reads up to"),
    Case(
        "resume a broken report",
        lambda b: b.finished(lambda out: (out / "report.json").write_text('{"schema": 1, '), "--resume"),
        "report.json cannot be read",
    ),
    Case(
        "resume a truncated state", lambda b: b.unfinished(state_of_schema(1)[:-2]), "training.safetensors is damaged"
    ),
    Case("resume garbage", lambda b: b.unfinished(b"hello" * 100), "delete it to train this growth step again"),
    Case("resume a later state", lambda b: b.unfinished(state_of_schema(SCHEMA + 1)), "please update growclip-lite"),
    Case(
        "resume without the checkpoint",
        lambda b: b.finished(lambda out: (shutil.rmtree(out / "step_1"), shutil.rmtree(out / "step_2")), "--resume"),
        "There is no",
    ),
    Case("full disk at the report", lambda b: b.full_disk("report"), "No space left on device"),
    Case("report of a step without facts", lambda b: b.report(steps=[{}]), "does not tell all of its growth steps"),
    Case(
        "report of an unknown precision", lambda b: b.report(versions={"precision": "half"}), "the precision of its run"
    ),
    Case(
        "metrics damaged",
        lambda b: b.finished(lambda out: (out / "metrics.jsonl").write_text("{"), "--resume"),
        "metrics.jsonl is damaged",
    ),
    Case("resume on other pictures", Bench.negatives, "another content of the data"),
    Case("full disk at the state", lambda b: b.full_disk("training"), "No space left on device", ("report.json",)),
    Case(
        "full disk at the checkpoint",
        lambda b: b.full_disk("model"),
        "No space left on device",
        ("report.json", "metrics.jsonl", "training.safetensors"),
    ),
    Case("loss is no number", Bench.diverging, "The loss became nan at iteration", ("report.json",)),
    # checkpoints
    Case("missing checkpoint", lambda b: ["classify", str(b.path / "none"), "x.png", "--labels", "a,b"], "There is no"),
    Case(
        "checkpoint is a file",
        lambda b: ["classify", str(b.folder / "0.png"), "x.png", "--labels", "a,b"],
        "config.json",
    ),
    Case(
        "config missing", lambda b: b.checkpoint(lambda f: (f / "config.json").unlink()), "config.json; give a folder"
    ),
    Case("config not JSON", lambda b: b.write("config.json", b"{'a': 1}"), "config.json cannot be read"),
    Case("config not text", lambda b: b.write("config.json", b"\xff\xfe"), "config.json cannot be read"),
    Case("config a list", lambda b: b.write("config.json", b"[]"), "holds list, not a JSON object"),
    Case("config deeply nested", lambda b: b.write("config.json", b"[" * 200_000), "config.json cannot be read"),
    Case("config without schema", lambda b: b.config(lambda c: c.pop("schema")), "no valid schema number"),
    Case(
        "config of a later schema",
        lambda b: b.config(lambda c: c.update(schema=SCHEMA + 1)),
        "please update growclip-lite",
    ),
    Case("schema true", lambda b: b.config(lambda c: c.update(schema=True)), "no valid schema number"),
    Case(
        "config without sizes",
        lambda b: b.config(lambda c: c.pop("model")),
        "needs exactly the fields",
    ),
    Case("config with more", lambda b: b.config(lambda c: c.update(path="/etc/passwd")), "needs exactly the fields"),
    Case("config about nothing", lambda b: b.config(lambda c: c.update(about=[])), "about must be an object"),
    Case("unknown dimension", set_in("architecture", "audio_depth", 1), "Architecture needs exactly the fields"),
    Case("unknown size", set_in("model", "heads", 1), "ModelConfig needs exactly the fields"),
    Case(
        "missing dimension",
        lambda b: b.config(lambda c: c["architecture"].pop("text_depth")),
        "needs exactly the fields",
    ),
    Case("architecture a list", lambda b: b.config(lambda c: c.update(architecture=[1])), "needs exactly the fields"),
    Case("wrong type", set_in("architecture", "image_depth", "2"), "image_depth is '2', but must be a whole number"),
    Case("fraction", set_in("architecture", "image_depth", 1.5), "image_depth is 1.5"),
    Case("negative", set_in("architecture", "text_width", -1), "text_width is -1"),
    Case("huge", set_in("architecture", "shared_width", 10**9), "shared_width is 1000000000"),
    Case("boolean", set_in("model", "embed_dim", True), "embed_dim is True"),
    Case("huge vocabulary", set_in("model", "vocab_size", 10**12), "vocab_size is 1000000000000"),
    Case("patch does not divide", set_in("model", "patch_size", 16), "power of two that divides image_size"),
    Case("weights missing", lambda b: b.checkpoint(lambda f: (f / "model.safetensors").unlink()), "There is no"),
    Case("weights empty", lambda b: b.write("model.safetensors", b""), "model.safetensors is damaged"),
    Case("weights garbage", lambda b: b.write("model.safetensors", b"\xff" * 1000), "model.safetensors is damaged"),
    Case(
        "weights truncated",
        lambda b: b.checkpoint(lambda f: os.truncate(f / "model.safetensors", 3000)),
        "model.safetensors is damaged",
    ),
    Case(
        "weights are no numbers",
        lambda b: b.tensors(lambda t: t["text.token"].fill_(float("nan"))),
        "the tensor text.token holds values that are no numbers",
    ),
    Case(
        "profile of a checkpoint is no name",
        lambda b: ["evaluate", *b.config(lambda c: c["about"].update(profile=["x"]))[1:2], "--data", str(b.folder)],
        "There is no profile",
    ),
    Case("a run, not a checkpoint", lambda b: ["classify", str(b.run), "x.png", "--labels", "a,b"], "such as"),
    Case("tensor missing", lambda b: b.tensors(lambda t: t.pop("text.token")), "lacks the tensor text.token"),
    Case("tensor unknown", lambda b: b.tensors(lambda t: t.update(extra=torch.zeros(1))), "unknown tensor extra"),
    Case("tensor of another shape", set_in("model", "embed_dim", 32), "the tensor image_projection is (16, 32)"),
    Case(
        "tensor of another type",
        lambda b: b.tensors(lambda t: t.update(logit_scale=torch.zeros((), dtype=torch.half))),
        "float16",
    ),
    Case(
        "tokenizer missing",
        lambda b: b.checkpoint(lambda f: (f / "tokenizer.json").unlink()),
        "not a readable tokenizer",
    ),
    Case("tokenizer broken", lambda b: b.write("tokenizer.json", b'{"version"'), "not a readable tokenizer file"),
    Case(
        "tokenizer of another checkpoint",
        lambda b: b.write("tokenizer.json", Tokenizer.train(["some other words"]).to_json().encode()),
        "the files belong to different checkpoints",
    ),
    Case(
        "tokenizer with a gap",
        lambda b: b.checkpoint(lambda f: renumber(f / "tokenizer.json", "[START]", 1_000_000)),
        "does not number its tokens from 0 on without gaps",
    ),
    # using a checkpoint
    Case("missing picture", lambda b: b.classify(), "cannot be read as a picture: No such file or directory"),
    Case("no picture", lambda b: b.classify(b"hello"), "not a picture in a known format"),
    Case(
        "picture cut", lambda b: b.classify(png(Image.effect_noise((40, 40), 80))[:-200]), "cannot be read as a picture"
    ),
    Case("one label", lambda b: b.classify(b"", "cat"), "names fewer than two different labels"),
    Case("same label twice", lambda b: b.classify(b"", "cat, cat,"), "names fewer than two different labels"),
    Case("no label", lambda b: b.classify(b"", " , "), "separate them by commas"),
    Case(
        "top 0",
        lambda b: b.classify(b"", "a,b", "--top", "0"),
        "argument --top: '0' is not a whole number of at least 1",
    ),
    Case("find top -1", lambda b: b.find("--top=-1"), "argument --top: '-1' is not a whole number of at least 1"),
    Case("find other pictures", lambda b: b.find(profile="laptop"), "give the profile that it was trained with"),
    Case("find saves no picture", lambda b: b.find("--save", str(b.path / "found.xyz")), "let it end in .png"),
    Case(
        "find saves into a file", lambda b: b.find("--save", str(b.good_checkpoint / "config.json" / "a.png")), "exists"
    ),
    Case(
        "evaluate other pictures",
        lambda b: ["evaluate", str(b.good_checkpoint), "--data", str(b.folder), "--profile", "laptop"],
        "The checkpoint takes 8-pixel pictures",
    ),
]


@pytest.fixture(scope="module")
def finished_run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the good folder, with the `smoke` of this file. Read only."""
    out = tmp_path_factory.mktemp("finished") / "run"
    profile = tiny_profile(iterations=6, growth_steps=2, evaluations=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(profiles.PROFILES, "smoke", profile)
        grow_module.grow(load_stream(str(folder), "smoke"), profile, out)
    return out


def test_there_are_many_cases():
    assert len({case.name for case in CASES}) == len(CASES) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_costs_one_sentence_and_nothing_else(
    case: Case, tmp_path: Path, folder: Path, checkpoint: Path, finished_run: Path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        arguments = case.arrange(Bench(tmp_path, folder, checkpoint, finished_run, patch))
        before, others = files_of(tmp_path), (files_of(folder), files_of(checkpoint))
        capsys.readouterr()
        assert main(arguments) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("growclip: ") and printed.count("\n") == 1 and printed.endswith(".\n")
    assert case.words in printed
    after = files_of(tmp_path)
    assert {Path(name).name for name in after.keys() - before.keys()} <= set(case.kept)
    assert before.items() <= after.items() and (files_of(folder), files_of(checkpoint)) == others


def test_tests_are_those_of_the_checkpoints_own_run(folder: Path, tmp_path: Path, monkeypatch, capsys):
    """With another seed, pictures that it was trained on would be among them."""
    monkeypatch.setitem(profiles.PROFILES, "smoke", tiny_profile(iterations=2, growth_steps=1))
    grow_module.grow(load_stream(str(folder), "smoke", 5), "smoke", tmp_path / "run", seed=5)
    reported = json.loads((tmp_path / "run" / "report.json").read_text())["steps"][-1]
    asked = []
    original = load.load_tests
    monkeypatch.setattr(load, "load_tests", lambda *source: asked.append(source) or original(*source))
    command = ["evaluate", str(tmp_path / "run" / "step_1"), "--data", str(folder), "--json"]
    capsys.readouterr()
    assert main(command) == 0
    printed = capsys.readouterr()
    scores = json.loads(printed.out)
    assert all(scores[name] == reported[name] for name in ("zero_shot", "retrieval")) and not printed.err
    assert main([*command, "--seed", "0", "--profile", "smoke"]) == 0
    assert asked == [(str(folder), "smoke", 5), (str(folder), "smoke", 0)]
    assert "some test pictures may have been trained on" in capsys.readouterr().err


def test_emoji_of_another_font_may_have_been_trained_on(monkeypatch, capsys):
    """Which emoji are test data depends on those that the font can draw."""
    pairs = tiny_pairs(8, THINGS, 0)[0]

    def evaluated(trained: Pairs, found: Pairs) -> str:
        stream = SimpleNamespace(name="emoji", train=[trained], image_size=32)
        about = {"data": "emoji", "data_digest": data_digest(stream), "profile": "smoke"}
        model = SimpleNamespace(about=about, config=SimpleNamespace(image_size=32))
        monkeypatch.setattr(load, "load_tests", lambda *source: SimpleNamespace(**vars(stream) | {"train": [found]}))
        command_line.tests_for(model, SimpleNamespace(data="emoji", profile=None, seed=None))
        return capsys.readouterr().err

    assert evaluated(pairs, pairs) == ""
    fewer = Pairs(pairs.images[1:], pairs.captions[1:])
    assert "profile or font splits it otherwise" in evaluated(pairs, fewer)


def test_a_reader_may_stop_reading(tmp_path: Path):
    """As `head` does."""
    write_table(tmp_path / "tried.csv", read_table(Path(__file__).parents[1] / "results" / "tried.csv"))
    command = [sys.executable, "-m", "growclip_lite", "claims", "--results", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b"" and process.wait() == 0


def test_a_terminal_without_the_characters_is_written_to(checkpoint: Path, tmp_path: Path):
    picture = picture_file(tmp_path / "é.png", "red")
    command = [sys.executable, "-m", "growclip_lite", "classify", str(checkpoint), str(picture), "--labels", "a,b"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and b"?.png: " in done.stdout


def test_a_table_that_is_none_is_told(tmp_path: Path, capsys):
    for content in (b"", b"a,b\n1,2,3\n4\n1,2,3,4\n", b"a\n\xff\xfe"):
        (tmp_path / "growth.csv").write_bytes(content)
        assert main(["claims", "--results", str(tmp_path)]) == 2
        assert "growth.csv is no table" in capsys.readouterr().err


def test_a_study_that_cannot_write_does_not_train(tmp_path: Path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(jobs, "perform", lambda *job: pytest.fail("trained"))
    command = ["study", "sharing", "--profile", "smoke", "--seeds", "1", "--workers", "1"]
    assert main([*command, "--results", str(tmp_path / "file")]) == 2
    assert "cannot read or write" in capsys.readouterr().err
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(jobs.tempfile, "TemporaryFile", Mock(side_effect=full))
    assert main([*command, "--results", str(tmp_path / "full")]) == 2
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["training", "model", "report"])
def test_a_run_goes_on_once_there_is_space_again(
    name: str, tmp_path: Path, folder: Path, finished_run: Path, monkeypatch
):
    bench = Bench(tmp_path, folder, None, None, monkeypatch)
    with monkeypatch.context() as bench.patch:
        assert main(bench.full_disk(name)) == 2
    assert main(bench.grow(folder, "--resume")) == 0
    drawn = ("growth.png", "README.md")  # by the command line, not by `grow`
    after = {name: content for name, content in files_of(tmp_path / "out").items() if not name.endswith(drawn)}
    assert after == files_of(finished_run)


def test_the_amount_of_training_can_be_set(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    out = tmp_path / "run"
    assert main(["grow", "--data", str(folder), "--profile", "smoke", "--iterations", "4", "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["settings"]["iterations"] == 4
    assert main(["grow", "--data", str(folder), "--iterations", "0", "--out", str(tmp_path / "other")]) == 2
    assert "at least 1" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_share_power_zero_is_taken():
    args = parser().parse_args(["grow", "--profile", "study", "--share-power", "0", "--out", "x"])
    assert profile_of(args).share_power == 0.0


def test_the_seed_also_splits_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(profiles.PROFILES, "smoke", tiny_profile(iterations=2, growth_steps=1))
    folder, out = make_folder(tmp_path / "pictures"), tmp_path / "run"
    assert main(["grow", "--data", str(folder), "--profile", "smoke", "--seed", "5", "--out", str(out)]) == 0
    entry = json.loads((out / "report.json").read_text())["steps"][-1]
    capsys.readouterr()
    assert main(["evaluate", str(out / "step_1"), "--data", str(folder), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["retrieval"] == entry["retrieval"] and printed.err == ""
