"""Studies: rows, resuming, statistics, peers and ceilings."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from tiny import THINGS, tiny_model, tiny_profile, tiny_stream, weights_equal

from growclip_lite import peers
from growclip_lite.__main__ import parser, profile_of
from growclip_lite.architecture import Architecture, count_parameters, forward_flops, training_flops
from growclip_lite.continual import METHODS, Method, Teachers, lwf, mulki, vr_lwf, zscl
from growclip_lite.data.stream import Task
from growclip_lite.errors import InputError
from growclip_lite.evaluate import mean_accuracy, retrieval
from growclip_lite.grow import Run
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.peers import costs, follow, grow_once, iterations_for, train_fixed
from growclip_lite.profiles import get_profile, typical_config
from growclip_lite.search import unevenness
from growclip_lite.studies import capacity, choice, claims, growers, growing, jobs, one_step, sharing
from growclip_lite.studies import run as running
from growclip_lite.studies.ceilings import ceilings, question, words_of
from growclip_lite.studies.choice import last_step, search_against_training
from growclip_lite.studies.claim_tables import (
    cells,
    claim_table,
    continual_table,
    counted,
    full_table,
    short_table,
    way_table,
)  # fmt: skip
from growclip_lite.studies.jobs import Grid
from growclip_lite.studies.measures import row_of, validation, write_plan
from growclip_lite.studies.run import check_study, run_study
from growclip_lite.studies.statistics import difference, holm, paired, verdict
from growclip_lite.table import add_row, commit, done, read_table, write_table

ROOT = Path(__file__).resolve().parent.parent


def test_rows_are_added_and_found_again(tmp_path):
    path = tmp_path / "new" / "table.csv"
    assert not done(path, {"seed": 0})
    add_row(path, {"seed": 0, "method": "a", "score": 0.25})
    add_row(path, {"seed": 1, "method": "a", "score": 0.5, "more": 1})
    assert done(path, {"seed": 1, "method": "a"}) and not done(path, {"seed": 1, "method": "b"})
    assert pd.read_csv(path)["score"].tolist() == [0.25, 0.5]
    for digits in ("0123456", "12e4567"):
        add_row(path, {"seed": 2, "commit": digits})
    assert read_table(path)["commit"].tolist()[2:] == ["0123456", "12e4567"]
    add_row(path, {"seed": 3, "data": "2024"})
    assert done(path, {"seed": 3, "data": "2024"})
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


# ---- the harness ----


@pytest.fixture
def tiny_world(tmp_path, monkeypatch):
    """Studies on the tiny stream, in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def load(source, profile, seed):
        stream = replace(tiny_stream(seed=seed), name=source)
        return replace(stream, step_tasks=[]) if source.startswith("hard") else stream  # as the real ones

    monkeypatch.setattr(jobs, "load_stream", load)
    jobs.open_stream.cache_clear()
    yield Grid("tiny", tiny_profile(), 2)
    jobs.open_stream.cache_clear()


def test_a_study_writes_a_row_per_job_and_computes_none_twice(tiny_world, tmp_path, monkeypatch):
    path = run_study("growth", tiny_world, tmp_path / "results", workers=1)
    rows = pd.read_csv(path)
    assert len(rows) == 2 * 13 and not rows.duplicated(["seed", "method", "view"]).any()
    assert {"commit", "versions", "profile", "zero_shot_mean", "i2t_r1", "train_flops", "seconds"} <= set(rows)
    assert rows["versions"].str.contains("threads 1, precision (?:float32|bfloat16)", regex=True).all()
    before = path.read_text()
    path.write_text("\n".join(before.splitlines()[:-1]) + "\n")
    kept = pd.read_csv(path)
    calls = []
    monkeypatch.setattr(jobs, "perform", lambda *same, work=jobs.perform: calls.append(same) or work(*same))
    run_study("growth", tiny_world, tmp_path / "results", workers=1)
    again = pd.read_csv(path)
    assert len(calls) == 1 and again[: len(kept)].equals(kept)
    same = [column for column in rows if column != "seconds"]
    pd.testing.assert_frame_equal(again[same], rows[same])


def test_views_hold_equal_what_they_say(tiny_world, tmp_path):
    rows = pd.read_csv(run_study("growth", tiny_world, tmp_path, workers=1))
    for _, mine in rows.groupby("seed"):
        grown = mine[mine["method"] == "growclip"].iloc[0]
        one_iteration = mine["train_flops"] / mine["steps_iterations"].map(lambda text: sum(map(int, text.split())))
        equal_flops = (mine["train_flops"] - grown["train_flops"]).abs() <= len(THINGS) * one_iteration
        assert equal_flops[mine["view"].isin(["flops", "all"])].all()
        steps = mine[(mine["view"] == "steps") & mine["method"].str.startswith("fixed")]
        assert len(steps) == 3 and (steps["steps_iterations"] == grown["steps_iterations"]).all()
        large = mine[mine["method"] == "fixed large"]["architecture"]
        assert (large == grown["architecture"]).all()
        plans = mine[mine["method"].str.startswith("fixed")]["plan"].map(lambda text: len(set(text.split())))
        assert (plans == 1).all()


