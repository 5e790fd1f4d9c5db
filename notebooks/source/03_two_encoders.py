# %% [markdown]
# # 03 · How do pixels and words meet?
#
# **You will learn** how a picture and a sentence become vectors of the same length: stem, tokens, positions, attention,
# blocks, and the encoder that both share. You build all of it by hand from a model's own weights. **Read before:** 02.
# **Takes** 40 minutes to work through, {measured}. **Of the paper:** its architecture in our reading (the abstract
# names several growth dimensions and a shared encoder, no more), and its exact cost.
#
# A picture is a grid of numbers, a sentence a list of them. The loss of 02 compares neither; it
# wants two vectors. Two encoders make them.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F

from growclip_lite.course import lesson_03
from growclip_lite.course.display import show
from growclip_lite.course.place import folder, root
from growclip_lite.course.predictions import Predictions

# %%
from growclip_lite import GrowCLIP
from growclip_lite.architecture import count_parameters, forward_flops, training_flops
from growclip_lite.data.scene_stream import retrieval_pairs
from growclip_lite.data.scenes import concepts_at
from growclip_lite.losses import contrastive_loss
from growclip_lite.model import EPSILON, Block, norm_linear, padding_bias
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "03")
torch.set_grad_enabled(False)  # nothing is trained in this notebook
pairs = retrieval_pairs(8, concepts_at(4, 4, 500), kinds=500, size=32, seed=[seed])

# %% [markdown]
# ## One small model
#
# We take the model that the project ships as the first growth step of a run: one image block, one
# text block, one shared block. These are all of its weights. There is no bias among them: every one
# is a matrix, but for the scale of 02.

# %% tags=["nbval-check-output"]
model = GrowCLIP.from_pretrained(str(root() / "checkpoints" / "scenes-laptop-step-1"))
weights = model.state_dict()
for name, weight in weights.items():
    print(f"{name:22} {' x '.join(map(str, weight.shape))}")

# %% [markdown]
# ## Pixels become tokens
#
# The *stem* is three convolutions, with a GELU between them (a function that lets positive numbers through and presses
# negative ones towards 0). A convolution is a dot product of a kernel with a small window of the picture, the same at
# every place. One number of it, by hand:

# %%
pictures = torch.from_numpy(pairs.images[:4].copy()).float() / 255  # (B, 3, S, S)
x = 4 * (pictures - 0.5)  # about as large as what the kernels were made for
kernels = weights["image.stem.0"].view(-1, 3, 3, 3)  # (outputs, colours, rows, columns)
window = x[0, :, 9:12, 9:12]  # the window around row 10, column 10
one_number = (kernels[5] * window).sum()

# %%
convolved = F.conv2d(x, kernels, stride=2, padding=1)
assert torch.isclose(convolved[0, 5, 5, 5], one_number, atol=1e-5)
tuple(convolved.shape)

# %% [markdown]
# A stride of 2 halves the side: place 5 of the output looks at pixel 10.
#
# ### Predict
#
# After three such convolutions, a picture of 32 x 32 pixels has become how many tokens?
# **a** 16, **b** 64, **c** 1,024.

# %%
guess = None
predictions.predict("tokens", guess)


# %%
def stem_by_hand(pictures):
    x = 4 * (pictures - 0.5)
    for i in range(3):
        x = F.conv2d(
            F.gelu(x) if i else x,
            weights[f"image.stem.{i}"].unflatten(1, (-1, 3, 3)),
            stride=2,
            padding=1,
        )
    return x.flatten(2).transpose(1, 2)  # (B, D, 4, 4) -> (B, 16, D)


patches = stem_by_hand(pictures)
assert torch.allclose(patches, model.image.patches(pictures, torch.float32), atol=1e-4)
predictions.reveal("tokens", {16: "a", 64: "b", 1024: "c"}[patches.shape[1]])

# %% [markdown]
# **Why:** 32 → 16 → 8 → 4, and 4 x 4 places are 16 tokens. Each stands for a patch of 8 x 8 pixels, though it sees 15 x
# 15, as windows overlap. CLIP cuts patches with a single matrix instead; the stem costs about ten times that matrix,
# and learns faster (Xiao et al. 2021). What do its kernels look at? We measure how much a kernel's three colour means
# differ, compared with how much all its 27 weights do; near 0 it is blind to colour.

