# %% [markdown]
# # 07 · Which larger architectures are allowed?
#
# **You will learn** which candidates a growth step may choose from: in which dimensions a network can grow, how the
# budget of FLOPs follows the data, and why every candidate is a corner of the largest one. **Read before:** 03, 05, 06.
# **Takes** 35 minutes to work through, {measured}. **Of the paper:** the *dynamic growth space*. The abstract names it
# without a formula: budget, floor and reach here are our reading.
#
# Nothing is trained in this notebook. All of it is counting, so that all numbers are exact.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import itertools
import json
import math

import numpy as np

from growclip_lite.architecture import Architecture, ModelConfig, forward_flops, tensor_shapes
from growclip_lite.course import lesson_07
from growclip_lite.course.display import show, subplots
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions

# %%
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.profiles import LAPTOP
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "07")
config = ModelConfig(
    LAPTOP.image_size, LAPTOP.patch_size, LAPTOP.context_length, 482, 64
)  # looking up one of 482 words costs no FLOPs
base = LAPTOP.start

# %% [markdown]
# ## Six dimensions
#
# An architecture is six whole numbers: depth in blocks and width in heads of 32 channels, for the image
# encoder, the text encoder and the encoder that both share. This is where profile `laptop` starts.

# %% tags=["nbval-check-output"]
print(base)
print(f"{forward_flops(base, config):,} FLOPs to encode one picture and its caption")

# %% [markdown]
# ## One number by hand
#
# As in 03 and 05, one more image block costs 24 N D² + 4 N² D: every token meets every weight once, and then attention.

# %% tags=["nbval-check-output"]
N, D = config.image_tokens, 32 * base.image_width
one_block = 24 * N * D**2 + 4 * N**2 * D
deeper = Architecture(2, 2, 1, 2, 1, 2)
assert one_block == forward_flops(deeper, config) - forward_flops(base, config)
print(f"{N} tokens, {D} channels: {one_block:,} FLOPs")

# %% [markdown]
# The package counts the same without building anything. So we can ask something new: what does one unit more cost, in
# every dimension?

# %% tags=["nbval-check-output"]
for i, name in enumerate(lesson_07.NAMES):
    larger = Architecture(*(size + (i == j) for j, size in enumerate(base.sizes)))
    more = forward_flops(larger, config) - forward_flops(base, config)
    print(f"{name:<13} +{more / 1e6:.1f} MFLOPs, +{more / forward_flops(base, config):.0%}")

# %% [markdown]
# Image width costs most: the convolutions of the stem widen with it. A block of the shared encoder works on both
# modalities, so that it costs more than one of the image encoder.

# %% [markdown]
# ## How much: the budget follows the data
#
# Twice the data do not need twice the network. Our reading: the budget is the present cost times a
# *power* of the data's growth, |D_t| / |D_{t-1}|. The default power is 0.5, and in `laptop` the data
# grow from 8,000 to 20,000 pairs at the second growth step.
#
# ### Predict
#
# The data grow by a factor of 2.5. A new architecture may then cost up to **a** 1.25 times, **b** about 1.6 times,
# **c** 2.5 times as much as the base.

# %%
guess = None
predictions.predict("budget", guess)

# %% tags=["nbval-check-output"]
ratio, power = LAPTOP.scene_pairs[1] / LAPTOP.scene_pairs[0], LAPTOP.budget_power
cost = forward_flops(base, config)
budget = cost * ratio**power
print(f"ratio {ratio}, factor {ratio**power:.2f}, budget {budget / 1e6:.1f} MFLOPs")

# %%
predictions.reveal("budget", "b")

# %% [markdown]
# **Why:** 2.5 to the power 0.5 is a square root. Power 0 would never grow, power 1 grows in step with
# the data.
#
# The architecture that we have is the *base*. A *candidate* is nowhere smaller than the base; a *member* is a candidate
# whose cost lies between a *floor* and the budget: it spends at least half of the increase. Otherwise "grow by nothing"
# would be a member of every space, and a search after a brief training likes it best (10). And no dimension grows by
# more than the *reach*: one unit per doubling of the data (log₂ of the growth, rounded), at least one and at most four.

