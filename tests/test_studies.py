"""Studies: rows, resuming, peers and ceilings, and the numbers in README."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import tiny_profile, tiny_stream

from growclip_lite import studies
from growclip_lite.architecture import Architecture, ModelConfig, training_flops
from growclip_lite.bench.report import table as bench_table
from growclip_lite.ceilings import ceilings, question
from growclip_lite.data.scene_tasks import TASK_NAMES
from growclip_lite.data.stream import Task
from growclip_lite.errors import InputError
from growclip_lite.grow import Run, grow
from growclip_lite.peers import from_scratch
from growclip_lite.profiles import get_profile

ROOT = Path(__file__).resolve().parent.parent


def test_rows_are_added_and_found_again(tmp_path):
    path = tmp_path / "new" / "table.csv"
    assert not studies.done(path, {"seed": 0})
    studies.add_row(path, {"seed": 0, "method": "a", "score": 0.25})
    studies.add_row(path, {"seed": 1, "method": "a", "score": 0.5, "more": 1})
    assert studies.done(path, {"seed": 1, "method": "a"}) and not studies.done(path, {"seed": 1, "method": "b"})
    assert pd.read_csv(path)["score"].tolist() == [0.25, 0.5]
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_the_growth_study_writes_paired_rows_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        studies, "load_stream", lambda source, profile, seed: replace(tiny_stream(seed=seed), name=source)
    )
    path, profile = tmp_path / "growth.csv", tiny_profile()
    studies.study_growth(path, profile, 2, "emoji")
    rows = pd.read_csv(path)
    assert rows[["seed", "method"]].values.tolist() == [[s, m] for s in (0, 1) for m in ("growclip", "from scratch")]
    assert rows["architecture"][0] == rows["architecture"][1] and rows["parameters"][0] == rows["parameters"][1]
    assert {"commit", "versions", "profile", "zero_shot_mean", "i2t_r1", "train_flops", "seconds"} <= set(rows)
    monkeypatch.setattr(studies, "grown_row", lambda *_: pytest.fail("computed again"))
    studies.study_growth(path, profile, 2, "emoji")
    assert f"| emoji | {profile.iterations:,} | 2 |" in studies.summary(path)


def test_from_scratch_gets_the_last_steps_budget_and_architecture(tmp_path):
    profile = tiny_profile()
    run = Run(tiny_stream(), profile, 0, tmp_path)
    report = grow(run.stream, profile, tmp_path / "run", seed=0)
    model, cost = from_scratch(run, report)
    last = report["steps"][-1]
    assert model.architecture.to_dict() == last["architecture"]
    assert cost == {"parameters": last["parameters"], "train_flops": last["train_flops"]}


def test_capacity_jobs_keep_to_their_budgets():
    profile = get_profile("laptop")
    jobs = studies.capacity_jobs(profile)
    config = ModelConfig(profile.image_size, profile.patch_size, profile.context_length, 1_000, profile.embed_dim)
    for which, architecture, iterations in jobs:
        spent = iterations * training_flops(architecture, config, profile.batch_size) / 1e12
        assert min(abs(spent / budget - 1) for budget in studies.BUDGETS[which]) < 0.15
        assert iterations <= 1.01 * studies.SIZES[architecture]
    assert len(set(jobs)) == len(jobs)
    assert {a for which, a, _ in jobs if which == "last"} == set(studies.SIZES)


def test_an_unknown_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="no study 'nothing'.*growth"):
        studies.run_study("nothing", get_profile("smoke"), "scenes", 1, tmp_path)


def coloured_task(count: int, seed: int) -> Task:
    """Red or blue pictures: solvable by anything that learns."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=count)
    images = rng.integers(0, 60, (count, 3, 8, 8)).astype(np.uint8)
    images[labels == 0, 0] += 180
    images[labels == 1, 2] += 180
    return Task("colour", images, labels, [["red"], ["blue"]])


def asked_task(count: int, seed: int) -> Task:
    """A red and a blue half; which side the colour asked for lies on cannot be told from the picture alone."""
    rng = np.random.default_rng(seed)
    red_left, ask_red = rng.integers(2, size=(2, count)).astype(bool)
    images = rng.integers(0, 60, (count, 3, 8, 8)).astype(np.uint8)
    for i, left in enumerate(red_left):
        images[i, 0 if left else 2, :, :4] += 180
        images[i, 2 if left else 0, :, 4:] += 180
    prompts = [[[f"a {'red' if r else 'blue'} half {side}"] for side in ("left", "right")] for r in ask_red]
    return Task("side", images, (red_left != ask_red).astype(np.int64), prompts, per_picture=True)


def test_ceilings_learn_what_can_be_learnt_and_are_told_the_question():
    training, test = ([make(600, seed) for make in (coloured_task, asked_task)] for seed in (0, 1))
    scores = ceilings(training, test, iterations=150, seed=0)
    assert scores["colour"] > 0.95 and scores["side"] > 0.9
    assert question(test[0]).shape == (600, 1) and torch.equal(question(test[1]).sum(1), torch.full((600,), 3.0))


# ---- the committed tables, and what README says of them ----


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(ROOT / "results" / name)


def test_readmes_results_are_those_of_the_table():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("<!-- results -->")[1].split("<!-- /results -->")[0].strip()
    assert block == studies.summary(ROOT / "results" / "growth.csv")


def test_readmes_speeds_are_those_of_the_tables():
    """Every row of README's table is one of the bench's report, for one of the settings it was run in."""
    keys = pd.concat([table(path.name)[["machine", "profile"]] for path in (ROOT / "results").glob("bench_*.csv")])
    reports = [bench_table(ROOT / "results", key) for key in keys.drop_duplicates().to_dict("records")]
    measured = {line for text in reports for line in text.splitlines()}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme.split("<!-- bench -->")[1].split("<!-- /bench -->")[0].strip().splitlines()
    assert len(lines) > 10 and set(lines) <= measured


def test_readmes_words_on_the_demo_are_those_of_its_report():
    report = json.loads((ROOT / "results" / "demo_report.json").read_text())
    method = ("inherit", "search", "evaluate")
    overhead = sum(entry["phases"].get(name, 0) for entry in report["steps"] for name in method) / report["seconds"]
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    assert f"took {report['seconds']:.0f} s on two cores, {overhead:.0%} of them".replace("%", " %") in readme
    assert report["seconds"] < 300 and overhead < 0.25


def test_committed_rows_have_their_provenance():
    for path in (ROOT / "results").glob("*.csv"):
        rows = table(path.name)
        assert rows["commit"].str.fullmatch(r"[0-9a-f]{7,}").all(), f"{path.name}: measured on uncommitted changes"
        assert rows["versions"].str.contains("torch").all() and rows["profile"].notna().all()
        without_seed = ("bench_throughput.csv", "bench_inference.csv", "bench_cost.csv")
        assert path.name in without_seed or rows["seed"].notna().all()


def test_every_task_of_the_world_can_be_solved():
    assert table("ceilings.csv")[TASK_NAMES].mean().min() >= 0.9


def test_the_last_steps_data_ask_for_capacity():
    rows = table("capacity.csv")
    last = rows[rows["step"] == "last"]
    ends = last.loc[last.groupby(["architecture", "seed"])["train_flops"].idxmax()]
    means = ends.groupby("architecture")["zero_shot_mean"].mean()
    smallest = str(Architecture(1, 1, 1, 1, 0, 1))
    assert means.drop(smallest).max() >= means[smallest] + 0.05
