# %% [markdown]
# # 13 · Which claims hold at our scale?
#
# **You will learn** how a claim becomes a paired difference with an interval and a verdict, and what
# the project's tables say about every claim of the paper. **Read before:** 05 to 10, 12.
# **Takes** 40 minutes to work through, {measured}. **Of the paper:** claims C1 to C7.
#
# Nothing is trained here unless you set `recompute = True`: the numbers are read from `results/*.csv`, which
# `growclip study` writes. All sentences with numbers are computed. Where a result goes against the method,
# you will read that.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"
seeds = 5
recompute = False

# %% tags=["imports"]
import json

import numpy as np

from growclip_lite.course import lesson_13
from growclip_lite.course.display import PALETTE, show, subplots
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions

# %%
from IPython.display import Markdown, display

from growclip_lite.studies import claim_tables, claims
from growclip_lite.studies.statistics import (
    FEWEST_SEEDS,
    Difference,
    difference,
    holm,
    paired,
    verdict,
)
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "13")
results = root() / "results"

# %% [markdown]
# ## One difference by hand
#
# Study 1 grows a model, then trains fixed architectures at the same FLOPs, with the same seed: the same
# pairs, batches drawn in the same order (a cheaper network sees more of them). So the comparison is made seed
# by seed. It was made in several settings; here is the first one of the table.

# %%
setting = claims.settings(results, "growth")[0]
rows = claims.read(results, "growth", **setting)
print(claims.place(setting))
grown = rows[rows["method"] == "growclip"].set_index("seed")["zero_shot_mean"]
is_medium = (rows["method"] == "fixed medium") & (rows["view"] == "flops")
medium = rows[is_medium].set_index("seed")["zero_shot_mean"]
both = sorted(set(grown.index) & set(medium.index))
by_hand = []
for s in both:
    by_hand.append(100 * (grown[s] - medium[s]))
    print(f"seed {s}: {grown[s]:.3f} - {medium[s]:.3f} = {by_hand[-1]:+.1f} points")
packaged = paired(rows[rows["method"] == "growclip"], rows[is_medium], "zero_shot_mean")
assert abs(np.mean(by_hand) - packaged.mean) < 1e-6 and len(both) == packaged.seeds
print(f"mean {np.mean(by_hand):+.1f} points; by the package {packaged}")

# %% [markdown]
# **Paired** means: what a lucky seed does to both methods cancels. Seeds that only one side has are left out.

# %% [markdown]
# ## An interval by hand
#
# 12 has done this on real rows; here on five round numbers. How sure is their mean? The bootstrap draws five of
# them again, *with* replacement, many times, and looks how far the mean moves. The middle 95 % are the interval.

# %%
five = np.array([1.0, 2.0, -0.5, 1.5, 3.0])
rng = np.random.default_rng(seed)
means = [rng.choice(five, 5).mean() for _ in range(10_000)]
low, high = np.quantile(means, (0.025, 0.975))
packaged = difference(five)
assert abs(low - packaged.low) < 0.15 and abs(high - packaged.high) < 0.15
print(f"mean {five.mean():+.1f}, by hand {low:+.1f} to {high:+.1f}; package: {packaged}")

# %% [markdown]
# ### Predict
#
# We simulate studies: a score is what the seed does to both methods (deviation 2) plus chance in each training
# (deviation 1). Two methods are *equally good*. With two seeds, the 95 % bootstrap interval of the difference leaves
# out zero in **a** 5 %, **b** 20 %, **c** 50 % of all studies.

# %%
guess = None
predictions.predict("two seeds", guess)

# %%
counts, times = sorted({2, 3, 5, seeds, 10, 20}), amount(profile, 400, 2_000)
false_alarms, t_alarms = {}, {}
for n in counts:
    one, other = lesson_13.noise(n, 0.0, times, seed)
    false_alarms[n] = lesson_13.bootstrap_finds(one - other, seed)
    t_alarms[n] = lesson_13.t_test_finds(one, other, paired=True)
    print(f"{n:2} seeds: interval {false_alarms[n]:.0%}, t-test {t_alarms[n]:.0%} false alarms")
