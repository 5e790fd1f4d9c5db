# %% [markdown]
# # 01 · What does "data grow" mean?
#
# **You will learn** what a pair, a growth step and a stream are, in which three ways these data grow
# (amount, things, arrangements), how noise and splits are made, and how the vocabulary keeps up.
# **Read before:** 00. **Takes** 30 minutes to work through, {measured}. **Of the paper:** its
# starting point, that online image-text data keep growing. The paper's data come from the web; ours
# are drawn.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
from collections import Counter

import numpy as np

from growclip_lite.course import lesson_01
from growclip_lite.course.display import show
from growclip_lite.course.place import amount, folder
from growclip_lite.course.predictions import Predictions

# %%
from growclip_lite import load_stream
from growclip_lite.grow import Run
from growclip_lite.profiles import get_profile
from growclip_lite.tokenizer import COMMON, Tokenizer
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "01")

# %% [markdown]
# ## A pair
#
# A **pair** is a picture and a caption that came with it. Nothing else is known: no class, no box.
# Pictures have 32 x 32 pixels in three colours. A caption says some of what is there, never all of it.

# %%
settings = get_profile(profile)
stream = load_stream("scenes", profile, seed)
first = stream.train[0]
assert first.images.shape[1:] == (3, 32, 32) and len(first.images) == len(first.captions)
print(first.captions[1])

# %% [markdown]
# ## A growth step
#
# The pairs do not lie there all at once: they arrive in parts. `stream.train[t - 1]` holds what is *new*
# in growth step t. Here are some of the first pairs of every part.

# %%
alt = "Rows of drawn pictures with captions, one row per growth step; later rows hold more objects."
show(lesson_01.draw_examples(stream), alt)

# %% [markdown]
# **Takeaway:** later parts hold more objects, and relations between them. Things with odd names such as *sazid* are the
# **named kinds**, each with its own look and its own invented name. Leaf through them:

# %%
explore(
    lambda growth_step, page: lesson_01.draw_page(stream, growth_step, page),
    "Five pairs of the last growth step.",
    start={"growth_step": len(stream.train), "page": 1},
    growth_step=list(range(1, len(stream.train) + 1)),
    page=list(range(12)),
)

# %% [markdown]
# ## Growth of the amount
#
# Take 8,000 pairs in the first step and 12,000 new ones in the second. By hand, the second
# training set has 20,000: what came before is kept.

# %% tags=["nbval-check-output"]
by_hand = 8_000 + 12_000
print(by_hand, get_profile("laptop").scene_pairs[1])

# %% [markdown]
# In a loop over the parts, then without the loop, then as the package counts it:

# %%
new_pairs = [len(part) for part in stream.train]
so_far, total = [], 0
for count in new_pairs:
    total += count
    so_far.append(total)
so_far

# %%
run = Run(stream, settings, seed, folder(out))
assert so_far == np.cumsum(new_pairs).tolist() == list(settings.scene_pairs)
assert so_far == [run.samples(step) for step in range(1, len(so_far) + 1)]

# %% [markdown]
# D_t is the union of all parts up to step t, so that D_t contains D_(t-1). The package builds it from
# the very same parts; no pair is copied.

# %%
tokenizer = Tokenizer.train(first.captions)
two = run.training_set(2, tokenizer)
assert len(two) == so_far[1] and two.parts[0] is stream.train[0]
print(f"D_2: {len(two):,} pairs, of which {len(two.parts[0]):,} were in D_1")

# %% [markdown]
# ## Growth of the vocabulary
#
# The captions of each step use some words that no caption before has used.
#
# ### Predict
#
# Most new words arrive in **a** the first step, **b** a step in the middle, **c** the last step.

# %%
guess = None
predictions.predict("new words", guess)

# %%
known, new_words = set(), []
for part in stream.train:
    words = {word for caption in part.captions for word in caption.split()}
    new_words.append(words - known)
    known |= words
for step, words in enumerate(new_words, 1):
    print(f"step {step}: {len(words):>3} new, such as {', '.join(sorted(words)[-4:])}")

# %%
most = int(np.argmax([len(words) for words in new_words])) + 1
predictions.reveal("new words", "a" if most == 1 else "c" if most == len(new_words) else "b")

# %%
concepts = lesson_01.world(settings)
alt = "Bars of pairs per growth step, and of new words and named kinds; all become more from step to step."
show(lesson_01.draw_amounts(new_pairs, [len(words) for words in new_words], concepts), alt)

