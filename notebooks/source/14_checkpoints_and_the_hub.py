# %% [markdown]
# # 14 · How do I use, share and load a model?
#
# **You will learn** what a checkpoint is made of, what happens when a file does not fit, how to classify and find
# pictures with it, what its embeddings are worth to a linear probe, and how it goes to the Hub. **Read before:** 03,
# 04. **Takes** 35 minutes to work through, {measured}. **Of the paper:** nothing of its own; it is what one does with a
# grown model.
#
# The model here is the shipped one, of the last growth step on drawn scenes.

# %% tags=["parameters"]
profile = "laptop"
seed = 0
out = "runs/notebooks"

# %% tags=["imports"]
import json

import numpy as np
import torch

from growclip_lite.course import lesson_14
from growclip_lite.course.display import show, subplots
from growclip_lite.course.place import amount, folder
from growclip_lite.course.predictions import Predictions

# %%
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from growclip_lite import GrowCLIP
from growclip_lite.checkpoint import load_model, save_model
from growclip_lite.course.lesson_04 import tasks_of, test_pairs
from growclip_lite.data.drawing import BACKGROUNDS
from growclip_lite.data.stream import fill
from growclip_lite.evaluate import (
    TEMPLATES,
    classify,
    embed_images,
    embed_texts,
    ensemble,
    zero_shot,
)
from growclip_lite.widgets import explore

predictions = Predictions(folder(out), "14")
here = lesson_14.checkpoint()

# %% [markdown]
# ## Three files, and two for people
#
# A checkpoint is a folder. Three of its files make the model, and none of them can run code: two are text,
# the third is a table of numbers. (A pickle, the usual way to store weights, may run anything when it is
# opened.) The other two are for people: a card, `README.md`, and a figure in it.

# %%
for path in sorted(here.iterdir()):
    print(f"{path.name:18} {path.stat().st_size:>9,} bytes")
config = json.loads((here / "config.json").read_text())
print(json.dumps(config["architecture"]))
print(", ".join(f"{key} {config['about'][key]}" for key in ("data", "profile", "seed", "step")))

# %% [markdown]
# `config.json` says what to build. `tokenizer.json` says which words have which numbers; it grew with
# the data, so each growth step has its own. `model.safetensors` holds the weights. Its first eight
# bytes are the length of a header, the header is JSON, and the rest is raw numbers. By hand:

# %%
data = (here / "model.safetensors").read_bytes()
length = int.from_bytes(data[:8], "little")
header = json.loads(data[8 : 8 + length])
assert header == lesson_14.read_header(here / "model.safetensors")
header["logit_scale"], header["shared.image_adapter"]

# %%
begin, end = header["shared.image_adapter"]["data_offsets"]
raw = np.frombuffer(data[8 + length :][begin:end], dtype="<f4")
adapter = torch.from_numpy(raw.reshape(header["shared.image_adapter"]["shape"]).copy())
tensors = load_file(here / "model.safetensors")
assert torch.equal(adapter, tensors["shared.image_adapter"])

# %% tags=["nbval-check-output"]
parameters = sum(tensor.numel() for tensor in tensors.values())
print(f"{parameters:,} numbers of 4 bytes in {len(tensors)} tensors")
assert len(data) == 8 + length + 4 * parameters

# %% [markdown]
# ## There and back
#
# Saving and loading must not change a single bit. (`load_model` and `GrowCLIP.from_pretrained` are the
# same.) The folder is written beside its place and then renamed: there is never half a checkpoint.

# %%
model = GrowCLIP.from_pretrained(str(here))
copy = folder(out) / "14" / "copy"
save_model(model, copy, about={"data": "scenes", "note": "a copy made by notebook 14"})
again = load_model(copy)
before, after = model.state_dict(), again.state_dict()
assert before.keys() == after.keys()
assert all(torch.equal(before[name], after[name]) for name in before)
assert (copy / "model.safetensors").read_bytes() == data
print("the same, bit for bit")

# %% [markdown]
# ## A damaged file
#
# ### Predict
#
# We change `config.json` of a copy: one head more in the shared encoder. Loading will
# **a** fill the new head at random, **b** stop and name a tensor, **c** ignore the config.

# %%
guess = None
predictions.predict("damaged", guess)

# %%
for how in ("one head more", "half a file", "another's words", "no weights"):
    spoilt = lesson_14.damaged(folder(out) / "14" / "damaged", how)
    print(f"{how}: {lesson_14.sentence_of(spoilt)}\n")
told = lesson_14.sentence_of(lesson_14.damaged(folder(out) / "14" / "damaged", "one head more"))
predictions.reveal("damaged", "b" if "the tensor" in told else "a" if "without" in told else "c")

