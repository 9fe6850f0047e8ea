"""Accuracy against the radius of each attack."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from benchmarks.accuracy.attacks import (
    Classifier,
    carlini_wagner,
    fgsm,
    linear_margin,
    log_likelihood,
    margin,
    noise,
    pgd,
)
from benchmarks.accuracy.config import Attack
from benchmarks.accuracy.data import Problem
from benchmarks.accuracy.methods import Method
from benchmarks.accuracy.train import embed

Curve = dict[str, list[float]]
INFINITY, L2 = "largest change of a feature", "L2 distance"
NORMS = {
    "FGSM": INFINITY,
    "PGD": INFINITY,
    "CW": L2,
    "PGD on the cross-entropy": INFINITY,
    "PGD of another network": INFINITY,
    "random signs": INFINITY,
}


def robustness(
    method: Method, surrogate: Method, problem: Problem, attack: Attack, seed: int
) -> dict[str, Curve]:
    """``radius`` and ``accuracy`` of each attack on some test samples, drawn by ``seed``.

    FGSM and PGD lower one margin and then the other, PGD also that of :func:`nearest_mean` of the
    method's features, and the worst result counts. Two controls need no gradient of the method:
    what fools ``surrogate``, and random signs. A method that withstands an attack better than these
    hides its gradients from it.
    """
    test = problem.test
    rows = torch.randperm(len(test.y), generator=_generator(seed))[: attack.samples]
    rows = rows.to(test.y.device)
    x, y = test.x[rows], test.y[rows]
    f, other = _frozen(method), _frozen(surrogate)
    means = nearest_mean(method, problem)
    margins = (margin, linear_margin)

    def descend(g: Classifier, radius: float, objective: Callable[..., Tensor]) -> Tensor:
        return pgd(g, x, y, radius, attack.steps, _generator(seed), objective)

    made: dict[str, Callable[[float], Sequence[Tensor]]] = {
        "FGSM": lambda radius: [fgsm(f, x, y, radius, lowered) for lowered in margins],
        "PGD": lambda radius: [
            *(descend(f, radius, lowered) for lowered in margins),
            descend(means, radius, margin),
        ],
        "PGD on the cross-entropy": lambda radius: [descend(f, radius, log_likelihood)],
        "PGD of another network": lambda radius: [descend(other, radius, margin)],
        "random signs": lambda radius: [noise(x, radius, _generator(seed))],
    }
    accuracy = partial(_accuracy, f, y)
    clean = accuracy(x)
    curves = {
        name: {
            "radius": [0.0, *attack.radii],
            "accuracy": [clean, *(min(map(accuracy, make(radius))) for radius in attack.radii)],
        }
        for name, make in made.items()
    }
    _, distance = carlini_wagner(f, x, y, attack.l2_steps)
    withstood = [(distance > radius).float().mean().item() for radius in attack.l2_radii]
    curves["CW"] = {"radius": [0.0, *attack.l2_radii], "accuracy": [clean, *withstood]}
    return {name: curves[name] for name in NORMS}


@torch.no_grad()
def nearest_mean(method: Method, problem: Problem) -> Classifier:
    """Cosine of the features to each class's mean: what propagation looks at, always with a gradient."""
    train = problem.train
    features = normalize(embed(method, train.x))
    members = one_hot(train.y.clamp(min=0), problem.num_classes).to(features)
    means = normalize((members * (train.y >= 0)[:, None]).T @ features)
    return lambda x: normalize(method.embed(x)) @ means.T


def _frozen(method: Method) -> Classifier:
    method.module.eval()
    classify = method.classifier()
    return lambda x: classify(method.embed(x))


@torch.no_grad()
def _accuracy(f: Classifier, y: Tensor, x: Tensor) -> float:
    return (f(x).argmax(1) == y).float().mean().item()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
