# %% [markdown]
# # 00 · Can I watch a CLIP grow now?
#
# **You will learn** what a CLIP (*contrastive language-image pre-training*: one model for pictures and one for
# sentences, trained so that what belongs together gets similar vectors) does with a picture and a few sentences, and
# see one grow: small at first, larger with every delivery of new data. **Read before:** nothing. **Takes** 25 minutes
# to work through, {measured}. **Of the paper:** the idea of GrowCLIP (Deng et al., ICCV 2023) as a whole; every part
# has a notebook of its own.
#
# Nothing is downloaded: the kit draws the pictures and writes the captions.

# %% [markdown]
# **How to use these notebooks.** Where a cell says *Predict*, put "a", "b" or "c" in place of `None` and run it before
# you go on. Exercises say *right*, or what is still wrong; solutions are [here](solutions/00_start_here.ipynb).
# Profile `laptop` computes in earnest, `smoke` only checks quickly that everything runs. A number in brackets, such as
# (04), is another notebook.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
from dataclasses import replace

import torch
from IPython.display import Markdown

from growclip_lite.course import lesson_00
from growclip_lite.course.display import show, subplots
from growclip_lite.course.place import amount, folder, root
from growclip_lite.course.predictions import Predictions

# %%
from growclip_lite import GrowCLIP, load_stream
from growclip_lite.architecture import count_parameters
from growclip_lite.data.scenes import COLOUR_NAMES
from growclip_lite.evaluate import embed_images, embed_texts, probabilities, zero_shot
from growclip_lite.profiles import get_profile
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "00")

# %% [markdown]
# ## One picture, three sentences
#
# The kit ships a grown model. It turns a picture into a vector of 64 numbers, and a sentence too. The sizes of its
# three parts (*encoders*: for pictures, for text, and one for both) are written as blocks x channels.

# %% tags=["nbval-check-output"]
shipped = GrowCLIP.from_pretrained(str(root() / "checkpoints" / "scenes-laptop"))
print(
    f"{count_parameters(shipped.architecture, shipped.config):,} parameters: {shipped.architecture}"
)

# %%
pictures = lesson_00.drawn_pictures()
captions = ["a striped brown hexagon on sand", "three red triangles", "a bar above a triangle"]
picture_vectors, caption_vectors = embed_images(shipped, pictures), embed_texts(shipped, captions)
assert picture_vectors.shape == (4, 64) and caption_vectors.shape == (3, 64)

# %%
figure, panels = subplots(1, 4, figsize=(8, 2.2))
for number, axes in enumerate(panels):
    lesson_00.show_picture(axes, pictures[number])
    axes.set_title(f"picture {number}")
show(figure, "Four drawn pictures: one object, several that are alike, two objects, three objects.")

# %% [markdown]
# How well do a picture and a sentence fit? All vectors have length 1, so the sum of the products of
# their numbers is the cosine of the angle between them: 1 for the same direction, 0 for a right angle.

# %%
cosines = []
for caption_vector in caption_vectors:
    products = [
        float(a) * float(b) for a, b in zip(picture_vectors[0], caption_vector, strict=True)
    ]
    cosines.append(sum(products))
for caption, cosine in zip(captions, cosines, strict=True):
    print(f"{cosine:+.3f}  {caption}")

# %% [markdown]
# All pictures and all sentences at once are one product of matrices.

# %%
similarity = picture_vectors @ caption_vectors.T  # (4 pictures, 3 captions)
assert torch.allclose(similarity[0], torch.tensor(cosines), atol=1e-5)
similarity.shape

# %% [markdown]
# ## A task from sentences
#
# Nobody taught the model a list of colours as *classes*. We make a classifier by writing sentences:
# several for each colour, whose vectors are averaged. A picture belongs to the colour whose average
# fits best. This is called **zero-shot** classification. The package has nine such tasks: shape, colour,
# texture, position, background, count, relation of two things, *composition* (pairs of colour and shape that
# no object in training had) and *kind* (things with invented names).

# %%
world = amount(profile, "smoke", "study")  # the pictures of the two are drawn alike; study has more
stream = load_stream("scenes", world, seed)
task = next(task for task in stream.tasks if task.name == "colour")
print(f"{len(task.prompts)} colours, guessing is right {task.chance:.0%} of the time")
print(task.prompts[0][:3])

# %%
classes = []
for prompts in task.prompts:
    average = embed_texts(shipped, prompts).mean(0)
    classes.append(average / average.norm())
classes = torch.stack(classes)  # (10 colours, 64)

# %%
vectors, right = embed_images(shipped, task.images), 0
for vector, label in zip(vectors, task.labels, strict=True):
    right += int((classes @ vector).argmax() == label)
