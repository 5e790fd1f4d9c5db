"""The algorithm as a whole: its report, its files, and that interruptions leave no trace."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import THINGS, files_of, tiny_profile, tiny_stream, weights_equal, without_time

from growclip_lite import Architecture, GrowCLIP, evaluate, train
from growclip_lite import grow as grow_function
from growclip_lite.architecture import count_parameters, training_flops
from growclip_lite.data.stream import Pairs
from growclip_lite.devices import fast_dtype
from growclip_lite.errors import InputError
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.tokenizer import Tokenizer

grow_module = sys.modules["growclip_lite.grow"]  # the package gives this name to the function
SEED = 3


def checkpoints(out: Path) -> dict[str, dict[str, torch.Tensor]]:
    folders = sorted(path for path in out.iterdir() if path.is_dir())
    return {folder.name: GrowCLIP.from_pretrained(folder).state_dict() for folder in folders}


def same_run(one: Path, other: Path) -> bool:
    """Reports but for times, loss records, and all checkpoints, bit for bit."""
    return files_of(one) == files_of(other)


# ---- the report and the files


def test_report_has_the_promised_keys(tiny_run):
    report, _ = tiny_run
    assert {"schema", "data", "profile", "seed", "versions", "steps", "total_flops", "seconds"} <= report.keys()
    assert (report["schema"], report["data"], report["profile"], report["seed"]) == (1, "tiny", "smoke", SEED)
    assert {"python", "torch", "numpy", "growclip-lite"} <= report["versions"].keys()
    assert [entry["step"] for entry in report["steps"]] == [1, 2, 3]
    for entry in report["steps"]:
        assert entry["samples_total"] == 32 * entry["step"]
        assert {"space_size", "evaluated", "flops", "ranking"} <= entry["search"].keys()
        assert set(entry["architecture"]) == set(Architecture(1, 1, 1, 1, 1, 1).to_dict())
        assert entry["zero_shot"].keys() == {"colour"} and entry["zero_shot_mean"] == entry["zero_shot"]["colour"]
        assert entry["retrieval"].keys() == {f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)}
        assert len(entry["known_concepts"]) == entry["step"] and len(entry["forgetting"]) == entry["step"] - 1
        assert entry["seconds"] == pytest.approx(sum(entry["phases"].values()), abs=0.1)
    assert report["seconds"] == pytest.approx(sum(entry["seconds"] for entry in report["steps"]), abs=0.1)


def test_report_is_on_disk_and_survives_json(tiny_run):
    report, out = tiny_run
    assert json.loads((out / "report.json").read_text()) == report


def test_costs_are_those_of_the_architectures(tiny_run):
    report, out = tiny_run
    for entry in report["steps"]:
        model = GrowCLIP.from_pretrained(out / f"step_{entry['step']}")
        assert entry["parameters"] == count_parameters(model.architecture, model.config)
        assert entry["parameters"] == sum(weight.numel() for weight in model.parameters())
        one = training_flops(model.architecture, model.config, tiny_profile().batch_size)
        iterations, rest = divmod(entry["train_flops"], one)
        assert rest == 0 and iterations > 0
    assert report["total_flops"] == sum(e["train_flops"] + e["search"]["flops"] for e in report["steps"])


def test_iterations_add_up_and_follow_the_data(tiny_run):
    _, out = tiny_run
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    last = {record["step"]: record["iteration"] for record in records}
    assert abs(sum(last.values()) - tiny_profile().iterations) <= 2 and last[1] < last[2] < last[3]
    assert all(record["loss"] > 0 for record in records)


def test_a_step_has_at_least_one_iteration(tmp_path: Path):
    report = grow_function(tiny_stream(), tiny_profile(iterations=1), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [entry["step"] for entry in report["steps"]] == [1, 2, 3]


def test_files(tiny_run):
    _, out = tiny_run
    assert sorted(path.name for path in out.iterdir()) == ["metrics.jsonl", "report.json", "step_1", "step_2", "step_3"]
    for step in (1, 2, 3):
        files = sorted(path.name for path in (out / f"step_{step}").iterdir())
        assert files == ["config.json", "model.safetensors", "tokenizer.json"]


def test_checkpoints_score_what_the_report_says(tiny_run):
    report, out = tiny_run
    for entry in report["steps"]:
        scores = evaluate(GrowCLIP.from_pretrained(out / f"step_{entry['step']}"), tiny_stream())
        assert scores == {name: entry[name] for name in scores}


def test_architectures_only_grow_and_come_from_the_ranking(tiny_run):
    report, _ = tiny_run
    assert report["steps"][0]["architecture"] == tiny_profile().start.to_dict()
    assert report["steps"][0]["search"] == {"space_size": 1, "evaluated": 0, "flops": 0, "ranking": []}
    for before, entry in zip(report["steps"], report["steps"][1:], strict=False):
        old, new = (Architecture.from_dict(e["architecture"]) for e in (before, entry))
        found = entry["search"]
        assert new.contains(old)
        assert entry["architecture"] in [row["architecture"] for row in found["ranking"]]
        assert 0 < found["evaluated"] == len(found["ranking"]) <= min(found["space_size"], tiny_profile().evaluations)
        losses = [row["loss"] for row in found["ranking"]]
        assert losses == sorted(losses)


def test_the_vocabulary_grows_with_the_words(tiny_run):
    _, out = tiny_run
    tokenizers = [Tokenizer.load(out / f"step_{step}" / "tokenizer.json") for step in (1, 2, 3)]
    sizes = [tokenizer.vocab_size for tokenizer in tokenizers]
    assert sizes[0] < sizes[1] < sizes[2]
    for step, tokenizer in enumerate(tokenizers):
        lengths = [int((tokenizer([thing], 12) != 0).sum()) - 1 for thing in THINGS]
        assert lengths[: step + 1] == [1] * (step + 1) and all(length > 1 for length in lengths[step + 1 :])
    assert GrowCLIP.from_pretrained(out / "step_3").config.vocab_size == sizes[2]


# ---- reproducible


@pytest.mark.parametrize("changes", [{}, {"reading": "B", "momentum": 0.8}], ids=["reading A", "reading B"])
def test_a_seed_gives_the_same_run_again(tmp_path: Path, changes: dict):
    profile = tiny_profile(growth_steps=2, **changes)
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        grow_function(tiny_stream(2), profile, tmp_path / name, seed=seed)
    assert same_run(tmp_path / "one", tmp_path / "two")
    one, other = (checkpoints(tmp_path / name)["step_1"] for name in ("one", "other"))
    assert not weights_equal(one, other)


# ---- interrupted


def interrupt_at(monkeypatch: pytest.MonkeyPatch, name: str, call: int, after: bool = False) -> None:
    """Makes the `call`-th use of `grow`'s function `name` raise KeyboardInterrupt, before or after its work."""
    original, calls = getattr(grow_module, name), []

    def hook(*arguments, **options):
        calls.append(name)
        if len(calls) < call:
            return original(*arguments, **options)
        if after:
            original(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(grow_module, name, hook)


@pytest.mark.parametrize(
    ("name", "call", "after"),
    [
        pytest.param("save_training", 1, True, id="first step, after its first saved state"),
        pytest.param("save_training", 5, True, id="second step, in training"),
        pytest.param("fit", 2, False, id="second step, before training"),
        pytest.param("search", 1, False, id="second step, in the search"),
        pytest.param("search", 2, True, id="third step, after the search"),
        pytest.param("evaluate", 3, False, id="third step, in evaluation"),
        pytest.param("save_model", 2, True, id="second step, after its checkpoint"),
        pytest.param("write_json", 2, False, id="second step, before the report"),
        pytest.param("write_json", 2, True, id="second step, after the report"),
    ],
)
def test_resumed_equals_uninterrupted(
    tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saves_often, name: str, call: int, after: bool
):
    _, whole = tiny_run
    with monkeypatch.context() as patch:
        interrupt_at(patch, name, call, after)
        with pytest.raises(KeyboardInterrupt):
            grow_function(tiny_stream(), tiny_profile(), tmp_path / "run", seed=SEED)
    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["steps"]) < 3
    grow_function(tiny_stream(), tiny_profile(), tmp_path / "run", seed=SEED, resume=True)
    assert same_run(tmp_path / "run", whole)


