"""Training of one model on the data so far: the loop, the optimisers, the batches."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm.auto import tqdm

from growclip_lite.architecture import training_flops
from growclip_lite.data.stream import Pairs
from growclip_lite.errors import InputError
from growclip_lite.losses import contrastive_loss
from growclip_lite.memory import keep_freed_memory
from growclip_lite.model import GrowCLIP, as_images
from growclip_lite.tokenizer import Tokenizer

MAX_LOGIT_SCALE = 4.6052  # ln 100, as in CLIP
SIDED = re.compile(r"\b(left|right)", re.IGNORECASE)  # a mirrored picture would contradict such a caption
RECORD_EVERY = 20  # iterations between loss records; states are saved at records only
SAVE_SECONDS = 10.0
TOKENIZED = 10_000  # captions in memory at a time

Batch = tuple[Tensor, Tensor, Tensor]  # pictures, tokens, caption ids
# (model, batch, its image features, text features and logit scale) -> what is added to the loss
Penalty = Callable[[GrowCLIP, Batch, tuple[Tensor, Tensor, Tensor]], Tensor]


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training phase. `learning_rate` is Muon's; AdamW's is `adam_ratio` of it.

    `ema_decay` above 0 also keeps an exponential moving average of the weights (reading B). `schedule`
    is one of `SCHEDULES`.
    """

    iterations: int
    batch_size: int
    learning_rate: float
    warmup: int
    adam_ratio: float = 0.15
    weight_decay: float = 0.01
    final_ratio: float = 0.02
    ema_decay: float = 0.0
    schedule: str = "linear"


class TrainingSet:
    """The union of several parts of a stream, tokenised, ready to be drawn from in batches.

    Kept in memory are a pair's tokens, a number that equal captions share, and whether the caption tells sides: in all
    some 70 bytes a pair were measured (results/bench_cost.csv).
    """

    def __init__(
        self, parts: Sequence[Pairs], tokenizer: Tokenizer, context_length: int, augment: bool = False,
        device: str = "cpu",
    ) -> None:  # fmt: skip
        self.parts = [part for part in parts if len(part)]
        self.ends = np.cumsum([len(part) for part in self.parts])
        self.augment, self.device = augment, device
        count = sum(len(part) for part in self.parts)
        dtype = torch.int16 if tokenizer.vocab_size < 2**15 else torch.int32
        self.tokens = torch.empty(count, context_length, dtype=dtype)
        self.caption_ids = torch.empty(count, dtype=torch.int64)
        self.sided = torch.empty(count, dtype=torch.bool)
        captions = itertools.chain.from_iterable(part.captions for part in self.parts)
        for begin in range(0, count, TOKENIZED):
            block = list(itertools.islice(captions, TOKENIZED))
            unique = {caption: i for i, caption in enumerate(dict.fromkeys(block))}
            index, here = torch.tensor([unique[caption] for caption in block]), slice(begin, begin + len(block))
            self.tokens[here] = tokenizer(list(unique), context_length)[index].to(dtype)
            self.caption_ids[here] = torch.tensor([caption_id(caption) for caption in unique])[index]
            self.sided[here] = torch.tensor([SIDED.search(caption) is not None for caption in unique])[index]

    def __len__(self) -> int:
        return int(self.ends[-1])

    def batch(self, index: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, S, S) uint8, tokens (B, L) and caption ids (B,) of the pairs in `index`."""
        owner = np.searchsorted(self.ends, index, side="right")
        first = self.parts[0].images
        pixels = np.empty((len(index), *first.shape[1:]), dtype=np.uint8)
        for number, part in enumerate(self.parts):
            mine = np.flatnonzero(owner == number)
            pixels[mine] = part.images[index[mine] - (self.ends[number] - len(part))]
        rows = torch.from_numpy(index)
        images = as_images(pixels)
        if self.augment:
            images = shift(images, rng)
            flipped = torch.from_numpy(rng.random(len(images)) < 0.5) & ~self.sided[rows]
            images[flipped] = images[flipped].flip(-1)
        tokens, ids = self.tokens[rows].long(), self.caption_ids[rows]
        return images.to(self.device), tokens.to(self.device), ids.to(self.device)


def caption_id(caption: str) -> int:
    """A number of 64 bits that equal captions share, and others (as good as) never."""
    digest = hashlib.blake2b(caption.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def shift(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Moves every picture by up to an eighth of its side in both directions, repeating the border."""
    size = images.shape[-1]
    reach = size // 8
    padded = F.pad(images.float(), [reach] * 4, mode="replicate").to(torch.uint8)
    x, y = (torch.from_numpy(rng.integers(2 * reach + 1, size=len(images))) for _ in range(2))
    rows = (y[:, None] + torch.arange(size))[:, None, :, None]
    columns = (x[:, None] + torch.arange(size))[:, None, None, :]
    batch = torch.arange(len(images))[:, None, None, None]
    return padded[batch, torch.arange(3)[None, :, None, None], rows, columns]


def batch_order(count: int, batch_size: int, seed: Sequence[int], start: int = 0) -> Iterator[np.ndarray]:
    """Indices of batch `start`, `start` + 1, ... without end; every epoch is a fresh permutation.

    Depends on nothing but its arguments, so that a resumed run goes on with the very same batches.
    """
    batch_size = min(batch_size, count)
    per_epoch = count // batch_size
    epoch, position = divmod(start, per_epoch)
    while True:
        order = np.random.default_rng([*seed, epoch]).permutation(count)
        for i in range(position, per_epoch):
            yield np.sort(order[i * batch_size : (i + 1) * batch_size])
        epoch, position = epoch + 1, 0