by_loop = right / len(vectors)
by_matrices = ((vectors @ classes.T).argmax(1) == torch.tensor(task.labels)).float().mean().item()
assert abs(by_loop - by_matrices) < 1e-6 and abs(by_loop - zero_shot(shipped, task)) < 0.01
print(f"{by_loop:.2f} of the pictures get the right colour")

# %% [markdown]
# ### Predict
#
# Now ask with a single sentence for each colour, the first of its sixteen. Compared with before, the
# accuracy **a** stays within 3 points, **b** falls by 3 to 30 points, **c** falls by more.

# %%
guess = None
predictions.predict("one sentence", guess)

# %%
one = zero_shot(shipped, replace(task, prompts=[prompts[:1] for prompts in task.prompts]))
print(f"{one:.2f} with one sentence for a colour, {by_loop:.2f} with {len(task.prompts[0])}")
fall = by_loop - one
predictions.reveal("one sentence", "a" if fall <= 0.03 else "b" if fall <= 0.3 else "c")

# %% [markdown]
# **Why:** "a red star at the beach" is about a star and a beach as well, and another picture may have these. In the
# average over sixteen sentences, what they do not share largely cancels. If that is the reason, the bare word "red"
# should work as well, although no training caption is a single word. Does it?

# %%
bare_words = [[name] for name in COLOUR_NAMES[: len(task.prompts)]]
print(f"{zero_shot(shipped, replace(task, prompts=bare_words)):.2f} with the bare words")

# %% [markdown]
# ## Your own words
#
# Write captions of your own, separated by commas. The bars say how the model divides its belief among
# them; it *must* choose, even if none fits. The dotted line is an even division. It knows ten colours
# and twelve shapes, numbers up to three, left and right, above and below.

# %%
explore(
    lambda your_captions: lesson_00.draw_own_words(shipped, pictures, your_captions),
    "Four pictures, and below each the probabilities of four captions.",
    your_captions="a brown hexagon, three red triangles, a bar above a triangle, a red diamond on bricks",
)
belief = probabilities(shipped, pictures, caption_vectors)
assert torch.allclose(belief.sum(1), torch.ones(4), atol=1e-5)
print("most probable of the first three captions, by picture:", belief.argmax(1).tolist())

# %% [markdown]
# ## Now let one grow
#
# The data arrive in **growth steps**: each time there are more pairs of a picture and a caption, and
# they speak of more things. A model that is right for the first step may be too small for the last.
# So GrowCLIP searches a larger architecture at every step, lets it *inherit* the weights of the old one,
# and trains on.

# %%
few = replace(get_profile("study"), iterations=500, share_power=0.25)
settings = amount(profile, get_profile("smoke"), few)
for step, pairs in enumerate(settings.scene_pairs, 1):
    print(f"step {step}: {pairs:>7,} pairs so far")

# %% [markdown]
# ### Predict
#
# The last architecture will have **a** less than twice, **b** two to ten times, **c** more than ten times
# the parameters of the first one.

# %%
guess = None
predictions.predict("size", guess)

# %% [markdown]
# ### Predict
#
# We test the first and the last model on everything that the *last* step knows. How much of the last model's lead over
# chance does the first one already have? **a** less than a quarter, **b** a quarter to three quarters, **c** more.

# %%
guess = None
predictions.predict("first step", guess)

# %% [markdown]
# Every line below is a growth step: encoders as blocks x channels, and accuracy on test data.
# Run the cell again, and nothing is computed twice: what lies in the folder is read.

# %%
place = folder(out) / f"00_{profile}_{seed}"
if (place / "report.json").exists():
    print("there is a run already: what it finished is read, what is missing is added")
report = lesson_00.grow_in_short(stream, settings, place, seed)
steps = report["steps"]
assert len(steps) == settings.growth_steps

# %%
for entry in steps:
    print(
        f"step {entry['step']}: {entry['parameters']:>7,} parameters, mean {entry['zero_shot_mean']:.3f}"
    )
ratio = steps[-1]["parameters"] / steps[0]["parameters"]
predictions.reveal("size", "a" if ratio < 2 else "b" if ratio < 10 else "c")
chance = sum(task.chance for task in stream.tasks) / len(stream.tasks)
lead = [entry["zero_shot_mean"] - chance for entry in steps]
share = lead[0] / lead[-1]
predictions.reveal("first step", "a" if share < 0.25 else "b" if share < 0.75 else "c")

# %%
alt = "Blocks of three encoders that become more and wider from step to step, and accuracy over the steps."
show(lesson_00.draw_growth(report, chance), alt)

# %% [markdown]
# **Takeaway:** the size follows the amount of data (by a rule, 07), and nothing starts from zero: each model begins
# with what the one before had learnt. In profile `smoke` the training is far too short to learn much. The dashed line,
# image-to-text R@1, is the share of test pictures that find their own caption first among all of the set (04).
#
# **Why** the first model is weak on these tests: much of what they ask for, such as relations between
# two objects, had not been in its data yet. More data, more training and more parameters come
# together here, so this figure alone does not say which of them helped.

