# %% [markdown]
# # 02 · Why does matching pairs teach anything?
#
# **You will learn** what the contrastive loss of CLIP asks for, why it has two directions, and what
# the temperature does. **Read before:** 01. **Takes** 25 minutes to work through, {measured}. **Of
# the paper:** the loss that GrowCLIP trains with at every growth step (it is CLIP's).
#
# Nobody labels the pictures. All we know is which caption came with which picture. That this is enough
# to learn colours, shapes and counting is the surprise that this notebook takes apart.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F

from growclip_lite.course import lesson_02
from growclip_lite.course.display import show, subplots
from growclip_lite.course.place import amount, folder
from growclip_lite.course.predictions import Predictions

# %%
from growclip_lite.losses import contrastive_loss
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "02")

# %% [markdown]
# ## One number by hand
#
# Take two pairs. Each picture and each caption has become a vector of length 1. How well two of them
# match is their dot product, the cosine of the angle between them.

# %%
images = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # two pictures, E = 2
texts = torch.tensor([[0.8, 0.6], [0.6, 0.8]])  # their captions
similarity = images @ texts.T
similarity

# %% [markdown]
# Row 0 says: picture 0 fits its own caption with 0.8, the other one with 0.6. Softmax makes
# probabilities of a row; the loss of picture 0 is minus the logarithm of the probability of its own
# caption. Here it is by hand, with nothing but `exp` and `log`.

# %% tags=["nbval-check-output"]
right, wrong = math.exp(0.8), math.exp(0.6)
by_hand = -math.log(right / (right + wrong))
print(f"{by_hand:.4f}")

# %% [markdown]
# Guessing would cost log 2 = 0.693. So this picture is hardly better than a coin, although 0.8 and
# 0.6 look well apart. Cosines live between -1 and 1, and softmax sees only differences: they have to
# be magnified. CLIP multiplies them by a learned factor, 1 / temperature. What is learned and stored is its
# logarithm, `logit_scale`: so the factor stays positive. It starts at 1 / 0.07 and is held below 100.

# %% [markdown]
# ### Predict
#
# With temperature 0.1 (a factor of 10) instead of 1, the loss of picture 0 will be
# **a** about the same, **b** about a fifth, **c** ten times as large.

# %%
guess = None
predictions.predict("colder", guess)

# %% tags=["nbval-check-output"]
for temperature in (1.0, 0.1, 0.01):
    loss = -math.log(1 / (1 + math.exp((0.6 - 0.8) / temperature)))
    print(f"temperature {temperature:<5g} loss {loss:.4f}")
predictions.reveal("colder", "b")

# %% [markdown]
# **Why:** the difference of 0.2 becomes one of 2, and exp(2) is 7.4: seven to one for the right
# caption. Colder still, and *this* picture costs nothing any more: there is no gradient left. Were the other
# caption nearer, its loss would grow like 1 / temperature.

# %% [markdown]
# ## A loop, in both directions
#
# A picture can look for its caption, and a caption for its picture. The first reads rows of the
# similarity matrix, the second columns. They are different questions: a caption such as "a circle" may
# fit many pictures, and only its column shows that.


# %%
def loss_in_a_loop(images, texts, factor):
    total, batch = 0.0, len(images)
    for i in range(batch):
        row = [factor * float(images[i] @ texts[j]) for j in range(batch)]  # which text?
        column = [factor * float(images[j] @ texts[i]) for j in range(batch)]  # which image?
        for scores in (row, column):
            total += math.log(sum(math.exp(s) for s in scores)) - scores[i]
    return total / (2 * batch)


print(f"{loss_in_a_loop(images, texts, 1.0):.4f}")

# %% [markdown]
# ## Without the loop, and the package's own
#
# Cross-entropy with the target on the diagonal is the same thing: row i should choose column i. The
# transposed matrix gives the other direction.


# %%
def loss_of_matrices(images, texts, factor):
    logits = factor * images @ texts.T  # (B, B)
    target = torch.arange(len(logits))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


some_images, some_texts = (
    lesson_02.unit_vectors(16, 8, seed),
    lesson_02.unit_vectors(16, 8, seed + 1),
)
by_loop = loss_in_a_loop(some_images, some_texts, 10.0)
by_matrices = loss_of_matrices(some_images, some_texts, 10.0)
packaged = contrastive_loss(some_images, some_texts, torch.tensor(10.0))
assert abs(by_loop - by_matrices) < 1e-4 and torch.isclose(by_matrices, packaged)
print("loop, matrices and package agree")

# %% [markdown]
# ## Both directions at three temperatures
#
# Six pairs, each caption near its picture but with noise. The upper row normalises over texts, the lower over images.
# Warm (left), nothing is far from chance, 1/6. Cold (right), nearly every row and column has made up its mind, whether
# it is right or not.