# %% [markdown]
# **Takeaway:** amount and content grow together. Most new words are names of new kinds; plurals count
# as words of their own.
#
# **Why** this world has named kinds: the basics (shapes, colours, places) are soon complete, and a small
# model could learn them. Names have to be memorised one by one. They are the long tail of the web in
# small: frequent ones first, rare ones late.

# %%
for step, c in enumerate(concepts, 1):
    print(
        f"step {step}: {c.shapes} shapes, {c.colours} colours, {c.textures} textures, {c.kinds} kinds"
    )

# %% [markdown]
# ## Growth of the arrangements
#
# There are four sorts of scene: a *single* thing, a *count* of two or three alike, two things in a
# *relation* ("above"), or a *crowd* of three different things. We draw 500 scenes for each step with
# five seeds.

# %%
shares = np.array([[lesson_01.scene_shares(c, s) for s in range(5)] for c in concepts])
assert shares.shape == (len(concepts), 5, 4) and np.allclose(shares.sum(2), 1)
expected = np.array([c.mix for c in concepts])
assert np.abs(shares.mean(1) - expected).max() < 0.05
print(expected)

# %%
alt = "Shares of four sorts of scene by growth step; single things only at first, all four in the end."
show(lesson_01.draw_mixture(shares), alt)

# %% [markdown]
# **Takeaway:** the first step knows single things only. A model trained on it alone cannot know what "above" means,
# however large it is. (Bars: means; lines: standard deviation over five seeds.)

# %% [markdown]
# ## Wrong captions
#
# On the web, some captions belong to something else. Here, 5 % of the training captions are another
# picture's. We draw the same scenes with and without that noise and compare.

# %%
amounts, noise = amount(profile, 600, 2_000), []
for s in range(5):
    pairs, true = lesson_01.drawn_twice(settings, amounts, s)
    noise.append(
        np.mean([given != right for given, right in zip(pairs.captions, true, strict=True)])
    )
print(f"share of wrong captions: {np.mean(noise):.3f} ± {np.std(noise):.3f} over five seeds")
assert abs(np.mean(noise) - settings.wrong_captions) < 0.02

# %%
show(
    lesson_01.draw_wrong(pairs, true),
    "Five pictures with a caption of another picture, and the true one.",
)

# %% [markdown]
# **Takeaway:** a wrong caption looks like any other; only the picture tells. (The pictures concerned pass their
# captions round in a circle, so that none is lost.) Held-out pairs and tests have none, so that scores measure the
# model and not the noise.

# %% [markdown]
# ## What is held out
#
# **Validation** pairs come with every step; the search and all choices use them. The **test** pairs
# (`stream.retrieval`) and nine tasks are for reports only. No picture may be in two of them.
#
# ### Predict
#
# Pictures differ, but a *caption* may occur again by chance. Which validation captions are more often found word
# for word in training: those of **a** the first step, **b** the last step, **c** neither has any?

# %%
guess = None
predictions.predict("same sentence", guess)

# %%
trained = {caption for part in stream.train for caption in part.captions}
again = [np.mean([c in trained for c in part.captions]) for part in stream.validation]
print("also in training, by step:", ", ".join(f"{share:.2f}" for share in again))
print(f"{len(trained):,} different captions among {so_far[-1]:,} training pairs")
answer = "c" if not any(again) else "a" if again[0] > again[-1] else "b"
predictions.reveal("same sentence", answer)

# %% [markdown]
# **Why:** there are few ways to describe a single circle, and countless ways to describe three things.
# The world does not only become larger, it becomes sparser: most of its sentences are said once.
#
# And the pictures?

# %%
trained, chosen_by = ([p.images for p in parts] for parts in (stream.train, stream.validation))
tested = [stream.retrieval.images, *(task.images for task in stream.tasks)]
train, held, test = (
    {hash(picture.tobytes()) for images in group for picture in images}
    for group in (trained, chosen_by, tested)
)
met = len(train & held) + len(train & test) + len(held & test)
print(f"{len(train):,}, {len(held):,} and {len(test):,} pictures; {met} of them in two groups")
assert met == 0

# %% [markdown]
# ## A tokenizer that grows
#
# A model reads numbers, not words. The **tokenizer** is trained on the first step's captions: frequent words get one
# token each, all others are spelt in pieces. Then, in every step, the first one included, each word that occurs at
# least three times and is still spelt gets a token of its own, with an id *after* all others: old ids keep their
# meaning. By hand, for the second step:

# %%
tokenizer.grow(first.captions)  # the first step's own frequent words
second = stream.train[1].captions
counts = Counter(word for caption in second for word in caption.split())
common = [word for word, count in counts.items() if count >= COMMON]
pieces = {word: tokenizer.backend.encode(word, add_special_tokens=False).tokens for word in common}
in_pieces = [word for word in common if len(pieces[word]) > 1]
print(in_pieces[0], "is spelt", pieces[in_pieces[0]])