# %% tags=["nbval-check-output"]
floor = (cost + budget) / 2
reach = min(max(1, round(math.log2(ratio))), 4)
print(f"from {floor / 1e6:.1f} to {budget / 1e6:.1f} MFLOPs, reach {reach}")

# %% [markdown]
# ## Which: a loop
#
# With a reach of 1, each dimension stays or grows by one: 2 to the power 6 candidates, 64.
#
# ### Predict
#
# How many of the 64 cost between the floor and the budget? **a** fewer than 16, **b** about half, **c** more than 48.

# %%
guess = None
predictions.predict("members", guess)

# %% tags=["nbval-check-output"]
by_loop = []
for added in itertools.product(range(reach + 1), repeat=6):
    candidate = Architecture(*np.add(base.sizes, added).tolist())
    if floor <= forward_flops(candidate, config) <= budget:
        by_loop.append(candidate)
for number, member in enumerate(by_loop):
    print(f"{number}: {member}: {forward_flops(member, config) / 1e6:.1f} MFLOPs")

# %%
predictions.reveal("members", "a" if len(by_loop) < 16 else "b" if len(by_loop) < 48 else "c")

# %% [markdown]
# **Why:** the band between floor and budget is narrow: its members differ mostly in *where* they grow, and by less
# than a fifth in what they cost. That is the division of labour: the amount of data says how much, the search says
# where.

# %% [markdown]
# ## Without the loop, and the package's own

# %%
candidates = np.stack(np.meshgrid(*[np.arange(reach + 1)] * 6, indexing="ij"), -1).reshape(-1, 6)
candidates = candidates + base.sizes
assert candidates.shape == (64, 6)
costs = np.array([forward_flops(Architecture(*row), config) for row in candidates.tolist()])
inside = candidates[(floor <= costs) & (costs <= budget)]

space = GrowthSpace.at_step(base, config, ratio, power)
assert [a.sizes for a in by_loop] == [tuple(row) for row in inside.tolist()]
assert by_loop == space.members and (reach, floor, budget) == (
    space.reach,
    space.floor,
    space.budget,
)
print("loop, grid and package agree")

# %% [markdown]
# ## The space as a lattice
#
# Each dot is a candidate; an edge adds one unit. The number of added units grows from left to right, the cost upwards.

# %% tags=["nbval-check-output"]
lattice = lesson_07.lattice_of(space)
for units in range(7):
    here = lattice.added == units
    members = (here & lattice.members).sum()
    print(f"{units} units more: {here.sum():>2} candidates, {members} of them members")

# %%
figure, axes = subplots(figsize=(9, 5))
lesson_07.draw_on(axes, lattice, "second growth step of profile laptop")
lesson_07.name_members(axes, lattice)
show(
    figure,
    "Candidates by added units and cost, joined by edges; nine of 64, in a band of cost, are lit.",
)

# %% [markdown]
# Dots of equally many units stand side by side, the cheapest on the left.
#
# **Takeaway:** members have one or two units more, at about the same cost. One expensive unit (image width) stands
# beside two cheap ones. Now move the budget, and switch dimensions off:

# %%
explore(
    lambda data_ratio, budget_power, may_grow: lesson_07.draw_lattice(
        base, config, data_ratio, budget_power, may_grow
    ),
    "The lattice of candidates when the data grow 4 times, at power 0.5, all dimensions free.",
    start={"data_ratio": 4.0, "budget_power": 0.5},
    data_ratio=[1.25, 1.5, 2.0, 2.5, 4.0],
    budget_power=[0.25, 0.5, 0.75, 1.0],
    may_grow=list(lesson_07.WHICH),
)

# %% [markdown]
# Let the data grow 2.5 times: with "text only" no member is left. One unit of text does not reach the floor, one of
# each exceeds the budget. The search may then not grow text alone. Where the increase is too small for *any* growth,
# the base is the only member, and this growth step trains on without growing.

# %% tags=["nbval-check-output"]
assert not lesson_07.lattice_of(space, "text only").members.any()
little = GrowthSpace.at_step(base, config, 1.1, power)
assert little.members == [base]
print(little)

# %% [markdown]
# ## Dynamic: the space moves along
#
# At every step the space is centred anew on what was chosen last. Here are the spaces of the run whose models ship with
# the kit (`make demo` repeats it), recomputed from its architectures.

