# %% [markdown]
# # 11 · How do the parts make GrowCLIP?
#
# **You will learn** how inheriting, search, training and evaluation follow each other in a growth step, by writing
# the algorithm from the package's parts; what happens to the loss at the moment of growing; where the time goes.
# **Read before:** 02, 07, 08, 10. **Takes** 35 minutes to work through, {measured}. **Of the paper:** all of it, put
# together. The abstract names the parts; a table below says what is stated and what is our reading.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import json
from dataclasses import replace

import torch
from IPython.display import Markdown

from growclip_lite.course import lesson_11
from growclip_lite.course.display import show
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions

# %%
from growclip_lite import GrowCLIP, evaluate, inherit
from growclip_lite.course.lesson_00 import other_runs
from growclip_lite.grow import Run, grow_tokenizer, open_space, search_config
from growclip_lite.model import new_model
from growclip_lite.profiles import get_profile
from growclip_lite.search import search
from growclip_lite.train import cost_of

predictions = Predictions(folder(out), "11")

# %% [markdown]
# ## The plan
#
# For every growth step: **(1)** let the tokenizer learn the new words, **(2)** open a growth space around
# the present architecture, **(3)** inherit into its largest member, the supernet, **(4)** search: train
# the supernet briefly, score its slices, keep the winner's slice, **(5)** train it on all pairs
# so far, **(6)** evaluate. The first step has nothing to inherit: it starts small, at random.
#
# We take three growth steps and few iterations, so that we can run it twice.

# %%
steps = 3
settings = replace(get_profile("study"), iterations=150, share_power=0.25)
settings = amount(profile, get_profile("smoke"), settings)
settings = replace(settings, growth_steps=steps, scene_pairs=settings.scene_pairs[:steps])
stream = lesson_11.first_steps(settings.name, seed, steps)
run = Run(stream, settings, seed, folder(out) / "11")
print([f"{run.samples(step):,} pairs" for step in range(1, steps + 1)])

# %% [markdown]
# ## How many iterations for each step?
#
# In proportion to the pairs so far, to the power of `share_power`. By hand for the first step, in a loop
# for all, then as the package has it.

# %%
power = settings.share_power
weight = run.samples(1) ** power
by_hand = settings.iterations * weight / sum(run.samples(t) ** power for t in (1, 2, 3))
print(f"{by_hand:.1f} of {settings.iterations}")

# %%
weights = [run.samples(step) ** power for step in range(1, steps + 1)]
shares = [round(settings.iterations * w / sum(weights)) for w in weights]
assert shares == [run.train_config(step).iterations for step in range(1, steps + 1)]
assert shares[0] == round(by_hand)
shares

# %% [markdown]
# ## Step 1: small, at random

# %%
tokenizer = grow_tokenizer(run, None, 1)
data = run.training_set(1, tokenizer)
model = new_model(settings.start, run.model_config(tokenizer), run.seed_of(1), tokenizer)
model.to(run.device).compute_dtype = run.precision
print(model.architecture)

# %% [markdown]
# The training stops a few times on its way and looks at the loss of held-out pairs. That changes nothing
# in the weights, as we shall see.

# %%
costs = [cost_of(model, data, run.train_config(1))]
curve = lesson_11.train_and_watch(run, 1, model, data)
model.compute_dtype = torch.float32
scores = evaluate(model.cpu(), stream)
played = [lesson_11.Played(model.architecture, curve, scores["zero_shot_mean"])]
models = [model]
print(f"held-out loss {curve[0][1]:.2f} -> {curve[-1][1]:.2f}, zero-shot {played[0].zero_shot:.3f}")

# %% [markdown]
# ## Step 2, piece by piece
#
# New pairs arrive. Before anything grows: how does the old model cope with held-out pairs of the new world?
# It does not know the new words yet, and spells them in pieces.

# %%
model.to(run.device).compute_dtype = run.precision
in_pieces = lesson_11.held_out_batches(run, 2, model.tokenizer)
before = lesson_11.held_out_loss(model, in_pieces)
model.compute_dtype = torch.float32
print(f"{curve[-1][1]:.2f} on the old world, {before:.2f} on the new one")

# %% [markdown]
# ### Predict
#
# The supernet inherits from the old model, without new words at first. Before any training, its loss on the same
# pairs will be **a** lower, **b** equal within 1 %, **c** higher than the old model's.

# %%
guess = None
predictions.predict("right after", guess)

# %% [markdown]
# `open_space` does (1) to (3): the vocabulary grows, the space is re-centred, the supernet inherits.

