# %% [markdown]
# # 06 · What is gained by sharing layers?
#
# **You will learn** how one block serves pictures and sentences, what sharing saves and what it does not, whose
# gradients meet in a shared weight, and what a modality gap is. **Read before:** 03, 04, 05. **Takes** 30 minutes to
# work through, {measured}. **Of the paper:** the shared encoder of the growth space, which is said to improve
# cross-modal fusion.
#
# Two encoders that never meet until the loss: that is CLIP. GrowCLIP has a shared encoder; the abstract does not say
# how it is built. Our reading: the last blocks serve both modalities, each in its own pass. It sounds like fusion. We
# measure it.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import torch

from growclip_lite.course import lesson_06
from growclip_lite.course.display import show
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions

# %%
from collections import Counter

from growclip_lite.architecture import ModelConfig, count_parameters, forward_flops
from growclip_lite.evaluate import recall_at
from growclip_lite.losses import contrastive_loss
from growclip_lite.model import Block, as_images
from growclip_lite.studies import claims
from growclip_lite.studies.sharing import at_equal_flops, at_equal_parameters, modality_gap
from growclip_lite.studies.statistics import paired
from growclip_lite.table import first_setting, read_table
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "06")

# %% [markdown]
# ## One number by hand: a weight with two users
#
# A weight w = 2 is used twice: for a picture with input 3 and for a sentence with input 5. Suppose the
# loss is the square of the difference of both outputs, (3w - 5w)². What is its derivative?

# %% tags=["nbval-check-output"]
w, picture, sentence = 2.0, 3.0, 5.0
difference = picture * w - sentence * w
from_picture = 2 * difference * picture  # the sentence's output held fixed
from_sentence = -2 * difference * sentence
print(f"{from_picture:g} + {from_sentence:g} = {from_picture + from_sentence:g}")

# %% tags=["nbval-check-output"]
weight = torch.tensor(w, requires_grad=True)
((picture * weight - sentence * weight) ** 2).backward()
assert weight.grad == from_picture + from_sentence
print(f"{weight.grad:g}")

# %% [markdown]
# The gradient of a shared weight is the **sum** of what its users send. Here they pull in opposite
# directions. Hold on to that: sharing is not fusion by itself, it is a compromise that both sides train.

# %% [markdown]
# ## One block, both modalities
#
# A block maps (batch, tokens, channels) to the same shape. It does not ask what a token is. So 16 patches
# and 24 words may pass through the same weights, each modality in its own pass.

# %%
generator = torch.Generator().manual_seed(seed)
block = Block(64)
for parameter in block.parameters():
    torch.nn.init.normal_(parameter, 0, 0.1, generator=generator)
patches, words = (torch.randn(8, tokens, 64, generator=generator) for tokens in (16, 24))
assert block(patches).shape == patches.shape and block(words).shape == words.shape

# %% [markdown]
# A sentence never attends to the picture here: nothing is mixed in the forward pass (as it would be with
# cross-attention). The only thing in common is the weights. Otherwise embeddings could not be computed
# one by one, and a search through a million pictures would need a million passes per query.

# %%
together = torch.cat([block(patches), block(words)], 1)
alone = block(torch.cat([patches, words], 1))
assert not torch.allclose(together, alone, atol=1e-3)
print("two passes are not one pass over patches and words together")

# %% [markdown]
# ## What is saved
#
# ### Predict
#
# Both encoders have five blocks. Now the last two are shared. The FLOPs of a pair **a** fall by about a third, **b**
# fall by about a fifth, **c** do not fall.

# %%
guess = None
predictions.predict("flops", guess)

# %% tags=["nbval-check-output"]
sizes = ModelConfig(image_size=32, patch_size=8, context_length=24, vocab_size=1_000, embed_dim=64)
apart, shared = at_equal_flops(0), at_equal_flops(2)
for name, count in (("parameters", count_parameters), ("FLOPs of a pair", forward_flops)):
    print(f"{name:<16} {count(apart, sizes):>12,} -> {count(shared, sizes):>12,}")

