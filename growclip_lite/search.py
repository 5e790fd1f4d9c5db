"""One-shot search of a growth step: train a supernet briefly, score its slices, select one.

Our reading, as in AutoProg (Li et al., CVPR 2022) with the sandwich rule of Yu et al. 2020 (BigNAS).
Every tensor of a member is a leading corner of the supernet's, so that a member is a plain slice.
Only held-out pairs of the data so far are used for scoring; there is no route to test data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call
from tqdm.auto import tqdm

from growclip_lite.architecture import Architecture, forward_flops, tensor_shapes, training_flops
from growclip_lite.errors import InputError
from growclip_lite.evaluate import recall_at
from growclip_lite.growth_space import GrowthSpace
from growclip_lite.losses import contrastive_loss
from growclip_lite.memory import keep_freed_memory
from growclip_lite.model import GrowCLIP
from growclip_lite.train import (
    Batch,
    TrainConfig,
    TrainingSet,
    batch_order,
    make_optimizers,
    rate_factor,
    train_step,
    update,
)  # fmt: skip

TOLERANCE = 0.02  # members trained to the end deviate by 1.6 % from one training to the next (results/bench_search.csv)


@dataclass(frozen=True)
class SearchConfig:
    """`train` are the supernet's settings; every iteration trains the whole supernet, the base and
    `random_members` members. At most `evaluations` members are scored, on `scoring_pairs`."""

    train: TrainConfig
    random_members: int
    evaluations: int
    scoring_pairs: int


@dataclass(frozen=True)
class Score:
    """A member, its contrastive loss and image-to-text R@1 on held-out pairs, its forward FLOPs per pair."""

    architecture: Architecture
    loss: float
    recall: float
    flops: int

    def to_dict(self) -> dict:
        return {
            "architecture": self.architecture.to_dict(),
            "loss": self.loss,
            "i2t_r1": self.recall,
            "flops": self.flops,
        }


def slice_state(state: dict[str, Tensor], architecture: Architecture, supernet: GrowCLIP) -> dict[str, Tensor]:
    """The member's weights: views of the leading corners of the supernet's tensors."""
    if not supernet.architecture.contains(architecture):
        raise InputError(f"({architecture}) is no slice of the supernet ({supernet.architecture}).")
    shapes = tensor_shapes(architecture, supernet.config)
    return {name: state[name][tuple(slice(size) for size in shape)] for name, shape in shapes.items()}


def skeleton(architecture: Architecture, supernet: GrowCLIP) -> GrowCLIP:
    """The member's module without weights of its own."""
    with torch.device("meta"):
        model = GrowCLIP(architecture, supernet.config, supernet.tokenizer)
    model.compute_dtype = supernet.compute_dtype
    return model


def run_member(supernet: GrowCLIP, architecture: Architecture, images: Tensor, tokens: Tensor) -> tuple[Tensor, ...]:
    """The forward pass of one member with the supernet's weights; gradients reach the supernet."""
    state = slice_state(dict(supernet.named_parameters()), architecture, supernet)
    return functional_call(skeleton(architecture, supernet), state, (images, tokens))


def extract(supernet: GrowCLIP, architecture: Architecture) -> GrowCLIP:
    """A stand-alone model with a copy of the member's weights."""
    state = slice_state(supernet.state_dict(), architecture, supernet)
    model = skeleton(architecture, supernet).to_empty(device=supernet.logit_scale.device)
    model.load_state_dict({name: weight.clone() for name, weight in state.items()})
    return model


def sandwich(space: GrowthSpace, random_members: int, rng: np.random.Generator) -> list[Architecture]:
    """The whole supernet, the base and random members, to be trained on one batch. Our reading of the sandwich
    rule: the first two hold all members between them, but are dearer and cheaper than any of these."""
    return [space.largest, space.base, *(space.sample(rng) for _ in range(random_members))]


def train_supernet(
    supernet: GrowCLIP, space: GrowthSpace, data: TrainingSet, config: SearchConfig, seed: int, title: str = "search"
) -> int:
    """Trains the supernet in place with the sandwich rule; returns the training FLOPs spent."""
    keep_freed_memory()
    rng = np.random.default_rng([seed, 1])
    batches = batch_order(len(data), config.train.batch_size, [seed, 2])
    optimizers = make_optimizers(supernet, config.train)
    flops = 0
    bar = tqdm(range(config.train.iterations), desc=f"  {title}: supernet", unit="batch", leave=False)
    for iteration in bar:
        batch = data.batch(next(batches), rng)
        members = sandwich(space, config.random_members, rng)
        bar.set_postfix_str(str(members[-1]), refresh=False)
        for member in members:
            loss = train_step(lambda *inputs, a=member: run_member(supernet, a, *inputs), batch)
            (loss / len(members)).backward()
            flops += training_flops(member, supernet.config, len(batch[0]))
        update(optimizers, supernet, rate_factor(iteration, config.train), config.train)
    return flops


