# %% [markdown]
# # 09 · Why not simply copy?
#
# **You will learn** what "parameter inheriting with momentum" (PIM) may mean: two readings, derived
# by hand; what a blend does to the function; and whether a blend helps here. **Read before:** 08.
# **Takes** 30 minutes to work through, {measured}. **Of the paper:** claim C5: PIM keeps previous
# knowledge and avoids the local-minimum dilemma. The abstract gives no formula, so both readings are
# ours.
#
# Weights that have settled in a valley may be hard to move. Mixing in fresh ones could shake them free. It
# also destroys something. Which of the two wins is a question to measure.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import copy
import math

import numpy as np
import torch
from torch import nn

from growclip_lite.course import lesson_09, lesson_13
from growclip_lite.course.display import PALETTE, show, subplots
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions
from growclip_lite.course.watching import watch

# %%
from growclip_lite.architecture import Architecture
from growclip_lite.inherit import blend, inherit
from growclip_lite.model import GrowCLIP, new_model
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "09")

# %% [markdown]
# ## Reading A: a blend
#
# theta_new = m · operator(theta_old) + (1 - m) · theta_init, for every tensor. `operator` makes the old tensor
# as large as the new one (08), and theta_init is a fresh network. Two tensors by hand:

# %% tags=["nbval-check-output"]
inherited = {"up": torch.tensor([[1.0, 2.0], [0.0, 4.0]]), "down": torch.tensor([[3.0, 0.0]])}
fresh = {"up": torch.tensor([[0.0, -1.0], [0.5, 1.0]]), "down": torch.tensor([[1.0, 2.0]])}
m = 0.6
for name in fresh:
    mixture = [
        [round(m * a + (1 - m) * b, 2) for a, b in zip(row, other, strict=True)]
        for row, other in zip(inherited[name].tolist(), fresh[name].tolist(), strict=True)
    ]
    assert torch.allclose(torch.tensor(mixture), blend(inherited, fresh, m)[name], atol=1e-6)
    print(name, mixture)

# %% [markdown]
# Now the package's `inherit`, on the model that the project ships from growth step 2, with the corner
# operator. Its blend must be the one by hand, and m = 0 must be a network from scratch.

# %%
old = GrowCLIP.from_pretrained(str(root() / "checkpoints" / "scenes-laptop-step-2"))
target = Architecture(3, 2, 3, 2, 2, 3)
start, _ = inherit(old, target, momentum=1.0, seed=seed)
scratch, _ = inherit(old, target, momentum=0.0, seed=seed)
mixed, report = inherit(old, target, momentum=0.6, seed=seed)
by_hand = {
    k: 0.6 * start.state_dict()[k] + 0.4 * scratch.state_dict()[k] for k in start.state_dict()
}
again = new_model(target, old.config, seed).state_dict()
assert all(torch.allclose(by_hand[k], w, atol=1e-6) for k, w in mixed.state_dict().items())
assert all(torch.equal(again[k], w) for k, w in scratch.state_dict().items())
assert not report.preserves_function
print("by hand and package agree; momentum 0 is a new model")

# %% [markdown]
# ### Predict
#
# One linear layer, random inputs of many dimensions; the old and the fresh layer's outputs have the same length (norm).
# At m = 0.6, the cosine between the old output and the blended one is about **a** 0.6, **b** 0.83, **c** 0.36.

# %%
guess = None
predictions.predict("cosine", guess)

# %% tags=["nbval-check-output"]
for m in (0.9, 0.6, 0.3):
    print(f"m = {m:g}: cosine {m / math.hypot(m, 1 - m):.2f}")

# %%
draw = torch.Generator().manual_seed(seed)
one, other, x = (torch.randn(size, generator=draw) for size in ((512, 512), (512, 512), (512,)))
mixture = 0.6 * one + 0.4 * other
cosine = torch.cosine_similarity(one @ x, mixture @ x, dim=0).item()
print(f"two random layers, m = 0.6: cosine {cosine:.2f}")
predictions.reveal("cosine", "b" if cosine > 0.7 else "a" if cosine > 0.5 else "c")

# %% [markdown]
# **Why:** two random directions in many dimensions are nearly at right angles. So the blend has length
# m one way and 1 - m the other, and Pythagoras gives m / √(m² + (1 - m)²). One layer takes it lightly.
# A whole network is a chain of layers, and each one turns a little further.

# %%
from growclip_lite.search import held_out_loss
from growclip_lite.data.load import load_stream
from growclip_lite.train import TrainingSet

