"""Model cards: README.md of a checkpoint, made from its run's report, with metadata that the Hub shows as scores."""

from __future__ import annotations

import math
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from growclip_lite.architecture import Architecture, count_parameters, forward_flops
from growclip_lite.checkpoint import load_model
from growclip_lite.files import write_atomically
from growclip_lite.markdown import markdown_table
from growclip_lite.model import GrowCLIP
from growclip_lite.plots import plot_growth
from growclip_lite.report import shown_accuracy

ZERO_SHOT, RETRIEVAL = "zero-shot-image-classification", "image-text-retrieval"
DATA = {
    "scenes": "`scenes`: drawn pictures of up to three objects, captions from an English grammar, 5 % of them wrong",
    "hard-text": "`hard-text`: drawn pictures of single objects, two thirds of the captions in invented languages",
    "hard-image": "`hard-image`: drawn pictures of single objects, two thirds of them hard to see",
    "emoji": "`emoji`: pictures of emoji from the colour font of the machine, and their English names",
}

PAPER = """@inproceedings{deng2023growclip,
  title     = {GrowCLIP: Data-aware Automatic Model Growing for Large-scale Contrastive Language-Image Pre-training},
  author    = {Deng, Xinchi and Shi, Han and Huang, Runhui and Li, Changlin and Xu, Hang and Han, Jianhua and
               Kwok, James and Zhao, Shen and Zhang, Wei and Liang, Xiaodan},
  booktitle = {Proceedings of the IEEE/CVF International Conference on Computer Vision (ICCV)},
  year      = {2023}
}

@software{growclip_lite,
  title     = {growclip-lite: contrastive language-image models that grow with their data},
  author    = {{growclip-lite contributors}}
}"""


def half_width(share: float, count: int) -> float:
    """Half of Wilson's 95 % interval of a share of `count` test pictures."""
    z = 1.96
    return z / (1 + z**2 / count) * math.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))


def source(about: dict) -> str:
    return DATA.get(about["data"], f"`{about['data']}`")


def results(about: dict, entry: dict) -> list[EvalResult]:
    """The scores of a growth step in the Hub's model-index format."""

    def result(task: str, metric: str, label: str, value: float) -> EvalResult:
        return EvalResult(
            task_type=task, task_name=task.replace("-", " "), dataset_type=about["data"],
            dataset_name=f"{about['data']}, test pictures",
            metric_type=metric, metric_name=label, metric_value=round(value, 4),
        )  # fmt: skip

    scores = entry["zero_shot"] | ({"mean": entry["zero_shot_mean"]} if entry["zero_shot"] else {})
    found = [result(ZERO_SHOT, "accuracy", f"{name}, top-1", value) for name, value in scores.items()]
    for name, value in entry["retrieval"].items():
        found.append(result(RETRIEVAL, f"recall_at_{name.split('_r')[1]}", name, value))
    return found


def growth_table(entries: list[dict]) -> str:
    head = "growth step|pairs so far|architecture|parameters|training, TFLOPs|zero-shot, mean|image-to-text R@1"
    rows = []
    for e in entries:
        shape, recall = Architecture.from_dict(e["architecture"]), e["retrieval"]["i2t_r1"]
        size, cost = f"{e['parameters'] / 1e6:.2f} M", f"{e['train_flops'] / 1e12:.1f}"
        rows.append((e["step"], f"{e['samples_total']:,}", shape, size, cost, shown_accuracy(e), f"{recall:.3f}"))
    return markdown_table(head, rows)


def score_table(entry: dict, sizes: dict) -> str:
    rows, halves = [], []
    for name, value in entry["zero_shot"].items():
        count = sizes["zero_shot"][name]
        halves.append(half_width(value, count))
        rows.append((f"zero-shot, {name}, top-1", f"{count:,}", f"{value:.3f} ± {halves[-1]:.3f}"))
    if halves:
        of_mean = math.hypot(*halves) / len(halves)  # the tasks' pictures are drawn independently
        told = f"{entry['zero_shot_mean']:.3f} ± {of_mean:.3f}"
        rows.append(("**zero-shot, mean**", f"{sum(sizes['zero_shot'].values()):,}", f"**{told}**"))
    count = sizes["retrieval"]
    for name, value in entry["retrieval"].items():
        rows.append((f"retrieval, {name}", f"{count:,}", f"{value:.3f} ± {half_width(value, count):.3f}"))
    return markdown_table("test | pictures | score", rows)