def test_the_short_form_leaves_out_jobs_and_changes_none(tiny_world):
    row = {"seed": 0, "plan": "1,1,1,1,1,1 1,1,1,2,1,1 1,2,1,2,1,1", "steps_iterations": "3 4 5"}
    grown = pd.DataFrame([row | {"steps_flops": "1e9 2e9 3e9", "train_flops": 6e9}])
    for study in (growing, growers):
        whole, short = (study.jobs(replace(tiny_world, seeds=1, short=short), grown) for short in (False, True))
        assert set(map(repr, short)) < set(map(repr, whole))
    assert {job.setting["view"] for job in growing.jobs(replace(tiny_world, short=True), grown)} == {
        "all", "flops", "last step",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["growers", "momentum", "dimensions", "sharing", "continual"])
def test_every_study_runs_on_a_tiny_stream(name, tiny_world, tmp_path):
    grid = replace(tiny_world, seeds=1)
    rows = pd.read_csv(run_study(name, grid, tmp_path / "results", workers=1))
    assert len(rows) > 5 and rows["zero_shot_mean"].between(0, 1).all() and rows["i2t_r1"].notna().all()
    assert name != "growers" or (tmp_path / "results" / "growth.csv").exists()
    assert (tmp_path / "results" / f"{name}.png").stat().st_size > 10_000
    told = full_table(tmp_path / "results")
    assert f"growclip study {name} " in told and "too few seeds" in told
    for table_of in (claim_table, short_table):
        lines = table_of(tmp_path / "results").splitlines()
        assert all(
            any(line.startswith(f"| {claim} | {paper}") for line in lines) for claim, paper in claims.REPORTED.items()
        )
        assert "not measured" in " ".join(lines)


def test_a_claims_further_verdicts_are_counted():
    assert counted(["contradicted", "too few seeds", "undecided", "contradicted"]) == (
        "1 undecided, 2 contradicted, 1 too few seeds"
    )
    assert counted([]) == "-"


def test_our_own_ways_to_inherit_are_no_rivals_of_growing(tmp_path):
    about = {"data": "emoji", "profile": "study", "iterations": 500, "share_power": 1.0}
    scores = {"i2t_r1": 0.1, "validation_mean": 0.5, "steps_known": np.nan}
    grown = about | scores | {"method": "growclip", "view": "all", "zero_shot_mean": 0.6}
    methods = {"PIM": 0.9, "plain inheriting": 0.8, "random": 0.1}

    def told(methods: dict[str, float]) -> dict[str, claims.Finding]:
        rows = [about | scores | {"method": name, "zero_shot_mean": value, "validation_mean": value, "seed": seed}
                for name, value in methods.items() for seed in (0, 1)]  # fmt: skip
        write_table(tmp_path / "growth.csv", pd.DataFrame([grown | {"seed": 0}, grown | {"seed": 1}]))
        write_table(tmp_path / "growers.csv", pd.DataFrame(rows))
        return {f.what: f for f in claims.on_growers(tmp_path) if f.claim == "C6"}

    (short,) = told(methods).values()
    assert short.what == "GrowCLIP - its architectures without a search, zero-shot" and not short.headline
    assert short.found.mean == pytest.approx(-20)
    full = told(methods | {"LEMON": 0.3, "stacking": 0.2})
    rival = full["GrowCLIP - best other grower (LEMON), zero-shot"]
    assert len(full) == 2 and rival.headline and rival.found.mean == pytest.approx(30)


def test_growers_are_compared_with_the_grown_run_of_their_own_machine(tmp_path):
    about = {"data": "emoji", "profile": "study", "iterations": 500, "share_power": 1.0, "method": "growclip"}
    grown = pd.DataFrame([about | {"seed": seed, "zero_shot_mean": 0.1 * seed} for seed in range(3)])
    write_table(tmp_path / "growth.csv", grown)
    others = grown.assign(method="LEMON")
    again = grown[grown["seed"] == 2].assign(zero_shot_mean=0.9)
    for rows, expected in ((others, [0.0, 0.1, 0.2]), (pd.concat([others, again]), [0.0, 0.1, 0.9])):
        beside = growers.grown_beside(tmp_path, rows)
        assert set(beside["method"]) == {"growclip"}
        assert beside.sort_values("seed")["zero_shot_mean"].tolist() == pytest.approx(expected)


