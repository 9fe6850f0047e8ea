"""Each sample against a prototype of every class that is made for it."""

import math

import torch
from torch import Tensor

from pyg_relational.ops import safe_sqrt, unit_rows
from pyg_relational.ops.checks import (
    Check,
    at_least,
    below,
    check_count,
    check_labels,
    check_matrix,
    check_number,
    finite,
    settle,
)

__all__ = ["prototype_scores"]


def prototype_scores(
    x: Tensor,
    prototypes: Tensor,
    prototype_y: Tensor,
    *,
    num_classes: int,
    temperature: float = 0.1,
    center: bool = True,
) -> Tensor:
    r"""Cosine of each sample with a prototype of every class, weighted for it by cosines.

    From `Manna, Bhattacharya and Pal, "Correlation Weighted Prototype-based Self-Supervised One-Shot Segmentation of
    Medical Images" <https://doi.org/10.1007/978-3-031-78192-6_2>`_ (ICPR 2024), there of the pixels of an image:
    attention of one head to the prototypes of each class, whose score is a cosine,

    .. math::
        s_{ic} = \cos\Bigl(x_i, \sum_{j :\, y_j = c} \alpha_{ij} g_j\Bigr), \qquad
        \alpha_{ij} = \frac{e^{\cos(x_i, g_j) / \tau}}{\sum_{l :\, y_l = y_j} e^{\cos(x_i, g_l) / \tau}}

    The smaller :math:`\tau`, the nearer to the nearest prototype; the larger, to the mean of the class. There are no
    parameters; divided by a temperature the scores are logits. Features are centred by the mean of the prototypes. The
    weighted prototypes are never built: memory is :math:`O(n m + m^2)`.

    Args:
        x: Samples.
        prototypes: Prototypes, such as features of labelled samples.
        prototype_y: Their classes.
        num_classes: Number of classes; each needs a prototype.
        temperature: :math:`\tau`.
        center: Take the mean of the prototypes from both.

    Shapes:
        ``x``: :math:`[n, d]`, ``prototypes``: :math:`[m, d]`, ``prototype_y``: :math:`[m]`, output: :math:`[n, C]`,
        at least float32.

    Returns:
        The scores, in [-1, 1]; 0 of a sample, or of a weighted prototype, that is 0.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, a class is out of range or without a prototype, or the
            temperature is not positive.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import prototype_scores
        >>> prototypes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> x, y = torch.tensor([[2.0, 0.0]]), torch.tensor([0, 0, 1])
        >>> prototype_scores(x, prototypes, y, num_classes=2, temperature=1.0, center=False)
        tensor([[ 0.9385, -1.0000]])
    """
    check_count(num_classes, "num_classes")
    check_number(temperature, "temperature")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0 and finite, got {temperature}")
    _check(x, prototypes, prototype_y, num_classes)
    with torch.autocast(x.device.type, enabled=False):
        wide = torch.promote_types(torch.promote_types(x.dtype, prototypes.dtype), torch.float32)
        x, g = x.to(wide), prototypes.to(wide)
        if center:
            x, g = x - g.mean(0), g - g.mean(0)
        g = _of_size_one(g)
        member = _member(prototype_y, num_classes).to(wide)
        unit = unit_rows(x)
        alpha = _softmax_of_class(unit @ unit_rows(g).T / temperature, prototype_y, member)
        along = (alpha * (unit @ g.T)) @ member
        square = (alpha * (alpha @ (g @ g.T * (member @ member.T)))) @ member
        length = safe_sqrt(square.clamp(min=0))
        return along / length.where(length > 0, math.inf)


def _of_size_one(g: Tensor) -> Tensor:
    """Divided by its largest entry, so that no square overflows or vanishes: cosines are the same."""
    if g.numel() == 0:
        return g
    largest = g.detach().abs().amax()
    return g / largest.where(largest > 0, 1)


def _member(y: Tensor, num_classes: int) -> Tensor:
    return y[:, None] == torch.arange(num_classes, device=y.device)


def _softmax_of_class(scores: Tensor, y: Tensor, member: Tensor) -> Tensor:
    """Softmax of each row over the columns of each class."""
    index = y.expand_as(scores)
    lowest = scores.new_full((len(scores), member.shape[1]), -math.inf)
    top = lowest.scatter_reduce(1, index, scores.detach(), "amax")
    part = (scores - top.gather(1, index)).exp()
    return part / (part @ member).gather(1, index)


def _check(x: Tensor, prototypes: Tensor, y: Tensor, num_classes: int) -> None:
    check_matrix(x, "x")
    check_matrix(prototypes, "prototypes")
    check_labels(y, len(prototypes), "prototype_y")
    if prototypes.shape[1] != x.shape[1]:
        raise ValueError(f"prototypes must have {x.shape[1]} columns, got {prototypes.shape[1]}")

    def there() -> Tensor:
        return _member(y, num_classes).any(0)

    def refuse() -> None:
        raise ValueError(
            f"prototype_y must hold every class, got none of {int(there().int().argmin())}"
        )

    every = Check("prototype_y must hold every class", lambda: there().all(), 1, 1, refuse)
    values = finite(x, "x"), finite(prototypes, "prototypes")
    settle(*values, at_least(y, 0, "prototype_y"), below(y, num_classes, "prototype_y"), every)
