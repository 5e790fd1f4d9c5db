# %% [markdown]
# # 15 · How do I grow on my own pairs, and on larger machines?
#
# **You will learn** how to give the kit your pictures and captions, as a folder or as tar shards,
# what it does with broken files and new words, what a larger machine changes, and how to spread a
# study. **Read before:** 01, 11. **Takes** 30 minutes to work through, {measured}. **Of the paper:**
# its setting, online pairs that keep arriving, with your own.
#
# A stand-in for your pictures: small drawn flags. Everything below works alike with photographs.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import csv
import os
from collections import Counter

import numpy as np
import torch

from growclip_lite import load_stream
from growclip_lite.architecture import training_flops
from growclip_lite.course import lesson_15
from growclip_lite.course.display import show
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions

# %%
from dataclasses import asdict, replace

from joblib import parallel_config

from growclip_lite.architecture import Architecture, ModelConfig
from growclip_lite.course.lesson_11 import grow_silently
from growclip_lite.devices import default_device, fast_dtype, seconds_of_product
from growclip_lite.grow import Run, tokenizer_at
from growclip_lite.profiles import GPU, LAPTOP, get_profile
from growclip_lite.studies.growing import along
from growclip_lite.studies.jobs import Grid, run_jobs
from growclip_lite.table import read_table

predictions = Predictions(folder(out), "15")

# %% [markdown]
# ## A folder
#
# A folder holds pictures and a table, `captions.csv`. Two columns are needed, three more may be there:
#
# | column | what it does | without it |
# |---|---|---|
# | `image` | path of the picture, inside the folder | needed |
# | `caption` | the text; a picture may have several rows | needed |
# | `step` | growth step in which the pair arrives: 1, 2, ... | split by amount, doubling from step to step |
# | `label` | class name, for zero-shot accuracy | no zero-shot task |
# | `split` | `train`, `val` or `test` | a tenth each is drawn for val and test |

# %%
flags = folder(out) / "flags"
table = lesson_15.write_flags(flags, count=amount(profile, 160, 480), seed=seed)
print(*(flags / "captions.csv").read_text().splitlines()[:4], sep="\n")
alt = "Five drawn flags with their captions: three patterns of growth step 1, two more of step 2."
show(lesson_15.draw_samples(flags, table), alt)

# %% [markdown]
# **Takeaway:** step 1 knows stripes, crosses and discs. Step 2 brings saltires and chevrons, with names that
# no caption had before.
#
# ### Predict
#
# Two of the pictures are broken: one is missing, one was cut off in the middle. Loading
# **a** stops with an error, **b** skips and names them, **c** takes them as black pictures.

# %%
guess = None
predictions.predict("broken", guess)

# %%
stream = load_stream(str(flags), profile, seed)
for line in stream.skipped:
    print("skipped:", line)
predictions.reveal("broken", "b" if len(stream.skipped) == 2 else "c")

# %% [markdown]
# **Why:** in thousands of pictures a few are always broken. Above one in five, the run stops: then the
# folder is probably not what you think it is. The report of a run names what was skipped.
#
# ## The same by hand
#
# What arrives when? Count the rows of the table, and compare with the stream.

# %%
broken = {line.partition(":")[0] for line in stream.skipped}
with open(flags / "captions.csv", newline="") as file:
    rows = [row for row in csv.DictReader(file) if row["image"] not in broken]
counts = Counter((int(row["step"]), row["split"]) for row in rows)
for step, (train, validation) in enumerate(zip(stream.train, stream.validation, strict=True), 1):
    assert (len(train), len(validation)) == (counts[step, "train"], counts[step, "val"])
    assert train.images.shape[1:] == (3, stream.image_size, stream.image_size)
    print(f"step {step}: {len(train)} new pairs to train on, {len(validation)} held out")
print(f"test: {len(stream.tasks[0].labels)} pictures, {len(stream.tasks[0].prompts)} classes")

# %% [markdown]
# Test pictures belong to no step: every step is tested on all of them. Prompts for a class are made from
# four common templates and from your own captions, whose words the model has read.

# %%
for prompt in stream.tasks[0].prompts[0][:6]:
    print(prompt)

# %% [markdown]
# ## New words
#
# The tokenizer is learnt from the first step's captions. Later, a word that occurs three times or more and would need
# several tokens gets one of its own. Old ids never change.

# %%
settings = lesson_15.small_profile(get_profile(profile), amount(profile, 16, 200), 64)
run = Run(stream, settings, seed, folder(out) / "flags-run")
for step in (1, 2):
    tokenizer = tokenizer_at(run, step)
    pieces = tokenizer.backend.encode("chevron", add_special_tokens=False).tokens
    print(f"after step {step}: {tokenizer.vocab_size} tokens, chevron is {pieces}")