# %%
words = model.tokenizer.vocab_size
space, supernet = open_space(run, 2, model)
print(f"{supernet.tokenizer.vocab_size - words} new words")
print(space)
assert space.largest.contains(model.architecture) and supernet.architecture == space.largest

# %% [markdown]
# The same inheriting without the new words, which reads the captions in known pieces as before:

# %%
silent, _ = inherit(
    models[0], space.largest, operator=settings.operator, momentum=settings.momentum, seed=1
)
without_words = lesson_11.held_out_loss(silent.to(run.device), in_pieces)
change = without_words / before - 1
print(f"before {before:.3f}, grown without new words {without_words:.3f}")
predictions.reveal("right after", "b" if abs(change) <= 0.01 else "a" if change < 0 else "c")

# %% [markdown]
# **Why:** the operator preserves functions; new blocks and heads are silent. What is left is rounding.
# And with the new words?

# %%
batches = lesson_11.held_out_batches(run, 2, supernet.tokenizer)
inherited = lesson_11.held_out_loss(supernet, batches)
print(f"before {before:.3f}, supernet with its new words {inherited:.3f}")

# %% [markdown]
# A new word has a token of its own now, with a fresh embedding, instead of known pieces. That may hurt or help.
#
# (4) The search. It sees training pairs and held-out pairs, never the tests.

# %%
data, held_out = run.training_set(2, supernet.tokenizer), run.held_out(2, supernet.tokenizer)
found = search(supernet, space, data, held_out, search_config(run, 2), run.seed_of(2))
model = found.model
print(f"batches that the supernet is trained on: {search_config(run, 2).train.iterations}")
for member in found.ranking:
    mark = "  <- chosen" if member.architecture == model.architecture else ""
    print(f"loss {member.loss:.3f}  {member.architecture}{mark}")

# %% [markdown]
# The winner need not have the lowest loss: members within 2 % of it count as tied, and the most *even* of these is
# taken, then the cheapest. The search gets 3 % of the step's iterations, in this short run next to none: where all
# losses lie within 2 %, evenness and then cost decide, and the loss plays no part. (5) The slice keeps the search's
# training and is trained on.

# %%
searched = lesson_11.held_out_loss(model, batches)
costs.append(cost_of(model, data, run.train_config(2)))
curve = lesson_11.train_and_watch(run, 2, model, data)
model.compute_dtype = torch.float32
scores = evaluate(model.cpu(), stream)
print(
    f"after inheriting {inherited:.2f}, after the search {searched:.2f}, trained {curve[-1][1]:.2f}"
)

# %%
result = (model.architecture, curve, scores["zero_shot_mean"], before, inherited, searched)
played.append(lesson_11.Played(*result, found.ranking))
models.append(model)
print(f"zero-shot {played[-2].zero_shot:.3f} -> {played[-1].zero_shot:.3f}")

# %% [markdown]
# ## All that as one function
#
# Every further growth step is the same. This is the whole algorithm, once without the looks that our figure needs
# (`words` is the supernet's tokenizer), and once with them:
#
# ```python
# space, supernet = open_space(run, step, old)                              # (1) to (3)
# data, held_out = run.training_set(step, words), run.held_out(step, words)
# config = search_config(run, step)
# found = search(supernet, space, data, held_out, config, run.seed_of(step))  # (4)
# fit(found.model, data, run.train_config(step), run.seed_of(step))         # (5)
# evaluate(found.model, stream)                                             # (6)
# ```


# %%
def growth_step(step, old):
    old.to(run.device).compute_dtype = run.precision
    before = lesson_11.held_out_loss(old, lesson_11.held_out_batches(run, step, old.tokenizer))
    old.compute_dtype = torch.float32
    space, supernet = open_space(run, step, old)  # (1) to (3)
    batches = lesson_11.held_out_batches(run, step, supernet.tokenizer)
    inherited = lesson_11.held_out_loss(supernet, batches)
    data, held_out = (part(step, supernet.tokenizer) for part in (run.training_set, run.held_out))
    config = search_config(run, step)
    found = search(supernet, space, data, held_out, config, run.seed_of(step))  # (4)
    model, searched = found.model, lesson_11.held_out_loss(found.model, batches)
    cost = cost_of(model, data, run.train_config(step))
    curve = lesson_11.train_and_watch(run, step, model, data)  # (5)
    model.compute_dtype = torch.float32
    mean = evaluate(model.cpu(), stream)["zero_shot_mean"]  # (6)
    result = (model.architecture, curve, mean, before, inherited, searched, found.ranking)
    return model, cost, lesson_11.Played(*result)


