# %% [markdown]
# # 12 · Depth, width or sharing: which pays?
#
# **You will learn** what one unit of each growth dimension costs, how to compare dimensions fairly,
# and how to read differences over a few seeds: pairs, bootstrap, Holm. **Read before:** 05, 07, 08.
# **Takes** 30 minutes to work through, {measured}. **Of the paper:** its study of growth in different
# dimensions.
#
# One trained base grows in one dimension, then trains on. Everything else is held equal. To measure all
# of it anew takes hours: `papermill notebooks/12_study_growth_dimensions.ipynb out.ipynb -p seeds 5
# -p recompute True`.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"
seeds = 5
recompute = False

# %% tags=["imports"]
import numpy as np

from growclip_lite.course import lesson_12
from growclip_lite.course.display import show
from growclip_lite.course.place import folder, root
from growclip_lite.course.predictions import Predictions

# %%
from scipy import stats

from growclip_lite.architecture import ModelConfig, count_parameters, forward_flops
from growclip_lite.studies import claims
from growclip_lite.studies.dimensions import BASE, widened
from growclip_lite.studies.statistics import FEWEST_SEEDS, difference, holm, paired
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "12")

# %% [markdown]
# ## What a unit costs
#
# The base has one block in each encoder; image and text are two heads (64 channels) wide, the shared
# encoder one. By hand: one more image block, with 16 tokens of 64 channels.

# %% tags=["nbval-check-output"]
tokens, channels = 16, 64
parameters = (3 + 1 + 4 + 4) * channels**2  # qkv, out, up, down
flops = 2 * tokens * parameters + 2 * 2 * tokens**2 * channels  # matrices, then attention
print(f"{BASE}: one image block adds {parameters:,} parameters and {flops:,} FLOPs")

# %%
sizes = ModelConfig(image_size=32, patch_size=8, context_length=24, vocab_size=1_000, embed_dim=64)
deeper = widened(BASE, "image_depth", 1)
assert count_parameters(deeper, sizes) - count_parameters(BASE, sizes) == parameters
assert forward_flops(deeper, sizes) - forward_flops(BASE, sizes) == flops

# %% [markdown]
# ### Predict
#
# Of the six single units, the one that adds fewest FLOPs is **a** a block of the image encoder, **b** a block
# of the text encoder, **c** a block of the shared encoder.

# %%
guess = None
predictions.predict("cheapest", guess)

# %% tags=["nbval-check-output"]
costs = {}
for name in BASE.to_dict():
    more = widened(BASE, name, 1)
    costs[name] = tuple(f(more, sizes) - f(BASE, sizes) for f in (forward_flops, count_parameters))
    print(f"{name:<13} {costs[name][0]:>10,} FLOPs {costs[name][1]:>8,} parameters")

# %%
cheapest = min(costs, key=lambda name: costs[name][0])
predictions.reveal("cheapest", {"image_depth": "a", "text_depth": "b"}.get(cheapest, "c"))
alt = "Bars: a unit of image width adds most FLOPs and parameters; a unit of shared depth the fewest of both."
show(lesson_12.draw_units(costs), alt)

# %% [markdown]
# **Takeaway:** a unit is not a unit. A block's cost grows with the square of its width, and the convolutional
# stem is as wide; a block of a narrow shared encoder costs little, though both modalities pass it.
#
# So the study does not compare units. The most expensive one, image width, sets the cost; every other
# dimension grows by as many whole units as come nearest to its FLOPs (or parameters); what was really added
# is printed below. *Balanced* growth spends as much on one unit each of as many dimensions as it pays for.

# %% [markdown]
# ## The rows
#
# Held equal: the trained base of each seed, the pairs, the batches, the number of iterations after
# growing. Not equal: training FLOPs. Every grown model costs more than the one that has not grown.

# %%
rows, place = lesson_12.study_rows(root() / "results", folder(out), profile, seeds, recompute)
base = lesson_12.base_of(rows)
print(
    base[["seed", "zero_shot_mean", "i2t_r1"]].sort_values("seed").round(3).to_string(index=False)
)

# %% [markdown]
# ## Differences by hand: pairs first
#
# A seed decides on pairs, batches and fresh weights. All settings of one seed share them. So subtract
# within a seed, and what a lucky seed brings is gone from the difference.