# %%
noise = 1.5 * lesson_02.unit_vectors(6, 8, seed + 3)
six_images = lesson_02.unit_vectors(6, 8, seed + 2)
six_texts = F.normalize(six_images + noise, dim=-1)
similarity = six_images @ six_texts.T
alt = "Six by six matrices of probabilities; at temperature 1 nearly even, at 0.02 nearly all on single cells."
show(lesson_02.draw_both_softmaxes(similarity, (1.0, 0.2, 0.02)), alt)

# %% [markdown]
# **Takeaway:** the temperature decides how much a near miss counts. Move it yourself:

# %%
explore(
    lambda temperature: lesson_02.draw_both_softmaxes(similarity, (temperature,)),
    "The two probability matrices at temperature 0.2.",
    start={"temperature": 0.2},
    temperature=[1.0, 0.5, 0.2, 0.1, 0.05, 0.02],
)

# %% [markdown]
# ## What the gradient does
#
# The derivative of the loss with respect to a logit is (probability - target) / batch, for each
# direction. So every right pair is pulled together, and every wrong pair is pushed apart.

# %% [markdown]
# ### Predict
#
# Of all wrong captions for picture 0, the strongest push goes to **a** the most similar one, **b** the least similar
# one, **c** all alike.

# %%
guess = None
predictions.predict("push", guess)

# %%
logits = (5 * similarity).requires_grad_()
F.cross_entropy(logits, torch.arange(6)).backward()
by_formula = ((5 * similarity).softmax(1) - torch.eye(6)) / 6
assert torch.allclose(logits.grad, by_formula, atol=1e-6)
push = logits.grad[0].clone()
push[0] = 0  # its own caption is pulled
similar = similarity[0].clone()
similar[0] = -1
believed = (5 * similarity).softmax(1)[0]
for j in range(1, 6):
    print(f"caption {j}: similarity {similarity[0, j]:+.2f}, believed {believed[j]:.3f}, ", end="")
    print(f"push {push[j]:.4f}")
predictions.reveal("push", "a" if push.argmax() == similar.argmax() else "c")

# %% [markdown]
# **Why:** a wrong pair is pushed apart *as much as it is believed in* (the probability, divided by the batch, here 6).
# Negatives that nobody would confuse are left alone; the hard ones teach.

# %% [markdown]
# ## Does it teach? Vectors that learn to match
#
# No encoders yet: 32 picture vectors and 32 caption vectors, free to move, trained by this loss alone.
# Nothing but "these two belong together" is ever said.
#
# ### Predict
#
# Trained at a fixed factor of 1, the share of pictures that find their caption first will be, in the end,
# **a** near chance (1/32), **b** about a half, **c** all of them.

# %%
guess = None
predictions.predict("warm", guess)


# %%
def train_vectors(factor, steps=amount(profile, 60, 300)):
    x, y = (lesson_02.unit_vectors(32, 16, seed + s).requires_grad_() for s in (10, 11))
    optimizer, found = torch.optim.Adam([x, y], lr=0.02), []
    for _ in range(steps):
        a, b = F.normalize(x, dim=-1), F.normalize(y, dim=-1)
        loss = contrastive_loss(a, b, torch.tensor(factor))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (a @ b.T).argmax(1) == torch.arange(32)
        found.append((loss.item() / math.log(32), right.float().mean().item()))
    return torch.tensor(found).T


# %%
curves = {factor: train_vectors(factor) for factor in (1.0, 10.0, 100.0)}
for factor, (_, recall) in curves.items():
    print(f"factor {factor:<5g} {recall[-1]:.2f} of the pictures find their caption")
found = curves[1.0][1][-1].item()
predictions.reveal("warm", "a" if found < 0.25 else "b" if found < 0.75 else "c")

# %%
figure, (left, right) = subplots(1, 2, figsize=(10, 3.6))
for width, (factor, (loss, recall)) in zip((7, 4, 1.5), curves.items(), strict=True):
    left.plot(loss, label=f"factor {factor:g}", lw=width)
    right.plot(recall, label=f"factor {factor:g}", lw=width)
left.axhline(1, color="#8a8a8a", ls=":", label="chance")
right.axhline(1 / 32, color="#8a8a8a", ls=":", label="chance")
left.set(xlabel="step", ylabel="loss / log B", title="the loss", ylim=(0, 2), xlim=(0, 40))
right.set(
    xlabel="step",
    ylabel="share of pictures",
    title="who finds their caption",
    ylim=(0, 1.03),
    xlim=(0, 40),
)
left.legend()
show(
    figure,
    "Loss and recall over training steps for three factors; warm losses stay high although pairs match.",
)

# %% [markdown]
# **Takeaway:** matching alone pulls pairs together. With a factor of 1 the loss stays above 0.7 of that of guessing
# even when every pair is found; exercise 3 shows that it could hardly be lower: it is the *scale* that is missing, not
# the order. (At a factor of 100 it begins far above the upper edge. On the right the three curves nearly coincide;
# after 40 steps nothing happens any more.) So the factor changes not who is found here, but what the loss makes of it:
# with a small one it cannot say that all is well, and keeps pushing all wrong captions nearly alike; with a large one
# only the hardest count. No factor is right for a whole training, and CLIP learns it.