# %% tags=["nbval-check-output"]
report = json.loads((root() / "results" / "demo_report.json").read_text())
for before, after in itertools.pairwise(report["steps"]):
    chosen = Architecture.from_dict(before["architecture"])
    grown = after["samples_total"] / before["samples_total"]
    around = GrowthSpace.at_step(chosen, config, grown, report["settings"]["budget_power"])
    assert len(around) == after["search"]["space_size"]
    assert Architecture.from_dict(after["architecture"]) in around
    print(f"step {after['step']}: data x {grown:.1f}, {len(around):>2} members around ({chosen})")

# %% [markdown]
# About ten members at each step: few enough to score all of them. That is no law. It comes from data
# that grow 2.5 times, at power 0.5.
#
# ### Predict
#
# If the data grew *tenfold* at once, with the same power, the space would have **a** about ten, **b** a few hundred,
# **c** more than a thousand members.

# %%
guess = None
predictions.predict("tenfold", guess)

# %%
ratios = [1.05, 1.25, 1.5, 2, 2.5, 3, 4, 6, 8, 10]
sizes = lesson_07.sizes_by_ratio(base, config, ratios, [0.25, 0.5, 1.0])
tenfold = sizes[0.5][-1]
predictions.reveal("tenfold", "a" if tenfold < 50 else "b" if tenfold < 1000 else "c")

# %% tags=["nbval-check-output"]
for p, counts in sizes.items():
    print(f"power {p:<4g} {dict(zip(ratios, counts, strict=True))}")

# %%
figure, axes = subplots(figsize=(7.5, 4))
for p, counts in sizes.items():
    axes.plot(ratios, counts, "o-", label=f"power {p:g}")
axes.axhline(LAPTOP.evaluations, color="#8a8a8a", ls=":", label="scored at most, in laptop")
axes.set(xscale="log", yscale="log", xticks=[1, 2, 4, 10], xticklabels=["1", "2", "4", "10"])
axes.set(xlabel="growth of the data", ylabel="members", title="size of the space")
axes.legend()
show(figure, "Number of members over the growth of the data, for three budget powers, log axes.")

# %% [markdown]
# **Takeaway:** both the budget and the reach open with the data, so the space explodes with large growth
# steps. Beyond the dotted line the search cannot score everybody; it samples and mutates.

# %% [markdown]
# ## Sampling and mutating
#
# `sample` gives every member the same chance. `mutate` moves to a member at most two units away:
# within a narrow band, a unit more here mostly needs a unit less there.

# %%
rng = np.random.default_rng(seed)
draws = amount(profile, 500, 5000)
counts = {member: 0 for member in space.members}
for _ in range(draws):
    counts[space.sample(rng)] += 1
shares = np.array(list(counts.values())) / draws
spread = math.sqrt((1 / len(space)) * (1 - 1 / len(space)) / draws)
furthest = np.abs(shares - 1 / len(space)).max() / spread
print(f"furthest from chance: {furthest:.1f} standard errors, of {len(space)} members")

# %% tags=["nbval-check-output"]
units = np.array([member.sizes for member in space.members])  # (M, 6)
near = np.abs(units[:, None] - units[None]).sum(-1)  # (M, M)
for _ in range(100):
    start = space.sample(rng)
    moved = space.mutate(start, rng)
    assert moved in space and np.abs(np.subtract(moved.sizes, start.sizes)).sum() <= 2
print("members that one mutation can reach:", ((near > 0) & (near <= 2)).sum(1).tolist())

# %%
show(
    lesson_07.draw_sampling(shares, spread, near),
    "Left: shares of draws near one ninth. Right: distances in units between all members.",
)

# %% [markdown]
# **Takeaway:** draws scatter around chance (bars: two standard errors, which one in twenty misses), and
# mutations make small steps.

# %% [markdown]
# ## Containment: all of them in one
#
# The smallest architecture that contains every candidate within the reach is the *supernet*. Often it is no member:
# it costs too much. Every tensor of a member is a leading corner of the supernet's tensor of that name.

# %% tags=["nbval-check-output"]
largest = tensor_shapes(space.largest, config)
for member in [base, *space.members]:
    for name, shape in tensor_shapes(member, config).items():
        assert all(mine <= whole for mine, whole in zip(shape, largest[name], strict=True))