def test_resuming_again_and_again_gives_the_same_run(tiny_run, tmp_path: Path, monkeypatch, saves_often):
    _, whole = tiny_run
    for _ in range(50):
        with monkeypatch.context() as patch:
            interrupt_at(patch, "save_training", 2, True)
            try:
                grow_function(tiny_stream(), tiny_profile(), tmp_path / "run", seed=SEED, resume=True)
                break
            except KeyboardInterrupt:
                continue
    assert same_run(tmp_path / "run", whole)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        pytest.param("search", 1, id="second step, after the search"),
        pytest.param("save_model", 3, id="second step, before the average is saved"),
        pytest.param("save_model", 4, id="after"),
    ],
)
def test_the_average_of_reading_b_is_resumed_too(tmp_path: Path, monkeypatch, saves_often, name: str, call: int):
    profile = tiny_profile(reading="B", momentum=0.8, iterations=9)
    stream = tiny_stream()
    for step, part in enumerate(stream.train):  # the average has a tokenizer of its own, which must read this alike
        stream.train[step] = Pairs(part.images, [f"[PAD] {caption}" for caption in part.captions])
    grow_function(stream, profile, tmp_path / "whole", seed=0)
    with monkeypatch.context() as patch:
        interrupt_at(patch, name, call, after=True)
        with pytest.raises(KeyboardInterrupt):
            grow_function(stream, profile, tmp_path / "run", seed=0)
    grow_function(stream, profile, tmp_path / "run", seed=0, resume=True)
    assert same_run(tmp_path / "run", tmp_path / "whole")


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from growclip_lite import grow, train
from tiny import tiny_profile, tiny_stream