assert abs(false_alarms[2] - 0.5) < 0.1
predictions.reveal("two seeds", "c")

# %% [markdown]
# **Why:** with two differences a resample has only three possible means, so the interval reaches from one to the other.
# It leaves out zero whenever both have the same sign: every second time. At five it is still too narrow, as bootstrap
# intervals of few seeds are. Hence a verdict needs the t-test as well, and at least five seeds. What is a test worth
# that hardly ever finds anything? Look at the other error in the same simulation, where there *is* a difference, of 2.

# %%
power = {"paired": [], "unpaired": []}
for n in counts:
    one, other = lesson_13.noise(n, 2.0, times, seed)
    for name in power:
        power[name].append(lesson_13.t_test_finds(one, other, paired=name == "paired"))
for n in (seeds, 10):
    paired_share, unpaired_share = (power[name][counts.index(n)] for name in power)
    print(f"{n} seeds: found by the paired test {paired_share:.0%}, unpaired {unpaired_share:.0%}")

# %%
figure, (left, right) = subplots(1, 2, figsize=(11, 3.6))
left.plot(counts, list(false_alarms.values()), "o-", label="bootstrap interval")
left.plot(counts, list(t_alarms.values()), "o-", label="t-test")
left.axhline(0.05, color="#8a8a8a", ls=":", label="5 %, as promised")
left.set(ylabel="share of false alarms", title="no difference", ylim=(0, None))
for name, shares in power.items():
    right.plot(counts, shares, "o-", label=f"{name} t-test")
right.set(ylabel="share found", ylim=(0, 1.03))
right.set_title("a true difference of 2 (a seed's deviation 2, a training's 1)", fontsize=11)
for axes in (left, right):
    axes.axvline(FEWEST_SEEDS, color=PALETTE[6], lw=1, ls="--", label="fewest for a verdict")
    axes.set(xlabel="seeds", xticks=counts)
    axes.legend(fontsize=9)
show(figure, "Left: false alarms over the number of seeds. Right: share of real differences found.")

# %% [markdown]
# **Takeaway:** two seeds raise false alarms and find little; five paired seeds begin to be of use. The more seeds
# differ, compared with trainings of one seed, the more pairing is worth. The next cell shows how strongly each method's
# scores in the rows above go with GrowCLIP's over seeds; at a correlation of 1 all that a seed does is done to both.

# %%
at_equal_flops = rows[rows["view"].isin(["all", "flops"])]
scores = at_equal_flops.pivot(index="seed", columns="method", values="zero_shot_mean")
print(f"{claims.place(setting)}: correlation with growclip over seeds")
correlations = scores.corr(min_periods=3)["growclip"].dropna().drop("growclip", errors="ignore")
print(correlations.round(2).to_string())

# %% [markdown]
# With so few seeds such a correlation is very uncertain itself, even in its sign.

# %% [markdown]
# ## Many comparisons
#
# Holm, as in 12: sort the p-values; multiply the smallest by their number, the next by one less, and so on;
# never let a later one become smaller.
#
# ### Predict
#
# p-values 0.02, 0.03, 0.04. After Holm's correction, below 0.05 are **a** all three, **b** one, **c** none.

# %%
guess = None
predictions.predict("holm", guess)

# %% tags=["nbval-check-output"]
worst, corrected = 0.0, []
for rank, p in enumerate([0.02, 0.03, 0.04]):
    worst = max(worst, (3 - rank) * p)
    corrected.append(round(worst, 4))
assert np.allclose(corrected, holm([0.02, 0.03, 0.04]))
print(corrected)
predictions.reveal("holm", "c")

# %% [markdown]
# ## Four verdicts
#
# *Supported*: the whole interval lies above zero and the corrected p below 0.05. *Contradicted*: it lies below zero,
# and the corrected p is below 0.05 as well; the opposite of the claim was found, here, at this scale. *Undecided*:
# anything else; this is not "no difference". Below five seeds there is no verdict.

# %% tags=["nbval-check-output"]
for low, high, p, n in ((0.5, 2, 0.01, 5), (-3, -1, 0.01, 5), (-1, 2, 0.4, 10), (0.5, 2, 0.01, 2)):
    told = verdict(Difference((low + high) / 2, low, high, p, n), p)
    print(f"{low:+.1f} to {high:+.1f}, p {p:g}, {n} seeds: {told}")

