"""Rows: what a study writes down about a trained model, and about a whole stream."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import numpy as np

from growclip_lite.architecture import Architecture, count_parameters
from growclip_lite.data.stream import Stream
from growclip_lite.evaluate import evaluate, forgetting, known_concepts, mean_accuracy, retrieval
from growclip_lite.grow import Run
from growclip_lite.model import GrowCLIP
from growclip_lite.table import flat

Plan = tuple[Architecture, ...]


def listed(values: Iterable[float]) -> str:
    """Numbers of the growth steps in one column."""
    return " ".join(f"{value:.6g}" for value in values)


def write_plan(plan: Plan) -> str:
    return " ".join(",".join(map(str, architecture.sizes)) for architecture in plan)


def read_plan(text: str) -> Plan:
    return tuple(Architecture(*map(int, sizes.split(","))) for sizes in text.split())


def validation(model: GrowCLIP, stream: Stream) -> float:
    """What settings are chosen by: accuracy on the validation tasks; without any, R@1 on validation pairs."""
    accuracy = mean_accuracy(model, stream.validation_tasks)
    return retrieval(model, stream.validation[-1])["i2t_r1"] if accuracy is None else accuracy


def scores_of(run: Run) -> Callable[[GrowCLIP, int], dict]:
    """Test scores after a growth step, and after the last one the validation score."""

    def score(model: GrowCLIP, step: int) -> dict:
        scores = evaluate(model, run.stream) | {"known_concepts": known_concepts(model, run.stream, step)}
        if step == len(run.stream.train):
            scores["validation_mean"] = validation(model, run.stream)
        return scores

    return score


def row_of(model: GrowCLIP, plan: Plan, scores: Sequence[dict], flops: Sequence[int]) -> dict:
    """One row about a whole stream: the last step's scores, and the curves over the growth steps."""
    row = {
        "architecture": str(model.architecture), "parameters": count_parameters(model.architecture, model.config),
        "plan": write_plan(plan), **flat(scores[-1]), "validation_mean": scores[-1]["validation_mean"],
        "train_flops": sum(flops), "steps_flops": listed(flops),
        "steps_i2t_r1": listed(s["retrieval"]["i2t_r1"] for s in scores),
    }  # fmt: skip
    if scores[-1]["zero_shot"]:
        row["steps_mean"] = listed(s["zero_shot_mean"] for s in scores)
    known = [s["known_concepts"] for s in scores]
    new = [after[-1] for before, after in pairwise([[], *known]) if len(after) > len(before)]
    lost = forgetting(known)
    return row | {  # empty where the source has no tasks for its growth steps
        "plasticity": float(np.mean(new)) if new else np.nan,
        "steps_known": listed(np.mean(k) if k else np.nan for k in known) if new else np.nan,
        "forgetting": float(np.mean(lost)) if lost else np.nan,
    }
