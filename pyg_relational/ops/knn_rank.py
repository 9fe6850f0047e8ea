"""Nearest neighbours among candidates, by direct distance."""

import math

import torch
from torch import Tensor

from pyg_relational.ops.kernels import unit_rows
from pyg_relational.ops.knn_candidates import Points

_WIDEST = 2**20  # elements of a table of candidates; rows of many ties are ranked apart
_CLOSE = 1e-5  # relative gap below which float32 may swap two distances
_TINY = 1e-15  # distance whose square is near float32's smallest


def rank(points: Points, k: int, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of each query's candidates by direct distance, ties to the lower column."""
    local = row - row[0]
    counts = local.bincount()
    slot = torch.arange(row.numel(), device=row.device) - (counts.cumsum(0) - counts)[local]
    shape = (counts.numel(), int(counts.max()))
    widest = min(_WIDEST, max(2**15, 8 * row.numel()))
    if shape[0] > 1 and shape[0] * shape[1] > widest:  # a row of many ties would widen all
        half = [int(counts[: shape[0] // 2].sum())]
        halves = zip(row.tensor_split(half), col.tensor_split(half), strict=True)
        found = [rank(points, k, *part) for part in halves]
        return torch.cat([index for index, _ in found]), torch.cat([value for _, value in found])
    index = col.new_zeros(shape).index_put((local, slot), col)
    value = points.x.new_full(shape, math.inf)
    value[local, slot] = _distance(points, row, col)
    value, order = value.sort(dim=1, stable=True)
    index = index.gather(1, order)
    unsure = (value[:, 1 : k + 1] == value[:, :k][:, : shape[1] - 1]).any(1)
    if shape[1] > k:
        gap = value[:, k] - value[:, k - 1]
        unsure |= gap <= _CLOSE * value[:, k - 1] + _blur(points, value[:, k - 1])
    exact = _distance_again(points, row[0] + unsure.nonzero(), index[unsure], value[unsure])
    value[unsure], index[unsure] = exact
    return index[:, :k], value[:, :k]


def _blur(points: Points, value: Tensor) -> Tensor | float:
    """Absolute gap below which float32 may swap two distances: unit rows are rounded, squares vanish."""
    eps: float = torch.finfo(value.dtype).eps
    return 8 * eps * (value.sqrt() + 8 * eps) if points.cosine else _TINY


def _distance_again(
    points: Points, row: Tensor, index: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """Sort candidates again with float64 distances, where float32 may have swapped two."""
    index, order = index.sort(dim=1)
    row = row.expand_as(index)
    exact = _distance(points, row.flatten(), index.flatten(), torch.float64).view_as(value)
    exact = exact.where(value.gather(1, order).isfinite(), math.inf)
    exact, order = exact.sort(dim=1, stable=True)
    return exact.to(value.dtype), index.gather(1, order)


def _distance(points: Points, row: Tensor, col: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """Direct distance of query ``row`` and point ``col``, pair by pair, in chunks that fit the cache."""
    chunk = max(1, (2**25 if row.is_cuda else 2**19) // max(1, points.x.shape[1]))
    pairs = zip(row.split(chunk), col.split(chunk), strict=True)
    parts = [_pair_distance(points, r, c, dtype) for r, c in pairs]
    return torch.cat(parts) if parts else points.x.new_empty(0, dtype=dtype)


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