# %%
show(
    lesson_03.draw_kernels(kernels),
    "Thirty-two small colour pictures: the kernels of the first convolution.",
)
colour = kernels.mean((2, 3)).std(1) / kernels.std((1, 2, 3))  # between colours, against all
most, least = int(colour.argmax()), int(colour.argmin())
print(f"most colour: kernel {most} ({colour[most]:.2f}), least: {least} ({colour[least]:.2f})")
noise = torch.randn(kernels.shape, generator=torch.Generator().manual_seed(seed))
by_chance = noise.mean((2, 3)).std(1) / noise.std((1, 2, 3))
print(f"mean {colour.mean():.2f}; of kernels drawn at random {by_chance.mean():.2f}")

# %% [markdown]
# **Takeaway:** it is tempting to see detectors of colour and of edges here. But by this measure the kernels do
# not differ from random ones: beware of reading a meaning into such pictures.

# %% [markdown]
# ## Words become tokens
#
# A tokenizer cuts the caption into known pieces and numbers them; a table has one row per number.

# %%
caption = "a small red circle left of a blue star"
tokens = model.tokenize([caption, "two red stars"])  # (2, L), 0 is padding
embedded = weights["text.token"][tokens]  # (2, L, D)
assert torch.equal(embedded, F.embedding(tokens, weights["text.token"]))
for row in tokens:
    print([model.tokenizer.backend.id_to_token(int(number)) for number in row if number])

# %% [markdown]
# The first growth step holds single objects only. So "two" is no piece of its own yet: it is spelt.
#
# To both kinds of tokens a learned vector per *place* is added. Why it has to be, we shall see.

# %%
image_tokens = patches + weights["image.position"]  # (B, 16, D)
text_tokens = embedded + weights["text.position"]  # (B, L, D)
assert image_tokens.shape[-1] == text_tokens.shape[-1] == 64

# %% [markdown]
# ## A length of 8
#
# Deep networks normalise what they read. Usually the channels of a vector get unit variance. Here the
# *vector* gets length 8, whatever its width: our reading, made for growth. A wider network whose new
# channels carry the mean of the others then computes the same as before (08). At 64 channels both
# are the same thing.


# %%
def normed(x):  # (..., D) -> (..., D), of length 8
    x = x - x.mean(-1, keepdim=True)
    return 8 * x / (x.square().sum(-1, keepdim=True) + EPSILON).sqrt()


matrix = weights["image.blocks.0.qkv"]
assert torch.allclose(normed(image_tokens) @ matrix.T, norm_linear(image_tokens, matrix), atol=1e-4)
print(f"{normed(image_tokens[0, 0]).norm():.3f}")

# %% [markdown]
# ## Attention, one head
#
# Every token asks (query), offers (key) and tells (value): three matrix products, 32 numbers each.
# Take the first head. What does token 0 read? By hand, with a loop over the tokens it looks at:

# %%
three = normed(image_tokens[0]) @ matrix.T  # (16, 3 * 64), ordered by head
query, key, value = three[:, :96].split(32, dim=1)  # of head 0, each (16, 32)
scores = [math.exp(float(query[0] @ key[j]) / math.sqrt(32)) for j in range(16)]
read = sum(score / sum(scores) * value[j] for j, score in enumerate(scores))


# %%
def attend(query, key, value, bias=0.0):  # (..., L, K) each
    scores = query @ key.transpose(-2, -1) / math.sqrt(32) + bias
    return scores.softmax(-1) @ value


assert torch.allclose(attend(query, key, value)[0], read, atol=1e-4)

# %% [markdown]
# ### Predict
#
# We put the 16 tokens into another order. What attention gives is then **a** the same vectors in the new order, **b**
# other vectors, **c** the same in the old order.

# %%
guess = None
predictions.predict("order", guess)

# %%
order = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
shuffled = attend(query[order], key[order], value[order])
moved = torch.allclose(shuffled, attend(query, key, value)[order], atol=1e-4)
predictions.reveal("order", "a" if moved else "b")

# %% [markdown]
# **Why:** attention is a weighted sum over a *set*. It knows no order: "a circle left of a star" and
# "a star left of a circle" would be the same sentence. That is what the positions are for.

