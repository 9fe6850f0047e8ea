"""How far apart classes are, for their size."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyg_relational.ops.checks import check_features, check_labels

__all__ = ["generalized_discrimination_value"]

_TILE = 128


def generalized_discrimination_value(z: Tensor, y: Tensor) -> Tensor:
    r"""Generalized discrimination value (GDV): 0 where classes are not separated, about -1 where they are, perfectly.

    From `Schilling et al., "Quantifying the separability of data classes in neural networks"
    <https://doi.org/10.1016/j.neunet.2021.03.035>`_ (2021). With every dimension z-scored and halved,
    :math:`s = \frac{1}{2} (z - \mu) / \sigma`, and mean distances :math:`\bar{d}` of the pairs inside a class and
    between two,

    .. math::
        \text{GDV} = \frac{1}{\sqrt{d}} \left( \frac{1}{L} \sum_l \bar{d}(C_l)
            - \frac{2}{L (L - 1)} \sum_{l < m} \bar{d}(C_l, C_m) \right)

    so classes count alike, whatever their sizes. Scale and shift of a dimension do not matter. A constant dimension has
    no z-score, and is left out of :math:`s` and :math:`d`; where all are constant, GDV is 0. Rows with a label of -1
    are unlabelled and left out. Runs in float64, in :math:`O(n^2 d)` time and :math:`O(n (d + L))` memory.

    Args:
        z: Features.
        y: Class of each row, -1 where it is unknown.

    Shapes:
        - **z:** :math:`(n, d)`, floating point
        - **y:** :math:`(n)`, int64
        - **returns:** scalar of the type of ``z``

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, features that are not finite, fewer than two classes, or a class of one sample.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import generalized_discrimination_value
        >>> generalized_discrimination_value(torch.tensor([[0.0], [0], [1], [1]]), torch.tensor([0, 0, 1, 1])).item()
        -1.0
    """
    check_features(z, "z")
    check_labels(y, len(z))
    _, label, size = y[y >= 0].unique(return_inverse=True, return_counts=True)
    if len(size) < 2 or size.min() < 2:
        raise ValueError(
            f"y must hold two classes, and two samples of each, got class sizes {size.tolist()}"
        )
    x = z.detach()[y >= 0].double()
    varies = (x != x[0]).any(0)
    if not varies.any():
        return z.new_zeros(())
    x = x[:, varies] - x[:, varies].mean(0)
    x = x / x.abs().amax(0)  # squares of the smallest numbers are 0
    s = x / (2 * x.std(0, correction=0))
    total = _distance_sums(s, one_hot(label).to(s.dtype))
    size = size.to(s.dtype)
    apart = total / torch.outer(size, size)
    inside = total.diagonal() / (size * (size - 1))
    between = apart.sum() - apart.diagonal().sum()
    k = len(size)
    value: Tensor = (inside.mean() - between / (k * (k - 1))) / s.shape[1] ** 0.5
    return value.to(z.dtype)


def _distance_sums(s: Tensor, member: Tensor) -> Tensor:
    """Sum of distances from the rows of each class to those of each class; every tile and its transpose at once."""
    total = s.new_zeros(member.shape[1], member.shape[1])
    for start in range(0, len(s), _TILE):
        end = start + _TILE
        here, of = s[start:end], member[start:end]
        exact = "donot_use_mm_for_euclid_dist"  # 0 for a row and itself
        total += of.T @ torch.cdist(here, here, compute_mode=exact) @ of
        beyond = of.T @ torch.cdist(here, s[end:]) @ member[end:]
        total += beyond + beyond.T
    return total