# %% [markdown]
# ## When two captions say the same
#
# The diagonal target claims that every other caption is wrong. Among 256 pairs, "a red circle" may stand twice. The
# package spreads the target over equal captions (our reading, after UniCL). Here the two equal captions have different
# vectors, as they may while an encoder drops units at random.

# %%
ids = torch.tensor([0, 1, 0, 2])  # captions 0 and 2 are the same sentence
same = (ids[:, None] == ids[None, :]).float()
target = same / same.sum(1, keepdim=True)
a, b = lesson_02.unit_vectors(4, 8, 1), lesson_02.unit_vectors(4, 8, 2)
by_hand = (F.cross_entropy(5 * a @ b.T, target) + F.cross_entropy(5 * b @ a.T, target)) / 2
assert torch.isclose(by_hand, contrastive_loss(a, b, torch.tensor(5.0), ids))
target

# %% [markdown]
# Our text encoder leaves nothing to chance: equal captions have equal vectors. Is the loss another one then?

# %%
b[2] = b[0]
diagonal = contrastive_loss(a, b, torch.tensor(5.0))
spread = contrastive_loss(a, b, torch.tensor(5.0), ids)
assert torch.isclose(diagonal, spread)
print(f"diagonal {diagonal:.4f}, spread {spread:.4f}")

# %% [markdown]
# It is not. Given a picture, both captions have the same probability, so that it does not matter how they share the
# target. Given the captions, both have the same probabilities over pictures, so that the sum of their two rows stays.
# The spread target says what is meant, and would matter with dropout; in retrieval (04) equal captions always matter.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · One row
#
# Write the loss of one picture: `logits` (B,) are its scaled similarities with all captions, `target`
# is the number of its own. No `F.cross_entropy`, and no overflow at logits of 1000.
#
# <details><summary>Hint</summary>
#
# log(sum(exp(x))) does not change when you subtract m inside and add it outside; `torch.logsumexp` does so.
# </details>


# %% tags=["exercise"]
def loss_of_one_row(logits, target):
    # SOLUTION
    return torch.logsumexp(logits, 0) - logits[target]
    # END


lesson_02.check_loss_of_one_row(loss_of_one_row)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · The gradient of both directions
#
# Above, the gradient was that of one direction. Return the gradient (B, B) of the whole symmetric loss, the mean of
# both cross-entropies, with respect to `logits` (B, B). No `backward`.
#
# <details><summary>Hint</summary>
#
# In the other direction columns are the rows: softmax over the images, then minus the same diagonal.
# </details>


# %% tags=["exercise"]
def gradient_of_the_loss(logits):
    # SOLUTION
    right = torch.eye(len(logits))
    return ((logits.softmax(1) - right) + (logits.softmax(0) - right)) / (2 * len(logits))
    # END


lesson_02.check_gradient_of_the_loss(gradient_of_the_loss)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · How low can it go?
#
# Suppose every right pair has similarity 1, and the others are spread as far apart as they can be: each
# wrong pair has similarity -1 / (B - 1). What is the loss, as a function of the batch B and the factor?
#
# <details><summary>Hint</summary>
#
# All rows are alike. Write the one probability that counts, and divide above and below by its numerator.
# </details>


# %% tags=["exercise"]
def best_possible_loss(batch, factor):
    # SOLUTION
    return math.log1p((batch - 1) * math.exp(-factor * (1 + 1 / (batch - 1))))
    # END


lesson_02.check_best_possible_loss(best_possible_loss)

# %% [markdown] tags=["solution-text"]
# With a factor of 1 and 256 pairs the best possible loss is 4.55, still 82 % of log 256 = 5.55: without a scale the
# loss stays near chance, however good the embeddings are.

# %% tags=["solution-text"]
least = best_possible_loss(256, 1.0)
print(f"{least:.2f}, {least / math.log(256):.0%} of {math.log(256):.2f}")

# %% [markdown]
# ## Recap
#
# 1. A pair is pulled together, wrong pairs are pushed apart as much as they are believed in.
# 2. Two directions: which text, which image.
# 3. The temperature magnifies cosines; it is learned.
# 4. Equal captions share the target.
# 5. Nothing in the loss names a class: those come at test time, as sentences (04).
#
# **Not shown:** that the features generalise to new pictures. Free vectors cannot; encoders can (03).
#
# **Recall:** Why does a larger batch make the task harder? <details><summary>Answer</summary>
# There are more wrong captions to choose from: chance is 1 / B.</details>
#
# **References:** Radford et al. 2021 (CLIP), figure 3; van den Oord et al. 2018 (InfoNCE); Yang et al. 2022 (UniCL).
#
# **Solutions:** [here](solutions/02_contrastive_learning.ipynb). **Next:** [03 · two encoders](03_two_encoders.ipynb)