def make_optimizers(model: GrowCLIP, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the stem and of the transformer blocks, AdamW for the rest (Jordan et al. 2024).

    Fused, AdamW is one kernel for all weights on a GPU; on a CPU that gains nothing (results/speed.md).
    """
    matrices, rest = [], []
    for name, weight in model.named_parameters():
        inside = weight.ndim == 2 and (".blocks." in name or ".stem." in name)
        (matrices if inside else rest).append(weight)
    rate = config.learning_rate
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=config.weight_decay),
        torch.optim.AdamW(rest, lr=rate * config.adam_ratio, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


ANNEALED = 0.2  # share of the iterations in which the infinite schedule comes down from its constant rate
# From the share of the iterations that is done to the share of the way down that the rate has gone.
SCHEDULES = {
    "linear": lambda done: done,
    "cosine": lambda done: (1 - math.cos(math.pi * done)) / 2,
    "infinite": lambda done: max(0.0, 1 - (1 - done) / ANNEALED),  # Singh et al. 2025
}


def rate_factor(iteration: int, config: TrainConfig) -> float:
    """Learning rate over its peak: linear warm-up, then by the schedule down to `final_ratio`."""
    if iteration < config.warmup:
        return (iteration + 1) / config.warmup
    done = (iteration - config.warmup) / max(config.iterations - config.warmup, 1)
    return 1 - (1 - config.final_ratio) * SCHEDULES[config.schedule](done)


@dataclass
class TrainingState:
    """All that changes during a training but the weights of the model: enough to go on as if nothing had happened."""

    iteration: int
    optimizers: list[torch.optim.Optimizer]
    average: AveragedModel | None
    records: list[dict]

    @classmethod
    def begin(cls, model: GrowCLIP, config: TrainConfig) -> TrainingState:
        average = None
        if config.ema_decay > 0:
            average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
        return cls(0, make_optimizers(model, config), average, [])


def train_step(model: Callable, batch: Batch, penalty: Penalty | None = None) -> Tensor:
    """The loss of one batch; `model` maps images and tokens to both embeddings and the logit scale."""
    images, tokens, ids = batch
    features = model(images, tokens)
    loss = contrastive_loss(*features, ids)
    return loss if penalty is None else loss + penalty(model, batch, features)


def update(optimizers: list[torch.optim.Optimizer], model: GrowCLIP, factor: float, config: TrainConfig) -> None:
    """One step of all optimisers at the present learning rate; gradients are cleared."""
    for optimizer, ratio in zip(optimizers, (1.0, config.adam_ratio), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * ratio * factor
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    with torch.no_grad():
        model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)


def cost_of(model: GrowCLIP, data: TrainingSet, config: TrainConfig) -> int:
    """Training FLOPs of a whole `fit`."""
    batch_size = min(config.batch_size, len(data))
    return config.iterations * training_flops(model.architecture, model.config, batch_size)


def fit(
    model: GrowCLIP,
    data: TrainingSet,
    config: TrainConfig,
    seed: int,
    *,
    state: TrainingState | None = None,
    save: Callable[[TrainingState], None] | None = None,
    penalty: Penalty | None = None,
    stop: int | None = None,
    title: str = "training",
) -> TrainingState:
    """Trains `model` in place and returns the final state, with its loss records.

    `state` continues an interrupted training; `save` is called with the present state every few
    seconds. When it is called does not change the result. `penalty` is added to the contrastive loss.
    With `stop`, ends before that iteration, on the way of the whole schedule; losses since the last record
    are lost then. Raises `InputError` where the loss is not a number any more.
    """
    keep_freed_memory()
    state = state or TrainingState.begin(model, config)
    batches = batch_order(len(data), config.batch_size, [seed, 0], start=state.iteration)
    bar = tqdm(total=config.iterations, initial=state.iteration, desc=f"  {title}", unit="batch", leave=False)
    saved = time.monotonic()
    losses: list[float] = []
    while state.iteration < (config.iterations if stop is None else stop):
        # A generator of its own for every batch: nothing of its state has to survive an interruption.
        batch = data.batch(next(batches), np.random.default_rng([seed, 1, state.iteration]))
        loss = train_step(model, batch, penalty)
        loss.backward()
        update(state.optimizers, model, rate_factor(state.iteration, config), config)
        if state.average is not None:
            state.average.update_parameters(model)
        losses.append(loss.detach())
        state.iteration += 1
        bar.update()
        if state.iteration % RECORD_EVERY == 0 or state.iteration == config.iterations:
            mean = torch.stack(losses).mean().item()
            if not math.isfinite(mean):
                raise InputError(
                    f"The loss became {mean} at iteration {state.iteration}: lower the learning rate "
                    f"(it is {config.learning_rate}) or check the pictures, then train again."
                )
            state.records.append({"iteration": state.iteration, "loss": round(mean, 5)})
            losses.clear()
            bar.set_postfix(loss=f"{mean:.3f}")
            if save and time.monotonic() - saved > SAVE_SECONDS:
                save(state)
                saved = time.monotonic()
    bar.close()
    return state
