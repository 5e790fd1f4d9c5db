"""The bench compares like with like, and its figures follow from its rows."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import tiny_model, tiny_stream
from torch.utils.flop_counter import FlopCounterMode

from growclip_lite.__main__ import main
from growclip_lite.architecture import Architecture, ModelConfig, training_flops
from growclip_lite.bench import cost, report, rivals
from growclip_lite.bench.quality import adamw_config, adamw_state
from growclip_lite.bench.rivals import open_clip_model, transformers_model, with_end_token
from growclip_lite.bench.run import PARTS, SMOKE, run_bench
from growclip_lite.bench.search_quality import agreement, drawn
from growclip_lite.bench.throughput import OUR_NAME, contenders, ladder, simplifications
from growclip_lite.bench.time_to_accuracy import cosine_rate, seconds_to
from growclip_lite.bench.timing import in_turns, ratios
from growclip_lite.bench.tricks import PlainAdamW, fused_attention, run_step, scaled_activations, without_each
from growclip_lite.bench.variants import OPENAI, OURS, VariantCLIP, new_variant
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.memory import keep_freed_memory
from growclip_lite.model import HEAD_SIZE, attention, new_model, norm_linear
from growclip_lite.profiles import get_profile
from growclip_lite.table import RESULTS
from growclip_lite.train import TrainConfig, TrainingSet, fit, train_step

CHANNELS_LAST = torch.channels_last
KEY = {"machine": "a laptop", "profile": "laptop"}
ARCHITECTURE = Architecture(2, 2, 1, 3, 0, 2)
CONFIG = ModelConfig(image_size=16, patch_size=4, context_length=8, vocab_size=50, embed_dim=16)


def some_inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 50, (5, 8), generator=generator)
    for row, length in zip(tokens, (3, 8, 5, 7, 1), strict=True):
        row[length:] = 0
    return torch.rand(5, 3, 16, 16, generator=generator), tokens


def perturbed(model: torch.nn.Module) -> torch.nn.Module:
    """No weight is special any more: also what starts silent speaks."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=generator)
    return model


# ---- equal architectures


def test_without_any_switch_the_variant_is_our_model():
    images, tokens = some_inputs()
    ours = perturbed(new_model(ARCHITECTURE, CONFIG, 3))
    variant = new_variant(ARCHITECTURE, CONFIG, OURS, 3)
    variant.load_state_dict(ours.state_dict())  # strict: the very same names
    for mine, theirs in zip(variant(images, tokens), ours(images, tokens), strict=True):
        assert torch.equal(mine, theirs)


def by_kind(qkv: torch.Tensor) -> torch.Tensor:
    """Rows (query, key, value of head 0, of head 1, ...) -> all queries, all keys, all values."""
    return qkv.unflatten(0, (-1, 3, HEAD_SIZE)).transpose(0, 1).flatten(0, 2)


def copy_into_open_clip(variant: VariantCLIP, rival: torch.nn.Module) -> None:
    images, texts = rival.visual, rival.transformer
    with torch.no_grad():
        images.conv1.weight.copy_(variant.image.stem[0].unflatten(1, (3, 4, 4)))
        images.class_embedding.copy_(variant.class_token)
        images.positional_embedding.copy_(variant.image.position)
        images.ln_pre.weight.copy_(variant.stem_norm.gain)
        images.ln_pre.bias.copy_(variant.stem_norm.offset)
        rival.token_embedding.weight[:50].copy_(variant.text.token)
        rival.positional_embedding.copy_(variant.text.position)
        heads = (
            (images.ln_post, variant.image_head, images.proj, variant.image_projection),
            (rival.ln_final, variant.text_head, rival.text_projection, variant.text_projection),
        )
        for norm, head, projection, weight in heads:
            norm.weight.copy_(head.norm.gain)
            norm.bias.copy_(head.norm.offset)
            projection.copy_((weight * head.scale).T)
        rival.logit_scale.copy_(variant.logit_scale)
        for theirs, mine in ((images.transformer, variant.image), (texts, variant.text)):
            for block, source in zip(theirs.resblocks, mine.blocks, strict=True):
                layers = source.layers
                block.ln_1.weight.copy_(layers["qkv"].norm.gain)
                block.ln_1.bias.copy_(layers["qkv"].norm.offset)
                block.ln_2.weight.copy_(layers["up"].norm.gain)
                block.ln_2.bias.copy_(layers["up"].norm.offset)
                block.attn.in_proj_weight.copy_(by_kind(source.qkv * layers["qkv"].scale))
                block.attn.in_proj_bias.copy_(by_kind(layers["qkv"].bias))
                for linear, name, scale in (
                    (block.attn.out_proj, "out", 1),
                    (block.mlp.c_fc, "up", layers["up"].scale),
                    (block.mlp.c_proj, "down", 1),
                ):
                    linear.weight.copy_(getattr(source, name) * scale)
                    linear.bias.copy_(layers[name].bias)