# %% [markdown]
# ### Predict
#
# The last step has half as many iterations again as the first, or a little more (above). Its training costs, against
# the first's, **a** under 2 times as many FLOPs, **b** 2 to 5 times, **c** more?

# %%
guess = None
predictions.predict("costs", guess)

# %%
for step in range(3, steps + 1):
    model, cost, result = growth_step(step, models[-1])
    models.append(model)
    costs.append(cost)
    played.append(result)
print("TFLOPs:", ", ".join(f"{cost / 1e12:.3f}" for cost in costs))
ratio = costs[-1] / costs[0]
print(f"the last step's, against the first's: {ratio:.1f} times")
predictions.reveal("costs", "a" if ratio < 2 else "b" if ratio < 5 else "c")

# %% [markdown]
# **Why:** a late step has a larger architecture *and* more iterations. That is the economy that growing
# hopes for: early steps are cheap. Whether the sum is well spent is another question (below).
#
# ## The growth, replayed

# %%
chance = sum(task.chance for task in stream.tasks) / len(stream.tasks)
alt = "A column per growth step: architecture, ranking of the search, held-out loss with its jump, accuracy."
show(lesson_11.draw_replay(played, chance), alt)

# %% [markdown]
# The loss jumps where a step begins. New embeddings are random, so we inherit with twenty other seeds too.

# %%
by_seed = []
for other in range(101, 121):
    sizes = {"vocab_size": supernet.config.vocab_size, "seed": other}
    again, _ = inherit(models[0], space.largest, operator=settings.operator, **sizes)
    by_seed.append(lesson_11.held_out_loss(again.to(run.device), batches) - before)
for step, parts in enumerate(lesson_11.jumps(played), 2):
    print("step {}: new pairs {:+.2f}, inheriting {:+.2f}, search {:+.2f}".format(step, *parts))
worse = sum(value > 0 for value in by_seed)
print(f"inheriting in step 2, other seeds: {min(by_seed):+.2f} to {max(by_seed):+.2f}, {worse} up")
own = lesson_11.jumps(played)[0][1]
print(f"our own: {own:+.2f}, above {sum(value < own for value in by_seed)} of {len(by_seed)}")

# %%
alt = "Bars: changes of the held-out loss by new pairs, inheriting and the search, in every growth step."
show(lesson_11.draw_jumps(played, by_seed), alt)

# %% [markdown]
# **Takeaway:** the jump has three parts: what the new pairs change, what inheriting changes (the new words), and what
# the search's brief training adds. Growing itself, more blocks and heads, changes nothing at that moment. What fresh
# embeddings do is luck: the dots are other seeds. With most of them inheriting *lowers* the loss a little, and our own
# bar is above nearly all or all of them (see the printed line): do not read it as typical.
#
# ## Is it what the package does?
#
# `grow` runs the same in one go, and writes a checkpoint per step. Same seed, same data: every weight
# must be equal, bit for bit.

# %%
place = folder(out) / f"11_{profile}_{seed}"
report = lesson_11.grow_silently(stream, settings, place, seed)
packaged = [GrowCLIP.from_pretrained(str(place / f"step_{t}")) for t in range(1, steps + 1)]
for mine, theirs, entry in zip(models, packaged, report["steps"], strict=True):
    assert mine.architecture.to_dict() == entry["architecture"]
    assert lesson_11.same_weights(mine, theirs)
print(f"{steps} models agree, bit for bit")

# %% [markdown]
# ### Predict
#
# The run is killed after the second step. Started again with `resume=True`, it ends **a** bit for
# bit as if nothing had happened, **b** with about the same accuracy, **c** worse.

# %%
guess = None
predictions.predict("killed", guess)

# %%
copy = folder(out) / f"11_{profile}_{seed}_killed"
lesson_11.killed_after(place, 2, copy)
again = lesson_11.grow_silently(stream, settings, copy, seed, resume=True)
revived = GrowCLIP.from_pretrained(str(copy / f"step_{steps}"))
same = lesson_11.same_weights(revived, packaged[-1])
gap = abs(again["steps"][-1]["zero_shot_mean"] - report["steps"][-1]["zero_shot_mean"])
predictions.reveal("killed", "a" if same else "b" if gap < 0.02 else "c")

# %% [markdown]
# **Why:** all randomness of a step follows from the seed and the step's number, not from what ran before. So a step
# depends on nothing but the seed, the pairs so far and the model that it inherits from. Within a step, weights and
# optimiser states are saved every few seconds.
#
# ## Where the seconds go
#
# Left: this run. Right: the long run that made the figure in the README (read from
# `results/demo_report.json`). Only the latter's numbers are printed; yours depend on your machine.