# %%
more = forward_flops(shared, sizes) / forward_flops(apart, sizes) - 1
predictions.reveal("flops", "c" if more >= 0 else "b" if more > -0.27 else "a")

# %% [markdown]
# **Why:** every token still meets every weight of its path. Sharing saves memory, not compute. FLOPs even
# rise a little: in front of the shared blocks each modality has an adapter, a D × D matrix (it bridges
# different widths, and stays where they happen to be equal). By hand:

# %% tags=["nbval-check-output"]
channels, blocks = 64, 2
saved = (
    blocks * 12 * channels**2 - 2 * channels**2
)  # one of each two blocks goes, two adapters come
added = 2 * 16 * channels**2 + 2 * 24 * channels**2  # for 16 patches and 24 words
assert count_parameters(apart, sizes) - count_parameters(shared, sizes) == saved
assert forward_flops(shared, sizes) - forward_flops(apart, sizes) == added
print(f"{saved:,} parameters saved, {added:,} FLOPs added")

# %% [markdown]
# So there are two fair comparisons. At **equal FLOPs** sharing saves parameters. At **equal parameters** the weights
# that are saved pay for longer paths: both passes get deeper, and more expensive.

# %%
alt = "Parameters fall with shared depth at equal FLOPs; FLOPs rise with it at equal parameters."
show(lesson_06.draw_costs(sizes), alt)
for depth in (0, 2, 4):
    a, b = at_equal_flops(depth), at_equal_parameters(depth)
    print(f"shared {depth}:  {str(a):<38} or  {b}")

# %% [markdown]
# **Takeaway:** either fewer weights at the same compute, or more compute with the same weights.

# %% [markdown]
# ## What is gained: the study
#
# The table holds trainings from scratch on all 120,000 pairs, with equal iterations, at shared depth 0 to
# 4, in both comparisons. R@1 counts how often a picture finds its own caption first among 1,000; three of
# the others are near twins that differ in one thing, so knowing roughly what is there gives 0.25.
#
# ### Predict
#
# At equal FLOPs, the best shared depth changes image-to-text R@1 by **a** more than 3 points upwards, **b** at most 3
# points, **c** more than 3 points downwards.

# %%
guess = None
predictions.predict("recall", guess)

# %%
rows = first_setting(read_table(root() / "results" / "sharing.csv"))
print(f"read from results/sharing.csv: {len(rows)} trainings, {rows['seed'].nunique()} seeds")
none = rows[rows["shared_depth"] == 0]
same = rows[(rows["equal"] == "flops") & (rows["shared_depth"] > 0)]
depth, best = claims.best(same, "shared_depth")  # by validation accuracy
gain = paired(best, none, "i2t_r1")
by_hand = best.set_index("seed")["i2t_r1"] - none.set_index("seed")["i2t_r1"]
assert abs(100 * by_hand.mean() - gain.mean) < 1e-9
print(f"shared depth {depth} - none: {gain} points of R@1")
predictions.reveal("recall", "a" if gain.mean > 3 else "c" if gain.mean < -3 else "b")

# %%
alt = "Recall and zero-shot accuracy over shared depth 0 to 4, at equal FLOPs or parameters."
show(lesson_06.draw_sharing(rows, lesson_06.SCORES), alt)
for name in ("i2t_r1", "zero_shot_mean"):
    means = same.groupby("shared_depth")[name].mean() - none[name].mean()
    low, high = 100 * means.min(), 100 * means.max()
    spread = 100 * (none[name].max() - none[name].min())
    print(
        f"{name}: depths 1 to 4 differ from none by {low:+.1f} to {high:+.1f} points at equal FLOPs;"
    )
    print(f"   seeds without sharing differ among themselves by up to {spread:.1f}")

