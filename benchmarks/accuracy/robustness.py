"""Accuracy against the radius of each attack."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.accuracy.attacks import Classifier, carlini_wagner, fgsm, noise, pgd
from benchmarks.accuracy.config import Attack
from benchmarks.accuracy.methods import Method, Samples

Curve = dict[str, list[float]]
INFINITY, L2 = "largest change of a feature", "L2 distance"
NORMS = {
    "FGSM": INFINITY,
    "PGD": INFINITY,
    "CW": L2,
    "PGD of another network": INFINITY,
    "random signs": INFINITY,
}


def robustness(
    method: Method, surrogate: Method, test: Samples, attack: Attack, seed: int
) -> dict[str, Curve]:
    """``radius`` and ``accuracy`` of each attack on some test samples, drawn by ``seed``.

    Two controls need no gradient of the method: what fools ``surrogate``, and random signs. A method
    that withstands FGSM and PGD better than these hides its gradients.
    """
    rows = torch.randperm(len(test.y), generator=_generator(seed))[: attack.samples]
    x, y = test.x[rows.to(test.x.device)], test.y[rows.to(test.y.device)]
    f, other = _frozen(method), _frozen(surrogate)
    made: dict[str, Callable[[float], Tensor]] = {
        "FGSM": lambda radius: fgsm(f, x, y, radius),
        "PGD": lambda radius: pgd(f, x, y, radius, attack.steps, _generator(seed)),
        "PGD of another network": lambda radius: pgd(
            other, x, y, radius, attack.steps, _generator(seed)
        ),
        "random signs": lambda radius: noise(x, radius, _generator(seed)),
    }
    clean = _accuracy(f, x, y)
    curves = {
        name: {
            "radius": [0.0, *attack.radii],
            "accuracy": [clean, *(_accuracy(f, make(radius), y) for radius in attack.radii)],
        }
        for name, make in made.items()
    }
    _, distance = carlini_wagner(f, x, y, attack.l2_steps)
    withstood = [(distance > radius).float().mean().item() for radius in attack.l2_radii]
    curves["CW"] = {"radius": [0.0, *attack.l2_radii], "accuracy": [clean, *withstood]}
    return {name: curves[name] for name in NORMS}


def _frozen(method: Method) -> Classifier:
    method.module.eval()
    classify = method.classifier()
    return lambda x: classify(method.embed(x))


@torch.no_grad()
def _accuracy(f: Classifier, x: Tensor, y: Tensor) -> float:
    return (f(x).argmax(1) == y).float().mean().item()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
