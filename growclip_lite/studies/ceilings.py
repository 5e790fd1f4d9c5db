"""Can every zero-shot task be solved at all? A supervised classifier for each, on pictures of the same kind."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from growclip_lite.data.scene_tasks import make_tasks
from growclip_lite.data.scenes import concepts_at
from growclip_lite.data.stream import Task
from growclip_lite.devices import fast_dtype
from growclip_lite.evaluate import BATCH
from growclip_lite.grow import Run
from growclip_lite.model import as_images
from growclip_lite.studies.jobs import Grid, Job
from growclip_lite.train import batch_order

ITERATIONS = 400
FEATURES = 256
BATCH_SIZE = 128
PER_CLASS = 3


def small_convnet(size: int, features: int) -> nn.Sequential:
    """A plain convolutional network: (B, 3, size, size) -> (B, features)."""

    def layer(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *layer(3, 32, 1), *layer(32, 64, 2), *layer(64, 64, 1), *layer(64, 128, 2), *layer(128, 128, 1),
        *layer(128, features, 2), nn.Flatten(), nn.Linear(features * (size // 8) ** 2, features), nn.ReLU(),
    )  # fmt: skip


def asked(task: Task) -> list[list[str]]:
    """Per picture the words that say what is asked, those of the first candidate before its relation word; none where
    all pictures have the same candidates."""
    return [candidates[0][0].split()[1:3] for candidates in task.prompts] if task.per_picture else []


def words_of(*tasks: Task) -> list[str]:
    """All words that are asked with, in order."""
    return sorted({word for task in tasks for words in asked(task) for word in words})


def question(task: Task, words: list[str]) -> Tensor:
    """(M, 1 + W) what the classifier is told besides the picture: a constant, and which of the W `words` are asked."""
    told = torch.zeros(len(task.labels), 1 + len(words))
    told[:, 0] = 1
    column = {word: i for i, word in enumerate(words, 1)}
    for row, pair in enumerate(asked(task)):
        told[row, [column[word] for word in pair]] = 1
    return told


class Classifier(nn.Module):
    """Picture and question to class scores. The question weighs the picture's features: *which* object is asked for
    selects among what is seen, which a sum of both learns only slowly."""

    def __init__(self, size: int, told: int, classes: int) -> None:
        super().__init__()
        self.trunk = small_convnet(size, FEATURES).to(memory_format=torch.channels_last)
        self.gate = nn.Linear(told, FEATURES, bias=False)
        self.head = nn.Sequential(nn.Linear(FEATURES, FEATURES), nn.ReLU(), nn.Linear(FEATURES, classes))

    def forward(self, images: Tensor, told: Tensor) -> Tensor:
        """(B, 3, S, S) uint8 and (B, 1 + W) -> (B, classes)."""
        pixels = images.float().div(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", fast_dtype("cpu"), enabled=self.training and fast_dtype("cpu") != torch.float32):
            features = self.trunk(pixels).float()
        return self.head(features * self.gate(told))


def ceilings(training: list[Task], test: list[Task], iterations: int, seed: int) -> dict[str, float]:
    """Test accuracy by task of a network for each, trained on labelled pictures.

    `training` holds the same tasks as `test`, on other pictures. A task gets `iterations` and
    `PER_CLASS` for every class.
    """
    scores = {}
    for own, other in zip(training, test, strict=True):
        words = words_of(own, other)
        model = train_classifier(own, words, iterations + PER_CLASS * own.classes, seed)
        scores[own.name] = accuracy(model, other, words)
    return scores


def train_classifier(task: Task, words: list[str], iterations: int, seed: int) -> Classifier:
    """Trains with AdamW and a one-cycle learning rate."""
    torch.manual_seed(seed)
    told, labels = question(task, words), torch.from_numpy(task.labels)
    model = Classifier(task.images.shape[-1], told.shape[1], task.classes)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=iterations)
    batches = batch_order(len(labels), BATCH_SIZE, [seed])
    for _ in tqdm(range(iterations), desc=f"ceiling of {task.name}", leave=False):
        index = next(batches)
        loss = F.cross_entropy(model(as_images(task.images[index]), told[index]), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model


@torch.inference_mode()
def accuracy(model: Classifier, task: Task, words: list[str]) -> float:
    model.eval()
    told, hits = question(task, words), 0
    for begin in range(0, len(task.labels), BATCH):
        part = slice(begin, begin + BATCH)
        guess = model(as_images(task.images[part]), told[part]).argmax(1)
        hits += int((guess == torch.from_numpy(task.labels[part])).sum())
    return hits / len(task.labels)


def ceilings_job(run: Run) -> dict:
    """Accuracy of the classifier by task."""
    p = run.profile
    concepts = concepts_at(p.growth_steps, p.growth_steps, p.kinds)
    training = make_tasks(concepts, p.kinds, p.image_size, 24 * p.task_pictures, [7, run.seed])
    return ceilings(training, run.stream.tasks, ITERATIONS, run.seed)


def jobs(grid: Grid) -> list[Job]:
    return [grid.job(seed, ceilings_job) for seed in range(grid.seeds)]
