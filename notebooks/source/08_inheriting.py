# %% [markdown]
# # 08 · What can a larger model keep?
#
# **You will learn** how trained weights fill a larger network: by corner copy, by splitting neurons,
# by stacking blocks; which of these keep the function, and what that is worth after some training.
# **Read before:** 03, 06, 07. **Takes** 35 minutes to work through, {measured}. **Of the paper:**
# inheriting parameters at a growth step. The abstract gives no formula; the operators are those of
# the literature, fitted to this model. The momentum comes in 09.
#
# A larger matrix has rows and columns that no trained weight belongs to. What is written there decides
# what the larger model can still do.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import copy
import math

import numpy as np
import torch
import torch.nn.functional as F

from growclip_lite.course import lesson_08
from growclip_lite.course.display import PALETTE, show, subplots
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions
from growclip_lite.course.watching import watch

# %%
from growclip_lite import operators
from growclip_lite.architecture import Architecture
from growclip_lite.inherit import inherit
from growclip_lite.model import GrowCLIP
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "08")

# %% [markdown]
# ## One vector by hand
#
# Every block of the transformer reads *normalised* activations: the mean over the channels is subtracted, then the
# vector is scaled to a fixed length. Three channels are to become five. What may the two new channels carry, if the old
# ones are to be read as before?
#
# ### Predict
#
# The old channels are read unchanged if the new channels carry **a** zeros, **b** the mean of the old channels, **c**
# either of them.

# %%
guess = None
predictions.predict("filling", guess)


# %% tags=["nbval-check-output"]
def normalise(x):
    centred = x - x.mean(-1, keepdim=True)
    return centred / centred.norm(dim=-1, keepdim=True)


x = torch.tensor([1.0, 2.0, 6.0])
wider = {"old": x, "zeros": F.pad(x, (0, 2)), "mean": torch.cat([x, x.mean().expand(2)])}
for name, vector in wider.items():
    print(f"{name:6}", [round(value, 3) + 0.0 for value in normalise(vector).tolist()])
predictions.reveal("filling", "b")

# %% [markdown]
# **Why:** zeros pull the mean down, so every old channel looks different. Channels that carry the mean leave it as it
# was; once it is subtracted they are zero, and the length stays as it was, too. (This needs normalising to a *fixed*
# length, as here and in 03. Ordinary LayerNorm, to length √D, would read the old channels √(5/3) = 1.29 times too
# large.) So the *residual stream* (what flows through the blocks and is added to, 03; not the stream of data) can be
# widened without touching an old weight, whatever the new columns that read it contain (the average expansion of
# LEMON).

# %% [markdown]
# ## One block by hand
#
# A small block: `y = x + down · gelu(up · normalise(x))`. It has 3 channels and 4 hidden units, and is to get 5 and 6.
# Two questions decide every entry of the new matrices:
#
# - Do the new *inputs* come from new units? Then their columns must be zero (`use`). From the normalised
#   stream? Then anything goes (`read`).
# - Do the new *outputs* go into the stream? Then they must carry the mean (`write`). Are they new units?
#   Then anything goes (`make`).
#
# Attention has units, too: its heads. A new head's query, key and value are made, its columns of `out` are used.


# %%
def block(x, up, down):
    return x + F.gelu(normalise(x) @ up.T) @ down.T


def widen(old, fresh, outputs, inputs):
    rows, columns = old.shape
    new = fresh.clone()
    new[:rows, :columns] = old  # the leading corner
    if inputs == "use":
        new[:, columns:] = 0
    if outputs == "write":
        new[rows:] = new[:rows].mean(0)
    return new


# %%
generator = torch.Generator().manual_seed(seed)
up, down, fresh_up, fresh_down = (
    torch.randn(shape, generator=generator) for shape in ((4, 3), (3, 4), (6, 5), (5, 6))
)
new_up, new_down = widen(up, fresh_up, "make", "read"), widen(down, fresh_down, "write", "use")
old, new = block(x, up, down), block(wider["mean"], new_up, new_down)
assert new.shape == (5,)
assert torch.allclose(new[:3], old, atol=1e-5)
assert torch.allclose(new[3:], old.mean().expand(2), atol=1e-5)
print("the old channels are as before, and the new ones carry the mean again, for the next block")