# %% [markdown]
# ## Heads, and the block
#
# Several heads do the same side by side, each on its own 32 channels; the matrix `out` mixes them. The block then lets
# every token think alone, in a small network of two layers (*feed-forward part* or *MLP*): up to four times the width,
# GELU, and down. Both halves *add* to what flows through.


# %%
def block_by_hand(x, w, bias=0.0):  # (B, L, D)
    three = (normed(x) @ w.qkv.T).view(*x.shape[:2], -1, 3, 32)  # (B, L, H, 3, K)
    query, key, value = three.permute(3, 0, 2, 1, 4)  # each (B, H, L, K)
    mixed = attend(query, key, value, bias).transpose(1, 2).reshape(x.shape)
    x = x + mixed @ w.out.T
    return x + F.gelu(normed(x) @ w.up.T) @ w.down.T


block = model.image.blocks[0]
after = block_by_hand(image_tokens, block)
assert after.shape == image_tokens.shape
assert torch.allclose(after, block(image_tokens), atol=1e-3)

# %% [markdown]
# ## The whole image encoder
#
# Behind the image encoder stands an *adapter*, a matrix that brings its width to the shared one. Then come the shared
# blocks, whose weights also serve the text. The mean over all tokens is normalised, projected to 64 numbers, and scaled
# to length 1.


# %%
def encode_image_by_hand(pictures):
    x = stem_by_hand(pictures) + weights["image.position"]
    x = block_by_hand(x, model.image.blocks[0])
    x = x @ weights["shared.image_adapter"].T
    x = block_by_hand(x, model.shared.blocks[0])
    return F.normalize(normed(x.mean(1)) @ weights["image_projection"].T, dim=-1)


by_hand = encode_image_by_hand(pictures)
assert by_hand.shape == (4, 64)
assert torch.allclose(by_hand, model.encode_image(pictures), atol=1e-4)

# %% [markdown]
# ## The whole text encoder
#
# The same, with one care: captions differ in length. No word may look at padding (a large negative
# number is added to such scores), and the mean leaves padding out.
#
# OpenAI's CLIP differs here. Its words look back only, and the text is read at an end token; its image encoder is
# read at one extra token, the *class token*. We let every token look at all others and take the mean. Nor have our
# layers biases, or a normalisation with weights of its own. What each of these brings is in `results/speed.md`
# ("training throughput by", "points of accuracy by"; two seeds).


# %%
def encode_text_by_hand(tokens):
    real = tokens != 0  # (B, L)
    bias = torch.where(real, 0.0, -1e4)[:, None, None, :]
    x = weights["text.token"][tokens] + weights["text.position"]
    x = block_by_hand(x, model.text.blocks[0], bias)
    x = x @ weights["shared.text_adapter"].T
    x = block_by_hand(x, model.shared.blocks[0], bias)
    mean = (x * real[..., None]).sum(1) / real.sum(1, keepdim=True)
    return F.normalize(normed(mean) @ weights["text_projection"].T, dim=-1)


assert torch.allclose(encode_text_by_hand(tokens), model.encode_text(tokens), atol=1e-4)
cut = tokens[1:, : int((tokens[1] != 0).sum())]  # without its padding
assert torch.allclose(model.encode_text(cut), model.encode_text(tokens[1:]), atol=1e-4)
print("both encoders agree with the package, and padding changes nothing")

# %% [markdown]
# ## Shapes through a larger model
#
# Now the shipped model of the last growth step. Nobody has to believe a diagram: *hooks* write down
# what enters and leaves each block while the model works.

# %%
large = GrowCLIP.from_pretrained(str(root() / "checkpoints" / "scenes-laptop"))
seen = []
hooks = [
    part.register_forward_hook(
        lambda part, given, result, name=name: seen.append((name, given[0].shape, result.shape))
    )
    for name, part in large.named_modules()
    if isinstance(part, Block)
]

# %%
passes, large_tokens = {}, large.tokenize([caption])
for name, encode, given in (
    ("image", large.encode_image, pictures[:1]),
    ("text", large.encode_text, large_tokens),
):
    seen.clear()
    embedding = encode(given)
    passes[name] = lesson_03.stages(given, seen, embedding)
for hook in hooks:
    hook.remove()