stream = load_stream("scenes", profile, seed)
held_out = TrainingSet(stream.validation[:2], old.tokenizer, old.config.context_length)
rows = np.linspace(0, len(held_out) - 1, amount(profile, 128, 256)).astype(int)  # of both steps
batches = [held_out.batch(rows, np.random.default_rng(0))]
before = held_out_loss(old, batches)


# %%
@torch.inference_mode()
def cosine_with_old(model):
    images = batches[0][0]
    return (old.encode_image(images) * model.encode_image(images)).sum(-1).mean().item()


momenta = [round(0.1 * tenths, 1) for tenths in range(11)]
init_seeds = range(seed, seed + amount(profile, 2, 3))
sweep = np.empty((len(init_seeds), len(momenta), 2))
for i, s in enumerate(init_seeds):
    for j, m in enumerate(momenta):
        model, _ = inherit(old, target, momentum=m, seed=s)
        sweep[i, j] = held_out_loss(model, batches), cosine_with_old(model)

# %% [markdown]
# ### Predict
#
# The loss right after growing with m = 0.6 will be **a** near that of the old model, **b** about half-way
# between the old model and an even guess, **c** near an even guess, or worse.

# %%
guess = None
predictions.predict("right after", guess)

# %%
chance = math.log(len(rows))
losses, cosines = sweep.mean(0).T
way = (losses[6] - before) / (chance - before)
for m, loss, cosine in zip(momenta, losses, cosines, strict=True):
    print(f"m = {m:.1f}   loss {loss:5.2f}   cosine with the old embedding {cosine:.2f}")
assert abs(losses[-1] - before) < 1e-3 and abs(cosines[-1] - 1) < 1e-3
predictions.reveal("right after", "a" if way < 1 / 3 else "b" if way < 2 / 3 else "c")

# %%
figure, panels = subplots(1, 2, figsize=(11, 3.6))
for axes, column, label in zip(
    panels, (0, 1), ("held-out loss", "cosine with the old embedding"), strict=True
):
    values = sweep[..., column]
    axes.plot(momenta, values.mean(0), "o-", label="right after growing")
    axes.fill_between(momenta, values.min(0), values.max(0), alpha=0.2)
    axes.set(xlabel="momentum m", ylabel=label)
panels[0].axhline(before, color=PALETTE[4], ls="--", label="before growing")
panels[0].axhline(chance, color="#8a8a8a", ls=":", label="even guess, log B")
layer = [m / math.hypot(m, 1 - m) for m in momenta]
panels[1].plot(momenta, layer, color="#8a8a8a", ls=":", label="one layer, by formula")
for axes in panels:
    axes.legend(fontsize=9)
show(
    figure,
    "Loss falls and the cosine rises with the momentum; one layer alone keeps far more than the network.",
)

# %% [markdown]
# **Takeaway:** near 1 a blend does little, half-way it ruins the function: the network keeps far less than the
# formula of one layer promises (shaded: range over fresh weights). A blend can even be worse than an even
# guess. Move the momentum and watch one matrix and the loss:

# %%
name = "shared.blocks.0.up"
rows_kept, columns_kept = old.state_dict()[name].shape  # the corner that is inherited
inherited_corner, fresh_corner = (
    model.state_dict()[name][:rows_kept, :columns_kept] for model in (start, scratch)
)
by_momentum = dict(zip(momenta, losses, strict=True))
explore(
    lambda m: lesson_09.draw_blend(m, inherited_corner, fresh_corner, by_momentum, before),
    "Distribution of the weights of one matrix at momentum 0.6, and the loss right after growing.",
    start={"m": 0.6},
    m=momenta,
)

# %% [markdown]
# That is the corner of the matrix that is inherited. Old and fresh weights are independent there, so that their
# deviations add like the sides of a right triangle. (Outside the corner a blend changes nothing: both ends hold the
# same fresh numbers.) By hand:

# %%
two_ends = {"w": inherited_corner}, {"w": fresh_corner}
deviations = {m: blend(*two_ends, m)["w"].std().item() for m in momenta}
for m in (0.2, 0.6, 0.9):
    by_hand = math.hypot(m * deviations[1.0], (1 - m) * deviations[0.0])
    assert abs(deviations[m] - by_hand) < 0.02 * by_hand
    print(f"m = {m:.1f}: standard deviation {deviations[m]:.3f}, by Pythagoras {by_hand:.3f}")