assert pieces == ["chevron"]

# %% [markdown]
# ## Tar shards
#
# Large collections come as WebDataset shards: tar files in which a sample is a group of files of one
# name, here `0007.png`, `0007.txt` (the caption) and `0007.json` (step and label). They load alike; the
# splits are drawn by the seed.

# %%
source = lesson_15.write_shards(flags, table, shards=2)
shards = load_stream(source, profile, seed)


def pictures(stream):
    parts = (*stream.train, *stream.validation)
    return sum(len(part) for part in parts) + len(stream.tasks[0].labels)


assert pictures(shards) == pictures(stream) == len(rows)
assert len(shards.train) == len(stream.train)
print(f"{pictures(shards)} pictures from {os.path.basename(source)}")

# %% [markdown]
# ## Grow on it
#
# One call. On the command line: `growclip grow --data my_folder --out runs/mine`. The profile says how
# much to compute. A few hundred pictures need few iterations and the smallest start.

# %%
reports, patterns = [], []
for each in range(seed, seed + amount(profile, 1, 2)):
    reports.append(grow_silently(stream, settings, run.out, each))
    patterns.append(lesson_15.by_pattern(stream, run.out))
    for entry in reports[-1]["steps"]:
        grown, r1 = Architecture.from_dict(entry["architecture"]), entry["retrieval"]["i2t_r1"]
        print(f"seed {each}, step {entry['step']}: {grown}")
        print(f"  zero-shot {entry['zero_shot_mean']:.2f}, R@1 {r1:.2f}")
assert reports[0]["skipped"] == stream.skipped

# %%
alt = "Zero-shot accuracy and R@1 of the flags after each of two growth steps, with chance."
show(lesson_15.draw_growth(reports, stream.tasks[0].chance, len(stream.retrieval)), alt)

# %%
captions, tests = stream.retrieval.captions, len(stream.tasks[0].labels)
pairs = {tuple(w for w in text.split() if w in lesson_15.COLOURS) for text in captions}
colours = f"{len(captions)} captions, {len(pairs)} pairs of colours"
print(f"{colours}: a guess at the pattern gives R@1 {len(pairs) / len(captions):.2f}")
recognised = sum(patterns) / len(patterns)  # mean over seeds
new = int(recognised.loc[list(lesson_15.LATER), "pictures"].sum())
print(f"{new} of {tests} pictures show a pattern of step 2: the others are {1 - new / tests:.2f}")
print(recognised.astype({"pictures": int}).round(2).to_string())
print(f"standard error of an accuracy: at most {(0.25 / tests) ** 0.5:.2f}")

# %% [markdown]
# **Takeaway:** with no label in the training, pictures find their captions. R@1 rises, and is high: knowing both
# colours and guessing the pattern would give the first share printed above. Zero-shot accuracy rose little, if at
# all (compare with the standard error), though step 2 brought the two missing patterns: these gain, and one of step
# 1 loses. Even in step 1, knowing its three patterns would be enough for more than was reached. Why prompts about a
# pattern do worse than whole captions is not tested here. A few hundred pictures are little: expect seeds to differ.

# %% [markdown]
# Both steps had equally many iterations. As in 11, they are shared out by a power of the pairs so far:

# %%
for power in (0.0, 0.25, 1.0):
    run.profile = replace(settings, share_power=power)
    shares = [run.train_config(step).iterations for step in (1, 2)]
    assert abs(sum(shares) - settings.iterations) <= 1
    print(f"power {power:<4g} {shares}")

# %% [markdown]
# ## A larger machine
#
# The profile `gpu` is meant for one GPU: larger pictures, wider embeddings, a larger start, larger batches.

# %% tags=["nbval-check-output"]
for name, value in asdict(GPU).items():
    if value != asdict(LAPTOP)[name] and name not in ("name", "start"):
        print(f"{name:<14} {asdict(LAPTOP)[name]} -> {value}")
print(f"start          {LAPTOP.start} -> {GPU.start}")

# %% [markdown]
# How long would that take on a CPU? FLOPs over FLOP/s. The rates are the shipped measurements of our training, on
# two threads of other machines; the architecture is the first one, so that growing comes on top.