# %%
old_ids = tokenizer(["a red circle"], 8)
added = tokenizer.grow(second)
assert added == len(in_pieces) and (tokenizer(["a red circle"], 8) == old_ids).all()
assert len(tokenizer.backend.encode(in_pieces[0], add_special_tokens=False).ids) == 1
print(f"{added} words got a token; the vocabulary has {tokenizer.vocab_size} now")

# %% [markdown]
# ### Predict
#
# A caption of the *last* step takes, with the tokenizer of the first step instead of the last, **a** less than 1.25
# times as many tokens, **b** 1.25 to 3 times as many, **c** more than 3 times.

# %%
guess = None
predictions.predict("pieces", guess)

# %%
growing, lengths = Tokenizer.train(first.captions), []
last = list(stream.validation[-1].captions)
for part in stream.train:
    growing.grow(part.captions)
    lengths.append(np.array([len(e.ids) for e in growing.backend.encode_batch(last)]))
ratio = lengths[0].mean() / lengths[-1].mean()
print("tokens per caption:", ", ".join(f"{values.mean():.1f}" for values in lengths))
predictions.reveal("pieces", "a" if ratio < 1.25 else "b" if ratio <= 3 else "c")

# %%
cut = [(values > settings.context_length).mean() for values in lengths]
print("captions that are cut off:", ", ".join(f"{share:.1%}" for share in cut))
show(
    lesson_01.draw_tokens(lengths, settings.context_length),
    "Tokens per caption, fewer with each tokenizer.",
)

# %% [markdown]
# **Takeaway:** without new tokens, new names would be spelt in pieces, and long captions would not
# fit into the model any more. **Why** not train a new tokenizer at each step? Its ids would mean
# something else, and what the model has learnt about "red" would be lost.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · New words
#
# `before` and `now` are lists of captions. Return the set of words that occur now and did not before.
#
# <details><summary>Hint</summary>
#
# `" ".join(captions).split()` lists all words; sets can be subtracted.
# </details>


# %% tags=["exercise"]
def new_words_of(before, now):
    # SOLUTION
    return set(" ".join(now).split()) - set(" ".join(before).split())
    # END


lesson_01.check_new_words(new_words_of)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · Where did it come from?
#
# D_t lists the parts one after the other, `sizes` are their lengths. For the pair with number `index`
# (from 0) return the growth step that brought it (from 1) and its row in that part (from 0).
#
# <details><summary>Hint</summary>
#
# Walk through the sizes; as long as `index` is not smaller than the size, subtract it and go on.
# </details>


# %% tags=["exercise"]
def find_pair(index, sizes):
    # SOLUTION
    for step, size in enumerate(sizes, 1):
        if index < size:
            return step, index
        index -= size
    # END


lesson_01.check_find_pair(find_pair)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · A flawless batch
#
# A share `wrong` of the captions is wrong, each independently. What is the probability that a batch of
# `batch` pairs has no wrong caption at all?
#
# <details><summary>Hint</summary>
#
# What is it for a batch of one? Of two? Independent probabilities multiply.
# </details>


# %% tags=["exercise"]
def flawless_batch(wrong, batch):
    # SOLUTION
    return (1 - wrong) ** batch
    # END


lesson_01.check_flawless_batch(flawless_batch)

# %% [markdown] tags=["solution-text"]
# With 5 % and batches of 256 it is about two in a million: training never sees a batch without noise.

# %% [markdown]
# ## Recap
#
# 1. A pair is a picture and a caption; a stream delivers pairs in growth steps.
# 2. D_t keeps all earlier pairs, so it contains D_(t-1).
# 3. The data grow in amount, in things with names, and in arrangements.
# 4. Some training captions are wrong; validation and test are clean; no picture is in two of the three.
# 5. The tokenizer grows at its end: old ids stay.
#
# **Not shown:** that such data *need* a larger model. Whether more names ask for more parameters is
# a measurement (05), not a matter of course.
#
# **Recall:** Why may the search look at validation pairs, but not at the test tasks?
# <details><summary>Answer</summary> What is chosen by a score looks better on that score than it is.
# The report must use data that no choice has seen.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Radford et al. 2021 (CLIP); Sennrich et al. 2016 (byte pair encoding).
#
# **Solutions:** [here](solutions/01_data_that_grow.ipynb). **Next:** [02 · contrastive learning](02_contrastive_learning.ipynb)
