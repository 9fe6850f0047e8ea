"""Squared differences between two similarities over all pairs of two sets of rows, with the gradient in the first."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.pairs.consistency import PairWeights, tile_for

__all__ = ["PairRows", "cross_consistency", "sorted_rows"]


class PairRows(NamedTuple):
    """Unit rows of features and predictions, and their classes, sorted by class."""

    u: Tensor
    q: Tensor
    y: Tensor


def sorted_rows(u: Tensor, q: Tensor, y: Tensor) -> PairRows:
    """The rows sorted by class.

    Args:
        u: Unit rows of features.
        q: Unit rows of predictions.
        y: Classes.

    Shapes:
        ``u``: :math:`[n, d]`, ``q``: :math:`[n, c]`, ``y``: :math:`[n]`.
    """
    order = y.argsort(stable=True)
    return PairRows(u[order], q[order], y[order])


def cross_consistency(
    rows: PairRows,
    others: PairRows,
    weights: PairWeights,
    grads: tuple[Tensor, Tensor],
    *,
    relu: bool = True,
    tile: int | None = None,
) -> Tensor:
    r"""Weighted squared difference of the two pair graphs, over all pairs of a row and one of the others.

    .. math::
        \sum_{i, j} w_{ij} \left(\max(\langle u_i, u'_j \rangle, 0)
        - [y_i = y'_j] \langle q_i, q'_j \rangle\right)^2

    In tiles, :math:`O(\text{tile}^2)` memory beyond the rows.

    Args:
        rows: :math:`u, q, y`.
        others: :math:`u', q', y'`.
        weights: Weight of the pairs of one class and of two.
        grads: What the gradients in :math:`u` and :math:`q` are added to; empty where they are not wanted.
        relu: Cut the feature similarity at 0.
        tile: Rows and columns of a tile; ``None`` is 512, and 4096 on a GPU.

    Shapes:
        output: scalar, float64.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.pairs.consistency import PairWeights, tile_for
        >>> from pyg_relational.ops.pairs.cross_consistency import cross_consistency, sorted_rows
        >>> a, b, none = torch.eye(2), torch.eye(2)[:1], torch.empty(0)
        >>> rows, others = sorted_rows(a, a, torch.tensor([0, 1])), sorted_rows(b, b, torch.tensor([1]))
        >>> cross_consistency(rows, others, PairWeights(1.0, 1.0), (none, none)).item()
        1.0
    """
    tile = tile or tile_for(rows.u)
    total = rows.u.new_zeros((), dtype=torch.float64)
    columns = list(_tiles(others.y, tile))
    for i, first, last in _tiles(rows.y, tile):
        here = [grad[i] if len(grad) else None for grad in grads]
        part = PairRows(*(x[i] for x in rows))
        for j, low, high in columns:
            other = PairRows(*(x[j] for x in others))
            shares_class = first <= high and low <= last
            total += _tile(part, other, shares_class, weights, relu, *here)
    return total


def _tiles(y: Tensor, tile: int) -> Iterator[tuple[slice, int, int]]:
    """Rows of every tile, with their first and last class."""
    first, last = y[::tile].tolist(), torch.cat([y[tile - 1 :: tile], y[-1:]]).tolist()
    for k, low in enumerate(first):
        yield slice(k * tile, (k + 1) * tile), low, last[k]


def _tile(
    a: PairRows,
    b: PairRows,
    shares_class: bool,
    weights: PairWeights,
    relu: bool,
    grad_u: Tensor | None,
    grad_q: Tensor | None,
) -> Tensor:
    """Value of a tile; adds its part to the gradients."""
    f = a.u @ b.u.T
    passed = f > 0 if relu and shares_class else None
    f = f.relu_() if relu else f
    scale: Tensor | float = weights.different
    if shares_class:
        same = a.y[:, None] == b.y
        f -= (a.q @ b.q.T).mul_(same)
        scale = weights.at(same, f.dtype)
    scaled = f * scale
    value: Tensor = torch.linalg.vecdot(f, scaled).sum(dtype=torch.float64)
    if shares_class and grad_q is not None:
        grad_q.addmm_(scaled * same, b.q, alpha=-2)
    if grad_u is not None:
        grad_u.addmm_(scaled if passed is None else scaled.mul_(passed), b.u, alpha=2)
    return value