def test_with_all_switches_the_variant_is_open_clips_model():
    images, tokens = some_inputs()
    variant = perturbed(new_variant(ARCHITECTURE, CONFIG, OPENAI, 0))
    rival = open_clip_model(ARCHITECTURE, CONFIG).eval()
    copy_into_open_clip(variant, rival)
    # open_clip pools at the largest token, which therefore has to be the last one.
    ends = (tokens != 0).sum(1) - 1
    tokens = tokens.clamp(max=48).scatter(1, ends[:, None], 49)
    with torch.inference_mode():
        mine = variant(images, tokens)
        theirs = rival((images - 0.5) * 4, tokens)
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, atol=2e-6)


def test_rivals_have_our_widths_depths_and_heads():
    variant = sum(weight.numel() for weight in new_variant(ARCHITECTURE, CONFIG, OPENAI, 0).parameters())
    one_word = ARCHITECTURE.text_width * HEAD_SIZE  # their vocabulary has an end token of its own
    for rival in (open_clip_model(ARCHITECTURE, CONFIG), transformers_model(ARCHITECTURE, CONFIG, "eager")):
        assert sum(weight.numel() for weight in rival.parameters()) == variant + one_word
    config = transformers_model(ARCHITECTURE, CONFIG, "sdpa").config
    assert config.vision_config.num_attention_heads == 2 and config.text_config.num_attention_heads == 3


def test_end_tokens_stand_behind_the_text():
    tokens = torch.tensor([[5, 6, 0, 0], [5, 6, 7, 8], [5, 0, 0, 0]])
    assert with_end_token(tokens, 9).tolist() == [[5, 6, 9, 0], [5, 6, 7, 9], [5, 9, 0, 0]]


def test_the_ladder_ends_with_our_layers_and_every_rung_trains():
    assert list(ladder().values())[0] == OPENAI and list(ladder().values())[-1] == OURS
    for step in (simplifications(SMOKE.setting) | contenders(SMOKE.setting)).values():
        step()


def test_without_a_trick_a_step_computes_the_same(monkeypatch):
    query, key, value = torch.randn(3, 2, 4, 6, 32, generator=torch.Generator().manual_seed(0))
    bias = torch.tensor([[0.0, 0, 0, 0, -1e4, -1e4]] * 2)[:, None, None, :]
    assert torch.allclose(fused_attention(query, key, value, bias), attention(query, key, value, bias), atol=1e-5)
    x, weight = query[0], key[0, 0]
    assert torch.allclose(scaled_activations(x, weight), norm_linear(x, weight), atol=1e-4)
    models, start = [], new_model(SMOKE.setting.architecture, SMOKE.setting.config, 0)
    keep = lambda *about: models.append(new_model(*about)) or models[-1]  # noqa: E731
    monkeypatch.setattr("growclip_lite.bench.tricks.new_model", keep)
    steps, moved = without_each(SMOKE.setting), {}
    for (name, step), model in zip(steps.items(), models, strict=True):
        for _ in range(3):
            step()
        changes = [(now - before).flatten() for now, before in zip(model.parameters(), start.parameters(), strict=True)]
        moved[name] = torch.cat(changes).detach()
    assert len(moved) == 6 and torch.channels_last is CHANNELS_LAST
    for name, change in moved.items():
        assert torch.cosine_similarity(change, moved[OUR_NAME], dim=0) > 0.97, name