# %% [markdown]
# ## What "equal FLOPs" holds equal
#
# Not iterations: a small architecture gets more of them for the same cost. Not parameters, and not seconds.
# For GrowCLIP the searches are paid for, too.

# %%
print(claims.place(setting))
for (method, view), part in rows.groupby(["method", "view"]):
    iterations = [sum(map(int, text.split())) for text in part["steps_iterations"]]
    cost = part["train_flops"].mean() / 1e12
    print(f"{method:13} {view:10} {np.mean(iterations):6.0f} iterations {cost:6.1f} TFLOPs")
same = at_equal_flops.groupby("seed")["train_flops"]
assert (same.max() / same.min()).max() < 1.05

# %% [markdown]
# ## All claims
#
# These are the claims of the abstract; C1 to C7 name them in the figure below.

# %%
for claim, words in claims.REPORTED.items():
    print(claim, words)

# %% [markdown]
# *Best* is the rival with the highest mean **validation** score; the difference is then taken on test data. Where the
# best of our *own* settings is judged, every seed's is chosen on the other seeds: chance in a training lifts its
# validation and its test score alike. *Equal steps* and *equal epochs*: iterations shared out equally among growth
# steps, or in proportion to the pairs so far (05). *Known concepts*: the mean of the growth steps' own tests so far; on
# scenes each asks for all that was known at its step, elsewhere for what the step brought. *Hard streams* (C2): two
# more streams whose new pairs are hard on the text or on the image side; the *text lead* is the text encoder's share of
# the added FLOPs minus the image encoder's, in percent.
#
# ### Predict
#
# What share of all comparisons in our tables is *supported*? **a** less than a tenth, **b** a tenth to a quarter, **c**
# more.

# %%
guess = None
predictions.predict("supported", guess)

# %%
found = claims.judged(results)
supported = sum(told == "supported" for _, _, told in found)
predictions.reveal(
    "supported",
    "a" if supported < 0.1 * len(found) else "b" if supported <= len(found) / 4 else "c",
)
print(f"{supported} of {len(found)}")

# %%
alt = "Differences with 95 % intervals of the main comparisons, claim by claim; verdicts by colour."
main = [one for one in found if one[0].headline]
show(lesson_13.draw_forest([one for one in main if one[0].in_points]), alt)
for f, _, judgement in main:
    if not f.in_points:
        print(f"not in points, so not drawn: {f.what}: {f.found}, {judgement}")
for claim in claims.REPORTED:
    told = [one for f, _, one in found if f.claim == claim]
    counted = ", ".join(f"{told.count(v)} {v}" for v in claims.VERDICTS if v in told)
    print(f"{claim} {counted or 'not measured'}")

# %% [markdown]
# Only the main comparisons are drawn; "..." stands for the rival that a line names, and grey crosses have too few
# seeds for an interval. What *is* supported, among all comparisons:

# %%
wins = [one for one in found if one[2] == "supported"]
lesson_13.print_groups(wins)
assert sum(f.claim == "C5" for f, _, _ in wins) > len(wins) / 2
for rival in ("best fixed", "best other grower", "plain inheriting"):
    assert not any(rival in f.what for f, _, _ in wins)

# %% [markdown]
# **Takeaway (shipped tables):** most of the supported comparisons say one thing, under C5: inherited weights beat fresh
# ones. (One is PIM over another way to inherit, bert2BERT's.) Growing is ahead of some fixed sizes, but with a verdict
# nowhere of the best one at equal FLOPs, nor of the best other grower; nor is momentum ahead of plain inheriting. What
# is *contradicted*:

# %%
lesson_13.print_groups([one for one in found if one[2] == "contradicted"])

