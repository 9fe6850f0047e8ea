"""The training loop that all methods share, and the scores of what it trained."""

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot, pad
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics.functional.classification import binary_auroc, multiclass_accuracy
from torchmetrics.functional.classification import multiclass_calibration_error as calibration_error

from benchmarks.accuracy.config import Train
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Batch, Method
from pyg_relational.metrics import class_similarity
from pyg_relational.ops import knn

ECE_BINS = 15
NEIGHBOURS = 10


class Output(NamedTuple):
    """Logits ``[n, c]`` (their softmax is the prediction) and features ``[n, d]``."""

    logits: Tensor
    features: Tensor


class Fit(NamedTuple):
    """Means of each epoch, seconds of the training steps alone, and their number."""

    curve: dict[str, list[float]]
    wall: float
    cpu: float
    steps: int


def _nothing() -> None:
    pass


def fit(
    method: Method,
    problem: Problem,
    train: Train,
    seed: int,
    halfway: Callable[[], None] = _nothing,
    each: Callable[[], None] = _nothing,
) -> Fit:
    """Train a method on the labelled samples.

    Order and augmentation are drawn from ``seed`` alone, so that all methods see the same batches. The last batch
    of an epoch is left out if it is not full. ``halfway`` is called in the middle, ``each`` after each epoch, outside
    of the measured time.
    """
    if method.loss is None:
        return Fit({}, 0.0, 0.0, 0)
    generator = torch.Generator().manual_seed(seed)
    labelled = (problem.train.y >= 0).nonzero().flatten()
    batch_size = min(train.batch_size, len(labelled))
    steps = train.epochs * (len(labelled) // batch_size)
    optimiser = _optimiser(method, train)
    schedule = LambdaLR(optimiser, lambda step: _rate(step / steps, train.schedule))
    curve: dict[str, list[float]] = {"loss": [], "train_accuracy": []}
    wall = cpu = 0.0
    for epoch in range(train.epochs):
        if epoch == train.epochs // 2:
            halfway()
        start = time.perf_counter(), time.process_time()
        method.on_epoch(epoch, train.epochs)
        method.module.train()
        losses, hits = [], []
        order = torch.randperm(len(labelled), generator=generator)
        for index in labelled[order.to(labelled.device)].split(batch_size):
            if len(index) < batch_size:
                continue
            x = problem.train.x[index]
            x = crop_and_flip(x, generator, flip=train.flip) if train.augment else x
            x = add_noise(x, train.noise, generator) if train.noise else x
            batch = Batch(x, problem.train.y[index], index)
            loss, logits = method.loss(batch)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.detach())
            hits.append((logits.argmax(1) == batch.y).float().mean())
        curve["loss"].append(_mean(losses))
        curve["train_accuracy"].append(_mean(hits))
        wall += time.perf_counter() - start[0]
        cpu += time.process_time() - start[1]
        if train.test_curve:
            logits, _ = predict(method, problem.test.x)
            hit = (logits.argmax(1) == problem.test.y).float()
            curve.setdefault("test_accuracy", []).append(hit.mean().item())
        each()
    return Fit(curve, wall, cpu, steps)


@torch.no_grad()
def predict(method: Method, x: Tensor, batch_size: int = 1000) -> Output:
    """Logits and features of all inputs, in evaluation mode."""
    features = embed(method, x, batch_size)
    return Output(method.classifier()(features), features)


@torch.no_grad()
def embed(method: Method, x: Tensor, batch_size: int = 1000) -> Tensor:
    """Features of all inputs, in evaluation mode."""
    method.module.eval()
    return torch.cat([method.embed(part) for part in x.split(batch_size)])


def score(method: Method, problem: Problem) -> dict[str, float]:
    """Accuracy, calibration, and what the features know without the head.

    ``knn_accuracy`` is the vote of the ten nearest training samples (cosine) with their true labels;
    the similarities are those of the scored samples. For samples of other classes, see :func:`apart`.
    """
    logits, features = predict(method, problem.test.x)
    y, c = problem.test.y, problem.num_classes
    known = problem.true_y >= 0
    voters, true_y = embed(method, problem.train.x)[known], problem.true_y[known]
    neighbours = knn(voters, NEIGHBOURS, metric="cosine", y=features).index
    votes = one_hot(true_y[neighbours], c).sum(1).argmax(1)
    intra, inter = class_similarity(features, y)
    scores = {
        "accuracy": multiclass_accuracy(logits, y, c, average="micro"),
        "nll": cross_entropy(logits, y),
        "ece": calibration_error(logits.softmax(1), y, c, n_bins=ECE_BINS),
        "knn_accuracy": multiclass_accuracy(votes, y, c, average="micro"),
        "intra_similarity": intra,
        "inter_similarity": inter,
    }
    found = {name: value.item() for name, value in scores.items()}
    return found | (apart(method, problem, features) if problem.outside else {})


@torch.no_grad()
def apart(method: Method, problem: Problem, features: Tensor) -> dict[str, float]:
    """How well scored samples are told apart from those of other classes: mean AUROC over their data sets.

    By the confidence, the largest probability (Hendrycks and Gimpel, arXiv 1610.02136), and by the cosine distance of
    the features to the tenth neighbour among the training samples (Sun et al., arXiv 2204.06507). Both kinds are
    predicted together, as a method that looks at the others of a batch would know one of strangers alone by that.
    """
    voters, classify = embed(method, problem.train.x), method.classifier()

    def auroc(x: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([features, embed(method, x)])
        strange = (torch.arange(len(both), device=both.device) >= len(features)).long()
        unsure = 1 - classify(both).softmax(1).amax(1)
        far = knn(voters, NEIGHBOURS, metric="cosine", y=both).distance[:, -1]
        return binary_auroc(unsure, strange), binary_auroc(far, strange)

    names = ("auroc_confidence", "auroc_distance")
    found = zip(*map(auroc, problem.outside), strict=True)
    return {name: _mean(list(values)) for name, values in zip(names, found, strict=True)}


def crop_and_flip(
    x: Tensor, generator: torch.Generator, margin: int = 4, flip: bool = True
) -> Tensor:
    """Each image shifted by up to ``margin`` pixels (zeros come in), half of them mirrored if they may be."""
    n, _, height, width = x.shape
    row, column = torch.randint(0, 2 * margin + 1, (2, n, 1), generator=generator)
    rows = (torch.arange(height) + row).to(x.device)
    columns = torch.arange(width) + column
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = torch.where(mirrored & flip, columns.flip(1), columns).to(x.device)
    padded = pad(x, [margin] * 4).movedim(1, -1)
    image = torch.arange(n, device=x.device)[:, None, None]
    return padded[image, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def add_noise(x: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Inputs with Gaussian noise of standard deviation ``std``."""
    return x + std * torch.randn(x.shape, generator=generator).to(x.device)


def _optimiser(method: Method, train: Train) -> Optimizer:
    parameters = method.module.parameters()
    if train.optimiser == "sgd":
        return SGD(parameters, train.lr, momentum=0.9, weight_decay=train.weight_decay)
    return AdamW(parameters, train.lr, weight_decay=train.weight_decay)


def _rate(progress: float, schedule: str) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1.0


def _mean(values: list[Tensor]) -> float:
    return torch.stack(values).mean().item()