# %%
demo = json.loads((root() / "results" / "demo_report.json").read_text(encoding="utf-8"))
title = f"demo: {demo['seconds']:.0f} s"
alt = "Stacked bars: shares of data, inheriting, search, training and evaluation in every growth step."
show(lesson_11.draw_seconds({"this run": report, title: demo}), alt)

# %%
total = {name: sum(e["phases"].get(name, 0) for e in demo["steps"]) for name in lesson_11.PHASES}
for name, seconds in total.items():
    print(f"{name:<8} {seconds / sum(total.values()):.1%}")

# %% [markdown]
# **Takeaway:** in a long run, more than four fifths of the time is training. The shorter the training, the more
# evaluation weighs: it costs the same whatever the training did.
#
# ## Stated, and our reading
#
# | part | the paper's abstract | our reading |
# |---|---|---|
# | data | grow online, so that a fixed architecture does not fit | growth steps; D_t keeps all earlier pairs |
# | growth space | dynamic | re-centred at every step; reach and FLOPs follow the data's growth |
# | search | the best architecture at each growth step | one-shot: a supernet, sandwich rule, held-out loss, ties to the most even |
# | shared encoder | raises cross-modal fusion | shared blocks behind an adapter per modality, each modality in its own pass |
# | inheriting | parameter inheriting with momentum | m · inherited + (1 - m) · fresh; default m = 1. A second reading averages over time |
# | training | not told | CLIP's loss; Muon for the matrices of stem and blocks, AdamW for the rest; iterations by a power of the pairs |
#
# **Muon** (Jordan et al. 2024) replaces the averaged gradient of a matrix by the nearest matrix whose directions all
# have the same strength, so that weak directions move as far as strong ones. Vectors, tables and projections keep
# AdamW.
#
# The results are ours too. The studies compare growing with the best architecture of fixed size, at equal FLOPs:

# %%
Markdown(other_runs(root() / "results"))

# %% [markdown]
# A negative difference speaks against growing, at this scale. `results/README.md` has verdicts and discussion.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · Sharing out the iterations
#
# `pairs` lists the pairs so far, |D_1|, |D_2|, ... Return the iterations of every step: in proportion to
# pairs to the power of `power`, `total` in sum. Rounding is optional.
#
# <details><summary>Hint</summary>
#
# Weights first, their sum next; each step gets `total * weight / sum`.
# </details>


# %% tags=["exercise"]
def iterations_of_steps(pairs, total, power):
    # SOLUTION
    weights = [n**power for n in pairs]
    return [round(total * w / sum(weights)) for w in weights]
    # END


lesson_11.check_iterations_of_steps(iterations_of_steps)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · How large may it become?
#
# An architecture costs `cost` FLOPs a pair. The data grow from `old` to `new` pairs. The budget is `cost`
# times the ratio to the power of `power`, and a member spends at least half of the *increase*. Return the
# floor and the budget.
#
# <details><summary>Hint</summary>
#
# Half of the increase, on top of `cost`, is the middle between `cost` and budget.
# </details>


# %% tags=["exercise"]
def flops_range(cost, old, new, power):
    # SOLUTION
    budget = cost * (new / old) ** power
    return (cost + budget) / 2, budget
    # END


lesson_11.check_flops_range(flops_range)

# %% [markdown]
# ## Recap
#
# 1. A growth step: words, space, inherit, search, train, evaluate.
# 2. The search's training is kept: the winner is a slice of the supernet.
# 3. The loss jumps because data and words change; growth itself is silent at first.
# 4. Late steps cost most; in a long run more than four fifths of the time is training.
# 5. Seeds by step make a run repeatable, and a killed one resumable, bit for bit.
#
# **Not shown:** that the search finds the best member, or that growing beats not growing. One short run
# cannot tell; the studies measure both (`results/README.md`).
#
# **Recall:** Why is the winner's slice, and not the old model, the start of the training?
# <details><summary>Answer</summary> It has inherited the old weights already, and the search has trained it a
# little on top. Starting from the old model again would throw that away.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Li et al. 2022 (AutoProg); Yu et al. 2020 (BigNAS); Chen et al.
# 2016 (Net2Net); Jordan et al. 2024 (Muon).
#
# **Solutions:** [here](solutions/11_the_whole_algorithm.ipynb). **Next:** [12 · study: growth dimensions](12_study_growth_dimensions.ipynb)