def test_reproducing_goes_on_where_it_was_stopped(tiny_world, tmp_path, monkeypatch):
    grid = replace(tiny_world, seeds=1, short=True)
    monkeypatch.setattr(running, "REPRODUCE", (("growth", grid), ("growers", grid)))
    perform, calls = jobs.perform, []

    def stopped(*job):
        calls.append(job)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return perform(*job)

    monkeypatch.setattr(jobs, "perform", stopped)
    with pytest.raises(KeyboardInterrupt):
        running.reproduce(tmp_path, workers=1)
    kept = len(pd.read_csv(tmp_path / "growth.csv"))
    running.reproduce(tmp_path, workers=1)
    rows = sum(len(pd.read_csv(tmp_path / f"{name}.csv")) for name in ("growth", "growers"))
    assert kept == 3 and rows == len(calls) - 1 == 9
    running.reproduce(tmp_path, workers=1)
    assert len(calls) == rows + 1


def test_jobs_that_do_the_same_are_run_once(tiny_world, tmp_path, monkeypatch):
    """A base that has one dimension grown alone may be the same by FLOPs, by parameters and on the map."""
    grid, calls = replace(tiny_world, seeds=1), []
    monkeypatch.setattr(jobs, "perform", lambda *same, work=jobs.perform: calls.append(same) or work(*same))
    for name, twins in (("dimensions", 2), ("momentum", 2)):
        calls.clear()
        rows = pd.read_csv(run_study(name, grid, tmp_path, workers=1))
        assert len(rows) == sum(map(len, calls)) >= len(calls) + twins
        assert (rows["seconds"] == 0).sum() == len(rows) - len(calls)
    plain = rows[rows["momentum"] == rows["reading"].map({"A": 1.0, "B": 0.0})]
    assert len(plain) == 4 and (plain.groupby("before")["zero_shot_mean"].nunique() == 1).all()


def test_a_step_that_brings_nothing_new_to_test_has_rows_all_the_same(tiny_world, tmp_path, monkeypatch):
    """As on CIFAR-10, whose classes are all there from the first growth step."""
    stream = tiny_stream()
    stream.step_tasks[1:] = [[], []]
    monkeypatch.setattr(jobs, "load_stream", lambda *_: stream)
    for name in ("growth", "momentum"):
        rows = pd.read_csv(run_study(name, replace(tiny_world, seeds=1), tmp_path, workers=1))
        assert rows[["zero_shot_mean", "plasticity"]].notna().all(axis=None)
        assert rows.loc[rows["method"] == "growclip" if name == "growth" else slice(None), "forgetting"].notna().all()


def test_only_the_grown_runs_that_a_study_starts_from_are_run(tiny_world, tmp_path, monkeypatch):
    grown = []
    monkeypatch.setattr(running, "run_jobs", lambda path, jobs, *_: grown.extend(jobs))
    monkeypatch.setattr(running, "rows_of", lambda *_: pd.DataFrame())
    for name, seeds in (("continual", 7), ("choice", 5)):
        grown.clear()
        running.all_jobs(name, replace(tiny_world, seeds=7), tmp_path, 1)
        assert len(grown) == seeds


def test_the_study_of_choice_runs_on_its_own_streams(tiny_world, tmp_path):
    rows = pd.read_csv(run_study("choice", replace(tiny_world, seeds=1), tmp_path, workers=1))
    assert set(rows["part"]) == {"regret", "ranking", "choice", "side"} and set(rows["data"]) == {
        "tiny",
        "hard-text",
        "hard-image",
    }
    regret = rows[rows["part"] == "regret"]
    assert {"search", "balanced", "widest", "random 0"} <= set(regret["rule"]) and regret["loss_after"].notna().all()
    both = search_against_training(last_step(rows))
    assert set(both["loss_after"]) == set(regret["loss_after"]) and both["search_loss"].gt(0).all()


def test_a_search_that_follows_the_hard_side_is_told_so():
    """By the member that it likes best and by all, also where its rule for ties takes the same one every time."""
    same = {"seed": range(5), "text_lead": 0.5, "text_leads": "-1 0.5 1"}
    text = pd.DataFrame(same | {"data": "hard-text", "search_losses": "3 2 1"})
    image = pd.DataFrame(same | {"data": "hard-image", "search_losses": "1 2 3"})
    found = [finding.found.mean for finding in claims.on_hard_streams(pd.concat([text, image]), "")]
    assert found == [0.0, 200.0, 200.0]