# %% [markdown]
# ## Step by step
#
# Move the slider. Below are four near twins from the test set, which differ in one thing each. Every
# one gets the caption that fits best among all captions of the set.

# %%
models = [GrowCLIP.from_pretrained(str(place / f"step_{entry['step']}")) for entry in steps]
explore(
    lambda growth_step: lesson_00.draw_step(report, stream, models, growth_step),
    "Architecture, accuracy of nine tasks, and four near twins with captions, after the last step.",
    start={"growth_step": len(models)},
    growth_step=[entry["step"] for entry in steps],
)
recall = [entry["retrieval"]["i2t_r1"] for entry in steps]
print("finds the caption at once:", ", ".join(f"{value:.2f}" for value in recall))

# %% [markdown]
# **Takeaway:** a small model that has seen little tells coarse things apart; which of four near twins a caption belongs
# to comes late. (Move the slider back: the first model.)
#
# ## More runs than one
#
# One run is an anecdote: a *seed* fixes all of its random choices, and another seed is another run. So the kit's tables
# have many, with these drawn scenes, with emoji and their names, and with CIFAR-10 (small photographs of ten classes).
# Below is GrowCLIP minus the fixed architecture that did best: both sides of a difference spent the same FLOPs in total
# (multiplications and additions, the measure of compute; 03), and the interval is over seeds. *Laptop*, *study* and
# *online* are profiles, which differ in the amount of training and the starting size; *equal epochs* and *equal steps*
# are ways to share out the iterations among the growth steps (05).

# %%
Markdown(lesson_00.other_runs(root() / "results"))

# %% [markdown]
# A negative difference says that a fixed architecture of the right size did better for the same training FLOPs, and few
# seeds say little. (Which size is right is known only after several were trained; that compute is not counted here.) To
# see where the method helps, and where it does not, is what the kit is for.

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · Belief
#
# `picture` (E,) and `captions` (C, E) are vectors of length 1. Return the C probabilities: cosines,
# times `factor`, through softmax.
#
# <details><summary>Hint</summary>
#
# `captions @ picture` has one number per caption; tensors have a method `softmax(0)`.
# </details>


# %% tags=["exercise"]
def belief_in(picture, captions, factor):
    # SOLUTION
    return (factor * captions @ picture).softmax(0)
    # END


lesson_00.check_belief(belief_in)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · Among the first k
#
# `similarity` is (pictures, classes), `labels` (pictures,) holds the right class. Return the share of
# pictures whose right class is among the `k` most similar ones (top-k accuracy; above, k was 1).
#
# <details><summary>Hint</summary>
#
# `topk(k, dim=1).indices` has k classes per picture; compare with `labels[:, None]`. A mean of booleans needs
# `.float()` first.
# </details>


# %% tags=["exercise"]
def top_k_accuracy(similarity, labels, k):
    # SOLUTION
    first = similarity.topk(k, dim=1).indices
    return (first == labels[:, None]).any(1).float().mean()
    # END


lesson_00.check_top_k_accuracy(top_k_accuracy)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · Chance
#
# `classes` lists how many classes each task has. What is the mean accuracy of guessing?
#
# <details><summary>Hint</summary>
#
# Guessing among c classes is right once in c. Take that for every task first, then the mean.
# </details>


# %% tags=["exercise"]
def mean_chance(classes):
    # SOLUTION
    return sum(1 / c for c in classes) / len(classes)
    # END


lesson_00.check_mean_chance(mean_chance)

# %% [markdown]
# ## Where to go from here
#
# Every notebook answers one question:

# %%
Markdown(lesson_00.contents(root() / "notebooks" / "source"))

# %% [markdown]
# ## Recap
#
# 1. A CLIP makes vectors of pictures and sentences; cosines say what fits.
# 2. Sentences make a classifier: zero-shot.
# 3. Data arrive in growth steps, with more pairs and more things.
# 4. At each step a larger architecture is searched, inherits, and is trained.
# 5. One run shows *how*; only many runs, compared at equal cost, show *whether it pays*.
#
# **Not shown:** that growing was needed. More data and more training may have done the same for a model
# of fixed size.
#
# **Recall:** Why is a zero-shot task asked with many sentences per class?
# <details><summary>Answer</summary> Each sentence also names other things, which mislead. Their average keeps
# what the sentences share.</details>
#
# **References:** Deng et al. 2023 (GrowCLIP); Radford et al. 2021 (CLIP).
#
# **Solutions:** [here](solutions/00_start_here.ipynb). **Next:** [01 · data that grow](01_data_that_grow.ipynb)
