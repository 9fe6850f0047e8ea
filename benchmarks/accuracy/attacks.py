r"""Attacks on a classifier ``scores = f(x)`` of inputs in [0, 1], with gradients of all of ``f``.

Scores are logarithms of probabilities, or of what takes their place: of the mass ``u`` that
reaches a class in propagation. What an attack lowers matters where scores are saturated: the
gradient of the cross-entropy vanishes there, those of the margins don't.
Samples that ``f`` relates to each other are attacked together.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

Classifier = Callable[[Tensor], Tensor]
Objective = Callable[[Tensor, Tensor], Tensor]


def margin(scores: Tensor, y: Tensor) -> Tensor:
    """Score of the true class less the highest other, ``[n]``; not positive where ``f`` is fooled."""
    true = one_hot(y, scores.shape[1]).bool()
    return scores[true] - scores.masked_fill(true, -torch.inf).amax(1)


def linear_margin(scores: Tensor, y: Tensor) -> Tensor:
    """:func:`margin` of the probabilities, or of ``u``, themselves."""
    return margin(scores.exp(), y)


def log_likelihood(scores: Tensor, y: Tensor) -> Tensor:
    """Minus the cross-entropy, ``[n]``."""
    return -cross_entropy(scores, y, reduction="none")


def fgsm(
    f: Classifier, x: Tensor, y: Tensor, radius: float, objective: Objective = margin
) -> Tensor:
    """Fast gradient sign method (arXiv 1412.6572): one step to the edge of the L-infinity ball."""
    return (x - radius * _gradient(f, x, y, objective)[0].sign()).clamp(0, 1)


def pgd(
    f: Classifier,
    x: Tensor,
    y: Tensor,
    radius: float,
    steps: int,
    generator: torch.Generator,
    objective: Objective = margin,
) -> Tensor:
    """Projected gradient descent (arXiv 1706.06083) in the L-infinity ball, from a random start.

    Steps go from ``radius / 2`` linearly to 0. Gives the iterate that fools ``f`` most often.
    """
    low, high = (x - radius).clamp(min=0), (x + radius).clamp(max=1)
    point = (x + radius * _uniform(x, generator)).clamp(0, 1)
    best, fooled = point, -1
    for step in range(steps + 1):
        gradient, margins = _gradient(f, point, y, objective)
        if (count := int((margins <= 0).sum())) > fooled:
            best, fooled = point, count
        point = (point - radius / 2 * (1 - step / steps) * gradient.sign()).clamp(low, high)
    return best


def carlini_wagner(
    f: Classifier, x: Tensor, y: Tensor, steps: int, searches: int = 5, lr: float = 0.02
) -> tuple[Tensor, Tensor]:
    r"""Carlini and Wagner's L2 attack (arXiv 1608.04644): the nearest input found that fools ``f``.

    Adam on :math:`\|x' - x\|^2 + c \max(\mathrm{margin}(x'), 0)`, and ``searches`` steps of a search for each
    sample's smallest :math:`c` that succeeds. Clips :math:`x'` to the box, where the paper has a tanh:
    that hardly moves features that are 0 or 1, as most of a digit's are.

    Returns:
        Inputs, and their L2 distances ``[n]``: infinite where none was found, 0 where ``f`` is wrong.
    """
    best, distance = x.clone(), torch.full_like(x.flatten(1)[:, 0], torch.inf)
    low, high, c = torch.zeros_like(distance), distance.clone(), torch.ones_like(distance)
    with torch.no_grad():
        distance[margin(f(x), y) <= 0] = 0
    for _ in range(searches):
        point = x.clone().requires_grad_()
        optimiser = torch.optim.Adam([point], lr=lr)
        succeeded = torch.zeros_like(distance, dtype=torch.bool)
        for _ in range(steps):
            square = (point - x).flatten(1).square().sum(1)
            margins = margin(f(point), y)
            fooled = (margins <= 0).detach()
            nearer = fooled & (square.detach().sqrt() < distance)
            best[nearer], distance[nearer] = point.detach()[nearer], square.detach().sqrt()[nearer]
            succeeded |= fooled
            loss = (square + c * margins.clamp(min=0)).sum()
            (point.grad,) = torch.autograd.grad(loss, point)
            optimiser.step()
            point.data.clamp_(0, 1)
        low, high = torch.where(succeeded, low, c), torch.where(succeeded, c, high)
        c = torch.where(high.isinf(), 10 * c, (low + high) / 2)
    return best, distance


def noise(x: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Each feature moved by ``radius`` up or down at random: a corner of the L-infinity ball."""
    return (x + radius * _uniform(x, generator).sign()).clamp(0, 1)


def _gradient(f: Classifier, x: Tensor, y: Tensor, objective: Objective) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    scores = f(x)
    (gradient,) = torch.autograd.grad(objective(scores, y).sum(), x)
    return gradient, margin(scores.detach(), y)


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    return (2 * torch.rand(x.shape, generator=generator) - 1).to(x)