# %% [markdown]
# Under C1, C6 and C7 a rival did better on these seeds. `results/README.md` discusses why: how FLOPs are shared out
# among the steps, fewer batches for larger networks, what searches cost. No single cause explains all of it: rivals of
# the same size (from scratch, or without a search) are on the list, too. On C2, the member of the lowest loss grows the
# side on which the data are hard (*supported*), but the rule for ties then takes a more even one, which mostly grows
# the other side; and growing with searches is ahead of always growing the widest way (*supported*), but not of always
# the most even. Under C3 it depends on the score: one shared block raises R@1 (*supported*) and lowers zero-shot
# accuracy. (C4 is our question; being contradicted there speaks for growing in balance.) The main comparisons once
# more, and how to measure them; `results/comparisons.md` has the others, too:

# %%
display(Markdown(claim_tables.claim_table(results)))

# %% [markdown]
# ## The growth study, step by step
#
# End scores hide the way. Every method at equal FLOPs (but for one that has those of the last step only), over growth
# steps and over training so far; bars are 95 % intervals over seeds. Choose what was measured where:

# %%
names = [claims.place(setting) for setting in claims.settings(results, "growth")]
explore(
    lambda setting, score: lesson_13.draw_growth(results, setting, score),
    "Mean zero-shot accuracy over growth steps and over TFLOPs, GrowCLIP and its rivals.",
    setting=names,
    score=list(lesson_13.CURVES),
)
print(claims.place(setting))
for method, part in at_equal_flops.groupby("method"):
    print(f"{method:13} {part['zero_shot_mean'].mean():.3f}, seeds {sorted(part['seed'])}")

# %% [markdown]
# **Takeaway:** the first points are low because all concepts are asked for, and most have not come yet (05 has the
# known ones). Growing's first point is the small fixed network with fewer batches: equal FLOPs in all are not equal
# FLOPs by step. Look where the lines cross, and whether the bars overlap. Compare means only where the seeds are the
# same.

# %% [markdown]
# ## Forgetting by hand
#
# The shipped run wrote down its accuracy on every growth step's test (of all concepts known at that step) after every
# step. Forgetting: the best that ever was, minus the present.

# %%
report = json.loads((results / "demo_report.json").read_text())
history = [entry["known_concepts"] for entry in report["steps"]]
present, lost = history[-1], []
for s in range(len(history) - 1):
    lost.append(max(row[s] for row in history[s:]) - present[s])
from growclip_lite.evaluate import forgetting

assert np.allclose(lost, forgetting(history))
print("forgotten, by step of the test:", [round(value, 3) for value in lost])
show(
    lesson_13.draw_history(history),
    "Accuracy on each growth step's test after each growth step, one run.",
)

# %% [markdown]
# **Takeaway:** read down a column: its highest entry minus its last one is what was forgotten. This run
# replays the old pairs.
#
# Methods that see new pairs only are the harder case (study 7). It runs on emoji, whose growth steps bring new ones
# alone; in scenes new pairs show old concepts, too, and there is little to forget. LwF keeps the last model's matching
# of pictures and captions as a second goal; VR-LwF does so with random old words, ZSCL with pairs of the first step,
# MulKI with two teachers, the first and the last model. Averaging mixes the weights before and after a step. The cosine
# schedule starts anew in every step; the infinite one stays high and comes down at a step's end only.

# %%
continual = claims.read_first(results, "continual")
if continual.empty:
    print("results/continual.csv: not measured.")
else:
    show(
        lesson_13.draw_continual(continual), "Accuracy on new concepts over forgetting, by method."
    )
    for (growing, method), part in continual.groupby(["growing", "method"], sort=False):
        kind = "growing" if growing else "fixed"
        new, lost, end = part[["plasticity", "forgetting", "zero_shot_mean"]].mean()
        print(f"{method:18} {kind:8} learns {new:.2f}, forgets {lost:.2f}, ends at {end:.2f}")

# %% [markdown]
# **Takeaway:** read both axes; an arrow leads from a fixed architecture to growing. Who has learnt little can forget
# little: weight averaging, low on both. LwF and MulKI learn most of the new, in the mean of the steps, and give up more
# than 50 points of accuracy on the old. Fine-tuning forgets less than they do, and has learnt less; in the end LwF,
# ZSCL and MulKI know twice as much, and replay, which forgets next to nothing, knows most; it needs the old pairs for
# it. (Means of five seeds; bars: 95 % bootstrap intervals. Tested was growing against fixed with LwF alone: undecided.)