# %% tags=["nbval-check-output"]
config = ModelConfig(GPU.image_size, GPU.patch_size, GPU.context_length, 2_000, GPU.embed_dim)
flops = GPU.iterations * training_flops(GPU.start, config, GPU.batch_size)
speed = read_table(root() / "results" / "bench_throughput.csv")
ours = (speed["contender"] == "growclip-lite") & ~speed["machine"].map(lesson_15.has_gpu)
for machine, rate in speed[ours].groupby("machine")["flops_per_second"].median().items():
    hours = f"{flops / rate / 3600:.0f} hours, or more"
    print(f"{flops / 1e15:.1f} PFLOPs at {rate / 1e12:.2f} TFLOP/s: {hours} ({machine})")

# %% [markdown]
# CUDA is used where there is a GPU, else the CPU. The precision is *measured*: bfloat16 is
# taken where it multiplies matrices clearly faster, in under 0.6 of the time. A name of a
# processor tells less than a millisecond of trying.

# %%
device = default_device()
single, half = (seconds_of_product(dtype, device) for dtype in (torch.float32, torch.bfloat16))
by_hand = torch.bfloat16 if half < 0.6 * single else torch.float32
if not 0.4 < half / single < 0.9:  # near the threshold, two measurements may differ
    assert by_hand == fast_dtype(device)
print(f"{device}: bfloat16 takes {half / single:.2f} of float32's time, so {by_hand}")

# %% [markdown]
# ## Throughput, measured
#
# ### Predict
#
# For the largest of three models, training on two threads instead of one is
# **a** less than 1.1 times as fast, **b** 1.1 to 1.5 times, **c** more than 1.5 times.

# %%
guess = None
predictions.predict("threads", guess)

# %%
models = [Architecture(1, 1, 1, 1, 1, 1), Architecture(2, 2, 2, 2, 1, 2)]
models += amount(profile, [], [Architecture(4, 4, 2, 4, 2, 4)])
threads = sorted({1, min(2, os.cpu_count())})
config = ModelConfig(32, 8, 24, 500, 64)
amounts = amount(profile, (64, 2, 0.02), (256, 4, 0.3))  # batch, windows, seconds
seconds = lesson_15.by_threads(models, threads, config, *amounts)
for name in seconds.columns.unique("model"):
    ratio = (seconds[name]["1"] / seconds[name][str(threads[-1])]).median()
    print(f"{name}: {threads[-1]} threads are {ratio:.2f} times as fast as one")
if ratio < 1:
    print("More threads are slower here: other work seems to be running on this machine.")
predictions.reveal("threads", "a" if ratio < 1.1 else "b" if ratio < 1.5 else "c")

# %% [markdown]
# And against other kits, at one architecture? The shipped measurements, on other machines. *amp*: torch's
# automatic mixed precision; *sdpa* and *eager*: torch's fused attention and the plain one; *OpenAI's layers*: our
# code with the original CLIP's layers, trained by AdamW.

# %%
shipped = lesson_15.shipped_throughput()
speeds = shipped.assign(machine=shipped["machine"].map(lesson_15.short_name))
speeds = speeds.pivot(index="contender", columns="machine", values="ratio")
print("training speed over ours, same machine")
print(speeds.loc[shipped["contender"].unique()].round(2).to_string())
gpu = lesson_15.gpu_rows()
print("rows measured on a GPU:", {name: len(rows) for name, rows in gpu.items()} or "not measured")
alt = "Bars of speed by model and threads on this machine; bars of other kits' speed over ours."
show(lesson_15.draw_throughput(seconds, shipped), alt)

# %% [markdown]
# **Takeaway:** what a second thread brings depends on the model, for larger matrices give each thread more to do
# between two meetings, and on what else the machine is doing. On a busy machine threads wait for each other, and two
# can be far slower than one (bars: quartiles over windows). So measure on the machine at hand, and while it is idle.
# Where no GPU row is in the tables, we claim nothing about GPUs.

# %% [markdown]
# ## A hundred times the data: how much memory?
#
# ### Predict
#
# A hundred iterations with a million pairs at hand instead of ten thousand take, at their peak,
# **a** up to 1.3 times the memory, **b** about ten times, **c** about a hundred times.

# %%
guess = None
predictions.predict("memory", guess)

# %% tags=["nbval-check-output"]
cost = read_table(root() / "results" / "bench_cost.csv")
pairs = cost[cost["axis"] == "pairs"]
for row in pairs.itertuples():
    print(f"{int(row.value):>9,} pairs: {row.peak_bytes / 2**20:.0f} MiB")
ratio = pairs["peak_bytes"].iloc[-1] / pairs["peak_bytes"].iloc[0]
print(f"most over fewest: {ratio:.2f}")

# %%
predictions.reveal("memory", "a" if ratio < 1.3 else "b" if ratio < 30 else "c")
alt = (
    "Peak memory and seconds over the number of pairs, relative to ten thousand; both nearly flat."
)
show(lesson_15.draw_memory(cost), alt)