def test_members_are_matched_with_what_the_search_said_of_them():
    small, wide, deep = "1,1,1,1,1,1", "1,2,1,1,1,1", "2,1,1,1,1,1"
    about = {"data": "scenes", "profile": "study", "iterations": 500, "share_power": 1.0}
    ranking = {"part": "ranking", "members": f"{wide} {deep}", "search_losses": "2.5 3"}
    rows = [ranking | {"seed": seed} for seed in (0, 1)]
    for rule, sizes, loss in (("search", wide, 1.5), ("random 0", deep, 1.0), ("random 1", wide, 1.5)):
        rows.append({"part": "regret", "seed": 0, "rule": rule, "plan": f"{small} {sizes}", "loss_after": loss})
    here = pd.DataFrame(rows).assign(**about)
    found = search_against_training(last_step(pd.concat([here, here.assign(data="other", loss_after=9.0)])))
    assert found[["seed", "sizes", "search_loss", "loss_after"]].to_dict("list") == {
        "seed": [0, 0], "sizes": [wide, deep], "search_loss": [2.5, 3.0], "loss_after": [1.5, 1.0],
    }  # fmt: skip


def test_a_table_without_its_growing_half_has_no_finding_yet(tmp_path):
    about = {"data": "emoji", "profile": "study", "iterations": 500, "share_power": 1.0, "seed": 0}
    scores = {"zero_shot_mean": 0.5, "i2t_r1": 0.1, "plasticity": 0.4, "forgetting": 0.2, "validation_mean": 0.5}
    fixed = about | scores | {"method": "fine-tuning", "growing": False}
    write_table(tmp_path / "continual.csv", pd.DataFrame([fixed]))
    assert not claims.findings(tmp_path) and "fixed large | fine-tuning | 1 | 0.500" in continual_table(tmp_path)
    write_table(tmp_path / "continual.csv", pd.DataFrame([fixed, fixed | {"growing": True, "zero_shot_mean": 0.7}]))
    (finding,) = claims.findings(tmp_path)
    assert finding.found.mean == pytest.approx(20) and finding.data.startswith("emoji, study with 500 iterations")


def double(run: Run, value: int) -> dict:
    return {"doubled": 2 * value}


def test_a_dask_cluster_runs_the_same_jobs(tmp_path, monkeypatch):
    """The rows are those of this process; workers are processes of their own, so that the jobs really travel."""
    monkeypatch.chdir(tmp_path)
    grid = Grid("scenes", get_profile("smoke"), 2)
    some = [grid.job(seed, double, 10 + seed, setting="a") for seed in range(2)]
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
        parallel_config(backend="dask"),
    ):
        jobs.run_jobs(tmp_path / "dask.csv", some, 2, "on dask")
    jobs.run_jobs(tmp_path / "here.csv", some, 1, "here")
    dask, here = (pd.read_csv(tmp_path / f"{name}.csv").sort_values("seed") for name in ("dask", "here"))
    same = [column for column in here if column != "seconds"]
    pd.testing.assert_frame_equal(dask[same].reset_index(drop=True), here[same].reset_index(drop=True))
    assert here["doubled"].tolist() == [20, 22]


def test_a_process_waits_for_another_that_fills_the_same_table(tmp_path, monkeypatch):
    """Both may need the same grown runs: the second one finds their rows."""
    path, waiting, ran = tmp_path / "growth.csv", threading.Event(), []
    job = Grid("scenes", get_profile("smoke"), 1).job(0, double, 10, setting="a")
    monkeypatch.setattr(jobs, "print", lambda *words, **options: waiting.set(), raising=False)
    monkeypatch.setattr(jobs, "perform", lambda *some: ran.append(some) or [])
    second = threading.Thread(target=jobs.run_jobs, args=(path, [job], 1, "second"))
    with jobs.used_by_one(path):
        second.start()
        assert waiting.wait(60)
        write_table(path, pd.DataFrame([job.key]))
    second.join()
    assert not ran and len(pd.read_csv(path)) == 1


def test_capacity_jobs_keep_to_their_budgets():
    profile = get_profile("laptop")
    found = capacity.capacity_jobs(profile)
    config = typical_config(profile)
    for which, architecture, iterations in found:
        spent = iterations * training_flops(architecture, config, profile.batch_size) / 1e12
        assert min(abs(spent / budget - 1) for budget in capacity.BUDGETS[which]) < 0.15
        assert iterations <= 1.01 * capacity.SIZES[architecture]
    assert len(set(found)) == len(found)
    assert {a for which, a, _ in found if which == "last"} == set(capacity.SIZES)


def test_rows_say_that_their_commit_is_unknown_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("growclip_lite.table.PACKAGE", tmp_path / "site-packages" / "growclip_lite")
    assert commit.__wrapped__() == "unknown"
    monkeypatch.undo()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit.__wrapped__() == "unknown"


def test_an_unknown_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="no study 'nothing'.*growth"):
        check_study("nothing", [])


# ---- statistics ----