# %% [markdown]
# ## Measure it yourself
#
# With `recompute = True`, this cell trains three rows of seed 0 of the growth study anew, at the profile above, into
# the folder `out`: GrowCLIP, and the small and medium fixed architectures at its FLOPs. It compares them with the
# table's rows of the same setting, if there are any. (`seeds` above is for the simulation only.)

# %%
if recompute:
    again = lesson_13.recompute_growth(profile, folder(out) / "study")
    print(f"trained anew: growth study, scenes, profile {profile}, seed 0")
    print(again[["method", "view", "zero_shot_mean"]].to_string(index=False))
    print(lesson_13.compare_rows(again, results))
else:
    print("Nothing was trained: all numbers above come from results/*.csv.")

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · A paired interval
#
# `one` and `other` (arrays) are scores of two methods, entry i of the same seed. Return the ends (low, high) of
# the 95 % bootstrap interval of the mean of one minus other.
#
# <details><summary>Hint</summary>
#
# Take the differences first. Then resample *them*.
# </details>


# %% tags=["exercise"]
def paired_interval(one, other):
    # SOLUTION
    differences, rng = one - other, np.random.default_rng(0)
    means = rng.choice(differences, (10_000, len(differences))).mean(1)
    return np.quantile(means, 0.025), np.quantile(means, 0.975)
    # END


lesson_13.check_paired_interval(paired_interval)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · The verdict
#
# By the rule of *Four verdicts*, return "supported", "undecided", "contradicted" or "too few seeds".
#
# <details><summary>Hint</summary>
#
# Ask for the seeds first. An interval without a small p is undecided.
# </details>


# %% tags=["exercise"]
def judge(low, high, corrected_p, seeds):
    # SOLUTION
    if seeds < 5:
        return "too few seeds"
    if corrected_p < 0.05 and low > 0:
        return "supported"
    return "contradicted" if corrected_p < 0.05 and high < 0 else "undecided"
    # END


lesson_13.check_judge(judge)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · What was forgotten
#
# `history[t][s]` is the accuracy on the test of step s + 1 after step t + 1 (s ≤ t). Return what was forgotten by every
# step's test but the last one's: the best that ever was, the present included, minus the present.
#
# <details><summary>Hint</summary>
#
# `history[s:]` are the rows that have an entry s. The best of them need not be the first.
# </details>


# %% tags=["exercise"]
def forgotten(history):
    # SOLUTION
    present = history[-1]
    return [max(row[s] for row in history[s:]) - present[s] for s in range(len(history) - 1)]
    # END


lesson_13.check_forgotten(forgotten)

# %% [markdown] tags=["solution-text"]
# The best so far may be the present itself: then nothing was forgotten, and the number is zero, never negative.

# %% [markdown]
# ## Recap
#
# 1. Compare seed by seed; what the seed does to both cancels.
# 2. With two seeds a bootstrap interval deceives every second time; five, paired, are the least.
# 3. Several comparisons on one claim: correct by Holm.
# 4. "Undecided" is not "equal"; "contradicted" holds for this scale only.
# 5. Say what was held equal, or the number means nothing. At our scale, then: inheriting holds; sharing helps retrieval
#    alone; growing is nowhere ahead of the best fixed size with a verdict.
#
# **Not shown:** web-scale data, the paper's models, its data sets. A claim contradicted here may hold there.
#
# **Recall:** Why is the rival called "best" chosen on validation data, and compared on test data?
# <details><summary>Answer</summary>Choosing the best on test data would favour the lucky one, and make the rivals
# look better than they are.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Efron and Tibshirani 1993 (bootstrap); Holm 1979; Chaudhry et al.
# 2018 (forgetting); Li and Hoiem 2016 (LwF); Ding et al. 2022 (VR-LwF); Zheng et al. 2023 (ZSCL); Zhang et al. 2024
# (MulKI); Singh et al. 2025 (infinite schedule).
#
# **Solutions:** [here](solutions/13_study_claims.ipynb). **Next:** [14 · checkpoints and the hub](14_checkpoints_and_the_hub.ipynb)