def test_every_trick_is_taken_back_while_its_step_runs_and_no_longer(monkeypatch):
    seen, module = [], "growclip_lite.bench.tricks."

    def watch(name: str, value: Callable) -> None:
        monkeypatch.setattr(module + name, lambda *given, **named: seen.append(name) or value(*given, **named))

    def mixed(*given: object) -> torch.Tensor:
        seen.append("amp" if torch.is_autocast_enabled("cpu") else "plain")
        return train_step(*given)

    convolve = torch.nn.functional.conv2d

    def convolution(x: torch.Tensor, *given: object, **named: object) -> torch.Tensor:
        seen.append("last" if x.is_contiguous(memory_format=CHANNELS_LAST) else "first")
        return convolve(x, *given, **named)

    watch("fused_attention", fused_attention)
    watch("scaled_activations", scaled_activations)
    watch("PlainAdamW", PlainAdamW)
    monkeypatch.setattr(module + "train_step", mixed)
    steps = without_each(SMOKE.setting)
    assert seen == ["PlainAdamW"]
    monkeypatch.setattr("torch.nn.functional.conv2d", convolution)
    for name, wanted in {
        "plain attention": "fused_attention", "normalisation's factor in the weight": "scaled_activations",
        "activations in bf16, not amp": "amp", "channels_last in the stem": "first",
    }.items():  # fmt: skip
        for step, found in ((steps[OUR_NAME], False), (steps[name], True)):
            seen.clear()
            step()
            assert (wanted in seen) == found, name


def test_the_step_in_another_process_does_not_keep_freed_memory(monkeypatch):
    for module in ("train", "bench.tricks"):
        monkeypatch.setattr(f"growclip_lite.{module}.keep_freed_memory", pytest.fail)
    run_step(SMOKE.setting)


def test_what_comments_say_of_tricks_was_measured():
    rows = pd.read_csv(RESULTS / "bench_tricks.csv")
    found = ratios(report.wide(rows, "tricks"), OUR_NAME)["ratio"]
    assert found["plain attention"] > 2  # "more than twice as long"
    assert 1.05 < found["channels_last in the stem"] < 1.15 and 1.05 < found["activations in bf16, not amp"] < 1.07
    assert 1 - 1 / found["freed memory is kept"] == pytest.approx(1 / 6, abs=0.02)
    # These two are no code of their own: a factor has to go somewhere, and torch has the option.
    assert max(found["normalisation's factor in the weight"], found["fused AdamW"]) < 1.03


def test_flops_of_the_reference_model_are_those_of_its_training_step():
    from growclip_lite.train import train_step

    setting = SMOKE.setting
    model = new_model(setting.architecture, setting.config, 0)
    images, tokens = setting.batch()
    with FlopCounterMode(display=False) as counter:
        train_step(model, (images, tokens, torch.arange(setting.batch_size))).backward()
    assert counter.get_total_flops() == training_flops(setting.architecture, setting.config, setting.batch_size)


# ---- timing and figures


def test_contenders_take_turns_and_are_called_equally_often_in_every_window():
    called = []
    calls = {name: lambda name=name: called.append(name) for name in "abc"}
    seconds = in_turns(calls, windows=4, seconds=0.0)
    assert seconds.shape == (4, 3) and list(seconds.columns) == list("abc") and (seconds >= 0).all(axis=None)
    assert "".join(called) == "aabbcc" + "abc" + "bca" + "cab" + "abc"