def test_paired_differences_match_the_textbook():
    one = pd.DataFrame({"seed": [0, 1, 2, 3], "score": [0.5, 0.6, 0.7, 0.9]})
    other = pd.DataFrame({"seed": [3, 2, 1, 0, 9], "score": [0.8, 0.65, 0.5, 0.45, 0.1]})
    found = paired(one, other, "score")
    assert found.seeds == 4 and found.mean == pytest.approx(7.5)
    assert found.p == pytest.approx(scipy.stats.ttest_rel([5, 10, 5, 10], [0, 0, 0, 0]).pvalue)
    assert found.low < found.mean < found.high and str(found).startswith("+7.5 (+5.0 to")
    with pytest.raises(pd.errors.MergeError):  # rows of two settings: a seed must not count twice
        paired(pd.concat([one, one]), other, "score")
    alone = difference([1.0])
    assert str(alone) == "+1.0" and np.isnan(alone.low) and verdict(alone, alone.p) == "too few seeds"


def test_holm_corrects_as_in_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert np.isnan(holm([0.01, np.nan])[1]) and holm([0.01, np.nan])[0] == 0.01


def test_what_is_best_is_chosen_on_validation_data_and_our_own_on_other_seeds():
    """Seed 0 alone makes `a` the best of all; on the other seeds it is `b`. Test scores say the opposite."""
    validation = {"a": (0.9, 0.1, 0.1), "b": (0.2, 0.3, 0.3)}
    rows = [
        {"seed": seed, "method": name, "validation_mean": value, "zero_shot_mean": 1 - value}
        for name, values in validation.items()
        for seed, value in enumerate(values)
    ]
    rows = pd.DataFrame(rows)
    assert [name for name, _ in claims.best_first(rows, "method")] == ["a", "b"]
    name, its = claims.best(rows, "method")
    assert name == "a" and its["seed"].tolist() == [0, 1, 2]
    names, its = claims.best_elsewhere(rows, "method")
    assert names == "a, b" and its.set_index("seed")["method"].to_dict() == {0: "b", 1: "a", 2: "a"}
    assert claims.best_elsewhere(rows[rows["seed"] == 1], "method")[0] == "b"


def test_too_few_seeds_are_not_tested(monkeypatch, tmp_path):
    """They neither get a p-value, nor make that of the others larger."""
    enough, few = difference([2.0, 3.0, 2.5, 2.2, 2.4]), difference([1.0, 1.1])
    about = ("C1", "scenes", "a - b", "FLOPs")
    some = [claims.Finding(*about, found, "growclip study growth") for found in (enough, few, few)]
    monkeypatch.setattr(claims, "findings", lambda folder: some)
    ps = [p for _, p, _ in claims.judged(tmp_path)]
    assert ps[0] == enough.p < 0.05 and np.isnan(ps[1:]).all()
    assert [told for *_, told in claims.judged(tmp_path)] == ["supported", "too few seeds", "too few seeds"]


@pytest.mark.parametrize("study", ["growth", "growers", "momentum", "dimensions", "sharing", "continual"])
def test_a_findings_command_asks_for_the_setting_of_its_rows(study):
    found = claims.settings(ROOT / "results", study)
    assert found
    for setting in found:
        words = claims.command(study, setting).split()
        args = parser().parse_args(words[1:])
        assert words[0] == "growclip" and args.name == study
        assert jobs.setting_of(args.data, profile_of(args)) == setting


def test_the_commands_of_the_tables_ask_for_their_seeds():
    for finding in claims.findings(ROOT / "results"):
        command = cells((finding, 0.5, "undecided"))[-1].strip("`").split()
        assert parser().parse_args(command[1:]).seeds == finding.found.seeds


@pytest.mark.parametrize("study", ["choice", "dimensions", "momentum", "sharing"])
def test_a_second_profile_in_a_table_is_not_mixed_in(study, tmp_path):
    rows = read_table(ROOT / "results" / f"{study}.csv")
    write_table(tmp_path / f"{study}.csv", rows)
    before = full_table(tmp_path)
    others = [rows.assign(profile="other")]
    if study == "choice":
        others.append(rows[rows["part"].isin(["regret", "ranking"])].assign(data="other"))
    write_table(tmp_path / f"{study}.csv", pd.concat([rows, *others]))
    assert full_table(tmp_path) == before and before.count("\n") > 2


def test_verdicts_need_the_whole_interval_on_one_side():
    above, below = difference([2.0, 3.0, 2.5, 2.2, 2.4]), difference([-2.0, -3.0, -2.5, -2.2, -2.4])
    assert verdict(above, above.p) == "supported" and verdict(below, below.p) == "contradicted"
    assert verdict(above, 0.2) == "undecided" and verdict(difference([-1.0, 2.0, 3.0, 1.0, -2.0]), 0.01) == "undecided"
    assert verdict(difference([2.0, 2.1, 2.2, 2.3]), 0.001) == "too few seeds"


# ---- peers ----