# %%
wider = rows[(rows["equal"] == "flops") & (rows["growth"] == "image_width")]
before, after = (part.set_index("seed")["zero_shot_mean"] for part in (base, wider))
values = np.array([100 * (after[s] - before[s]) for s in before.index if s in after.index])
packaged = paired(wider, base, "zero_shot_mean")
assert abs(values.mean() - packaged.mean) < 1e-9
print(
    f"{BASE}, wider by one head: {np.round(values, 1).tolist()} points, mean {values.mean():+.2f}"
)

# %% [markdown]
# ## Then an interval
#
# How sure is that mean? The bootstrap draws as many seeds as there are, with repetition, many times over,
# and takes the middle 95 % of the means. First in a loop.

# %%
rng, means = np.random.default_rng(seed), []
for _ in range(10_000):
    drawn = values[rng.integers(0, len(values), len(values))]
    means.append(drawn.mean())
low, high = np.percentile(means, [2.5, 97.5])
print(f"by hand {low:+.2f} to {high:+.2f}, package {packaged.low:+.2f} to {packaged.high:+.2f}")

# %%
again = rng.choice(values, (10_000, len(values))).mean(1)  # the same without the loop
reach = max(np.ptp(values), 1e-9)
for ends in ((low, high), np.percentile(again, [2.5, 97.5])):
    assert np.allclose(ends, (packaged.low, packaged.high), atol=0.1 * reach)

# %% [markdown]
# With five seeds such an interval is narrower than it should be: it knows only five values. That is why a
# verdict also asks for a p-value, from the t distribution, which knows how few they are.

# %%
error = values.std(ddof=1) / len(values) ** 0.5
if error > 0:
    p = 2 * stats.t.sf(abs(values.mean() / error), df=len(values) - 1)
    assert np.isclose(p, packaged.p)
print(f"p = {packaged.p:.3f}")

# %% [markdown]
# ### Predict
#
# You have seen the interval of image width. Of the other five dimensions and balanced growth, at equal added FLOPs, how
# many gain over *no growth* with their whole interval above zero? **a** none or one, **b** two to five, **c** all six.

# %%
guess = None
predictions.predict("pays", guess)

# %% [markdown]
# ## And many comparisons: Holm
#
# Try twenty dimensions that do nothing, and on average one of them shows p < 0.05. Holm's remedy: sort the n
# values; multiply the smallest by n, the next by n - 1, and so on; never let a later one fall below.

# %%
found = lesson_12.gains(rows, "flops")
ps, worst, by_hand = [d.p for d in found.values()], 0.0, {}
for rank, i in enumerate(np.argsort(ps, kind="stable")):
    worst = max(worst, min(1.0, (len(ps) - rank) * ps[i]))
    by_hand[int(i)] = worst
assert np.allclose([by_hand[i] for i in range(len(ps))], holm(ps))
for (name, d), corrected in zip(found.items(), holm(ps), strict=True):
    print(f"{name:<13} {str(d):<22} p {d.p:.3f}  corrected {corrected:.3f}")

# %%
above = [name for name, d in found.items() if d.low > 0]
others = len(set(above) - {"image_width"})
predictions.reveal("pays", "a" if others < 2 else "b" if others < 6 else "c")
print(f"{len(above)} of {len(found)}:", ", ".join(map(lesson_12.words, above)) or "none of them")
kept = [name for name, p in zip(found, holm(ps), strict=True) if p < 0.05]
print("p < 0.05 after Holm:", ", ".join(map(lesson_12.words, kept)) or "none of them")

# %% [markdown]
# **Why** the two lines differ: an interval from five seeds is too narrow, and it does not know how many
# others were looked at. A verdict asks for both. (Nor are they seven confirmations: all share the base of their seed.)

# %% [markdown]
# ## Gain per added FLOP
#
# The same gains, divided by what was added: points per million FLOPs of a pair, and per 100,000
# parameters.

# %%
alt = (
    "Gains per added FLOP and parameter with 95 % intervals, a line per dimension; zero is marked."
)
show(lesson_12.draw_gains(rows, sizes), alt)
more = {}
for name, d in found.items():
    part = rows[(rows["equal"] == "flops") & (rows["growth"] == name)]
    more[name] = lesson_12.added(part, "flops", sizes) / 1e6
    print(
        f"{name:<13} {more[name]:>5.2f} MFLOPs added, {d.mean / more[name]:+.3f} points per MFLOP"
    )