def test_ratios_are_taken_within_windows():
    drift = np.array([1, 10, 100.0])
    table = ratios(pd.DataFrame({"ours": drift, "theirs": 3 * drift}), "ours")
    assert table.loc["theirs"].tolist() == pytest.approx([3, 3, 3]) and table.loc["ours", "ratio"] == 1


def test_seconds_to_a_mark():
    points = pd.DataFrame({"seconds": [10, 40, 160], "zero_shot_mean": [0.2, 0.4, 0.6]})
    assert seconds_to(points, 0.5) == pytest.approx(80)
    assert seconds_to(points, 0.1) == pytest.approx(10) and seconds_to(points, 0.4) == pytest.approx(40)
    assert seconds_to(points, 0.7) == math.inf


def test_the_cosine_schedule_warms_up_and_ends_at_zero():
    rates = [cosine_rate(i, 100, 2.0) for i in range(101)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == rates[9] == rates[10] == 2.0
    assert rates[100] == pytest.approx(0) and all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))


def test_agreement_of_rankings():
    order = np.arange(24.0)
    tau, low, high = agreement(order, order)
    assert (tau, low, high) == pytest.approx((1, 1, 1))
    shuffled = np.random.default_rng(0).permutation(order)
    tau, low, high = agreement(order, shuffled)
    assert -0.6 < low < tau < high < 0.6


def test_members_are_drawn_from_the_whole_space():
    space = GrowthSpace(Architecture(1, 1, 1, 1, 1, 1), 1, 0.0, math.inf, CONFIG)
    picked = drawn(space, 24, seed=0)
    assert len(set(picked)) == 24 and set(picked) < set(space.members)
    assert picked == drawn(space, 24, seed=0) != drawn(space, 24, seed=1)
    assert set(drawn(space, 100, seed=0)) == set(space.members)


def test_the_table_follows_from_the_rows(tmp_path):
    nothing = math.nan
    parts = {
        "contenders": {
            OUR_NAME: (1, 3e12), "open_clip fp32": (5, nothing), "open_clip bf16 amp": (4, nothing),
            "transformers fp32 eager": (2, nothing), "matrix product": (1, 12e12),
            f"{OUR_NAME}, OpenAI's layers, AdamW": (1.25, nothing),
        },
        "simplifications": {"OpenAI's layers": (3, nothing), "without biases": (2, nothing)},
    }  # fmt: skip
    slower = [
        {"part": "tricks", "window": w, "contender": name, "seconds": s * (w + 1)}
        for w in range(3)
        for name, s in ((OUR_NAME, 1), ("plain attention", 2.5))
    ]
    write_rows(tmp_path / "bench_tricks.csv", slower)
    rows = [
        {"part": part, "window": w, "contender": name, "seconds": s * (w + 1), "flops_per_second": f / (w + 1),
         "samples_per_second": 64 / s / (w + 1)}
        for w in range(3)
        for part, contestants in parts.items()
        for name, (s, f) in contestants.items()
    ]  # fmt: skip
    write_rows(tmp_path / "bench_throughput.csv", rows)
    table = report.table(tmp_path, KEY)
    assert "| training throughput / open_clip's best | 4.0 (4.0 to 4.0; its best: bf16 amp) | 3 |" in table
    assert "| training throughput / transformers' best | 2.0 (2.0 to 2.0; its best: fp32 eager) | 1.7 |" in table
    assert "ours; open_clip's best; transformers' best | 32; 8; 16 |  |" in table
    assert "| share of the bf16 matrix-product rate | 25 % of 6.00 TFLOP/s | 22 % |" in table
    assert "| training throughput by: without biases | 1.50 (1.50 to 1.50) |  |" in table
    assert "| training throughput by trick: plain attention | 2.50 (2.50 to 2.50) |  |" in table
    assert "| accuracy | not measured |" in table and "| cost | not measured |" in table
    assert "on a GPU" in report.table(tmp_path, KEY | {"machine": "Some CPU, 2 cores, 2 threads"})
    assert report.table(tmp_path, KEY | {"machine": "Some CPU, 11 cores, 1 threads"}).startswith(
        "Some CPU, 11 cores, 1 thread,"
    )
    assert "on a GPU" not in report.table(tmp_path, KEY | {"machine": "Some CPU, 16 cores, 16 threads, NVIDIA H100"})


