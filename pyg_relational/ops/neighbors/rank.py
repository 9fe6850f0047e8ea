"""Nearest neighbours among candidates, by direct distance."""

import math

import torch
from torch import Tensor

from pyg_relational.ops.graph.kernels import unit_rows
from pyg_relational.ops.neighbors.candidates import Points

__all__ = ["distances", "nearest", "rank"]

_CLOSE = 1e-5  # relative gap below which float32 may swap two distances
_TINY = 1e-15  # distance whose square is near float32's smallest


def rank(points: Points, k: int, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of each query's candidates by direct distance, ties to the lower column.

    Candidates come sorted by row, at least ``k`` for each row there is.
    """
    index, value = nearest(points, k, row, col)
    here, following = value[:, :k], value[:, 1:]
    unsure = (following - here <= _CLOSE * here + _blur(points, here)).any(1)
    if unsure.any():  # float32 may have swapped two
        some = unsure.repeat_interleave(_counts(row)).nonzero()[:, 0]
        n = len(points.x)
        pair = (row[some] * n + col[some]).sort().values
        again = nearest(points, k, pair // n, pair % n, torch.float64)
        index[unsure], value[unsure] = again[0], again[1].to(value.dtype)
    return index, value[:, :k]


def nearest(
    points: Points, k: int, row: Tensor, col: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest candidates of each row, and ``k + 1`` distances, infinite where there are no more."""
    value = distances(points, row, col, dtype)
    order = _order(row, value)
    counts = _counts(row)[:, None]
    slot = counts.cumsum(0) - counts + torch.arange(k + 1, device=row.device)
    order = order[slot.clamp_(max=len(row) - 1)]
    value = value[order]
    value[:, k:].masked_fill_(counts <= k, math.inf)
    return col[order[:, :k]], value


def _counts(row: Tensor) -> Tensor:
    """Number of candidates of each row there is."""
    counts = (row - row[0]).bincount()
    return counts[counts > 0]


def _order(row: Tensor, value: Tensor) -> Tensor:
    """Stable order by row, then by value, which is not negative: its bits sort as it does."""
    if value.dtype == torch.float32:
        return ((row << 32) + value.view(torch.int32)).argsort(stable=True)
    order = value.argsort(stable=True)
    return order[row[order].argsort(stable=True)]


def _blur(points: Points, value: Tensor) -> Tensor | float:
    """Absolute gap below which float32 may swap two distances: unit rows are rounded, squares vanish."""
    eps: float = torch.finfo(value.dtype).eps
    return 8 * eps * (value.sqrt() + 8 * eps) if points.cosine else _TINY


def distances(points: Points, row: Tensor, col: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Direct distance of query ``row`` and point ``col``, pair by pair, in chunks that fit the cache."""
    chunk = max(1, 2**18 // max(1, points.x.shape[1]))
    pairs = zip(row.split(chunk), col.split(chunk), strict=True)
    if dtype is None and not points.cosine:
        return _direct(points, chunk, row, col)
    return torch.cat([_pair_distance(points, r, c, dtype) for r, c in pairs])


def _direct(points: Points, chunk: int, row: Tensor, col: Tensor) -> Tensor:
    """Euclidean distances, every chunk in the memory of the one before."""
    shape = (min(chunk, len(row)), points.raw_x.shape[1])
    a, b = points.raw_x.new_empty(shape), points.raw_x.new_empty(shape)
    distance = a.new_empty(len(row))
    for start in range(0, len(row), chunk):
        here = slice(start, start + chunk)
        left, right = a[: len(row[here])], b[: len(row[here])]
        torch.index_select(points.raw_x, 0, col[here], out=left)
        torch.index_select(points.raw_q, 0, row[here], out=right)
        torch.linalg.vector_norm(left.sub_(right), dim=1, out=distance[here])
    return distance


def _pair_distance(points: Points, row: Tensor, col: Tensor, dtype: torch.dtype | None) -> Tensor:
    if not points.cosine:
        a, b = points.raw_x.index_select(0, col), points.raw_q.index_select(0, row)
        length: Tensor = torch.linalg.vector_norm(a.to(dtype).sub_(b), dim=1)
        return length
    if dtype is None:
        a, b = points.x.index_select(0, col), points.q.index_select(0, row)
    else:
        a, b = unit_rows(points.raw_x[col].to(dtype)), unit_rows(points.raw_q[row].to(dtype))
    half = (a - b).square_().sum(1) / 2
    return half.where(a.any(1) & b.any(1), 1.0)