def test_a_followed_plan_of_one_architecture_is_plain_training(tmp_path):
    """Inheriting into the same architecture changes nothing but new words: one fit after the other."""
    run = Run(tiny_stream(), tiny_profile(), 0, tmp_path)
    architecture = Architecture(1, 1, 1, 1, 1, 1)
    trail = follow(run, [architecture], [4], lambda model, step: {"step": step})
    alone, cost = train_fixed(run, architecture, 1, 4, "alone")
    assert weights_equal(trail.model.state_dict(), alone.state_dict())
    assert trail.flops == [cost["train_flops"]] and trail.scores == [{"step": 1}]


def test_equal_flops_are_spent_in_the_proportions_of_growing(tmp_path):
    run = Run(tiny_stream(), tiny_profile(iterations=300), 0, tmp_path)
    plan = [Architecture(1, 1, 1, 1, 1, 1), Architecture(1, 1, 1, 2, 1, 1), Architecture(2, 2, 1, 2, 1, 2)]
    own = [run.train_config(step).iterations for step in (1, 2, 3)]
    flops = sum(count * cost for count, cost in zip(own, costs(run, plan), strict=True))
    assert iterations_for(run, plan, flops) == own
    assert iterations_for(run, plan, 2 * flops) == [2 * count for count in own]


def test_growing_once_leaves_the_old_model_as_it_was(tmp_path):
    run = Run(tiny_stream(), tiny_profile(), 0, tmp_path)
    old, _ = train_fixed(run, Architecture(1, 1, 1, 1, 1, 1), 2, 4, "old")
    before, words = {n: w.clone() for n, w in old.state_dict().items()}, old.tokenizer.vocab_size
    growth = grow_once(run, 3, old, Architecture(1, 2, 1, 2, 1, 2))
    assert weights_equal(before, old.state_dict()) and old.tokenizer.vocab_size == words
    assert growth.model.tokenizer.vocab_size > words and len(growth.curve) == 1
    assert growth.loss_after < growth.loss_grown


@pytest.mark.parametrize("name", list(METHODS))
def test_every_continual_method_trains_on_new_pairs_only_and_grows_too(name, tmp_path, monkeypatch):
    sizes = []

    def fit(model, data, *arguments, work=peers.fit, **options):
        sizes.append(len(data))
        return work(model, data, *arguments, **options)

    monkeypatch.setattr(peers, "fit", fit)
    run = Run(tiny_stream(), tiny_profile(), 0, tmp_path)
    plan = [Architecture(1, 1, 1, 1, 1, 1), Architecture(1, 2, 1, 1, 1, 1), Architecture(1, 2, 1, 2, 1, 1)]
    trail = follow(run, plan, [5, 5, 5], lambda model, step: {}, METHODS[name])
    assert set(sizes) == ({32, 64, 96} if name == "replay" else {32})
    assert trail.model.architecture == plan[-1]
    assert all(torch.isfinite(weight).all() for weight in trail.model.state_dict().values())


def test_averaging_keeps_a_share_of_the_weights_from_before_the_step(tmp_path):
    run = Run(tiny_stream(steps=2), tiny_profile(growth_steps=2), 0, tmp_path)
    plan, models = [Architecture(1, 1, 1, 1, 1, 1)] * 2, {}
    for share in (0.0, 0.5, 1.0):
        trail = follow(run, plan, [4, 4], lambda model, step: {}, Method(averaged=share))
        models[share] = trail.model.state_dict()
    for name, weight in models[0.5].items():
        torch.testing.assert_close(weight, (models[0.0][name] + models[1.0][name]) / 2)
    alone = follow(run, plan[:1], [4], lambda model, step: {}, Method(averaged=1.0)).model.state_dict()
    assert torch.equal(alone["image_projection"], models[1.0]["image_projection"])  # trained, and then kept


@pytest.mark.parametrize("penalty", [lwf, vr_lwf, zscl, mulki])
def test_penalties_vanish_for_the_teacher_itself_and_teach_another(penalty, tmp_path):
    run, teacher, student = Run(tiny_stream(), tiny_profile(), 0, tmp_path), tiny_model(), tiny_model(seed=5)
    data = run.training_set(1, teacher.tokenizer)
    batch = data.batch(np.arange(16), np.random.default_rng(0))

    def value(model) -> torch.Tensor:
        teachers = Teachers(teacher, teacher, teacher.config.vocab_size, data, 0)
        return penalty(teachers)(model, batch, model(*batch[:2]))

    assert abs(value(teacher).item()) < 1e-5 < value(student).item()
    value(student).backward()
    assert student.image.stem[0].grad.abs().sum() > 0
    assert all(weight.grad is None for weight in teacher.parameters())