most = max(more, key=more.get)
extra = more[most] / more["balanced"] - 1
print(f"{lesson_12.words(most)} adds {extra:.0%} more FLOPs than balanced growth")

# %% [markdown]
# **Takeaway:** read the intervals before the order. Where they overlap, the order may change with the next
# seeds; where they contain zero, this study cannot tell growing this dimension from not growing. Shared width
# leads on *this* base, whose shared encoder is its narrowest part: one head (32 channels) against two.

# %% [markdown]
# ## Depth × width
#
# One dimension at a time cannot show whether two help each other. The map grows image depth and width
# together.

# %%
alt = "A map of mean zero-shot accuracy by image depth and image width, with the deviation over seeds."
show(lesson_12.draw_depth_and_width(rows), alt)

# %%
grid = rows[(rows["equal"] == "map") | (rows["growth"] == "none")]
best = grid.groupby("architecture")["validation_mean"].mean().idxmax()
chosen = paired(grid[grid["architecture"] == best], base, "zero_shot_mean")
print(f"best on validation data: {best}; on test data, over no growth: {chosen} points")


# %%
def cell(growth):
    return grid[grid["growth"] == growth].set_index("seed")["zero_shot_mean"]


deeper, wider, both = (cell(f"{d} deep, {w} wide") for d, w in ((2, 2), (1, 3), (2, 3)))
extra = 100 * (both - deeper - wider + cell("none"))  # seed by seed
print(f"a block and a head at once, minus what each brings alone: {difference(extra)} points")

# %% [markdown]
# If that interval lies above zero, the two help each other; below, one makes the other less needed.
#
# **Takeaway:** before you read a landscape into the colours, look at the scale beside them. Do not compare two
# cells by their ± either, the deviation of a cell over seeds: most of it is what a seed does to both, and
# cancels. Compare two cells as above, seed by seed.

# %% [markdown]
# ## Task by task
#
# ### Predict
#
# At equal added FLOPs, the task *kind* (which of 500 named creatures?) gains most by growing
# **a** the image encoder, **b** the text encoder, **c** the shared encoder or all together.

# %%
guess = None
predictions.predict("kind", guess)

# %%
named = lesson_12.gains(rows, "flops", "zero_shot_kind")
leader = max(named, key=lambda name: named[name].mean)
print(f"largest mean: {lesson_12.words(leader)}, {named[leader]} points")
predictions.reveal("kind", {"image": "a", "text": "b"}.get(leader.split("_")[0], "c"))

# %%
alt = "Points over no growth by grown dimension and task; a star where the interval excludes zero."
show(lesson_12.draw_tasks(rows), alt)
tasks = {column: name for column, name in lesson_12.tasks_in(rows).items()}
every = {name: lesson_12.gains(rows, "flops", column) for column, name in tasks.items()}
for name in ("relation", "texture", "kind"):
    leader, d = max(every[name].items(), key=lambda item: item[1].mean)
    sure = (
        "above zero" if d.low > 0 else "its interval contains zero" if d.high >= 0 else "below zero"
    )
    print(f"{name:<9} gains most by {lesson_12.words(leader)}: {d} ({sure})")
cells = [d for part in every.values() for d in part.values()]
starred = sum(d.low > 0 or d.high < 0 for d in cells)
print(f"{starred} of {len(cells)} cells have a star")

# %% [markdown]
# **Takeaway:** this table asks dozens of questions at once. Even if no dimension did anything, about 13 of the
# 77 cells would have a star: at five seeds such an interval is a false alarm 17 % of the time (notebook 13 counts
# them). Nor are cells independent: a column subtracts the same five bases, a row is the same five trainings,
# so that a whole column of stars may come from unlucky bases. Look at single ones, seed by seed:

# %%
explore(
    lambda dimension, task: lesson_12.draw_dimension(rows, dimension, task),
    "Accuracy of every seed without growth and with one grown dimension.",
    dimension=[lesson_12.words(name) for name in found],
    task=list(reversed(tasks.values())),
)

# %% [markdown]
# ## The verdict
#
# The abstract only says that growth in different dimensions was explored (C4). We ask: does a dimension *alone* beat
# growing in balance, and does balanced growth beat none? p-values are corrected over all lines below: another family
# than that of the Holm cell above, so the same raw p gives another corrected one.
#
# Image width, shared width and text depth grow to the same architecture under both rules. Their lines in the two
# halves are the same trainings, set against two different balanced models: no second measurement.