print(f"supernet: {space.largest}, a member: {space.largest in space}")
for name in ("image.blocks.0.qkv", "image.blocks.1.qkv", "shared.image_adapter"):
    print(f"{name}: {tensor_shapes(base, config).get(name)} in {largest[name]}")

# %%
names = ("image.blocks.0.qkv", "image.blocks.1.qkv", "shared.image_adapter")
show(
    lesson_07.draw_corners(space.largest, base, space.members, config, names),
    "Three matrices of the supernet; corners are used by most architectures, borders by few.",
)

# %% [markdown]
# **Takeaway:** a member needs no weights of its own: rows, columns and blocks are counted from the front.
# One set of weights stands for all. What that is good for, and what it costs, is the subject of 10.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · One unit more
#
# List the six neighbours of `base` that are one unit larger in one dimension, as tuples of six numbers.
#
# <details><summary>Hint</summary>
#
# `base.sizes` is the tuple. Add 1 at place i and 0 elsewhere, for i from 0 to 5.
# </details>


# %% tags=["exercise"]
def one_unit_more(base):
    # SOLUTION
    return [tuple(s + (i == j) for j, s in enumerate(base.sizes)) for i in range(6)]
    # END


lesson_07.check_one_unit_more(one_unit_more)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · Is it a member?
#
# Write the test for one architecture `a`. Mind a trap: without shared blocks (depth 0) the shared width
# means nothing. Of such equal architectures, only the one with the base's shared width counts.
#
# <details><summary>Hint</summary>
#
# Four conditions: nothing shrinks, nothing exceeds the reach, the trap, floor <= cost <= budget.
# </details>


# %% tags=["exercise"]
def is_member(a, base, reach, floor, budget, config):
    # SOLUTION
    near = all(s <= mine <= s + reach for mine, s in zip(a.sizes, base.sizes, strict=True))
    same = a.shared_depth > 0 or a.shared_width == base.shared_width
    return near and same and floor <= forward_flops(a, config) <= budget
    # END


lesson_07.check_is_member(is_member)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · The ends of a space
#
# Return the cheapest and the most expensive member of a `space` (two architectures), by FLOPs per pair.
#
# <details><summary>Hint</summary>
#
# `space.members` are the architectures, `space.config` the rest that `forward_flops` needs.
# </details>


# %% tags=["exercise"]
def ends_of(space):
    # SOLUTION
    by_cost = sorted(space.members, key=lambda a: forward_flops(a, space.config))
    return by_cost[0], by_cost[-1]
    # END


lesson_07.check_ends_of(ends_of)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 4 · How uneven?
#
# In the search, ties go to the most even member. Write its measure: largest depth minus smallest
# depth, plus largest width minus smallest width (in units, over the three encoders).
#
# <details><summary>Hint</summary>
#
# `a.sizes[::2]` are the depths.
# </details>


# %% tags=["exercise"]
def how_uneven(a):
    # SOLUTION
    depths, widths = a.sizes[::2], a.sizes[1::2]
    return max(depths) - min(depths) + max(widths) - min(widths)
    # END


lesson_07.check_how_uneven(how_uneven)

# %% [markdown] tags=["solution-text"]
# `growclip_lite.search.unevenness` is the same. It is a rule of thumb: even growth is a good guess when scores
# do not tell members apart (EfficientNet found so for convolutional networks).

# %% [markdown]
# ## Recap
#
# 1. Six dimensions stay or grow by up to the reach; none shrinks.
# 2. The budget is a power of the data's growth; half of the increase must be spent.
# 3. So the data say how much to grow, the search says where.
# 4. The space moves with the architecture that was chosen, and opens with the data.
# 5. Every member is a leading corner of one supernet.
#
# **Not shown:** that this power, floor and reach are the best ones, or the paper's. They are
# one reading, and no study here has compared them.
#
# **Recall:** Why does the space have a floor and not only a budget? <details><summary>Answer</summary>
# So that members cost about the same. Otherwise cheap members, hardly changed from the base, would compete with real
# growth.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Li et al. 2022 (AutoProg); Chen et al. 2021 (AutoFormer, slices of one
# supernet); Tan and Le 2019 (EfficientNet).
#
# **Solutions:** [here](solutions/07_growth_space.ipynb). **Next:** [08 · inheriting](08_inheriting.ipynb)