def test_what_the_teacher_never_knew_is_not_replayed(tmp_path, monkeypatch):
    """Every growth step brings a word; the previous model has met only those before."""
    run, seen = Run(tiny_stream(), tiny_profile(), 0, tmp_path), []

    def watched(teachers: Teachers):
        known, encode = teachers.known_words, teachers.previous.encode_text

        def look(tokens):
            seen.append((tokens.max().item(), known, teachers.previous.config.vocab_size))
            return encode(tokens)

        monkeypatch.setattr(teachers.previous, "encode_text", look)
        return vr_lwf(teachers)

    follow(run, [Architecture(1, 1, 1, 1, 1, 1)] * 3, [2, 4, 4], lambda model, step: {}, Method(penalty=watched))
    assert len(seen) == 8 and all(highest < known < whole for highest, known, whole in seen)
    assert max(highest - known for highest, known, _ in seen) == -1  # up to the last word that it knows


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
    assert question(test[0], words_of(test[0])).shape == (600, 1)
    words = words_of(test[1], asked_task(5, 2))
    assert words == ["blue", "half", "red"]
    assert torch.equal(question(test[1], words).sum(1), torch.full((600,), 3.0))


def test_a_row_tells_what_its_scores_say():
    def scores(known: list[float], recall: float) -> dict:
        return {
            "zero_shot": {"a": 0.5}, "zero_shot_mean": 0.5, "retrieval": {"i2t_r1": recall, "t2i_r1": 0.9},
            "known_concepts": known, "validation_mean": 0.7,
        }  # fmt: skip

    model = tiny_model()
    steps = [scores([0.8], 0.1), scores([0.6, 0.9], 0.2), scores([0.7, 0.5, 0.1], 0.3)]
    row = row_of(model, (model.architecture,) * 3, steps, [1, 2, 3])
    assert row["plasticity"] == pytest.approx((0.8 + 0.9 + 0.1) / 3)
    assert row["forgetting"] == pytest.approx((0.1 + 0.4) / 2)
    assert row["steps_known"] == "0.8 0.75 0.433333" and row["steps_i2t_r1"] == "0.1 0.2 0.3"
    assert (row["train_flops"], row["steps_flops"], row["validation_mean"]) == (6, "1 2 3", 0.7)
    without = row_of(model, (model.architecture,), [scores([], 0.1)], [1])  # the source has no tasks for its steps
    assert all(np.isnan(without[name]) for name in ("plasticity", "forgetting", "steps_known"))


def test_a_study_without_tasks_for_its_growth_steps_has_a_figure_and_tables(tmp_path, recwarn):
    for name in ("growth", "continual"):
        rows = read_table(Path(__file__).parents[1] / "results" / f"{name}.csv")
        rows[["plasticity", "forgetting", "steps_known"]] = np.nan
        write_table(tmp_path / f"{name}.csv", rows)
    running.STUDIES["continual"].figure(read_table(tmp_path / "continual.csv"), tmp_path / "continual.png")
    assert (tmp_path / "continual.png").is_file() and not recwarn.list
    assert (
        " | not measured | not measured | " in continual_table(tmp_path) and len(way_table(tmp_path).split("\n")) == 2
    )
    assert "known concepts" not in full_table(tmp_path)


def test_growers_without_the_grown_runs_of_study_1_have_their_own(tmp_path):
    rows = read_table(Path(__file__).parents[1] / "results" / "growers.csv").query("profile == 'online'")
    assert growers.grown_beside(tmp_path, rows)["seed"].tolist() == [5, 6, 7, 8, 9]


def test_settings_are_chosen_without_test_data():
    model, stream = tiny_model(), tiny_stream()
    tasks, pairs = stream.tasks, stream.validation[-1]
    stream.tasks = stream.retrieval = stream.step_tasks = None  # whoever looked there would fail
    assert validation(model, stream) == retrieval(model, pairs)["i2t_r1"]
    stream.validation_tasks = tasks
    assert validation(model, stream) == mean_accuracy(model, tasks)


def test_the_text_lead_is_the_texts_share_minus_the_images():
    base, config = Architecture(1, 1, 1, 1, 1, 1), typical_config(get_profile("study"))
    for grown, lead in (
        (replace(base, text_width=2), 1),
        (replace(base, image_depth=2), -1),
        (replace(base, shared_depth=2), 0),
        (base, 0),
    ):
        assert choice.text_lead(choice.added_flops(base, grown, config)) == pytest.approx(lead)


def test_other_members_are_what_their_rules_say():
    space = GrowthSpace.at_step(Architecture(1, 1, 1, 1, 1, 1), typical_config(get_profile("study")), 3, 1.0)
    found = choice.other_members(space, 0)
    added = {m: np.subtract(m.sizes, space.base.sizes) for m in space.members}
    assert added[found["balanced"]].std() == min(a.std() for a in added.values())
    assert sum(added[found["widest"]][1::2]) == max(sum(a[1::2]) for a in added.values())