# %% [markdown]
# **Why:** a loader that prints a warning and goes on gives a model that works a little worse, and nobody
# knows why. Strict loading turns a silent loss of accuracy into a sentence: what is wrong and, where there is one, the
# remedy.

# %% [markdown]
# ## Classify pictures
#
# A *nomut* is one of 500 invented creatures of this world, each with a look and a name. Labels become sentences,
# sentences become classes (04). The cosines, times the learned factor, go
# through a softmax: shares that sum to 1.

# %%
labels = ["yellow circle", "red cross", "orange hexagon", "blue star", "nomut"]
names = ["scene 0", "scene 1", "scene 2", "scene 3"]
images = np.stack([lesson_14.picture(name) for name in names])
classes = ensemble(model, [[fill(t, label) for t in TEMPLATES] for label in labels])
cosines = embed_images(model, images) @ classes.T  # (pictures, labels)
shares = (model.logit_scale.exp().detach() * cosines).softmax(1)
assert torch.allclose(shares, classify(model, images, labels), atol=1e-5)
assert torch.allclose(shares.sum(1), torch.ones(len(names)), atol=1e-5)

# %%
figure = lesson_14.draw_shares(images, labels, shares)
show(figure, "Four drawn scenes, each with bars of how the model shares out 1 among five labels.")
for i, row in enumerate(shares.tolist()):
    told = ", ".join(f"{label} {share:.2f}" for label, share in zip(labels, row, strict=True))
    print(f"{test_pairs(100).captions[i]}:\n    {told}")

# %% [markdown]
# **Takeaway:** the shares answer "which of *these* fits best". They are no probability that a label is
# true: add a label, and all the others shrink.

# %% [markdown]
# ## Pictures from another world
#
# This model has seen drawn scenes and nothing else. Now it gets two photographs and pure noise.
#
# ### Predict
#
# Take the photograph with the more confident answer. Its largest share among the five labels will be
# **a** near 0.2 (it cannot tell), **b** above 0.4 (it answers all the same).

# %%
guess = None
predictions.predict("foreign", guess, choices="ab")

# %%
foreign = [*lesson_14.PHOTOGRAPHS, "noise"]
images = np.stack([lesson_14.picture(name) for name in foreign])
shares = classify(model, images, labels)
figure = lesson_14.draw_shares(images, labels, shares)
show(figure, "Two photographs at 32 pixels and noise, with the model's shares for the five labels.")
for name, row in zip(foreign, shares, strict=True):
    print(f"{name}: {labels[row.argmax()]} {row.max():.2f}")
predictions.reveal("foreign", "b" if shares[:2].max(1).values.max() > 0.4 else "a")

# %% [markdown]
# **Takeaway:** zero-shot has no "I do not know". Softmax must give its 1 to somebody, also for noise.
# A large share is no sign that a picture belongs to the model's world. For photographs, train on your own
# pairs (`growclip grow --data my_folder`). (Photographs: scikit-learn's samples, by Danielle Buma and
# dany13, CC BY.)

# %% [markdown]
# ## Find pictures by text
#
# The other direction: embed the pictures once, keep the vectors, and every sentence is one product.

# %%
pairs = test_pairs(amount(profile, 200, 1000))
gallery = embed_images(model, pairs.images)  # (M, E), unit norm
queries = ["a big yellow circle on grass", "a blue star at night", "two things in the snow"]
cosines = embed_texts(model, queries) @ gallery.T  # (queries, M)
best = cosines.topk(5).indices
assert best.shape == (3, 5)

# %%
figure, panels = subplots(3, 5, figsize=(8, 5.4))
for row, query in enumerate(queries):
    for axes, number in zip(panels[row], best[row].tolist(), strict=True):
        axes.imshow(pairs.images[number].transpose(1, 2, 0))
        axes.set(xticks=[], yticks=[], xlabel=f"{cosines[row, number]:.2f}")
        axes.grid(False)
    panels[row, 2].set_title(query)
show(figure, "The five pictures of highest cosine for each of three sentences.")
for row, query in enumerate(queries):
    print(f"{query}: {pairs.captions[int(best[row, 0])]}")

# %% [markdown]
# **Takeaway:** a thousand pictures, or a million, are one matrix product. Look at what is *not* right in these
# rows, too: which word of the sentence did the model drop?