# %% [markdown]
# The package does the same with one function for all tensors of the model:

# %%
assert torch.equal(new_up, operators.corner([up], fresh_up, ("make", "read"), generator))
assert torch.allclose(new_down, operators.corner([down], fresh_down, ("write", "use"), generator))
print("by hand and package agree")

# %% [markdown]
# The new hidden units are fresh, not zero; only their *use* is zero. So the first gradient reaches the use,
# the next one the unit. Zeros on both sides would stay zeros for ever.

# %% [markdown]
# ## Splitting neurons
#
# Net2Net (2016) copies instead: a unit and its twin compute the same, and share the old outgoing weight. Unit 0 of a
# two-layer network becomes units 0 and 3. (The package copies units in turn, beginning with unit 0. *fixed* below: this
# side keeps its size, here one output.)

# %% tags=["nbval-check-output"]
first = torch.tensor([[1.0, -1.0], [0.5, 2.0], [-1.0, 1.0]])  # 2 inputs -> 3 units
second = torch.tensor([[4.0, 1.0, 2.0]])  # 3 units -> 1 output
first_split = torch.cat([first, first[:1]])
second_split = torch.tensor([[2.0, 1.0, 2.0, 2.0]])  # 4 = 2 + 2
point = torch.tensor([3.0, 1.0])
for a, b in ((first, second), (first_split, second_split)):
    print(len(a), "units:", (b @ torch.relu(a @ point)).item())

# %%
by_package = operators.net2net([second], torch.zeros(1, 4), ("fixed", "use"), generator)
assert torch.equal(by_package, second_split)
points = torch.randn(100, 2, generator=generator)
assert torch.allclose(
    torch.relu(points @ first.T) @ second.T,
    torch.relu(points @ first_split.T) @ second_split.T,
    atol=1e-5,
)
print("the same function at 100 random points")

# %% [markdown]
# ### Predict
#
# Now train the split network. Twins with exactly equal weights will **a** part company by themselves, **b** stay
# equal for ever, **c** cancel each other.

# %%
guess = None
predictions.predict("twins", guess)


# %%
def distance_of_twins(first, second, steps=100):
    first, second = first.clone().requires_grad_(), second.clone().requires_grad_()
    optimizer, target = torch.optim.SGD([first, second], lr=0.01), points.prod(1, keepdim=True)
    for _ in range(steps):
        F.mse_loss(torch.relu(points @ first.T) @ second.T, target).backward()
        optimizer.step()
        optimizer.zero_grad()
    return (first[0] - first[3]).norm().item()


equal_parts = distance_of_twins(first_split, second_split)
unequal_parts = distance_of_twins(first_split, torch.tensor([[1.2, 1.0, 2.0, 2.8]]))
print(f"equal parts: distance {equal_parts:.3f}; unequal parts: {unequal_parts:.3f}")
predictions.reveal("twins", "b" if equal_parts < 1e-4 else "a")

# %% [markdown]
# **Why:** equal weights get equal gradients. Net2Net adds a little noise to the copies; LEMON (2024) shares
# the outgoing weight out *unequally*, which keeps the function exactly and still breaks the tie.

# %% [markdown]
# ## More blocks
#
# In depth there are three rules. *Append*: the new blocks come last and are silent, for what they write is
# zero at first. *Stack* repeats the pile, *interleave* repeats every block in place.

# %% tags=["nbval-check-output"]
for rule in (operators.append, operators.stack, operators.interleave):
    taken = [rule(block, 2, 4) for block in range(4)]
    print(f"{rule.__name__:11}", ["new" if block is None else block for block in taken])

# %% [markdown]
# A repeated block changes the function: it applies its change twice. In return, nothing starts from scratch. AKI
# (*advanced knowledge initialisation*; bert2BERT, 2022) stacks, too, and fills new rows from the *next* block.

# %% [markdown]
# ## A real growth step
#
# The project ships one grown run. We take its model after growth step 2 into the architecture of step 3, which its
# search had chosen. `inherit` also returns a report with one entry per tensor; here are the last seven.