def from_report(about: dict, report: dict) -> list[str]:
    """The sections that need a report: how it grew, what it scores, how to make it again."""
    entries = report["steps"][: about["step"]]
    search = sum(entry["search"]["flops"] for entry in entries) / 1e12
    software = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    settings = report["settings"]
    total = sum(entry["train_flops"] for entry in entries) / 1e12
    place = about["data"] if about["data"] in DATA else "FOLDER"
    command = (
        f"growclip grow --data {place} --profile {about['profile']} --iterations {settings['iterations']} "
        f"--share-power {settings['share_power']} --seed {about['seed']} --out DIR"
    )
    return [
        "## How it grew", "", growth_table(entries), "",
        f"Training took {total:.1f} TFLOPs in all, the search for the architectures {search:.1f} more.", "",
        "![architecture and accuracy over the growth steps](growth.png)", "",
        "## Scores", "",
        "On test data; ± is half of the 95 % interval over test pictures. How much another seed changes is in the "
        "tables of the project.", "",
        score_table(entries[-1], report["test_sizes"]), "",
        "## Made by", "", f"`{command}`" + (f" at commit {about['commit']}" if "commit" in about else "") + ".", "",
        f"Software: {software}.", "",
    ]  # fmt: skip


def model_card(model: GrowCLIP, report: dict | None = None) -> ModelCard:
    """The card of a checkpoint; with the report of its run also growth history, scores, and how to make it again."""
    about, a, c = model.about, model.architecture, model.config
    known = bool(about.keys() >= {"data", "profile", "seed", "step"})
    name = f"growclip-{about['data']}-{about['profile']}-step-{about['step']}" if known else "growclip"
    data = ModelCardData(
        language="en", license="apache-2.0", library_name="growclip-lite", pipeline_tag=ZERO_SHOT, model_name=name,
        tags=["clip", "growclip", RETRIEVAL, "model_hub_mixin", "pytorch_model_hub_mixin"],
        eval_results=results(about, report["steps"][about["step"] - 1]) if known and report else None,
    )  # fmt: skip
    parameters, flops = count_parameters(a, c), forward_flops(a, c)
    trained = f", after growth step {about['step']} of a run on {source(about)}" if known else ""
    lines = [
        f"# {name}", "",
        "A small contrastive language-image model whose architecture grew with its data, by "
        "[GrowCLIP](https://arxiv.org/abs/2308.11331) (Deng et al., ICCV 2023) as growclip-lite reads it. "
        "It is not the authors' code and not a model of theirs.", "",
        f"**What it is.** {a} (blocks x channels{trained}). {parameters / 1e6:.2f} M parameters, "
        f"{flops / 1e6:.1f} MFLOPs for one picture and one text; pictures of {c.image_size}x{c.image_size} pixels, "
        f"texts of up to {c.context_length} tokens, embeddings of {c.embed_dim}.", "",
        "## Use", "", "```python", "from growclip_lite import GrowCLIP", "",
        'model = GrowCLIP.from_pretrained("FOLDER OR user/name")',
        "images = model.preprocess(picture)[None]  # a PIL picture",
        'texts = model.tokenize(["a red circle", "a blue star"])',
        "shares = (model.logit_scale.exp() * model.encode_image(images) @ model.encode_text(texts).T).softmax(-1)",
        "```", "",
        *(from_report(about, report) if known and report else []),
        *onnx_section(about),
        "## Intended use and limits", "",
        "For teaching and for research on growing models. It knows only the kind of pictures and words that it was "
        "trained on: about anything else, about people, or in other languages its answers mean nothing. Do not use it "
        "for decisions about anybody. It was not tested for bias.", "",
        "## Licence and citation", "", "Apache-2.0. Please cite the paper, and growclip-lite:", "",
        "```bibtex", PAPER, "```", "",
    ]  # fmt: skip
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines))


def onnx_section(about: dict) -> list[str]:
    """Sizes and speed of the ONNX export, where they were measured."""
    if "onnx" not in about:
        return []
    rows = [
        (side, f"{found['bytes'] / 1e6:.2f} MB", f"{found['onnxruntime']:,.0f}", f"{found['torch']:,.0f}")
        for side, found in about["onnx"]["sides"].items()
    ]
    return [
        "## ONNX", "",
        "`growclip export CHECKPOINT DIR` writes both encoders for a batch of any size. Measured on "
        f"{about['onnx']['machine']} in batches of {about['onnx']['batch']}, float32, each with its own defaults:", "",
        markdown_table("encoder | file | per second, onnxruntime | per second, torch", rows), "",
    ]  # fmt: skip


def write_card(folder: Path, report: dict) -> None:
    """Writes README.md and growth.png, up to this growth step, into a checkpoint of the run that `report` tells of."""
    model = load_model(folder)
    steps = report["steps"][: model.about["step"]]
    write_atomically(folder / "growth.png", lambda partial: plot_growth(report | {"steps": steps}, partial))
    text = str(model_card(model, report))
    write_atomically(folder / "README.md", lambda partial: partial.write_text(text, encoding="utf-8"))