torch.set_num_threads(1)
train.RECORD_EVERY, train.SAVE_SECONDS = 2, 0.0
sys.modules["growclip_lite.grow"].fast_dtype = lambda device: getattr(torch, sys.argv[2])
rename, count = Path.replace, 0

def replace(self, target):
    global count
    count += str(target).endswith("training.safetensors")
    if count == 5:  # a new state is written but has not taken the old one's place
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)

Path.replace = replace
grow(tiny_stream(), tiny_profile(), sys.argv[1], seed=3)
"""


def test_a_killed_process_is_resumed(tiny_run, tmp_path: Path, saves_often):
    _, whole = tiny_run
    dtype = str(fast_dtype("cpu")).removeprefix("torch.")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(tmp_path / "run"), dtype]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert (tmp_path / "run" / "training.safetensors").exists()
    (half_written,) = (tmp_path / "run").glob(".training*")  # nobody could tidy up after SIGKILL
    half_written.unlink()
    grow_function(tiny_stream(), tiny_profile(), tmp_path / "run", seed=SEED, resume=True)
    assert same_run(tmp_path / "run", whole)


def test_resuming_a_finished_run_changes_nothing(tiny_run, tmp_path: Path, monkeypatch):
    report, whole = tiny_run
    shutil.copytree(whole, tmp_path / "run")
    monkeypatch.setattr(grow_module, "fit", None)  # must not be needed
    again = grow_function(tiny_stream(), tiny_profile(), tmp_path / "run", seed=SEED, resume=True)
    assert again == report and same_run(tmp_path / "run", whole)


def test_resume_without_a_run_starts_one(tmp_path: Path):
    out = tmp_path / "deep" / "run"
    report = grow_function(tiny_stream(1), tiny_profile(iterations=2), out, resume=True)
    assert len(report["steps"]) == 1 and json.loads((out / "report.json").read_text()) == report


# ---- options


def test_without_replay_only_new_pairs_are_trained_on(tmp_path: Path, monkeypatch):
    seen = []
    original = grow_module.fit

    def watch(model, data, *arguments, **options):
        seen.append([part.captions for part in data.parts])
        return original(model, data, *arguments, **options)

    monkeypatch.setattr(grow_module, "fit", watch)
    stream = tiny_stream(2)
    grow_function(stream, tiny_profile(iterations=4, replay=False), tmp_path / "new")
    grow_function(stream, tiny_profile(iterations=4), tmp_path / "all")
    first, second = (part.captions for part in stream.train)
    assert seen == [[first], [second], [first], [first, second]]


def test_reading_b_inherits_from_the_average(tmp_path: Path, monkeypatch):
    inherited = []
    original = grow_module.inherit
    monkeypatch.setattr(
        grow_module, "inherit", lambda old, *rest, **more: inherited.append((old, more)) or original(old, *rest, **more)
    )
    grow_function(tiny_stream(2), tiny_profile(reading="B", momentum=0.5), tmp_path / "run")
    ((old, options),) = inherited
    trained = GrowCLIP.from_pretrained(tmp_path / "run" / "step_1").state_dict()
    assert options["momentum"] == 1.0 and not weights_equal(old.state_dict(), trained)


def test_momentum_of_reading_a_reaches_inherit(tmp_path: Path, monkeypatch):
    momenta = []
    original = grow_module.inherit
    monkeypatch.setattr(
        grow_module, "inherit", lambda *rest, **more: momenta.append(more["momentum"]) or original(*rest, **more)
    )
    grow_function(tiny_stream(2), tiny_profile(momentum=0.25, iterations=4), tmp_path / "run")
    assert momenta == [0.25]


def test_the_growth_space_follows_the_data(tmp_path: Path, monkeypatch):
    ratios = []
    original = GrowthSpace.at_step
    monkeypatch.setattr(
        GrowthSpace,
        "at_step",
        lambda base, config, ratio, power: ratios.append(ratio) or original(base, config, ratio, power),
    )
    grow_function(tiny_stream(), tiny_profile(iterations=3), tmp_path / "run")
    assert ratios == [2.0, 1.5]


class TestData:
    """Stands where test data should not be looked at."""

    __test__ = False

    def __getattr__(self, name: str):
        raise AssertionError("test data were looked at")

    def __iter__(self):
        raise AssertionError("test data were looked at")

    __len__ = __iter__


def test_neither_training_nor_search_looks_at_test_data(tmp_path: Path):
    stream = tiny_stream(2)
    stream.retrieval = stream.tasks = stream.step_tasks = stream.validation_tasks = TestData()
    run = grow_module.Run(stream, tiny_profile(iterations=4), 0, tmp_path, "cpu")
    first, _, found = grow_module.begin_step(run, 1, None, {})
    assert found is None
    train.fit(first, run.training_set(1, first.tokenizer), run.train_config(1), seed=0)
    _, _, found = grow_module.begin_step(run, 2, first, {})
    assert found["evaluated"] > 0
    with pytest.raises(AssertionError, match="were looked at"):
        evaluate(first, stream)


def test_a_stream_without_tasks_is_fine(tmp_path: Path):
    stream = tiny_stream(2)
    stream.tasks, stream.step_tasks = [], []
    report = grow_function(stream, tiny_profile(iterations=4), tmp_path / "run")
    for entry in report["steps"]:
        assert entry["zero_shot"] == {} and entry["zero_shot_mean"] is None
        assert entry["known_concepts"] == entry["forgetting"] == []


@pytest.mark.parametrize("without", [0, 1, 2])
def test_a_growth_step_without_tasks_of_its_own_is_fine(without: int, tmp_path: Path):
    stream = tiny_stream()
    stream.step_tasks[without] = []
    steps = grow_function(stream, tiny_profile(iterations=6), tmp_path / "run")["steps"]
    assert len(steps[-1]["known_concepts"]) == 2
    assert len(steps[-1]["forgetting"]) == (2 if without == 2 else 1)


def test_fewer_pairs_than_a_batch_make_small_batches(tmp_path: Path):
    report = grow_function(tiny_stream(2), tiny_profile(iterations=4, batch_size=500), tmp_path / "run")
    for entry, pairs, iterations in zip(report["steps"], (32, 64), (2, 2), strict=True):
        model = GrowCLIP.from_pretrained(tmp_path / "run" / f"step_{entry['step']}")
        assert entry["train_flops"] == iterations * training_flops(model.architecture, model.config, pairs)


# ---- refused


def test_a_run_is_not_overwritten(tiny_run):
    _, out = tiny_run
    before = files_of(out)
    with pytest.raises(InputError, match="holds a run already; give --resume"):
        grow_function(tiny_stream(), tiny_profile(), out, seed=SEED)
    assert files_of(out) == before


def other_captions():
    stream = tiny_stream()
    stream.train[1] = Pairs(stream.train[1].images, [f"{caption} again" for caption in stream.train[1].captions])
    return stream


def renamed():
    stream = tiny_stream()
    stream.name = "another"
    return stream


@pytest.mark.parametrize(
    ("stream", "changes", "seed", "word"),
    [
        pytest.param(tiny_stream, {}, SEED + 1, "seed", id="seed"),
        pytest.param(renamed, {}, SEED, "data", id="source"),
        pytest.param(other_captions, {}, SEED, "data", id="content of the data"),
        pytest.param(lambda: tiny_stream(2), {}, SEED, "data", id="fewer growth steps"),
        pytest.param(tiny_stream, {"name": "other"}, SEED, "profile", id="profile"),
        pytest.param(tiny_stream, {"learning_rate": 0.5}, SEED, "setting", id="setting"),
    ],
)
def test_resume_refuses_another_run(tiny_run, stream, changes: dict, seed: int, word: str):
    _, out = tiny_run
    before = files_of(out)
    with pytest.raises(InputError, match=f"holds a run with another .*{word}"):
        grow_function(stream(), tiny_profile(**changes), out, seed=seed, resume=True)
    assert files_of(out) == before


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("precious")
    for resume in (False, True):
        with pytest.raises(InputError, match="not an empty folder and holds no run"):
            grow_function(tiny_stream(), tiny_profile(), tmp_path, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_run_killed_at_its_first_report_starts_anew(tmp_path: Path):
    (tmp_path / ".report.json-abc.json").write_text('{"schema"')
    report = grow_function(tiny_stream(1), tiny_profile(growth_steps=1), tmp_path, resume=True)
    assert len(report["steps"]) == 1 and not list(tmp_path.glob(".*"))
    (tmp_path / ".metrics.jsonl-abc.jsonl").write_text("{")
    (tmp_path / ".pre-commit-config.yaml").write_text("of the user")
    grow_function(tiny_stream(1), tiny_profile(growth_steps=1), tmp_path, resume=True)
    assert [path.name for path in tmp_path.glob(".*")] == [".pre-commit-config.yaml"]


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda report: report.pop("settings"), "settings"),
        (lambda report: report["versions"].pop("precision"), "precision"),
        (lambda report: report.update(steps={"1": 0.5}, versions=None), "steps, versions"),
    ],
)
def test_a_damaged_report_is_refused(tiny_run, tmp_path: Path, damage, named: str):
    report = json.loads((tiny_run[1] / "report.json").read_text())
    damage(report)
    (tmp_path / "report.json").write_text(json.dumps(report))
    before = files_of(tmp_path)
    with pytest.raises(InputError, match=f"report.json .*{named}"):
        grow_function(tiny_stream(), tiny_profile(), tmp_path, seed=SEED, resume=True)
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("pairs", [0, 1])
def test_growth_steps_with_too_few_validation_pairs_are_refused(tmp_path: Path, pairs: int):
    stream = tiny_stream()
    stream.validation[0] = Pairs(stream.validation[0].images[:0], [])
    stream.validation[1] = Pairs(stream.validation[1].images[:pairs], stream.validation[1].captions[:pairs])
    with pytest.raises(InputError, match="fewer than two validation pairs"):
        grow_function(stream, tiny_profile(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("seed", [-1, 1.5, True, 10**20])
def test_a_bad_seed_is_refused(tmp_path: Path, seed: object):
    with pytest.raises(InputError, match="seed"):
        grow_function(tiny_stream(1), tiny_profile(), tmp_path / "run", seed=seed)
    assert not (tmp_path / "run").exists()


def test_reports_without_times_can_be_compared(tiny_run):
    report, _ = tiny_run
    text = json.dumps(without_time(report))
    assert "seconds" not in text and "phases" not in text and '"ranking"' in text


def test_every_setting_of_the_profile_reaches_its_place(tmp_path, monkeypatch):
    trained, searched, operators, powers = [], [], set(), set()
    fit, search, inherit, at_step = grow_module.fit, grow_module.search, grow_module.inherit, GrowthSpace.at_step

    def watch_fit(model, data, config, seed, **more):
        trained.append((config, seed, data.augment))
        return fit(model, data, config, seed, **more)

    def watch_search(supernet, space, data, held_out, config, *more, **named):
        searched.append((config, [part.captions for part in held_out.parts]))
        return search(supernet, space, data, held_out, config, *more, **named)

    def watch_inherit(*arguments, **more):
        operators.add(more["operator"])
        return inherit(*arguments, **more)

    def watch_space(base, config, ratio, power):
        powers.add(power)
        return at_step(base, config, ratio, power)

    monkeypatch.setattr(grow_module, "fit", watch_fit)
    monkeypatch.setattr(grow_module, "search", watch_search)
    monkeypatch.setattr(grow_module, "inherit", watch_inherit)
    monkeypatch.setattr(GrowthSpace, "at_step", watch_space)
    stream = tiny_stream(2)
    profile = tiny_profile(
        iterations=9, growth_steps=2, share_power=1.0, learning_rate=0.013, warmup=1, search_share=0.5,
        random_members=2, scoring_pairs=8, evaluations=3, operator="stack", budget_power=0.9,
    )  # fmt: skip
    for seed in (0, 1):
        grow_function(stream, profile, tmp_path / str(seed), seed=seed)
    for (config, _, augmented), iterations in zip(trained, (3, 6, 3, 6), strict=True):
        assert (config.iterations, config.learning_rate, config.warmup) == (iterations, 0.013, 1) and augmented
    assert len({seed for _, seed, _ in trained}) == 4
    for config, captions in searched:
        assert (config.random_members, config.scoring_pairs, config.evaluations) == (2, 8, 3)
        assert (config.train.iterations, config.train.learning_rate, config.train.warmup) == (3, 0.013, 5)
        assert captions == [part.captions for part in stream.validation]
    assert operators == {"stack"} and powers == {0.9}


def test_a_run_goes_on_in_the_precision_it_began_with(tmp_path, monkeypatch):
    used, fit = [], grow_module.fit

    def stop_at_two(model, *rest, **more):
        used.append(model.compute_dtype)
        if len(used) == 2:
            raise KeyboardInterrupt
        return fit(model, *rest, **more)

    monkeypatch.setattr(grow_module, "fit", stop_at_two)
    monkeypatch.setattr(grow_module, "fast_dtype", lambda device: torch.bfloat16)
    with pytest.raises(KeyboardInterrupt):
        grow_function(tiny_stream(2), tiny_profile(iterations=4), tmp_path / "run")
    monkeypatch.setattr(grow_module, "fast_dtype", lambda device: torch.float32)
    grow_function(tiny_stream(2), tiny_profile(iterations=4), tmp_path / "run", resume=True)
    assert set(used) == {torch.bfloat16} and len(used) == 3