# %%
checkpoint = root() / "checkpoints" / "scenes-laptop-step-2"
old = GrowCLIP.from_pretrained(str(checkpoint))
next_one = GrowCLIP.from_pretrained(str(root() / "checkpoints" / "scenes-laptop-step-3"))
third, report = inherit(old, next_one.architecture, operator="corner", seed=seed)
print(f"{old.architecture}\n  -> {third.architecture}")
for entry in report.entries[-7:]:
    print(f"{entry.target:22} {entry.source_shape!s:10} -> {entry.shape!s:11} {entry.status}")

# %% [markdown]
# The old corner and the new border: for both function-preserving operators, the embeddings of held-out
# pictures and captions must not move by more than rounding.

# %%
from growclip_lite.data.load import load_stream
from growclip_lite.train import TrainConfig, TrainingSet

stream = load_stream("scenes", profile, seed)
held_out = TrainingSet(stream.validation[:2], old.tokenizer, old.config.context_length)

# %% [markdown]
# They are of both steps, in their order; the batches mix them.

# %%
rows = np.linspace(0, len(held_out) - 1, amount(profile, 128, 512)).astype(int)
some = np.array_split(np.random.default_rng(0).permutation(rows), 2)
batches = [held_out.batch(part, np.random.default_rng(0)) for part in some]