# %% [markdown]
# What is inherited is multiplied by m < 1, and fresh weights are added: a relative of this reading, *shrink and
# perturb* (Ash and Adams, 2020), is named after these two.

# %% [markdown]
# ## Reading B: a moving average
#
# In AutoProg (2022), which shares two authors with the paper, momentum means something else: the larger network
# inherits from a running average of the trained weights. After every iteration, average ← d · average + (1 - d) ·
# weights.

# %% tags=["nbval-check-output"]
average, weights = 0.0, [1.0, 1.0, 3.0, 3.0]
for weight in weights:
    average = 0.9 * average + 0.1 * weight
    print(f"{average:.4f}")

# %% [markdown]
# The same against torch's `AveragedModel`, which training uses. It starts from the first weights that it sees.

# %%
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

layer, generator = nn.Linear(3, 2), torch.Generator().manual_seed(seed)
averaged, by_hand = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.9)), None
for _ in range(20):
    with torch.no_grad():
        layer.weight += torch.randn(2, 3, generator=generator)
    averaged.update_parameters(layer)
    now = layer.weight.detach().clone()
    by_hand = now if by_hand is None else 0.9 * by_hand + 0.1 * now
assert torch.allclose(averaged.module.weight, by_hand, atol=1e-5)
print("20 steps by hand agree with torch")

# %% [markdown]
# ### Predict
#
# With d = 0.99, half of what the average began with is forgotten after **a** 7 steps, **b** 69 steps, **c** 693
# steps.

# %%
guess = None
predictions.predict("half-life", guess)

# %% tags=["nbval-check-output"]
for d in (0.9, 0.99, 0.999):
    print(f"d = {d:g}: half is forgotten after {math.log(0.5) / math.log(d):.0f} steps")

# %%
left, steps = 1.0, 0
while left > 0.5:
    left, steps = 0.99 * left, steps + 1
print(f"step by step: {steps}")
predictions.reveal("half-life", "a" if steps < 20 else "b" if steps < 200 else "c")

# %%
noise = np.random.default_rng(seed).normal(0, 0.5, 300)
path = 1 - np.exp(-np.arange(300) / 50) + noise
figure, axes = subplots(figsize=(8, 3.2))
axes.plot(path, color="#cccccc", lw=1, label="a weight in training")
for d in (0.9, 0.99):
    smooth = [path[0]]
    for value in path[1:]:
        smooth.append(d * smooth[-1] + (1 - d) * value)
    print(f"d = {d:g}: deviation over the last 100 steps {np.std(smooth[-100:]):.3f}")
    axes.plot(smooth, label=f"average, d = {d:g}")
axes.set(xlabel="iteration", ylabel="weight")
figure.legend(loc="outside right center")
show(figure, "A noisy weight and two moving averages; the slower one is smoother and lags behind.")

# %% [markdown]
# **Takeaway:** the average removes noise and lags behind. It mixes in nothing foreign, so it should keep the
# function about as well as copying does (not run here). The two readings share a name and do opposite things.

# %% [markdown]
# ## Does the shake help? Our own run
#
# Growth step 3 brings new words and new things. We grow the model of step 2 with several m and train each
# briefly on all pairs so far; every run has the same architecture, batches and iterations. Beside the loss
# we ask for accuracy on named things (tasks shape and kind): those known at step 2, and those known at step 3,
# many of which are new.

# %%
from growclip_lite.devices import fast_dtype
from growclip_lite.evaluate import mean_accuracy
from growclip_lite.train import TrainConfig

tokenizer = copy.deepcopy(old.tokenizer)
tokenizer.grow(stream.train[2].captions)
data = TrainingSet(stream.train[:3], tokenizer, old.config.context_length)
held_out = TrainingSet(stream.validation[:3], tokenizer, old.config.context_length)
new_rows = np.linspace(0, len(held_out) - 1, len(rows)).astype(int)
new_batches = [held_out.batch(new_rows, np.random.default_rng(0))]
pictures = amount(profile, 12, 120)
tasks = [lesson_09.part_of(stream.step_tasks[step], pictures) for step in (1, 2)]
marks = amount(profile, [0, 2, 4], [0, 6, 12, 24])
config = TrainConfig(marks[-1], amount(profile, 64, 128), learning_rate=0.01, warmup=3)


# %%
def loss_and_accuracies(model):
    return held_out_loss(model, new_batches), *(mean_accuracy(model, part) for part in tasks)


