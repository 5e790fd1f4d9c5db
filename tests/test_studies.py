"""Studies: rows, resuming, peers and ceilings, and the numbers in README."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from dask.distributed import Client, LocalCluster
from huggingface_hub import ModelCard
from joblib import parallel_config
from tiny import THINGS, tiny_model, tiny_profile, tiny_stream, weights_equal

from growclip_lite import peers
from growclip_lite.__main__ import parser, profile_of
from growclip_lite.architecture import Architecture, training_flops
from growclip_lite.bench.quality import ADAMW_RATES
from growclip_lite.bench.report import table as bench_table
from growclip_lite.bench.report import training as training_figures
from growclip_lite.bench.report import wide
from growclip_lite.bench.timing import ratios as speed_ratios
from growclip_lite.ceilings import ceilings, question
from growclip_lite.continual import METHODS, Method, Teachers, lwf, mulki, vr_lwf, zscl
from growclip_lite.data.scene_tasks import TASK_NAMES
from growclip_lite.data.stream import Task
from growclip_lite.errors import InputError
from growclip_lite.grow import Run
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.peers import costs, follow, grow_once, iterations_for, train_fixed
from growclip_lite.profiles import get_profile, typical_config
from growclip_lite.search import TOLERANCE, Score, select
from growclip_lite.studies import capacity, choice, claims, growers, growing, jobs
from growclip_lite.studies import run as running
from growclip_lite.studies.choice import last_step, search_against_training
from growclip_lite.studies.claim_tables import (
    cells,
    claim_table,
    continual_table,
    counted,
    full_table,
    main_table,
    scores_table,
    short_table,
    tried_table,
)  # fmt: skip
from growclip_lite.studies.jobs import Grid
from growclip_lite.studies.measures import read_plan, write_plan
from growclip_lite.studies.run import check_study, run_study
from growclip_lite.studies.statistics import difference, holm, paired, verdict
from growclip_lite.studies.table import SETTING, add_row, done, read_table, write_table

ROOT = Path(__file__).resolve().parent.parent


def test_rows_are_added_and_found_again(tmp_path):
    path = tmp_path / "new" / "table.csv"
    assert not done(path, {"seed": 0})
    add_row(path, {"seed": 0, "method": "a", "score": 0.25})
    add_row(path, {"seed": 1, "method": "a", "score": 0.5, "more": 1})
    assert done(path, {"seed": 1, "method": "a"}) and not done(path, {"seed": 1, "method": "b"})
    assert pd.read_csv(path)["score"].tolist() == [0.25, 0.5]
    for commit in ("0123456", "12e4567"):
        add_row(path, {"seed": 2, "commit": commit})
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
    assert len(rows) == 2 * 10 and not rows.duplicated(["seed", "method", "view"]).any()
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
    assert found == [0.0, 20.0, 200.0]


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


def test_an_unknown_study_is_refused(tmp_path):
    with pytest.raises(InputError, match="no study 'nothing'.*growth"):
        check_study("nothing")


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
    assert question(test[0]).shape == (600, 1) and torch.equal(question(test[1]).sum(1), torch.full((600,), 3.0))


# ---- the committed tables, and what README says of them ----


def table(name: str) -> pd.DataFrame:
    return read_table(ROOT / "results" / name)


def told_words(path: str = "results/README.md") -> str:
    """What a README says, without its line breaks."""
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


def block(path: str, name: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    return text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].strip()


@pytest.mark.parametrize(
    ("path", "name", "make"),
    [
        ("README.md", "results", main_table),
        ("README.md", "claims", short_table),
        ("results/README.md", "claims", claim_table),
        ("results/README.md", "comparisons", full_table),
        ("results/README.md", "scores", scores_table),
        ("results/README.md", "continual", continual_table),
        ("results/README.md", "tried", tried_table),
    ],
)
def test_the_readmes_tables_are_computed_from_the_rows(path, name, make):
    """`growclip claims` prints them."""
    assert block(path, name) == make(ROOT / "results")


def test_readmes_speeds_are_those_of_the_tables():
    """Every row of the tables is one of the bench's report, for one of the settings it was run in; README's has those
    that this project asks something of."""
    keys = pd.concat([table(path.name)[["machine", "profile"]] for path in (ROOT / "results").glob("bench_*.csv")])
    reports = [bench_table(ROOT / "results", key) for key in keys.drop_duplicates().to_dict("records")]
    measured = {line for text in reports for line in text.splitlines()}
    lines, short = block("results/README.md", "bench").splitlines(), block("README.md", "speed").splitlines()
    assert len(lines) > 50 and set(lines) <= measured
    assert {line for line in lines if line.startswith("|") and not line.endswith("|  |")} <= set(short) <= set(lines)


def test_readmes_words_on_muon_are_those_of_its_rows():
    scores = table("bench_quality.csv").pivot(index="seed", columns="variant", values="zero_shot_mean")
    assert [name for name in scores if name.startswith("AdamW")] == ["AdamW 0.002"] and ADAMW_RATES[1] == 2e-3
    gain = 100 * (scores["convolutional stem"] - scores["AdamW 0.002"]).mean()
    assert f"Muon brings {gain:.0f} points more than AdamW alone at the one learning rate" in told_words()
    assert f"Muon {gain:.0f} points more than AdamW alone at the one learning rate" in told_words("README.md")


def test_readmes_words_on_the_earlier_speeds_are_those_of_its_rows():
    found = {what: told for what, told, _ in training_figures(table("bench_throughput_earlier.csv"))}
    words = told_words()
    share, _, rate = found["share of the bf16 matrix-product rate"].partition(" of ")
    rates = found["training, samples a second: ours; open_clip's best; transformers' best"]
    assert f"at {rate}, it was {share}, at {rates.split(';')[0]} samples a second" in words
    ratios = [found[f"training throughput / {whose} best"].split()[0] for whose in ("open_clip's", "transformers'")]
    assert "that was {} times open_clip's best and {} times transformers'".format(*ratios) in words
    now = {what: told for what, told, _ in training_figures(table("bench_throughput.csv"))}
    seconds = wide(table("bench_throughput.csv"), "contenders")
    ratio, low, high = speed_ratios(seconds, "growclip-lite").loc["transformers bf16 amp eager"]
    others = seconds.filter(regex="transformers fp32|transformers bf16 amp").median()
    assert others.idxmin() == "transformers bf16 amp eager"
    slow = f"we are {ratio:.1f} times as fast as transformers without bf16 weights ({low:.1f} to {high:.1f})"
    assert slow in words
    level = now["training throughput / transformers' best"]
    assert level.startswith("1.0 ") and "its best: bf16 eager" in level and "transformers is level with us" in words


def test_readmes_words_on_the_demo_are_those_of_its_report():
    report = json.loads((ROOT / "results" / "demo_report.json").read_text())
    method = ("inherit", "search", "evaluate")
    overhead = sum(entry["phases"].get(name, 0) for entry in report["steps"] for name in method) / report["seconds"]
    readme = told_words("README.md")
    assert f"took {report['seconds']:.0f} s on two cores, {overhead:.0%} of them".replace("%", " %") in readme
    assert report["seconds"] < 300 and overhead < 0.25


def test_what_is_told_of_the_late_search_was_measured():
    words = told_words()
    members = table("late_search.csv").query("member")
    for column, told in (("search_loss", "-0.20 and -0.47 at once"), ("late_search_loss", "+0.20 and -0.07 late")):
        taus = [
            scipy.stats.kendalltau(rows[column], rows["trained_loss"]).statistic for _, rows in members.groupby("seed")
        ]
        sign = "+" if "+" in told else ""
        assert " and ".join(f"{tau:{sign}.2f}" for tau in taus) in told and told in words
    late = table("late.csv").query("method == 'growclip'")
    grown, spent = late["zero_shot_mean"], late["train_flops"].mean() / 1e12
    fixed = table("late.csv").query("method != 'growclip'")
    assert (
        f"{grown.mean():.3f} ± {grown.std():.3f} with {spent:.1f} TFLOPs over five seeds" in words and len(grown) == 5
    )
    same = table("late.csv").query("method == 'growclip' and seed == @fixed.seed.iloc[0]")["zero_shot_mean"].iloc[0]
    assert f"had {fixed['zero_shot_mean'].iloc[0]:.3f} against {same:.3f}" in words and len(fixed) == 1


@pytest.fixture(scope="module")
def told():
    """`told(data, *words)`: the one finding on these data with these words, and its verdict."""
    found = claims.judged(ROOT / "results")

    def one(data: str, *words: str) -> tuple[claims.Finding, str]:
        texts = {f"{f.data}: {f.what}, equal {f.equal}": (f, verdict) for f, _, verdict in found}
        (text,) = (text for text in texts if text.startswith(data) and all(word in text for word in words))
        return texts[text]

    return one


def test_readmes_hours_of_reproducing_are_those_of_the_plan(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "at_hand", lambda grid: True)  # as where CIFAR-10's folder has been made
    lines = running.describe_plan(ROOT / "results", tmp_path, 2).splitlines()
    unknown = [line.split()[:2] for line in lines if "not measured before" in line]
    assert not unknown and f"({float(lines[-1].split()[-1]):.0f} hours on two cores" in told_words("README.md")


def test_readmes_words_on_growing_are_those_of_the_findings(told):
    words = told_words("README.md")
    settings = ("scenes, study", "scenes, online", "emoji", "cifar10")  # in the order of the text
    found = [told(where, "best fixed", ", zero-shot") for where in settings]
    epochs, steps, emoji, cifar = (-finding.found.mean for finding, _ in found)
    assert [verdict for _, verdict in found] == ["contradicted", "undecided", "undecided", "contradicted"]
    ahead_of_large, supported = told("scenes, online", "fixed large, zero-shot")
    lead = f"(where it is {ahead_of_large.found.mean:.0f} ahead of the large one, *{supported}*)"
    assert f"by {epochs:.0f} points with equal epochs and by {steps:.0f}, undecided, with equal steps {lead}" in words
    assert f"on emoji by {emoji:.0f}, undecided; on CIFAR-10 by {cifar:.0f}." in words
    ahead = [told(where, "FLOPs since the last pairs")[0].found.mean for where in settings]
    told_ahead = (
        "it is {:.0f} points ahead on scenes with equal epochs, {:.0f} with equal steps, {:.0f} on emoji and {:.0f} on "
        "CIFAR-10;"
    )
    assert told_ahead.format(*ahead) in words
    at_all = [told(where, "equal all FLOPs") for where in settings]
    assert [verdict for _, verdict in at_all] == [*["undecided"] * 3, "contradicted"]
    behind = "(in the same order {:+.1f}, {:+.1f} and {:+.1f}, undecided; {:+.1f}, contradicted)"
    assert behind.format(*(f.found.mean for f, _ in at_all)) in words
    assert told("scenes, online", "best other grower", "zero-shot")[1] == "undecided"
    for claim in ("C1", "C6", "C7"):  # the first of the main comparisons
        first = next(f for f, *_ in claims.judged(ROOT / "results") if f.claim == claim and f.headline)
        assert first.data == "scenes, online, equal steps"
    means = table("growers.csv").groupby(["data", "method"], sort=False)["zero_shot_mean"].mean().unstack(0)
    worth = 100 * (means.loc["plain inheriting"] - means.loc["random"])[["scenes", "emoji", "cifar10"]]
    assert "is worth {:.0f}, {:.0f} and {:.0f} points over random weights".format(*worth) in words


def test_what_is_told_of_growing_on_the_way_was_measured(told):
    words, rows = told_words(), table("growth.csv").query("view in ['all', 'flops']")
    batches, behind = {}, {}
    for where, part in rows.query("profile != 'laptop'").groupby(["data", "profile"]):
        grown, small = (part[part["method"] == name] for name in ("growclip", "fixed small"))
        for one in (grown, small):
            assert (one["plan"].str.split().str[0] == one["plan"].iloc[0].split()[0]).all()  # the very same network
        batches[where] = [one["steps_iterations"].str.split().str[0].astype(int).mean() for one in (grown, small)]
        steps = range(len(grown["steps_known"].iloc[0].split()))
        known = [one.assign(**{f"known_{k}": one["steps_known"].str.split().str[k].astype(float) for k in steps})
                 for one in (grown, small)]  # fmt: skip
        behind[where] = [-paired(*known, f"known_{k}").mean for k in steps]
    epochs = [("scenes", "study"), ("emoji", "study"), ("cifar10", "study")]
    pairs = [f"{count:.0f}" for where in epochs for count in reversed(batches[where])]
    told_batches = "{} where growing gets {} on scenes with equal epochs, {} and {} on emoji, {} and {} on CIFAR-10"
    assert told_batches.format(*pairs) in words
    later = [np.mean(behind[where][1:]) for where in epochs[1:]]
    assert "without the first growth step are still {:.1f} and {:.1f} points behind".format(*later) in words
    firsts = "{:.1f}, {:.1f} and {:.1f} points behind it after the first".format(*(behind[w][0] for w in epochs))
    assert firsts in words
    online, steps = batches["scenes", "online"], behind["scenes", "online"]
    assert f"small one gets {online[1]:,.0f} such batches, growing {online[0]:.0f}; there growing is" in words
    assert f"{-steps[0]:.1f} points ahead after the first step" in words
    assert f"{min(steps[1:]):.1f} to {max(steps[1:]):.1f} behind after the others" in words
    found = [
        told("scenes, online", f"{rival}, zero-shot") for rival in ("fixed large", "fixed medium", "fixed (small)")
    ]
    (large, *leads), (medium, *_), (small, *_) = ((f.found.mean, verdict, f.found.seeds) for f, verdict in found)
    ends = (
        f"on ten seeds, it ends {large:.1f} points above the large one (*supported*), {medium:.1f} above the medium one"
    )
    assert f"{ends} and {-small:.1f} below the smallest, both undecided" in words and leads == ["supported", 10]
    assert {verdict for _, verdict in found[1:]} == {"undecided"}
    scratch, undecided = told("scenes, online", "equal all FLOPs")
    assert f"on ten, growing is {scratch.found.mean:.1f} points ahead of it, *{undecided}*)" in words
    recall, lost = (told("scenes, online", f"{rival}, image-to-text") for rival in ("fixed large", "fixed (small)"))
    told_recall = f"{recall[0].found.mean:.1f} points ahead of the large one (*{recall[1]}*)"
    assert f"in R@1 it is {told_recall} and {-lost[0].found.mean:.1f} behind the smallest (*{lost[1]}*)." in words
    ahead = [f for f, _, verdict in claims.judged(ROOT / "results") if verdict == "supported" and "fixed" in f.what]
    ahead = [f for f in ahead if f.what.startswith("GrowCLIP - ") and f.equal.startswith("FLOPs")]
    assert {f.what.split(",")[0] for f in ahead} == {"GrowCLIP - fixed large"} and "the only fixed arch" in words
    assert all("online" in f.data for f in ahead)


def test_what_is_told_of_the_searchs_first_choice_was_measured():
    rows, words = table("growth.csv").query("profile == 'online'").set_index("seed"), told_words()
    grown, small = (rows.loc[rows["method"] == name] for name in ("growclip", "fixed small"))
    wide = grown["plan"].str.split().str[1] == "1,1,1,2,1,1"
    deep = grown["plan"].str.split().str[1].isin(["2,1,2,1,2,1", "1,1,2,1,2,1"])
    assert (wide.sum(), deep.sum()) == (6, 4) and "In six of the ten runs of profile `online` it chose text" in words
    behind = 100 * (small["zero_shot_mean"] - grown["zero_shot_mean"])
    assert f"growing ends {behind[wide].mean():.1f} and {behind[deep].mean():.1f} points behind the smallest" in words
    ends = [grown.loc[kind, "zero_shot_mean"].mean() for kind in (wide, deep)]
    assert f"and with {ends[0]:.3f} and {ends[1]:.3f};" in words


def test_what_is_told_of_equal_iterations_was_measured(told):
    words, rows = told_words(), table("growth.csv").query("data == 'scenes' and profile == 'study'")
    same = rows[rows["view"].isin(["steps", "all"])].groupby("method")
    spent, ends = same["train_flops"].mean() / 1e12, same["zero_shot_mean"].mean()
    sizes = ["fixed small", "fixed medium", "fixed large", "growclip"]
    assert "{:.1f}, {:.1f} and {:.1f} TFLOPs, growing with its searches {:.1f})".format(*spent[sizes]) in words
    small, medium, large = (told("scenes, study", f"GrowCLIP - {name},", "equal iterations") for name in sizes[:3])
    d, verdict = small[0].found, small[1]
    times = [spent["growclip"] / spent[name] for name in sizes[:3]]
    assert "it then spends {:.1f}, {:.1f} and {:.1f} times their FLOPs".format(*times) in told_words("README.md")
    gaps = {}
    for name, view in (("small", "steps"), ("medium", "steps"), ("medium", "flops")):
        other = rows.query("method == @full and view == @view", local_dict={"full": f"fixed {name}", "view": view})
        pair = [one.set_index("seed")["steps_known"].str.split(expand=True).astype(float)
                for one in (rows[rows["method"] == "growclip"], other)]  # fmt: skip
        gaps[name, view] = 100 * (pair[1] - pair[0]).mean()
    first, means = gaps["small", "steps"][0], [gaps["medium", view].mean() for view in ("flops", "steps")]
    told_gaps = "this gap is {:.1f}, and the mean gap to the medium one, {:.1f} points at equal FLOPs"
    assert told_gaps.format(abs(first), means[0]) in words and f"(*contradicted*), is {means[1]:.1f}" in words
    above = f"ends {d.mean:.1f} points above the small one ({d.low:.1f} to {d.high:.1f}, *{verdict}*)"
    below = [-found.found.mean for found, _ in (medium, large)]
    assert "{}, {:.1f} below the medium and {:.1f} below the large one, both undecided".format(above, *below) in words
    assert {medium[1], large[1]} == {"undecided"} and d.seeds == 5
    short = f"it is {d.mean:.1f} points ahead of the smallest (*{verdict}*), and " + "{:.1f} and {:.1f} behind".format(
        *below
    )
    assert f"{short} the medium and the large one (*undecided*)" in told_words("README.md")
    scratch, verdict = told("scenes, study", "GrowCLIP - from scratch", "equal all iterations")
    d = scratch.found
    level = f"({d.mean:+.1f}, {d.low:+.1f} to {d.high:+.1f}, *{verdict}*)"
    assert f"from scratch ends at {ends['from scratch']:.3f}, growing at {ends['growclip']:.3f} {level}" in words


def test_what_is_told_of_choosing_the_momentum_was_measured():
    rows = table("momentum.csv").query("before == 'long'")
    means = rows.groupby(["reading", "momentum"])["validation_mean"].mean()
    assert means["A"].idxmax() == 0.9 and means["B"].idxmin() == 0.99 and len(means["A"]) == 7
    assert "0.9 is the best of the seven momenta after long training, 0.99 the worst decay" in told_words()
    assert growers.GROWERS["PIM"]["momentum"] == 0.9 and growers.GROWERS["momentum growth"]["momentum"] == 0.99


def test_what_is_told_of_batches_and_tasks_was_measured():
    words, rows = told_words(), table("growth.csv").query("data == 'scenes' and profile == 'study'")
    grown, small, medium = (
        rows[(rows["method"] == name) & rows["view"].isin(["all", "flops"])].set_index("seed")
        for name in ("growclip", "fixed small", "fixed medium")
    )
    sums = (part["steps_iterations"].map(lambda text: sum(map(int, text.split()))) for part in (small, grown))
    batches = [10 * round(part.mean() / 10) for part in sums]
    assert "the smallest sees about {:,} of them where growing sees {}".format(*batches) in words
    tasks = [f"zero_shot_{name}" for name in TASK_NAMES]
    lacks = [(part[tasks] - grown[tasks]).mean() for part in (medium, small)]
    shares = [lack[["zero_shot_shape", "zero_shot_composition"]].sum() / lack.sum() for lack in lacks]
    told = "make up {:.0%} of the net difference to the medium one, and {:.0%} of that to the smallest"
    assert told.format(*shares).replace("%", " %") in words


def test_what_is_told_of_cifar10_was_measured(told):
    words, rows = told_words(), table("growth.csv").query("data == 'cifar10'")
    means = rows[rows["view"] != "last step"].groupby("method")["zero_shot_mean"].mean()
    assert (
        f"Growing ends at {means['growclip']:.3f}, the smallest fixed architecture at {means['fixed small']:.3f}"
        in words
    )
    assert f"the medium one at {means['fixed medium']:.3f}, the large one at {means['fixed large']:.3f}" in words
    best, verdict = told("cifar10", "best fixed (small), zero-shot")
    assert f"{-best.found.mean:.1f} points behind the best ({best.found.low:.1f} to {best.found.high:.1f}," in words
    large, _ = told("cifar10", "GrowCLIP - fixed large, zero-shot")
    assert f"*{verdict}*), which leads at every growth step, and level with the large one in the end" in words
    assert f"({large.found.mean:+.1f})" in words
    steps = [np.mean([list(map(float, text.split())) for text in rows[rows["method"] == name]["steps_mean"]], axis=0)
             for name in ("growclip", "fixed small")]  # fmt: skip
    assert (steps[0] < steps[1]).all()
    ahead = told("cifar10", "FLOPs since the last pairs")[0].found.mean
    at_all, how = told("cifar10", "equal all FLOPs")
    behind = f"last step's FLOPs ends {ahead:.1f} points behind growing, with all FLOPs {-at_all.found.mean:.1f} ahead"
    assert f"{behind} (*{how}*)" in words
    others = table("growers.csv").query("data == 'cifar10'").groupby("method")["zero_shot_mean"].mean()
    ends = "ends at {:.3f}, plain inheriting at {:.3f}, random weights at every growth step at {:.3f}"
    assert ends.format(*others[["PIM", "plain inheriting", "random"]]) in words
    searches, _ = told("cifar10", "without a search, zero-shot")
    assert f"FLOPs are worth {-searches.found.mean:.1f} points when they are spent on training" in words
    recall = rows[rows["view"] != "last step"].groupby("method")["i2t_r1"].mean()
    assert (
        f"({recall.min():.2f} to {recall.max():.2f})" in words
        and f"{rows['train_flops'].max() / 1e12:.1f} TFLOPs" in words
    )
    (plan,) = map(read_plan, rows.query("method == 'growclip'")["plan"].unique())
    study = get_profile("study")
    spaces = [GrowthSpace.at_step(base, typical_config(study), 2, study.budget_power) for base in plan[:-1]]
    assert {len(space) for space in spaces} == {5, 6} and "spaces have five or six members" in words


def test_what_is_told_of_inheriting_was_measured(told):
    words = told_words()
    best, supported = told("scenes, long", "best momentum (0.9) - random weights")
    assert f"it is {best.found.mean:.1f} points ahead of random weights" in words and supported == "supported"
    rows = table("momentum.csv").query("reading == 'A' and momentum == 1")
    long, short = (rows[rows["before"] == before] for before in ("long", "short"))
    gain = paired(long, short, "zero_shot_mean")
    assert f"ends {gain.mean:.1f} points higher, with plain inheriting" in words
    along, _ = told("scenes, online", "PIM - random, whole stream")
    assert f"inheriting is worth {along.found.mean:.1f} points over random weights" in words
    means = table("growers.csv").query("profile == 'online'").groupby("method")["zero_shot_mean"].mean()
    assert set(means.index) == set(growers.GROWERS)
    names = {"PIM": "PIM with a momentum of 0.9", "plain inheriting": "plain inheriting"}
    for method in set(means.index) - {"random", "bert2BERT"}:
        assert f"{names.get(method, method)} ({means[method]:.3f})" in words
        assert method == "PIM" or told("scenes, online", f"PIM - {method}")[1] == "undecided"
    emoji = table("growers.csv").query("data == 'emoji'").groupby("method")["zero_shot_mean"].mean()
    (_, plain), (fresh, verdict) = (told("emoji", f"PIM - {name}") for name in ("plain inheriting", "random"))
    assert f"of 0.9 ends at {emoji['PIM']:.3f}, plain inheriting at {emoji['plain inheriting']:.3f}, {plain}" in words
    assert f"growth step {fresh.found.mean:.1f} points behind PIM (*{verdict}*)" in words
    behind, verdict = told("scenes, online", "PIM - bert2BERT")
    assert f"bert2BERT's AKI ends {behind.found.mean:.1f} points behind PIM, {verdict}." in words
    grown = table("growth.csv").query("data == 'scenes' and profile == 'online' and method == 'growclip'")
    share = 100 * grown["search_flops"] / grown["train_flops"]
    assert f"the search costs, {share.min():.0f} to {share.max():.0f} % of all FLOPs" in words
    settings = ("scenes, study", "scenes, online")
    fresh_starts = [told(where, "FLOPs since the last pairs")[0].found.mean for where in settings]
    worth = "worth {:.1f} points over a fresh start with the last step's FLOPs ({:.1f} in profile"
    assert worth.format(*fresh_starts) in words
    random = table("growers.csv").query("profile == 'online' and method == 'random'").set_index("seed")
    fresh = table("growth.csv").query("data == 'scenes' and profile == 'online' and view == 'last step'")
    fresh = fresh.set_index("seed").loc[random.index]
    assert (random["zero_shot_mean"] == fresh["zero_shot_mean"]).all() and "are one and the same training" in words


def test_what_is_told_of_sharing_and_dimensions_was_measured(told):
    words = told_words()
    shared = "best shared depth (1) - none"
    recall, zero_shot = (
        told("scenes", f"{shared}, {name}, equal FLOPs") for name in ("image-to-text R@1", "zero-shot")
    )
    assert (recall[1], zero_shot[1]) == (
        "supported",
        "contradicted",
    ) and "both on five seeds, both with a verdict" in words
    told_both = (
        f"R@1 by {recall[0].found.mean:.1f} points and lowers zero-shot accuracy by {-zero_shot[0].found.mean:.1f}"
    )
    assert told_both in words
    gaps = table("sharing.csv").query("equal == 'flops'").groupby("shared_depth")["modality_gap"].mean()
    assert (
        f"{gaps[0]:.3f} without sharing and {gaps[1]:.3f} with one shared block" in words and gaps[2:].min() > gaps[1]
    )
    rows = table("dimensions.csv")
    tasks = [f"zero_shot_{name}" for name in ("kind", "texture", "relation")]
    none = rows.query("growth == 'none'")[tasks].mean()
    gains = 100 * (rows.query("equal == 'flops' and growth != 'balanced'").groupby("growth")[tasks].mean() - none)
    kind, texture, relation = (gains[task].max() for task in tasks)
    assert gains.idxmax().tolist()[:2] == ["text_width", "shared_width"]
    assert f"(+{kind:.1f} points over no growth, at equal added FLOPs), shared width textures (+{texture:.1f})" in words
    assert f"relations gain at most {relation:.1f} from any dimension alone" in words


def test_what_is_told_of_emoji_was_measured(told):
    words = told_words()
    rows = table("growth.csv").query("data == 'emoji'")
    means = rows[rows["view"] != "last step"].groupby("method")["zero_shot_mean"].mean()
    fixed = means[means.index.str.startswith("fixed")]
    assert f"GrowCLIP {means['growclip']:.3f}, the fixed ones {fixed.min():.3f} to {fixed.max():.3f}" in words
    grown = rows.query("method == 'growclip'")
    assert grown["plan"].nunique() == 1 and len(grown) == 5 and "All five seeds grew alike" in words
    ratios = [
        np.divide(sizes[1:], sizes[:-1])
        for text in grown["steps_iterations"]
        for sizes in [list(map(int, text.split()))]
    ]
    assert f"no more than {100 * np.max(ratios) - 100:.0f} % from one step to the next" in words  # equal epochs
    plan, profile = read_plan(grown["plan"].iloc[0]), get_profile("study")
    for base, ratio in zip(plan, ratios[0], strict=False):
        assert len(GrowthSpace.at_step(base, typical_config(profile), ratio, profile.budget_power)) == 1
    share = 100 * (grown["search_flops"] / grown["train_flops"]).mean()
    assert f"one member. There is nothing to search for, though the search's {share:.0f} %" in words
    known, verdict = told("emoji", "known concepts")
    assert f"by {-known.found.mean:.1f} points in the mean of the growth steps (*{verdict}*)" in words
    all_flops, verdict = told("emoji", "equal all FLOPs")
    assert f"{-all_flops.found.mean:.1f} points ahead (*{verdict}*)" in words
    last, verdict = told("emoji", "FLOPs since the last pairs")
    assert f"those of the last step {last.found.mean:.1f} behind (*{verdict}*)" in words


def test_what_is_told_of_the_choice_was_measured():
    words = told_words()
    rows = table("choice.csv")
    behind, place = [], []
    for _, members in rows.query("part == 'regret'").groupby("seed"):
        chosen = members.set_index("rule").loc["search"]
        others = members[members["architecture"] != chosen["architecture"]]
        best = others.loc[others["validation_mean"].idxmax()]
        behind.append(100 * (best["zero_shot_mean"] - chosen["zero_shot_mean"]))
        place.append(members.loc[members["train_flops"] < chosen["train_flops"], "train_flops"].nunique())
    assert (
        f"ends {min(behind):.1f} to {max(behind):.1f} points of zero-shot accuracy behind the one that is best" in words
    )
    assert f"({np.mean(behind):.1f} in the mean)" in words
    assert len(behind) == 5 and set(place) <= {0, 1} and "the lowest or second-lowest cost on every seed" in words
    random = next(f for f in claims.findings(ROOT / "results") if f.what == "choice - other members at random").found
    assert f"{-random.mean:.1f} behind the mean of the others ({random.low:+.1f} to {random.high:+.1f}, und" in words
    found = {f.what: f.found for f in claims.findings(ROOT / "results") if f.claim == "C2"}
    tau = next(d for what, d in found.items() if what.startswith("Kendall's tau of the search's losses"))
    assert f"{tau.mean / 100:.2f}, {tau.low / 100:.2f} to {tau.high / 100:.2f};" in words
    readme = told_words("README.md")
    taus = [
        scipy.stats.kendalltau(members["search_loss"], members["loss_after"]).statistic
        for _, members in search_against_training(last_step(rows)).groupby("seed")
    ]
    low, high = scipy.stats.t.interval(0.95, len(taus) - 1, np.mean(taus), scipy.stats.sem(taus))
    assert f"({np.mean(taus):.2f}, by a t interval {low:.2f} to {high:.2f}, nine members, five seeds" in readme


def test_what_is_told_of_the_hard_streams_was_measured(told):
    words, rows = told_words(), table("choice.csv")
    searches = rows.query("part == 'choice'")
    space = GrowthSpace.at_step(choice.HARD_START, typical_config(get_profile("study")), 3, choice.HARD_BUDGET_POWER)
    assert (searches["space_size"] == len(space)).all() and (searches["evaluated"] == len(space)).all()
    grown = {
        side: sum(any(getattr(m, n) > getattr(space.base, n) for n in names) for m in space.members)
        for side, names in choice.SIDES.items()
    }
    assert f"{grown['image']} of the {len(space)} members grow the image encoder and {grown['text']} the text" in words
    ties, leads = {}, {}
    for data, part in searches.groupby("data"):
        losses = [np.array(text.split(), dtype=float) for text in part["search_losses"]]
        assert len(losses) == 10 and all((np.diff(loss) >= 0).all() for loss in losses)
        ties[data] = [int((loss <= (1 + TOLERANCE) * loss[0]).sum()) for loss in losses]
        leads[data] = np.array([float(text.split()[0]) for text in part["text_leads"]])
    firsts = {text.split()[0] for text in searches.query("data == 'hard-text'")["members"]}
    assert firsts == {"1,1,1,3,1,1"} and "grows the text width and nothing else on all ten seeds" in words
    low, high = min(ties["hard-text"]), max(ties["hard-text"])
    assert f"But {low} to {high} members of the first stream, the lowest included, lie within 2 % of it" in words
    assert f"and {min(ties['hard-image'])} to {max(ties['hard-image'])} of the second" in words
    wider = searches.query("data == 'hard-text' and architecture == 'image 1x64, text 1x32, shared 1x32'")
    assert len(wider) == 8 and "on eight seeds of the stream that is hard on text it widens the image" in words
    lowest, in_lowest = told("hard streams", "of the lowest loss")
    chosen, in_choice = told("hard streams", "of the choice")
    more, less = ([10 * value for value in (f.found.mean, f.found.low, f.found.high)] for f in (lowest, chosen))
    told_more = "{:.0f} percentage points larger on the first ({:.0f} to {:.0f}, ".format(*more)
    told_less = "{:.0f} percentage points smaller on the first ({:.0f} to {:.0f}, ".format(-less[0], *less[1:])
    assert f"This lead is {told_more}*{in_lowest}*)" in words
    assert f"lead of the choice itself is {told_less}*{in_choice}*)" in words
    readme = told_words("README.md")
    assert f"than where they are hard on pictures (*{in_lowest}*)" in readme and in_lowest == "supported"
    assert f"after the rule for ties grows text less there (*{in_choice}*)" in readme and in_choice == "contradicted"
    on_image = difference(100 * leads["hard-image"])
    neither = f"neither ({on_image.mean:+.0f} percent, {on_image.low:+.0f} to {on_image.high:+.0f})"
    assert f"favours {neither}" in words
    every, verdict = told("hard streams", "Kendall's tau of the text lead")
    tau = every.found
    higher = f"{tau.mean / 100:.2f} higher on the first ({tau.low / 100:.2f} to {tau.high / 100:.2f}, *{verdict}*)"
    assert f"Kendall's tau of the lead with low loss is {higher}" in words
    for hard, other, place in (("text", "image", "the first"), ("image", "text", "the second")):
        sides = rows.query(f"part == 'side' and data == 'hard-{hard}'").pivot(
            index="seed", columns="rule", values="loss_after"
        )
        gains = sides[other] - sides[hard]
        gain = difference(gains)
        assert (
            gain.seeds == 5
            and (gains > 0).all()
            and f"by {gain.mean:.3f} on {place} ({gain.low:.3f} to {gain.high:.3f};" in words
        )
    spent = rows.query("part == 'side'").groupby("rule")["train_flops"].mean()
    fewer, more = 100 * (1 - spent["text"] / spent["image"]), 100 * (spent["image"] / spent["text"] - 1)
    assert f"text, at {fewer:.0f} % fewer FLOPs" in words and f"image, at {more:.0f} % more" in words


def test_what_is_told_of_ties_was_measured():
    """The member that a search likes best, and the one that its rule for ties takes, against all others."""
    rows, words = table("choice.csv"), told_words()
    rules = rows.query("part == 'regret'").assign(sizes=lambda r: r["plan"].str.split().str[-1])
    losses, points, ties, same, trends = [], [], [], {"search": 0, "balanced": 0}, []
    every = search_against_training(last_step(rows))
    for seed, members in every.groupby("seed"):
        members = members.set_index("sizes")
        found = zip(members.index, members["search_loss"], members["train_flops"], strict=True)
        scores = [Score(read_plan(sizes)[0], loss, 0.0, flops) for sizes, loss, flops in found]
        picked = [write_plan((select(scores, tolerance).architecture,)) for tolerance in (0, TOLERANCE)]
        gaps = [members.loc[one] - members.drop(one).mean(numeric_only=True) for one in picked]
        losses.append([gap["loss_after"] for gap in gaps])
        points.append([100 * gap["zero_shot_mean"] for gap in gaps])
        ties.append((members["search_loss"] <= (1 + TOLERANCE) * members["search_loss"].min()).sum())
        mine = rules[rules["seed"] == seed].set_index("rule")["sizes"]
        same = {rule: count + (mine[rule] == picked[1]) for rule, count in same.items()}
        costs = (scipy.stats.kendalltau(members["train_flops"], members[c]) for c in ("search_loss", "loss_after"))
        trends.append([cost.statistic for cost in costs])
    lowest, taken = np.transpose(losses)
    for gain, told in ((difference(-lowest), "below"), (difference(taken), "above")):
        assert f"{gain.mean:.3f} {told} the mean of the others ({gain.low:.3f} to {gain.high:.3f})" in words
    readme = told_words("README.md")
    assert f"ended {(taken - lowest).mean():.2f} worse in loss than the one of the lowest" in readme
    for gain in map(difference, np.transpose(points)):
        assert f"({gain.mean:+.1f}, {gain.low:+.1f} to {gain.high:+.1f})" in words
    assert (min(ties), max(ties)) == (3, 6)
    assert "three to six of the nine, itself included, lie within 2 % of its loss" in words
    assert same == {"search": 3, "balanced": 4}
    assert "the run's own choice on three seeds, the most balanced member on four" in words
    in_search, trained = np.mean(trends, 0)
    assert f"tau with cost {in_search:+.2f}) and lower ones after training ({trained:+.2f})" in words
    spread = every.groupby("seed")["loss_after"].std().mean()
    assert f"between the nine by {spread:.3f}," in readme


def test_what_is_told_of_new_pairs_only_was_measured():
    words, rows = told_words(), table("continual.csv")
    emoji = rows.query("data == 'emoji'")
    fixed = emoji[~emoji["growing"]].groupby("method")[["zero_shot_mean", "plasticity", "forgetting"]].mean()
    tuned, replay, lwf = (fixed.loc[name] for name in ("fine-tuning", "replay", "LwF"))
    assert f"zero-shot mean of {tuned.zero_shot_mean:.2f} and replay at {replay.zero_shot_mean:.2f}" in words
    zscl_mean = fixed.loc["ZSCL"].zero_shot_mean
    assert f"ends at {lwf.zero_shot_mean:.2f} (ZSCL, with its old pairs, at {zscl_mean:.2f}): it learns more" in words
    assert f"(plasticity {lwf.plasticity:.2f} against {replay.plasticity:.2f})" in words
    assert lwf.plasticity > replay.plasticity and f"came earlier drops by {lwf.forgetting:.2f}." in words
    assert f"of the new, either ({tuned.plasticity:.2f})" in words
    two = emoji[~emoji["growing"] & emoji["seed"].isin([0, 1])].groupby("method")["plasticity"].mean()
    assert (
        f"({two['infinite schedule']:.2f} on the two seeds on which fine-tuning has {two['fine-tuning']:.2f})" in words
    )
    spent = emoji.groupby("growing")["train_flops"].mean() / 1e12
    assert f"{spent[True]:.1f} against {spent[False]:.1f} TFLOPs" in words
    searches = table("growth.csv").query("data == 'emoji' and method == 'growclip'")["search_flops"].mean() / 1e12
    assert f"took {searches:.1f} more" in words
    means = emoji.groupby(["method", "growing"])["zero_shot_mean"].mean().unstack()
    assert (means[True] > means[False]).all() and "Growing has the higher mean with every method" in words
    assert (emoji.groupby("method")["seed"].nunique() == 2).sum() == 3 and "three of which have two seeds" in words
    differences = {
        "LwF": "{0:.1f} points ahead of the fixed large architecture with LwF ({1:+.1f} to {2:+.1f}, undecided)",
        "replay": "level ({0:+.1f}, {1:+.1f} to {2:+.1f})",
        "fine-tuning": "with fine-tuning by {0:.1f} points ({1:+.1f} to {2:+.1f}, not",
    }
    for method, told in differences.items():
        mine = emoji[emoji["method"] == method]
        gain = paired(mine[mine["growing"]], mine[~mine["growing"]], "zero_shot_mean")
        assert told.format(gain.mean, gain.low, gain.high) in words and gain.seeds == 5
    found = next(f for f in claims.findings(ROOT / "results") if "study continual" in f.command)
    assert found.what == "growing (LwF) - fixed large (LwF), new pairs only" and "emoji" in found.data
    scenes = rows.query("data == 'scenes'")
    assert len(scenes) == 6 and f"on one seed forget at most {scenes['forgetting'].max():.4f}" in words


def test_rows_begin_alike_where_only_what_follows_differs():
    """All growers of a seed train the same first growth step, and at equal iterations so does the small fixed network:
    rows of another precision would stand out."""
    rows = table("growth.csv").query("view == 'steps' and method == 'fixed small' or method == 'growclip'")
    grown = rows[rows.groupby([*SETTING, "seed"])["method"].transform("nunique") == 2]
    assert grown["seed"].nunique() == 5
    both = pd.concat([table("growth.csv").query("method == 'growclip'"), table("growers.csv")])
    both = both[both.groupby([*SETTING, "seed"])["method"].transform("nunique") > 1]
    assert len(both) > len(table("growers.csv"))
    for same in (both, grown):
        first = same["steps_mean"].str.split().str[0]
        assert (first.groupby([same[name] for name in (*SETTING, "seed")]).nunique() == 1).all()


def test_committed_rows_have_their_provenance():
    for path in (ROOT / "results").glob("*.csv"):
        rows = table(path.name)
        assert rows["commit"].str.fullmatch(r"[0-9a-f]{7,}").all(), f"{path.name}: measured on uncommitted changes"
        assert rows["versions"].str.contains("torch").all() and rows["profile"].notna().all()
        without_seed = ("bench_throughput", "bench_throughput_earlier", "bench_tricks", "bench_inference", "bench_cost")
        assert path.stem in without_seed or rows["seed"].notna().all()


def test_every_task_of_the_world_can_be_solved():
    assert table("ceilings.csv")[TASK_NAMES].mean().min() >= 0.9


def test_what_readme_says_beside_its_results_was_measured():
    words, rows = told_words("README.md"), table("main.csv")
    scenes = rows[rows["data"] == "scenes"].pivot(index="seed", columns="method", values=["train_flops", "parameters"])
    times = scenes["train_flops"]["growclip"] / scenes["train_flops"]["from scratch"]
    assert f"spent {times.min():.1f} to {times.max():.1f} times its FLOPs" in words
    assert f"ended at {scenes['parameters']['growclip'].mean() / 1e6:.2f} M parameters" in words
    emoji, cifar = rows[rows["data"] == "emoji"], rows[rows["data"] == "cifar10"]
    assert f"*name*, {emoji['zero_shot_name'].mean():.3f}," in words
    assert f"*kind*, {emoji['zero_shot_kind'].mean():.3f}," in words
    cards = {
        name: ModelCard.load(ROOT / "checkpoints" / f"{name}-laptop" / "README.md") for name in ("emoji", "cifar10")
    }
    for part, name, gallery, told in (
        (cifar, "cifar10", 80, "the five runs found {} to {}, the shipped model {}"),
        (emoji, "emoji", 45, "The five runs found {} to {}, the shipped model {}"),
    ):
        hits = gallery * part["i2t_r1"]
        (shipped,) = [r.metric_value for r in cards[name].data.eval_results if r.metric_name == "i2t_r1"]
        assert told.format(round(hits.min()), round(hits.max()), round(gallery * shipped)) in words


def test_what_is_told_of_capacity_was_measured():
    rows = table("capacity.csv").assign(budget=lambda r: 2 ** np.log2(r["train_flops"] / 1e12).round())
    last = rows[rows["step"] == "last"].pivot_table("zero_shot_mean", "budget", "architecture")
    smallest, second, middle = (
        str(Architecture(*sizes)) for sizes in ((1, 1, 1, 1, 0, 1), (1, 2, 1, 2, 1, 2), (1, 3, 1, 3, 1, 3))
    )
    words = told_words("README.md")
    most = last[[smallest, second]].dropna().index.max()
    assert f"level at {most:.0f} TFLOPs ({last.loc[most, smallest]:.3f} and {last.loc[most, second]:.3f})" in words
    gains = 100 * (last.loc[most] - last.loc[most / 2])
    assert f"gained {gains[smallest]:.1f} points by its last doubling, the second {gains[second]:.1f}." in words
    behind = 100 * (last.loc[most, second] - last.loc[most, middle])
    assert (
        f"{behind:.0f} points behind there, reaches {last[middle].max():.2f} with {last[middle].idxmax():.0f}" in words
    )


def test_the_smallest_architecture_is_level_at_the_budget_of_the_studies():
    """What results/README.md says about why growing is not ahead."""
    rows = table("capacity.csv")
    last = rows[rows["step"] == "last"].assign(budget=lambda r: 2 ** np.log2(r["train_flops"] / 1e12).round())
    best = last.pivot_table("zero_shot_mean", "budget", "architecture")
    smallest = best.pop(str(Architecture(1, 1, 1, 1, 0, 1)))
    assert smallest[8] > best.loc[8].max() + 0.03 and abs(smallest[16] - best.loc[16].max()) < 0.01
    scenes = table("growth.csv").query("data == 'scenes'")
    grown = scenes.query("method == 'growclip'").groupby("profile")["train_flops"]
    spent = {profile: flops / 1e12 for profile, flops in grown}
    assert spent["study"].between(7, 7.5).all() and spent["online"].between(13, 14).all()
    assert spent["laptop"].min() > 3 * spent["online"].max()
    fixed = scenes.query("profile == 'study' and view == 'flops'").groupby("method")["zero_shot_mean"].mean()
    words = told_words()
    assert f"{100 * (fixed['fixed medium'] - fixed['fixed large']):.1f} points behind it" in words
    for known in scenes.query("profile == 'laptop' and seed == 0")["steps_known"]:
        assert all(f"{float(value):.3f}" in words for value in known.split())


def test_what_is_told_of_runs_without_the_rule_for_ties_was_measured():
    words, tried = told_words(), table("tried.csv")
    kinds = ["searched, even ties within 2 %", "searched, lowest loss"]
    runs = tried[tried["kind"].isin(kinds)].pivot(index=["profile", "seed"], columns="kind")
    lost = {
        column: 100 * (runs[column, kinds[0]] - runs[column, kinds[1]])
        for column in ("validation_mean", "validation_i2t_r1")
    }
    online, *study = (lost["validation_mean"][place] for place in (("online", 100), ("study", 100), ("study", 101)))
    assert f"ended {study[0]:.1f} and {study[1]:.1f} points of validation accuracy lower" in words
    assert f"one of `online` {online:.1f}, for it added text width and nothing else" in words
    worst = f"accuracy without it ended {min(online, *study):.1f} to {max(online, *study):.1f} points lower"
    assert worst in words and worst in told_words("README.md") and len(runs) == 3
    online, *study = (lost["validation_i2t_r1"][place] for place in (("online", 100), ("study", 100), ("study", 101)))
    assert f"in R@1 they were {-study[0]:.1f} and {-study[1]:.1f} points ahead, and {online:.1f} behind" in words