# %%
@torch.inference_mode()
def largest_difference(one, other):
    images, tokens, _ = batches[0]
    pairs = zip(one(images, tokens)[:2], other(images, tokens)[:2], strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


for operator in operators.FUNCTION_PRESERVING:
    grown, report = inherit(old, next_one.architecture, operator=operator, seed=seed)
    moved = largest_difference(old, grown)
    assert report.preserves_function and moved < 1e-4
    print(f"{operator}: embeddings moved by less than 0.0001")

# %% [markdown]
# ## All operators, right after growing
#
# That step was gentle. To tell the operators apart we grow every encoder by a block, and the shared one by
# a head as well. Fresh weights are drawn anew with several seeds. A guess that spreads its probability evenly over a
# batch of B costs log B.

# %%
from growclip_lite.search import held_out_loss

target = Architecture(3, 2, 3, 2, 2, 3)
init_seeds = range(seed, seed + amount(profile, 2, 4))
before = held_out_loss(old, batches)
after, reports, weights = {}, {}, {}
for operator in operators.OPERATORS:
    grown = [inherit(old, target, operator=operator, seed=s) for s in init_seeds]
    after[operator] = [held_out_loss(model, batches) for model, _ in grown]
    reports[operator] = grown[0][1]
    weights[operator] = grown[0][0].state_dict()["shared.blocks.0.down"]

# %%
print(f"{'before growing':15} loss {before:.2f}")
for operator, losses in after.items():
    tensors = ", ".join(
        f"{n} {status}" for status, n in lesson_08.counts(reports[operator]).items()
    )
    print(f"{operator:15} loss {np.mean(losses):.2f} ± {np.std(losses):.2f}   {tensors}")
assert all(
    abs(loss - before) < 1e-3 for name in operators.FUNCTION_PRESERVING for loss in after[name]
)
assert weights["corner"].shape == (96, 4 * 96)

# %%
figure, axes = subplots(figsize=(9, 3.6))
for number, losses in enumerate(after.values()):
    axes.bar(number, np.mean(losses), 0.6, color=PALETTE[0])
    axes.plot([number] * len(losses), losses, "o", color=PALETTE[6], ms=5)
axes.axhline(before, color=PALETTE[4], ls="--", label="before growing")
axes.axhline(math.log(len(some[0])), color="#8a8a8a", ls=":", label="uniform guess, log B")
axes.set_xticks(range(len(after)), list(after))
axes.set(ylabel="held-out loss", title="right after growing (dots: seeds of the fresh weights)")
figure.legend(loc="outside right center")
show(
    figure,
    "Held-out loss right after growing by operator; corner and lemon reach the old model's line.",
)

# %% [markdown]
# **Takeaway:** function-preserving operators start where the old model stood; repeating blocks costs
# something at first, and a random start costs everything. A fresh model is even *worse* than a uniform guess:
# it is wrong with confidence. Dots on top of each other mean that fresh weights are not heard yet, or,
# with aki, that there are none. Net2Net copies the channels of the stream as well. From 64 to 96 some count twice in
# the normalisation, and copies get a little noise, so that it keeps this function only roughly.
#
# How does such a matrix look? Here is the one that writes into the shared stream:

# %%
explore(
    lambda operator: lesson_08.draw_operator(operator, weights, after, before),
    "The grown matrix of the operator corner, and the loss right after growing of all operators.",
    start={"operator": "corner"},
    operator=list(after),
)

# %% [markdown]
# `corner` leaves white columns where new units are not used yet; its last rows are averages over channels, almost
# white too. `lemon` and `net2net`, when you choose them, have no white columns: the copies share the old weights.

# %% [markdown]
# ## And after some training?
#
# Low loss on the first day is not the aim. We train every grown model for the same few iterations on the
# same batches, and the old one as well, not grown. Held equal among the grown ones: architecture, data,
# batches, FLOPs.
#
# ### Predict
#
# The lowest held-out loss at the end of this brief training has **a** a function-preserving operator, **b** one that
# repeats blocks (stack, interleave, aki), **c** the model that was not grown. (Random weights and Net2Net are none of
# these.)

# %%
guess = None
predictions.predict("brief", guess)

# %%
from growclip_lite.devices import fast_dtype

data = TrainingSet(stream.train[:2], old.tokenizer, old.config.context_length)
marks = amount(profile, [0, 1, 2, 4], [0, 3, 6, 12, 24])
config = TrainConfig(marks[-1], amount(profile, 64, 128), learning_rate=0.01, warmup=3)


def curve_of(operator, s):
    if operator == "not grown":
        model = copy.deepcopy(old)
    else:
        model, _ = inherit(old, target, operator=operator, seed=s)
    model.compute_dtype = fast_dtype("cpu")
    return watch(model, data, config, s, marks, lambda m: held_out_loss(m, batches))


# %%
train_seeds = range(seed, seed + amount(profile, 1, 2))
curves = {
    name: np.array([curve_of(name, s) for s in train_seeds]) for name in (*after, "not grown")
}
last = {name: losses[:, -1].mean() for name, losses in curves.items()}
for name, loss in sorted(last.items(), key=lambda item: item[1]):
    print(f"{name:11} {curves[name][:, 0].mean():.2f} -> {loss:.2f}")
assert curves["corner"].shape == (len(train_seeds), len(marks))

# %%
best = min(last, key=last.get)
group = "c" if best == "not grown" else "a" if best in operators.FUNCTION_PRESERVING else "b"
predictions.reveal("brief", group if best not in ("random", "net2net") else f"none of them: {best}")
rose = [
    name for name in ("corner", "lemon", "not grown") if curves[name].mean(0).max() > 1.02 * before
]
print(
    f"The loss first rose above {before:.2f} for: {', '.join(rose) or 'none of corner, lemon, not grown'}."
)

# %%
figure, panels = subplots(1, 2, figsize=(11, 4.2))
colours = [*PALETTE, "#8a8a8a"]
for colour, (name, losses) in zip(colours, curves.items(), strict=True):
    style = {"color": colour, "ls": "--" if name == "not grown" else "-"}
    style["lw"] = 5 if name == "corner" else 1.8
    for axes in panels[:1] if name == "random" else panels:
        axes.plot(marks, losses.mean(0), marker="o", ms=4, label=name, **style)
        axes.fill_between(marks, losses.min(0), losses.max(0), color=colour, alpha=0.15, lw=0)
for axes, title in zip(panels, ("after growing", "the same without random"), strict=True):
    axes.axhline(before, color="#222222", ls=":", lw=1.2, label="before growing")
    axes.set(xlabel="iterations after growing", ylabel="held-out loss", title=title)
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
show(figure, "Held-out loss over iterations, one line per operator; shaded is the range of seeds.")

# %% [markdown]
# **Takeaway:** where a model starts and where it soon arrives are two questions. If the model that was *not* grown goes
# up as well, growing is not the main reason. Our guess, not tested here: training begins anew, with a high learning
# rate and fresh optimisers, and a few iterations do not bring back what the end of a schedule had. (The thick line of
# corner lies behind that of lemon.) Where repeated blocks do well, a guess, not tested here: they work from the first
# iteration, while silent ones must first be given a use.
#
# Shaded is the range of seeds. Be careful with the ranking: few iterations, one or two seeds, one growth step. Over a
# whole stream of scenes (study 2, `growclip study growers`) none of plain inheriting, LEMON, stacking and Net2Net can
# be told from inheriting with momentum (PIM, 09); AKI is behind it with a verdict. This brief ranking does not carry
# over. The package's default is `corner`, for a reason that no curve here shows: the old model stays a corner of the
# new one, as the search needs (10).

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · More hidden units
#
# Only the hidden layer of `gelu(x · upᵀ) · downᵀ` is to grow. `up` is (H, D), `down` (D, H); the fresh tensors have the
# larger H. Return the two new ones, by corner copy: the same function, but no dead units.
#
# <details><summary>Hint</summary>
#
# The new rows of `up` may be anything but zero. Which columns of `down` listen to them?
# </details>


# %% tags=["exercise"]
def widen_hidden(up, down, fresh_up, fresh_down):
    # SOLUTION
    hidden = len(up)
    new_up, new_down = fresh_up.clone(), fresh_down.clone()
    new_up[:hidden], new_down[:, :hidden] = up, down
    new_down[:, hidden:] = 0
    return new_up, new_down
    # END


lesson_08.check_widen_hidden(widen_hidden)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · A neuron in several parts
#
# `first` is (H, I), `second` (O, H). Append `copies` copies of unit `unit` at the end and share its outgoing
# weight out equally (Net2Net, without noise). Return both layers.
#
# <details><summary>Hint</summary>
#
# With three copies there are four of them: the original shares, too.
# </details>


# %% tags=["exercise"]
def split(first, second, unit, copies):
    # SOLUTION
    second = second.clone()
    second[:, unit] /= copies + 1
    again = [unit] * copies
    return torch.cat([first, first[again]]), torch.cat([second, second[:, again]], 1)
    # END


lesson_08.check_split(split)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · Which blocks does stacking take?
#
# Return the list of old block numbers that the new blocks come from, in order, when a pile of `old_depth` is
# stacked up to `new_depth`.
#
# <details><summary>Hint</summary>
#
# 2 to 5 gives 0 1 0 1 0: count, and begin again at the end of the pile.
# </details>


# %% tags=["exercise"]
def blocks_of_stack(old_depth, new_depth):
    # SOLUTION
    return [block % old_depth for block in range(new_depth)]
    # END


lesson_08.check_blocks_of_stack(blocks_of_stack)

# %% [markdown] tags=["solution-text"]
# The rule is worth a second look at 3 to 4: block 3 repeats block 0, which had been trained to read embeddings,
# and now reads the output of block 2. That it works at all owes to the residual stream.

# %% [markdown]
# ## Recap
#
# 1. New channels that carry the mean of the old are invisible after normalisation to a fixed length.
# 2. New units keep fresh inputs and get a use of zero: silent, but not dead.
# 3. Net2Net copies and shares; equal twins stay equal, so noise or unequal parts are needed.
# 4. Depth: silent blocks keep the function, repeated blocks do not.
# 5. Preserving the function decides the start, not the finish.
#
# **Not shown:** whole streams, long training, several growth steps (study 2's table: 09).
#
# **Recall:** Why must new hidden units not start with zeros on both sides?
# <details><summary>Answer</summary>The gradient of each side is a product with the other side: both stay zero.
# </details>
#
# **References:** Chen et al. 2016 (Net2Net); Gong et al. 2019 (stacking); Chen et al. 2022 (bert2BERT, AKI); Wang
# et al. 2024 (LEMON); Deng et al. 2023 (GrowCLIP).
#
# **Solutions:** [here](solutions/08_inheriting.ipynb). **Next:** [09 · momentum](09_momentum.ipynb)