# %% [markdown]
# **Takeaway:** over four shared depths the means move by about as much as seeds do (R@1 by less, zero-shot by a little
# more); only differences within a seed can tell more (next). (Lines: means; bars: 95 % bootstrap intervals over seeds;
# dots: seeds.) At equal parameters, remember, deeper sharing also spends more FLOPs, and still does not stand out.
#
# The verdict (05), computed from the rows, with Holm's correction for all these comparisons (12 derives it). The depth
# of every seed is chosen on the other seeds; where two depths are named, these did not agree. On five seeds a large but
# scattered difference can miss a verdict; then it is *undecided*.

# %%
of_sharing = [f for f in claims.judged(root() / "results") if f[0].claim == "C3"]
found = [f for f in of_sharing if "modality gap" not in f[0].what]  # explained below
for finding, _, told in found:
    print(f"{finding.what:<74} {str(finding.found):<22} {told}")
    print(f"   at equal {finding.equal}, {finding.found.seeds} seeds")

# %%
judged = Counter(told for _, _, told in found)
recalls = [f.found for f, _, _ in found if "R@1" in f.what]
shots = [f.found for f, _, _ in found if "zero-shot" in f.what]
print(
    f"R@1 is higher with sharing in {sum(f.mean > 0 for f in recalls)} of {len(recalls)} comparisons,"
)
print(f"zero-shot accuracy in {sum(f.mean > 0 for f in shots)} of {len(shots)}")
print("in all:", ", ".join(f"{count} {told}" for told, count in judged.items()))

# %% [markdown]
# So what is left of "improves cross-modal fusion", in this reading? At equal FLOPs one shared block finds captions a
# little better, and names classes a little worse: seed by seed both are clear, though unpaired they would drown in what
# seeds do. At equal parameters no verdict survives the correction, though zero-shot accuracy leans down there, too. A
# gain of many points would show at this size; there is none. What sharing gives for certain is arithmetic: the same
# compute with fewer weights.

# %% [markdown]
# ## Whose gradients meet
#
# In the shipped model, the loss reaches a shared weight along two ways: through the picture's pass and
# through the sentence's. Cut one of them with `detach`, and the other one remains.

# %%
model, pairs = lesson_06.checkpoint(4), lesson_06.test_pairs(64)
images, texts, scale = model(as_images(pairs.images), model.tokenize(pairs.captions))
weights = list(model.shared.blocks.parameters())


def gradient(a, b):
    return torch.autograd.grad(contrastive_loss(a, b, scale.detach()), weights, retain_graph=True)


both = gradient(images, texts)
parts = zip(gradient(images, texts.detach()), gradient(images.detach(), texts), strict=True)
assert all(torch.allclose(g, x + y, atol=1e-5) for g, (x, y) in zip(both, parts, strict=True))
print(f"{len(weights)} shared matrices: each gradient is the sum of both modalities'")

# %% [markdown]
# ### Predict
#
# In the last growth step's model, the two gradients on a shared matrix point, on average,
# **a** the same way (cosine above 0.3), **b** in unrelated directions, **c** against each other (below -0.3).

# %%
guess = None
predictions.predict("gradients", guess)

# %%
batches = amount(profile, 3, 8)
agreed = {step: lesson_06.agreement(step, batches, 64) for step in lesson_06.STEPS}
for step, values in agreed.items():
    told = [f"{name} {cosine.mean():+.2f}" for name, cosine in values.items()]
    print(f"after step {step}:", *told, sep="  ")
last = next(iter(agreed[4].values())).mean().item()
predictions.reveal("gradients", "a" if last > 0.3 else "c" if last < -0.3 else "b")

# %%
alt = "Cosines of gradients on shared matrices over growth steps: both modalities, and images of two batches."
show(lesson_06.draw_agreement(agreed), alt)