def test_what_is_held_equal_is_equal():
    config = typical_config(get_profile("study"))
    for make, cost in ((sharing.at_equal_flops, forward_flops), (sharing.at_equal_parameters, count_parameters)):
        spent = [cost(make(shared), config) for shared in sharing.SHARED]
        assert max(spent) < 1.05 * min(spent)


def test_rivals_of_growing_are_its_own_architectures_at_its_own_costs():
    plan = [Architecture(1, 1, 1, width, 1, 1) for width in (1, 2, 3, 4)]
    row = {
        "seed": 0, "plan": write_plan(tuple(plan)), "steps_iterations": "3 4 5 6",
        "steps_flops": "1e9 2e9 3e9 4e9", "train_flops": 1e10,
    }  # fmt: skip
    made = growing.jobs(Grid("scenes", tiny_profile(), 1), pd.DataFrame([row]))
    found = {(job.setting["method"], job.setting["view"]): job.arguments for job in made}
    for size, own in (("small", plan[0]), ("medium", plan[2]), ("large", plan[3])):
        assert found[f"fixed {size}", "flops"] == ((own,) * 4, None, 1e10)
        assert found[f"fixed {size}", "steps"] == ((own,) * 4, (3, 4, 5, 6))
    assert found["from scratch", "flops"] == (plan[3], None, 1e10)
    assert found["from scratch", "last step"] == (plan[3], None, 4e9)
    assert found["from scratch", "steps"][:2] == (plan[3], 18)
    assert all(found[rule, "flops"] == (rule, 1e10) for rule in growing.RULES)


def test_growth_by_a_rule_takes_its_member_at_every_step(monkeypatch):
    run = Run(tiny_stream(3), tiny_profile(growth_steps=3, budget_power=2.0), 0, Path())
    monkeypatch.setattr(growing, "along", lambda run, plan, iterations, flops: (plan, iterations, flops))
    for rule in growing.RULES:
        plan, iterations, flops = growing.by_rule(run, rule, 5e9)
        assert (plan[0], iterations, flops) == (run.profile.start, None, 5e9) and len(plan) == 3
        for step in (2, 3):
            ratio = run.samples(step) / run.samples(step - 1)
            space = GrowthSpace.at_step(plan[step - 2], typical_config(run.profile), ratio, 2.0)
            assert plan[step - 1] in space and len(space) > 1
            widths = [sum(member.sizes[1::2]) for member in space.members]
            if rule == "always most even":
                assert unevenness(plan[step - 1]) == min(map(unevenness, space.members))
            if rule == "always widest":
                assert sum(plan[step - 1].sizes[1::2]) == max(widths)


def test_a_grown_row_counts_its_searches(tmp_path):
    run = Run(tiny_stream(), tiny_profile(), 0, tmp_path / "run")
    row = growing.grown(run)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert row["train_flops"] == report["total_flops"] and row["search_flops"] > 0


def test_a_grower_spends_each_steps_flops(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(growers, "along", lambda run, plan, iterations: asked.append(iterations) or {})
    run = Run(tiny_stream(), tiny_profile(), 0, tmp_path)
    plan = (Architecture(1, 1, 1, 1, 1, 1), Architecture(1, 1, 1, 2, 1, 1), Architecture(2, 2, 1, 2, 1, 2))
    growers.grower(run, plan, tuple(n * cost for n, cost in zip((3, 5, 9), costs(run, plan), strict=True)))
    assert asked == [(3, 5, 9)]


def test_a_job_has_its_own_seed(monkeypatch, tmp_path):
    opened = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "open_stream", lambda source, profile, seed: opened.append((source, profile, seed)))
    monkeypatch.setattr(jobs, "provenance", lambda precision: {"commit": "unknown"})
    job = Grid("tiny", tiny_profile(learning_rate=0.5), 3).job(
        2, lambda run, n: {"told": (run.seed, run.profile.learning_rate, n)}, 7
    )
    (row,) = jobs.perform(job)
    assert row["told"] == (2, 0.5, 7) and opened == [("tiny", "smoke", 2)] and row["seed"] == 2


def test_forgetting_of_one_growth_step_is_what_was_lost(monkeypatch):
    monkeypatch.setattr(one_step, "scores_of", lambda run: lambda model, step: {"known_concepts": [0.6, 0.3]})
    monkeypatch.setattr(one_step, "row_of", lambda *about: {})
    monkeypatch.setattr(one_step, "mean_accuracy", lambda model, tasks: {"first": 0.9}[tasks])
    model = SimpleNamespace(architecture=None)
    run = SimpleNamespace(stream=SimpleNamespace(train=[0, 0, 0], step_tasks=["first", [], "last"]))
    row = one_step.growth_row(
        run, model, SimpleNamespace(model=model, train_flops=1, loss_grown=2, loss_after=1, curve=[1])
    )
    assert row["forgetting"] == pytest.approx(0.9 - 0.6)