def scoring_batches(held_out: TrainingSet, config: SearchConfig, rng: np.random.Generator) -> list[Batch]:
    """`scoring_pairs` of the held-out pairs at random, in batches of about the size that is trained with."""
    index = np.sort(rng.permutation(len(held_out))[: config.scoring_pairs])
    parts = np.array_split(index, max(1, len(index) // config.train.batch_size))
    return [held_out.batch(part, rng) for part in parts]


@torch.inference_mode()
def score(supernet: GrowCLIP, member: Architecture, batches: list[Batch]) -> Score:
    """Mean loss and R@1 of a member over batches of held-out pairs."""
    losses, recalls = [], []
    for images, tokens, ids in batches:
        image_features, text_features, logit_scale = run_member(supernet, member, images, tokens)
        losses.append(contrastive_loss(image_features, text_features, logit_scale, ids).item())
        recalls.append(recall_at(image_features @ text_features.T, ids[:, None] == ids[None, :], 1))
    return Score(member, float(np.mean(losses)), float(np.mean(recalls)), forward_flops(member, supernet.config))


def held_out_loss(model: GrowCLIP, batches: list[Batch]) -> float:
    """The contrastive loss of a model on its own, as the search scores its members."""
    return score(model, model.architecture, batches).loss


def propose(space: GrowthSpace, scored: list[Score], at_most: int, rng: np.random.Generator) -> Iterator[Architecture]:
    """Members to score, `at_most` in all: every one where they are that few, else by evolution.

    `scored` grows while this runs; mutations start from the best quarter of what is in it.
    """
    if len(space) <= at_most:
        yield from space.members
        return
    seen: set[Architecture] = set()
    for number in range(at_most):
        for _ in range(100):
            if number < max(at_most // 3, 1):
                member = space.sample(rng)
            else:
                best = sorted(scored, key=lambda s: s.loss)[: max(len(scored) // 4, 1)]
                member = space.mutate(best[rng.integers(len(best))].architecture, rng)
            if member not in seen:
                break
        else:
            member = space.sample(rng)
        if member not in seen:
            seen.add(member)
            yield member


def unevenness(architecture: Architecture) -> int:
    """How far apart the widths of the three encoders are, and their depths, in units."""
    depths, widths = architecture.sizes[::2], architecture.sizes[1::2]
    return max(depths) - min(depths) + max(widths) - min(widths)


def select(scores: list[Score], tolerance: float = TOLERANCE) -> Score:
    """Of the members whose loss is within `tolerance` (relative) of the lowest: the most even, then the cheapest.

    Our reading of a tie: two complete trainings of one and the same member end that far apart (how far
    two searches do was not measured). That even growth is the best guess otherwise is the finding of
    EfficientNet (Tan and Le, ICML 2019). Retrieval on so few pairs is reported, not chosen by.
    """
    best = min(s.loss for s in scores)
    ties = [s for s in scores if s.loss <= best * (1 + tolerance)]
    return min(ties, key=lambda s: (unevenness(s.architecture), s.flops, s.loss))


@dataclass(frozen=True)
class SearchResult:
    """The chosen architecture with its starting weights, all scores from best to worst, FLOPs spent."""

    model: GrowCLIP
    ranking: list[Score]
    flops: int
    space_size: int


def search(
    supernet: GrowCLIP, space: GrowthSpace, data: TrainingSet, held_out: TrainingSet, config: SearchConfig, seed: int,
    title: str = "search",
) -> SearchResult:  # fmt: skip
    """One growth step's search; `supernet` holds the inherited weights of `space.largest` and is trained in place."""
    flops = train_supernet(supernet, space, data, config, seed, title)
    rng = np.random.default_rng([seed, 3])
    batches = scoring_batches(held_out, config, rng)
    scores: list[Score] = []
    total = min(len(space), config.evaluations)
    proposals = propose(space, scores, config.evaluations, rng)
    bar = tqdm(proposals, desc=f"  {title}: members", total=total, unit="member", leave=False)
    for member in bar:
        bar.set_postfix_str(str(member), refresh=False)
        scores.append(score(supernet, member, batches))
        if not math.isfinite(scores[-1].loss):
            raise InputError(
                f"The loss of ({member}) became {scores[-1].loss} in the search: lower the learning rate "
                f"(it is {config.train.learning_rate}) or check the pictures, then search again."
            )
        flops += sum(len(ids) for _, _, ids in batches) * scores[-1].flops
    ranking = sorted(scores, key=lambda s: (s.loss, s.flops))
    return SearchResult(extract(supernet, select(scores).architecture), ranking, flops, len(space))