# %% [markdown]
# **Takeaway:** what images ask of a shared weight has nothing to do with what texts ask, after any step. Or is all of
# it noise? Two batches of images, which have neither a picture nor near twins in common, agree about by half after the
# first step: there the zero means something, and sharing looks like sharing *room*, not meaning. In the last steps two
# batches of images hardly agree either: gradients of 64 pairs are mostly noise by then, and say little of either. (Near
# twins side by side in different batches would have made them agree more: a control has to be checked, too. Dots:
# matrices and batches of 64 test pairs; one shipped run, so one seed.)

# %% [markdown]
# ## Two modalities in one space
#
# ### Predict
#
# Image and text embeddings of the same 1,000 test pairs form **a** one cloud in which nobody could tell a picture from
# a sentence, **b** two clouds. (Test: call an embedding a picture if it is nearer to the mean picture than to the mean
# sentence. If that is right more often than 0.75, there are two clouds.)

# %%
guess = None
predictions.predict("clouds", guess, choices="ab")

# %%
count = amount(profile, 200, 1_000)
images, texts = lesson_06.embedded(4, count)
centres = torch.stack([images.mean(0), texts.mean(0)])
nearer = torch.cdist(torch.cat([images, texts]), centres).argmin(1)
told = (nearer == torch.arange(2).repeat_interleave(count)).float().mean().item()
print(f"told apart by the nearer mean: {told:.2f} (chance 0.50)")
predictions.reveal("clouds", "b" if told > 0.75 else "a")

# %%
alt = "Images and texts mix on two principal components, and come apart along the line of their means."
show(lesson_06.draw_pairs(images, texts, "the shipped model, last growth step"), alt)

# %% [markdown]
# **Takeaway:** in this last model, in the two directions that vary most, pictures and sentences mix; seen along the
# line between their means (crosses), each keeps a place of its own; grey lines join pairs. A picture of 64 dimensions
# on paper always hides something. The distance of the two means is the **modality gap** (Liang et al. 2022). First as
# a loop over components, then with the study's function.

# %%
squares = [(images[:, e].mean() - texts[:, e].mean()) ** 2 for e in range(images.shape[1])]
gap = float(sum(squares)) ** 0.5
vectorised = torch.linalg.vector_norm(centres[0] - centres[1]).item()
packaged = modality_gap(model, lesson_06.test_pairs(count))
assert abs(gap - vectorised) < 1e-4 and abs(gap - packaged) < 1e-4
print(f"gap {gap:.3f}; means of two random clouds of {count}: about {(2 / count) ** 0.5:.3f} apart")

# %% [markdown]
# So does sharing close the gap? The study measured it, too:

# %%
alt = "The modality gap over shared depth 0 to 4, at equal FLOPs or parameters."
show(lesson_06.draw_sharing(rows, {"modality_gap": "modality gap"}), alt)
for finding, _, told in of_sharing:
    if "modality gap" in finding.what:
        print(f"{finding.what}, equal {finding.equal}: {finding.found} {told}")

# %% [markdown]
# Is a gap bad for retrieval? Move both clouds onto each other and look.

# %%
own = torch.eye(count, dtype=torch.bool)
centred = torch.nn.functional.normalize(images - centres[0], dim=-1)
moved = torch.nn.functional.normalize(texts - centres[1], dim=-1)
print(f"R@1 with the gap {recall_at(images @ texts.T, own, 1):.3f}, ", end="")
print(f"without {recall_at(centred @ moved.T, own, 1):.3f}")

# %% [markdown]
# Shifting all texts by c takes x · c off every score of picture x: the order of its captions stays *exactly* the same.
# Only shifting the pictures, and bringing lengths back to 1, can change it, and here they do little. The gap tells how
# the space is used, not how good it is. Watch it over the growth steps of the shipped run:

# %%
explore(
    lambda growth_step: lesson_06.draw_step(growth_step, count),
    "Embeddings of test pairs in two dimensions after the first growth step, with gap and recall.",
    start={"growth_step": 1},
    growth_step=list(lesson_06.STEPS),
)