# %% [markdown]
# **Takeaway:** the scenes lie on disk and are mapped (mapped pictures are not counted here, and so many iterations
# touch 25,600 pairs at most); in memory are some 70 bytes a pair. (One run a point.) Pictures of a folder or of shards
# are read once and then wait on disk, too, decoded: 3 × side × side bytes each. Memory holds their captions.

# %% tags=["nbval-check-output"]
for side in (LAPTOP.image_size, GPU.image_size):
    print(f"a million pictures of side {side}: {1e6 * 3 * side**2 / 2**30:.1f} GiB")

# %% [markdown]
# ## Several GPUs, several machines
#
# One run trains on *one* device; the kit does not split a batch over GPUs. What is spread are the jobs of
# a study: independent, one row each. joblib runs them, and its backend says where. Here: processes of this machine.

# %%
tiny = lesson_15.small_profile(get_profile(profile), amount(profile, 4, 60), 64)
grid = Grid(str(flags), tiny, seeds=amount(profile, 1, 2))
small, large = Architecture(1, 1, 1, 1, 1, 1), Architecture(2, 2, 1, 2, 1, 2)
half = tiny.iterations // 2
jobs = [
    grid.job(number, along, (plan, plan), (half, half), method=name)
    for number in range(grid.seeds)
    for name, plan in {"small": small, "large": large}.items()
]
path = folder(out) / "tiny_grid.csv"
path.unlink(missing_ok=True)
with parallel_config(backend="loky"):
    run_jobs(path, jobs, workers=amount(profile, 1, 2), title="tiny grid")

# %%
found = read_table(path).sort_values(["method", "seed"])
assert len(found) == len(jobs)
print(found[["method", "seed", "parameters", "zero_shot_mean"]].round(2).to_string(index=False))

# %% [markdown]
# On a cluster, only the backend changes; jobs travel, and this process alone writes the table:
#
# ```python
# from dask.distributed import Client
#
# with Client("tcp://scheduler:8786"), parallel_config(backend="dask"):
#     run_jobs(path, jobs, workers=-1, title="tiny grid")
# ```
#
# With a GPU per worker, start each worker with its own `CUDA_VISIBLE_DEVICES`. Rows that are in the table are not
# computed again, so that a study may be stopped and started. None of this was measured on a cluster.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · The split column
#
# `images` lists the picture of every row; a picture may occur in several rows. Give each row a split, about a tenth
# of the *pictures* each for val and test, drawn by `seed`.
#
# <details><summary>Hint</summary>
#
# Draw for the unique pictures, then look up each row's. Otherwise a test picture is trained on with its other caption.
# </details>


# %% tags=["exercise"]
def splits(images, seed):
    # SOLUTION
    unique = list(dict.fromkeys(images))
    order = np.random.default_rng(seed).permutation(len(unique))
    tenth = len(unique) // 10
    of = dict.fromkeys(unique, "train")
    of |= {unique[i]: "val" for i in order[:tenth]}
    of |= {unique[i]: "test" for i in order[tenth : 2 * tenth]}
    return [of[image] for image in images]
    # END


lesson_15.check_splits(splits)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · How many hours?
#
# Estimate the hours of a training from its FLOPs; `rate` is in FLOP/s.
#
# <details><summary>Hint</summary>
#
# `training_flops(architecture, config, batch)` counts one whole iteration.
# </details>


# %% tags=["exercise"]
def hours(architecture, config, batch, iterations, rate):
    # SOLUTION
    return iterations * training_flops(architecture, config, batch) / rate / 3600
    # END


lesson_15.check_hours(hours)

# %% [markdown] tags=["solution-text"]
# It is a lower bound: search, evaluation and decoding pictures come on top, and small models do not reach
# the rate of large ones.

# %% [markdown]
# ## Recap
#
# 1. A folder with `captions.csv`, or tar shards: both become the same stream.
# 2. Broken pictures are skipped and named; new words get tokens of their own.
# 3. Iterations per step follow a power of the data so far.
# 4. Device and precision are found out on the machine; speed is measured, not assumed.
# 5. A run uses one device; studies spread over processes and machines.
#
# **Not shown:** a run of profile `gpu`, training over several GPUs, and photographs.
#
# **Recall:** Why must all captions of a picture be in one split? <details><summary>Answer</summary>
# Otherwise the model is tested on pictures that it was trained on.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Radford et al. 2021 (CLIP); the documentation of WebDataset, joblib and
# Dask.
#
# **Solutions:** [here](solutions/15_your_own_data.ipynb). **Next:** back to [00 · start here](00_start_here.ipynb), with your own pictures.