# %% tags=["nbval-check-output"]
for name, stages in passes.items():
    print(f"{name:6}", " > ".join("x".join(map(str, shape)) for _, shape in stages))

# %%
alt = "Rectangles: a picture becomes 16 tokens, a caption 24; both end as 64 numbers."
show(lesson_03.draw_shapes(passes), alt)

# %% [markdown]
# **Takeaway** (heights and widths have a scale each)**:** tokens keep their number; only adapters and projections
# change the width. The shared block has the same weights in both passes, the adapter in front of it has not.

# %% [markdown]
# ## Where does a word look?
#
# The attention of the last text block, by hand from its weights:

# %%
words = [large.tokenizer.backend.id_to_token(int(number)) for number in large_tokens[0] if number]
bias = padding_bias(large_tokens != 0, torch.float32)
x = large.text.token[large_tokens] + large.text.position
x = large.text.blocks[0](x, bias)
three = norm_linear(x, large.text.blocks[1].qkv).view(1, x.shape[1], -1, 3, 32)
query, key, _ = three.permute(3, 0, 2, 1, 4)
looks = (query @ key.transpose(-2, -1) / math.sqrt(32) + bias).softmax(-1)[0]  # (H, L, L)
assert torch.allclose(looks.sum(-1), torch.ones(looks.shape[:2]), atol=1e-5)

# %%
looks = looks[:, : len(words), : len(words)]
alt = "Three matrices, one per head: how much each word of a caption attends to each other word."
show(lesson_03.draw_attention(looks, words), alt)
for head, favourite in enumerate(looks.mean(1).argmax(-1).tolist()):
    share = looks[head, :, favourite].mean()
    print(
        f"head {head} looks most at {words[favourite]!r}: {share:.2f} (even: {1 / len(words):.2f})"
    )

# %% [markdown]
# **Takeaway:** heads look at different words. Mind that a map says where a head reads, not what the
# model does with it: values, `out` and the other blocks decide that.

# %% [markdown]
# ## What does a block cost?
#
# ### Predict
#
# A block twice as wide has **a** twice, **b** four times, **c** eight times as many parameters.

# %%
guess = None
predictions.predict("width", guess)

# %% tags=["nbval-check-output"]
D, N = 64, 16
parameters = 3 * D * D + D * D + 4 * D * D + 4 * D * D  # qkv, out, up, down
assert parameters == 12 * D * D == sum(weight.numel() for weight in block.parameters())
ratio = 12 * (2 * D) ** 2 // parameters
predictions.reveal("width", {2: "a", 4: "b", 8: "c"}[ratio])
print(f"{parameters:,} parameters")

# %% [markdown]
# **Why:** both sides of every matrix grow. Twice the depth doubles the cost of the blocks, twice the width
# makes it four times as large.
#
# FLOPs: every weight is used once per token, a multiplication and an addition: 2 x 12 D² for each of N
# tokens. Attention adds two products of N x N x D. Let torch count while the block works. (Its counter
# does not know the fused attention of CPUs, which the package uses only where no gradients are asked for.)

# %% tags=["nbval-check-output"]
from torch.utils.flop_counter import FlopCounterMode

by_hand = 24 * N * D**2 + 4 * N**2 * D
with torch.enable_grad(), FlopCounterMode(display=False) as counter:
    block(image_tokens[:1])
assert counter.get_total_flops() == by_hand
print(f"{by_hand:,} FLOPs, {4 * N**2 * D / by_hand:.1%} of them in attention")

# %% [markdown]
# The package counts a whole model in the same way, from its architecture alone: the search (10) asks for the cost of
# many models that are never built. Training counts the forward pass three times, as the backward pass needs gradients
# of both inputs and weights; only the first convolution needs none of its input, the pixels, and the batch's
# similarities come on top.

# %% tags=["nbval-check-output"]
sizes = large.architecture, large.config
assert count_parameters(*sizes) == sum(weight.numel() for weight in large.parameters())
batch = pictures, large.tokenize(pairs.captions[:4])
with torch.enable_grad(), FlopCounterMode(display=False) as counter:
    image_features, text_features, scale = large(*batch)
    assert counter.get_total_flops() == 4 * forward_flops(*sizes)
    contrastive_loss(image_features, text_features, scale).backward()