# %%
judged = [f for f in claims.judged(place) if f[0].claim == "C4" and f[0].found.seeds]
for finding, corrected, told in judged:
    if finding.equal.startswith("added"):  # else it belongs to the lines above it
        kind = finding.equal.split()[1].rstrip(",")
    print(f"{finding.what:<46} {kind:<10} {str(finding.found):<22} p {corrected:.2f}  {told}")

# %%
verdicts = [told for _, _, told in judged]
for told in claims.VERDICTS:
    print(f"{told}: {verdicts.count(told)} of {len(verdicts)}")
ends = [d.mean for d in found.values()]
print(f"mean gains over no growth, equal FLOPs: from {min(ends):+.1f} to {max(ends):+.1f} points")
if len(base) < FEWEST_SEEDS:
    print(f"{len(base)} seeds are too few for any verdict; it takes {FEWEST_SEEDS}")
predictions.score()

# %% [markdown]
# **Answer, for the shipped table:** shared width and balanced growth have the highest means. But this base's
# shared encoder is its narrowest part (32 channels against 64), and shared width adds 14 % more FLOPs than
# balanced growth. With a verdict we know only that image width and text depth alone are worse than balance at
# equal parameters. *Undecided* is not "no difference", and longer training may change any of this.

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · What width adds
#
# The FLOPs that *one block* gains for a sequence of `tokens` tokens when its width grows from `channels`
# channels to `channels + more`.
#
# <details><summary>Hint</summary>
#
# The cell under *What a unit costs*, once for either width. Which of its terms holds the square?
# </details>


# %% tags=["exercise"]
def gained_flops(tokens, channels, more):
    # SOLUTION
    squares = (channels + more) ** 2 - channels**2
    return 24 * tokens * squares + 4 * tokens**2 * more
    # END


lesson_12.check_gained_flops(gained_flops)

# %% [markdown] tags=["solution-text"]
# The squares differ by `2 * channels * more + more**2`: the wider a block is, the more one head more costs.

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · A paired difference
#
# `one` and `other` map seeds to scores. Some seeds are missing in one of them. Return the mean paired
# difference, one minus other.
#
# <details><summary>Hint</summary>
#
# A seed counts where both have it: `[s for s in one if s in other]`.
# </details>


# %% tags=["exercise"]
def mean_difference(one, other):
    # SOLUTION
    return np.mean([one[s] - other[s] for s in one if s in other])
    # END


lesson_12.check_mean_difference(mean_difference)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · Holm's correction
#
# Return the corrected p-values, in the order of `ps`.
#
# <details><summary>Hint</summary>
#
# Walk through `np.argsort(ps)` with a rank from 0; multiply by `len(ps) - rank`; keep the largest value so
# far; nothing above 1.
# </details>


# %% tags=["exercise"]
def corrected_ps(ps):
    # SOLUTION
    result, worst = [0.0] * len(ps), 0.0
    for rank, i in enumerate(np.argsort(ps)):
        worst = max(worst, min(1.0, (len(ps) - rank) * ps[i]))
        result[i] = worst
    return result
    # END


lesson_12.check_holm(corrected_ps)

# %% [markdown] tags=["solution-text"]
# Bonferroni multiplies every p by n. Holm's values are never larger and protect as well.

# %% [markdown]
# ## Recap
#
# 1. Units of different dimensions cost very different amounts: compare at equal FLOPs or parameters.
# 2. Subtract within a seed, then average.
# 3. The bootstrap gives an interval; with few seeds it is too narrow, so ask for a p-value as well.
# 4. Many comparisons need a correction.
# 5. "Undecided" is a result, and the order of undecided dimensions is not.
#
# **Not shown:** several growth steps in a row, longer training after growing, other bases, larger models;
# what the search would have chosen (10).
#
# **Recall:** Why may a growth with a higher mean be no better?
# <details><summary>Answer</summary>
# Its paired interval may contain zero, and it may be the luckiest of many that were compared.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Efron 1979 (bootstrap); Holm 1979; Tan and Le 2019
# (EfficientNet: balanced scaling).
#
# **Solutions:** [here](solutions/12_study_growth_dimensions.ipynb). **Next:** [13 · the claims](13_study_claims.ipynb)