# %%
for step in lesson_06.STEPS:
    x, y = lesson_06.embedded(step, count)
    distance = torch.linalg.vector_norm(x.mean(0) - y.mean(0)).item()
    print(f"step {step}: {lesson_06.checkpoint(step).architecture}, gap {distance:.2f}, ", end="")
    print(f"R@1 {recall_at(x @ y.T, own, 1):.2f}")
predictions.score()

# %% [markdown]
# (The test pairs hold all concepts; after the first steps most of them are unknown yet.)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · What sharing saves, at unequal widths
#
# The last `blocks` blocks of an image encoder of `image` channels and of a text encoder of `text` channels give way to
# as many shared blocks of `shared` channels, with an adapter per modality in front. How many parameters are saved (a
# negative number where it costs some)? Leave out the last projections.
#
# <details><summary>Hint</summary>
#
# A block has 12 D² weights. An adapter maps a modality's channels to the shared ones; there is one for each.
# </details>


# %% tags=["exercise"]
def saved_parameters(blocks, image, text, shared):
    # SOLUTION
    return blocks * 12 * (image**2 + text**2 - shared**2) - shared * (image + text)
    # END


lesson_06.check_saved_parameters(saved_parameters)

# %% [markdown] tags=["solution-text"]
# With equal widths one of two blocks is saved. Nothing is saved where the shared width is the hypotenuse of the other
# two (Pythagoras), and with the adapters a little before that.

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · The modality gap
#
# `images` and `texts` are (M, E). Return the distance between their means.
#
# <details><summary>Hint</summary>
#
# `mean(0)` averages over pairs. The distance is the length of the difference of two vectors.
# </details>


# %% tags=["exercise"]
def gap_of(images, texts):
    # SOLUTION
    return torch.linalg.vector_norm(images.mean(0) - texts.mean(0))
    # END


lesson_06.check_gap(gap_of)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · The gradient of a shared matrix
#
# Pictures x (M, I) and sentences y (N, I) pass through one matrix W (O, I): `x @ W.T` and `y @ W.T`. The
# loss sends back `from_x` (M, O) and `from_y` (N, O). What is the gradient of W, (O, I)?
#
# <details><summary>Hint</summary>
#
# For one matrix and x alone it is `from_x.T @ x`. And two users?
# </details>


# %% tags=["exercise"]
def shared_gradient(x, y, from_x, from_y):
    # SOLUTION
    return from_x.T @ x + from_y.T @ y
    # END


lesson_06.check_shared_gradient(shared_gradient)

# %% [markdown] tags=["solution-text"]
# Where both terms are opposite, they cancel: the weight stays where it is, and neither side is served.

# %% [markdown]
# ## Recap
#
# 1. A shared block serves both modalities, each in its own pass; only the weights are in common.
# 2. Sharing saves parameters, not FLOPs; adapters even add some.
# 3. A shared weight gets the sum of both modalities' gradients.
# 4. Here shared depth moves R@1 and zero-shot accuracy by about as much as a seed does; seed by seed, one
#    shared block gains R@1 and loses zero-shot accuracy.
# 5. Images and texts stay apart by a gap, which retrieval hardly minds.
#
# **Not shown:** other readings of "shared", such as one pass over patches and words together; larger models, real
# photographs, longer training; whether sharing matters more where text and image look alike; sharing while the model
# grows (12 grows the shared encoder alone).
#
# **Recall:** At equal parameters, why does a shared encoder cost more FLOPs?
# <details><summary>Answer</summary>
# A shared block is paid for once in weights, but run twice: once per modality.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); You et al. 2022 (MS-CLIP); Liang et al. 2022 (Mind the gap).
#
# **Solutions:** [here](solutions/06_shared_encoder.ipynb). **Next:** [07 · the growth space](07_growth_space.ipynb)