def run_with(m, s, architecture=target):
    model, _ = inherit(old, architecture, momentum=m, seed=s, vocab_size=tokenizer.vocab_size)
    model.tokenizer, model.compute_dtype = tokenizer, fast_dtype("cpu")
    return watch(model, data, config, s, marks, loss_and_accuracies)


tried = amount(profile, (0.6, 1.0), (0.0, 0.6, 0.9, 1.0))
train_seeds = range(seed, seed + amount(profile, 1, 2))
curves = {m: np.array([run_with(m, s) for s in train_seeds]) for m in tried}
not_grown = np.array([run_with(1.0, s, old.architecture) for s in train_seeds])
assert curves[1.0].shape == not_grown.shape == (len(train_seeds), len(marks), 3)

# %% [markdown]
# ### Predict
#
# At the end of this brief training, which of the *grown* models has the lowest held-out loss? One with **a** m = 0.9 or
# 1, **b** m = 0.6, **c** m = 0.

# %%
guess = None
predictions.predict("best momentum", guess)

# %%
ends = {m: values[:, -1].mean(0) for m, values in curves.items()}
for m, (loss, known, new) in ends.items():
    print(
        f"m = {m:.1f}: loss {loss:.2f}, accuracy on step 2's concepts {known:.2f}, on 3's {new:.2f}"
    )
loss, known, new = not_grown[:, -1].mean(0)
print(f"not grown: loss {loss:.2f}, accuracy on step 2's concepts {known:.2f}, on 3's {new:.2f}")
best = min(ends, key=lambda m: ends[m][0])
predictions.reveal("best momentum", {0.0: "c", 0.6: "b"}.get(best, "a"))
middle = ends[0.6]
kept = 100 * (middle[1] - ends[1.0][1])
print(f"Known at step 2, after training, m = 0.6 minus m = 1: {kept:+.0f} points")

# %%
figure, panels = subplots(1, 3, figsize=(13, 3.8))
names = ("held-out loss", "accuracy, known at step 2", "accuracy, known at step 3")
for column, (axes, label) in enumerate(zip(panels, names, strict=True)):
    for colour, (m, values) in zip(PALETTE, curves.items(), strict=False):
        part = values[..., column]
        axes.plot(marks, part.mean(0), "o-", color=colour, label=f"m = {m:g}")
        axes.fill_between(marks, part.min(0), part.max(0), color=colour, alpha=0.15, lw=0)
    axes.plot(marks, not_grown[..., column].mean(0), "k--", label="not grown")
    axes.set(xlabel="iterations after growing", ylabel=label)
for axes, part in zip(panels[1:], tasks, strict=True):
    level = np.mean([task.chance for task in part])
    axes.axhline(level, color="#8a8a8a", ls=":", label="chance")
    axes.set_ylim(0, 1)
figure.legend(*panels[1].get_legend_handles_labels(), loc="outside right center")
show(
    figure,
    "Recovery over iterations for several momenta: loss, accuracy on old and on new concepts.",
)

# %%
order = sorted(ends, key=lambda m: ends[m][0])
print("By loss, best first: m =", ", ".join(f"{m:g}" for m in order))
print(
    f"{len(train_seeds)} seed(s), {marks[-1]} iterations: this run says nothing on long training."
)

# %% [markdown]
# **Takeaway:** read the order off the printed line. What a smaller momentum has destroyed must be learnt again, and
# brief training does not suffice. Two neighbours a hundredth apart are level with so few seeds. Look at the dashed
# line, too: so brief a training need not pay for the new units, and the model that is *not* grown may have the lowest
# loss of all. If it loses as much accuracy as m = 1, growing is not the cause; the rate starts high again (08), and the
# data are new. Whether longer training turns a blend into a gain, no short run can say.

# %% [markdown]
# ## What the tables say
#
# The project's study 3 trains the small model briefly and for long, then grows it with seven momenta of each reading.
# If its table is there, here it is with all its seeds. The second figure has all comparisons on claim C5. *Best
# momentum*: for every seed the one that is best on the other seeds, so that there may be several. In the comparisons of
# a whole stream (study 2), PIM is m = 0.9, and GrowCLIP inherits plainly (m = 1) and searches; *momentum growth* is
# reading B along a whole stream (AutoProg), *bert2BERT* is `aki` of 08, *random* starts anew at every growth step.

# %%
from growclip_lite.studies.claims import judged, read_first

results = root() / "results"
study = read_first(results, "momentum")
if study.empty:
    print("results/momentum.csv: not measured. This notebook shows its own run only.")