def write_rows(path, rows: list[dict]) -> None:
    pd.DataFrame([KEY | row for row in rows]).to_csv(path, index=False)


def test_times_to_marks_are_told_with_their_bounds(tmp_path):
    def points(contender: str, *scores: float) -> list[dict]:
        seconds = (10, 40, 160)
        return [
            {"contender": contender, "seed": 0, "seconds": s, "zero_shot_mean": z}
            | ({"last_step_seconds": s / 2} if contender == "grown" else {})
            for s, z in zip(seconds, scores, strict=False)
        ]

    rows = points(OUR_NAME, 0.4, 0.6, 0.9) + points("open_clip", 0.1, 0.2, 0.3)
    write_rows(tmp_path / "bench_accuracy.csv", rows)
    table = report.table(tmp_path, KEY)
    assert "| time to the lower mark, open_clip / growclip-lite | over 160 s / 40 s: more than 4.0 | 10 |" in table
    assert "| time to the upper mark, from scratch / grown | not measured | 2 |" in table
    write_rows(tmp_path / "bench_accuracy.csv", rows + points("grown", 0.81) + points("from scratch", 0.5, 0.81))
    table = report.table(tmp_path, KEY)
    assert "| time to the upper mark, from scratch / grown | 40 s / 10 s = 4.0 | 2 |" in table
    assert "| time to the lower mark, from scratch / grown |" in table
    assert "| time to the upper mark, open_clip / growclip-lite | over 160 s" in table
    assert "| the same (upper mark), counted from the arrival of the last pairs | 40 s / 5 s = 8.0 |  |" in table


def test_figures_of_quality_search_and_cost(tmp_path):
    scores = {0: (0.5, 0.52, 0.53, 0.48), 1: (0.6, 0.6, 0.5, 0.59)}
    quality = [
        {"variant": name, "seed": seed, "zero_shot_mean": value}
        for seed, values in scores.items()
        for name, value in zip(("OpenAI's layers", "without biases", "AdamW 0.001", "AdamW 0.002"), values, strict=True)
    ]
    write_rows(tmp_path / "bench_quality.csv", quality)
    members = [
        {"seed": 0, "architecture": str(i), "repeat": 0, "search_loss": i, "trained_loss": i,
         "trained_zero_shot": 1 - i / 20, "train_seconds": 50 if i < 4 else 500, "search_seconds": 10,
         "step_seconds": 100, "space_size": 8, "member": i < 4}
        for i in range(10)
    ]  # fmt: skip
    again = [members[0] | {"repeat": 1, "trained_loss": 0.2}, members[5] | {"repeat": 1, "trained_loss": 4.8}]
    write_rows(tmp_path / "bench_search.csv", members + again)
    axes = [{"axis": "pairs", "value": str(10**k), "peak_bytes": 2**20 * k, "seconds": 9.0} for k in (6, 4, 5)]
    write_rows(tmp_path / "bench_cost.csv", axes[:1])
    assert "peak memory" not in report.table(tmp_path, KEY)
    write_rows(tmp_path / "bench_cost.csv", axes)
    table = report.table(tmp_path, KEY)
    assert "| points of accuracy by: without biases | +1.0 ± 1.4 (seeds: 2) |" in table
    assert "| points of accuracy by: Muon (against AdamW 0.002) | +2.5 ± 2.1 (seeds: 2) |" in table
    assert "| search / training of that growth step | 10 % | 15 % |" in table
    assert "| search / training of all members of the space | 2.5 % |" in table
    assert "| Kendall's tau of the search with the trained zero-shot | 1.00 (1.00 to 1.00, 10 members) | 0.7 |" in table
    assert table.count("1.00 (1.00 to 1.00, 10 members)") == 2
    assert "| Kendall's tau of a search that knew the loss up to chance | about 1.0 (0.0 to 1.0) |  |" in table
    assert "3.0277 between members, 0.2000 between trainings of the same one (2 pairs)" in table
    assert (
        "| cost, pairs 10000 | 9 s, 4 MiB |" in table and "| peak memory, most pairs / fewest | 1.50 | 1.2 |" in table
    )