assert counter.get_total_flops() == training_flops(*sizes, batch_size=4)
print(f"{count_parameters(*sizes):,} parameters, {forward_flops(*sizes):,} FLOPs for one pair")

# %% [markdown]
# Which part is it? Change one encoder's width (in heads of 32 channels) and depth; the others stay as shipped.

# %%
alt = "Bars of parameters and FLOPs by part of the model, as shipped."
explore(
    lesson_03.draw_costs,
    alt,
    start={"width": 3, "depth": 2},
    encoder=["text", "image", "shared"],
    width=[1, 2, 3, 4, 6, 8],
    depth=[1, 2, 3, 4, 6, 8],
)

# %% tags=["nbval-check-output"]
for part, (parameters, flops) in lesson_03.costs_by_part(*sizes).items():
    print(f"{part:15} {parameters:>8,} parameters {flops:>11,} FLOPs")

# %% [markdown]
# **Takeaway:** parameters and FLOPs are different budgets. Word tables hold many parameters and cost
# no FLOPs; the shared encoder is stored once and pays twice, once for each pass.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · One head, with padding
#
# Write the attention of one head: `query`, `key`, `value` are (L, 32); the result is (L, 32). `real` (L,) is
# False where a token is padding: nobody may attend to it.
#
# <details><summary>Hint</summary>
#
# Every row of the weights belongs to one query and sums to 1. The scores have standard deviation
# sqrt(32) if queries and keys have 1: undo that first. A score of minus infinity has weight 0.
# </details>


# %% tags=["exercise"]
def one_head(query, key, value, real):
    # SOLUTION
    scores = query @ key.T / math.sqrt(32)
    return scores.masked_fill(~real, -math.inf).softmax(1) @ value
    # END


lesson_03.check_one_head(one_head)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · Parameters of a block
#
# How many weights has a block with this many heads, of 32 channels each?
#
# <details><summary>Hint</summary>
#
# D = 32 x heads. Add the four matrices: qkv, out, up, down.
# </details>


# %% tags=["exercise"]
def parameters_of_a_block(heads):
    # SOLUTION
    return 12 * (32 * heads) ** 2
    # END


lesson_03.check_parameters_of_a_block(parameters_of_a_block)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · When does attention matter?
#
# With few tokens, nearly all FLOPs of a block go into its matrices. From how many tokens on does
# attention itself cost as much? Give it as a function of the channels.
#
# <details><summary>Hint</summary>
#
# Write both costs as functions of N, as in *What does a block cost?*; set them equal, and solve for N.
# </details>


# %% tags=["exercise"]
def tokens_where_attention_costs_as_much(channels):
    # SOLUTION
    return 6 * channels
    # END


lesson_03.check_tokens_where_attention_costs_as_much(tokens_where_attention_costs_as_much)

# %% [markdown] tags=["solution-text"]
# At 96 channels that is 576 tokens. Our pictures have 16: attention is cheap here, and the "quadratic
# cost of attention" is a worry for other models.

# %% [markdown]
# ## Recap
#
# 1. Pixels become 16 tokens by convolutions; words become tokens by a table.
# 2. Attention is a weighted sum over a set; positions bring the order.
# 3. A block reads vectors of length 8 and adds to what flows through.
# 4. The shared encoder's weights serve both; adapters bring the widths together.
# 5. Cost: 12 D² parameters and 24 N D² + 4 N² D FLOPs per block, exact and known before building.
#
# **Not shown:** that sharing helps. It is a claim of the paper, and 06 puts it to the test. Nor did
# this notebook compare our stem, normalisation and mean with CLIP's own.
#
# **Recall:** Why must the mean over text tokens leave padding out, if no word attends to it?
# <details><summary>Answer</summary>Padding tokens themselves still carry vectors through the
# blocks; their number would leak into the mean.</details>
#
# **References:** Vaswani et al. 2017 (attention); Dosovitskiy et al. 2021 (ViT); Radford et al. 2021
# (CLIP); Xiao et al. 2021 (convolutional stem); Deng et al. 2023 (GrowCLIP).
#
# **Solutions:** [here](solutions/03_two_encoders.ipynb). **Next:** [04 · zero-shot and retrieval](04_zero_shot_and_retrieval.ipynb)