else:
    seeds = study["seed"].nunique()
    show(
        lesson_09.draw_study(study),
        "Final accuracy, and what growing changed on earlier concepts, over the momentum, both readings.",
    )
    print(f"results/momentum.csv, {seeds} seeds; bars are 95 % intervals over seeds.")

# %%
on_inheriting = [one for one in judged(results) if one[0].claim == "C5"]
alt = "Differences with 95 % intervals on claim C5, coloured by verdict; those over fresh weights are largest."
show(lesson_13.draw_forest(on_inheriting), alt)
for f, _, told in on_inheriting:
    if told != "undecided" or "plain inheriting" in f.what:
        print(f"{told}: {f.what}: {f.found} points, {f.found.seeds} seeds ({f.data})")

# %% [markdown]
# **Takeaway:** after long training 0.9 and 1 cannot be told apart, and small momenta are behind. After brief training
# no momentum is ahead of m = 0 beyond doubt. Does long training before growing hold the larger network back (the
# local-minimum dilemma)? Runs that trained longer end higher from m = 0.6 on, but they have had more training in all.
# Among the long-trained ones alone, keeping everything ends ahead of a fresh start, and blending in fresh weights gains
# nothing beyond doubt: no dilemma shows here. Nothing was lost on earlier concepts: the new pairs bring old concepts
# again, and accuracy on these rose. (It rose most where least was known before growing: after brief training, or where
# a slow average lags.) Over a whole stream PIM is not told apart from plain inheriting (see above). What is
# supported: inheriting beats fresh weights at every growth step; it beats a model trained from scratch with the last
# step's FLOPs alone, in four of five settings (in profile `laptop` that is undecided after Holm); and PIM beats one
# other way to inherit, bert2BERT's. (With *all* FLOPs, from scratch is not behind with any verdict, and on emoji and
# CIFAR-10 ahead: 13.)
#
# The package's default is plain inheriting (m = 1): of what no study can tell apart, the simplest.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · The blend
#
# `inherited` and `fresh` are dictionaries of tensors with the same names. Return the blended dictionary.
#
# <details><summary>Hint</summary>
#
# At m = 1 nothing fresh is left. Do not change the tensors that you are given.
# </details>


# %% tags=["exercise"]
def blend_all(inherited, fresh, m):
    # SOLUTION
    return {name: m * inherited[name] + (1 - m) * fresh[name] for name in fresh}
    # END


lesson_09.check_blend(blend_all)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · The average in one step
#
# An average that begins at `start` sees the same `weight` for n steps, with decay d. Give its value without a
# loop.
#
# <details><summary>Hint</summary>
#
# How far is it from `weight` after one step, compared with before?
# </details>


# %% tags=["exercise"]
def average_after(d, steps, start, weight):
    # SOLUTION
    return weight + d**steps * (start - weight)
    # END


lesson_09.check_average_after(average_after)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · What survives
#
# The old output of a layer has length `old`, the fresh one `fresh`, at right angles to it. What is the cosine
# between the old output and that of the blend with momentum m, for 0 ≤ m ≤ 1?
#
# <details><summary>Hint</summary>
#
# The formula above is for equal lengths. Which two sides has the right triangle now?
# </details>


# %% tags=["exercise"]
def surviving_cosine(m, old, fresh):
    # SOLUTION
    return m * old / math.hypot(m * old, (1 - m) * fresh)
    # END


lesson_09.check_surviving_cosine(surviving_cosine)

# %% [markdown] tags=["solution-text"]
# Trained matrices are often longer than fresh ones, which lets more survive; but errors of many layers multiply.

# %% [markdown]
# ## Recap
#
# 1. Reading A blends inherited and fresh weights; reading B inherits a moving average.
# 2. m = 1 is plain inheriting, m = 0 is training from scratch.
# 3. One layer survives a blend well, a chain of layers does not.
# 4. A blend shrinks what is inherited and perturbs it; an average smooths it.
# 5. A claim about local minima needs long training on both sides, and seeds.
#
# **Not shown:** the local-minimum dilemma itself; reading B in a model trained here; whether the paper's PIM is one of
# these readings.
#
# **Recall:** One layer at m = 0.5 keeps a cosine of 0.71. Why does the network keep far less?
# <details><summary>Answer</summary>The blend acts on every layer, and the errors add up along the chain.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Li et al. 2022 (AutoProg); Ash and Adams 2020 (warm-starting).
#
# **Solutions:** [here](solutions/09_momentum.ipynb). **Next:** [10 · search](10_search.ipynb)