def test_adamw_in_muons_place_moves_all_weights_alike():
    """AdamW's first step is the learning rate in every weight that has a gradient, decay apart."""
    model, stream = tiny_model(), tiny_stream()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    config = adamw_config(TrainConfig(iterations=1, batch_size=8, learning_rate=0.02, warmup=1), 1e-3)
    assert config.learning_rate * config.weight_decay == pytest.approx(0.02 * 0.01)
    data = TrainingSet(stream.train[:1], model.tokenizer, model.config.context_length)
    fit(model, data, config, 0, state=adamw_state(model, config))
    moved = {name: (weight.detach() - before[name]).abs() for name, weight in model.named_parameters()}
    blocks = [change for name, change in moved.items() if ".blocks." in name]
    assert len(blocks) > 4 and all(change.median() == pytest.approx(1e-3, rel=0.05) for change in blocks)
    assert moved["image_projection"].median() == pytest.approx(1e-3, rel=0.05)
    assert max(change.max() for change in moved.values()) < 1.3e-3


# ---- the command


def test_help_names_all_parts(capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert ", ".join(PARTS) in told and PARTS.keys() == report.PARTS.keys()


def test_an_unknown_part_is_refused(tmp_path, capsys):
    assert main(["bench", "everything", "--profile", "smoke", "--results", str(tmp_path)]) == 2
    assert "no part 'everything' of the bench" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_what_is_not_installed_is_named_with_its_remedy(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(rivals, "find_spec", lambda name: None if name == "open_clip" else name)
    assert main(["bench", "throughput", "--profile", "smoke", "--results", str(tmp_path)]) == 2
    assert "The bench needs open_clip, which is not installed: pip install -e '.[bench]'." in capsys.readouterr().err


def test_the_whole_bench_runs_and_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "apart", lambda work, *arguments: work(*arguments))
    profile = replace(get_profile("smoke"), iterations=12, task_pictures=16, evaluations=3)
    table = run_bench([], profile, SMOKE, tmp_path)
    assert (
        table.count("not measured") == (not torch.cuda.is_available()) and "Kendall" in table and "peak memory" in table
    )
    assert {path.name for path in tmp_path.glob("*.csv")} == {f"bench_{part}.csv" for part in report.PARTS}
    before = {part: pd.read_csv(tmp_path / f"bench_{part}.csv") for part in report.PARTS}
    for part in ("quality", "accuracy", "search", "cost"):
        assert {"commit", "versions", "machine", "profile"} <= set(before[part])
        run_bench([part], profile, SMOKE, tmp_path)
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"bench_{part}.csv"), before[part])
    assert ("freed memory is kept" in set(before["tricks"]["contender"])) == keep_freed_memory()
    rival = before["accuracy"]["contender"].str.startswith("open_clip")
    assert before["accuracy"].loc[rival, "rival_precision"].isin(["float32", "bfloat16"]).all()
    # Rows of another machine stay, and are not this machine's figures.
    other = before["throughput"].assign(machine="another")
    other.to_csv(tmp_path / "bench_throughput.csv", index=False)
    assert "| throughput | not measured |" in report.table(
        tmp_path, dict(before["cost"][["machine", "profile"]].iloc[0])
    )
    run_bench(["throughput"], profile, SMOKE, tmp_path)
    assert len(pd.read_csv(tmp_path / "bench_throughput.csv")) == 2 * len(other)