# %% [markdown]
# ## What are the embeddings worth without words?
#
# Give scikit-learn the 64 numbers per picture and some labels. A *linear probe* is logistic regression on
# them; nearest neighbours need no training at all. How many labels until they are as good as sentences,
# which need none? Labelled pictures come from the validation split; the test pictures are those of 04.
#
# ### Predict
#
# On shapes, the linear probe's mean gets ahead of zero-shot with **a** 24 labelled pictures (two per class on average),
# **b** more than 24 and at most 480, **c** more, or never.

# %%
guess = None
predictions.predict("probe", guess)

# %%
pictures = amount(profile, 300, 1000)
amounts = [n for n in (24, 60, 120, 240, 480, 960) if n <= pictures]
curves, words = {}, {}
for name in ("shape", "texture"):
    curves[name] = lesson_14.learning_curves(name, amounts, seeds=5, pictures=pictures)
    words[name] = zero_shot(model, tasks_of("test", pictures)[name])
    assert curves[name]["linear probe"].shape == (5, len(amounts))

# %%
figure, panels = subplots(1, 2, figsize=(11, 4), sharey=True)
for axes, name in zip(panels, curves, strict=True):
    for kind, values in curves[name].items():
        axes.errorbar(amounts, values.mean(0), values.std(0), fmt="o-", capsize=3, label=kind)
    axes.axhline(words[name], color="#222222", ls="--", label="zero-shot, no labels")
    chance = tasks_of("test", pictures)[name].chance
    axes.axhline(chance, color="#8a8a8a", ls=":", label="chance")
    axes.set(xscale="log", xlabel="labelled pictures", title=name, ylim=(0, 1))
    axes.set(xticks=amounts, xticklabels=amounts)
    axes.minorticks_off()
panels[0].set_ylabel("accuracy on test pictures")
figure.legend(
    *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=9
)
show(
    figure,
    "Accuracy over labelled pictures: the linear probe rises past zero-shot, pixels stay low.",
)

# %%
for name in curves:
    for kind, values in curves[name].items():
        told = "  ".join(f"{v:.2f}" for v in values.mean(0))
        print(f"{name:8} {kind:27} {told}  (sd at most {values.std(0).max():.2f})")
    print(f"{name:8} zero-shot {words[name]:.2f}")
ahead = [
    n
    for n, v in zip(amounts, curves["shape"]["linear probe"].mean(0), strict=True)
    if v > words["shape"]
]
predictions.reveal("probe", "c" if not ahead or ahead[0] > 480 else "a" if ahead[0] == 24 else "b")

# %% [markdown]
# **Takeaway:** with few labels the sentences are ahead, and they are free. With many, a linear probe is: the picture's
# vector holds more than the sentences get out of it. Raw pixels, the same neighbours without the model, show what the
# encoder adds. (Bars: standard deviations over five draws of labelled pictures.)

# %% [markdown]
# ## A map
#
# Two directions of the 64, those of largest variance (PCA), for the pictures of the background task.

# %%
task = tasks_of("validation", pictures)["background"]
features = embed_images(model, task.images)
centred = features - features.mean(0)
_, sizes, directions = torch.linalg.svd(centred, full_matrices=False)
flat = centred @ directions[:2].T  # (M, 2)
kept = float(sizes[:2].square().sum() / sizes.square().sum())

# %%
figure, axes = subplots(figsize=(7, 4.6))
for number, (name, mark) in enumerate(zip(BACKGROUNDS, "osD^vP", strict=True)):
    chosen = torch.from_numpy(task.labels == number)
    axes.plot(*flat[chosen].T, mark, ms=4, alpha=0.7, label=name)
axes.set(xlabel="first component", ylabel="second component")
axes.set_title(f"{kept:.0%} of the variance")
axes.legend(title="background", loc="center left", bbox_to_anchor=(1, 0.5))
show(figure, "Pictures on a map of two components, where the six backgrounds are mixed.")
half = len(flat) // 2
print(f"chance: {task.chance:.2f}")
for what, x in (("2 components", flat.numpy()), ("64 numbers", features.numpy())):
    linear, _ = lesson_14.probes(x[:half], task.labels[:half], x[half:], task.labels[half:])
    print(f"a linear probe on {what}: {linear:.2f}")

# %% [markdown]
# **Takeaway:** a map is a shadow. The backgrounds are mixed on it, and yet a linear probe on all 64 numbers tells
# them apart: they differ in directions that carry less variance. Do not judge embeddings by such maps.

# %% [markdown]
# ## The card
#
# Whoever finds a model wants to know what it is, what it was trained on, what it scores and what it cannot do.
# `growclip grow` writes that from the run's report. The scores stand in the card's metadata, from which the
# Hub draws its tables. A claim that nobody checks is worth little, so here are two, measured again:

# %%
claimed = {
    found.metric_name: found.metric_value
    for found in ModelCard.load(here / "README.md").data.eval_results
}
for name in ("shape", "kind"):
    measured = zero_shot(model, tasks_of("test", 1000)[name])
    print(f"{name}: the card says {claimed[f'{name}, top-1']:.3f}, measured again {measured:.3f}")
    assert abs(claimed[f"{name}, top-1"] - measured) < 0.0015

# %% [markdown]
# ## Share it: the Hub
#
# The folder is complete, so the Hugging Face Hub takes it as it is and shows the card as the model's page. Not
# run here: it needs the network and, for uploading, an account (`hf auth login`). In a shell:
#
# ```
# growclip push checkpoints/scenes-laptop your-name/growclip-scenes
# growclip push runs/demo your-name/growclip-history    # a whole run: branches step-1, step-2, ..., the last is main
# ```
#
# And anyone, anywhere, later also offline:
#
# ```python
# model = GrowCLIP.from_pretrained("your-name/growclip-scenes")
# early = GrowCLIP.from_pretrained("your-name/growclip-history", revision="step-2")
# ```
#
# (`model.push_to_hub("your-name/mine")` sends a model that is at hand in Python; it knows no report, so its card is a
# short one.) Give `revision` a commit if a result must stay the same. What is downloaded is compared with its
# checksum and loaded as strictly as from disk; nothing of it is executed.
#
# Other tools take the model, too: `growclip export` writes both encoders for ONNX runtimes, and
# `growclip_lite.features.GrowCLIPFeatures` is the probe above as a step of a scikit-learn pipeline.

# %% [markdown]
# ## Try it
#
# Choose a picture, write your own labels, separated by commas.

# %%
explore(
    lesson_14.draw_classified,
    "A drawn scene with bars for five labels.",
    name=lesson_14.WIDGET_PICTURES,
    labels="yellow circle, red cross, orange hexagon, blue star, nomut",
)

# %%
predictions.score()

# %% [markdown] tags=["exercise-text"]
# ## Exercise 1 · Search by hand
#
# `query` (E,) and `gallery` (M, E) are *not* of unit length. Return the indices of the k rows with the largest
# cosines, the best first.
#
# <details><summary>Hint</summary>
#
# The length of the query changes nothing; those of the rows do. `topk` sorts.
# </details>


# %% tags=["exercise"]
def most_similar(query, gallery, k):
    # SOLUTION
    return (gallery @ query / gallery.norm(dim=1)).topk(k).indices
    # END


lesson_14.check_most_similar(most_similar)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 2 · Shares
#
# From the `cosines` (C,) of one picture with C labels, and the model's `logit_scale` as it is stored, make
# the shares.
#
# <details><summary>Hint</summary>
#
# See 02: what is stored is a logarithm, so that the factor stays positive while it is learned.
# </details>


# %% tags=["exercise"]
def shares(cosines, logit_scale):
    # SOLUTION
    return (logit_scale.exp() * cosines).softmax(0)
    # END


lesson_14.check_shares(shares)

# %% [markdown] tags=["exercise-text"]
# ## Exercise 3 · A strict loader
#
# `found` and `expected` map names of tensors to shapes. Return the list of all names that do not fit: missing,
# unknown, or of another shape.
#
# <details><summary>Hint</summary>
#
# Go over the union of both sets of names; `dict.get` gives None for what is not there.
# </details>


# %% tags=["exercise"]
def misfits(found, expected):
    # SOLUTION
    return [
        name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
    ]
    # END


lesson_14.check_misfits(misfits)

# %% [markdown]
# ## Recap
#
# 1. A checkpoint is config, words, weights and a card; nothing in it is executed.
# 2. Loading is strict: a misfit is an error that names the culprit.
# 3. Classifying and finding are both a matrix product of unit vectors.
# 4. Shares compare the given labels; they do not know the unknown.
# 5. Few labels: sentences are ahead. Many labels: a linear probe.
#
# **Not shown:** a model trained on photographs, and an upload that was really made.
#
# **Recall:** Why does the tokenizer belong to the checkpoint, and not to the code?
# <details><summary>Answer</summary>Its vocabulary grows with the data: each growth step has new words, and the rows of
# the table mean nothing without the numbers that they belong to.</details>
#
# **References:** Radford et al. 2021 (CLIP), section 3 (linear probes); the safetensors and huggingface_hub
# documentation; Pedregosa et al. 2011 (scikit-learn).
#
# **Solutions:** [here](solutions/14_checkpoints_and_the_hub.ipynb). **Next:** [15 · your own data](15_your_own_data.ipynb)
