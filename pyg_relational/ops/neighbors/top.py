"""Nearest neighbours on a device: as many candidates for every row, so that no size depends on data."""

import torch
from torch import Tensor

from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.minima import GROUP, minima
from pyg_relational.ops.graph.kernels import unit_rows
from pyg_relational.ops.neighbors.candidates import Points, slack

__all__ = ["search_on_device"]

_MORE = 16  # candidates beyond k; not measured
_WIDER = 8  # times as many where these do not suffice; not measured
_PRODUCT = 2**27  # numbers of a product, or of candidates' features, at once; not measured
_SHARE = 4  # columns to those of candidates' groups from which on the kernel's minima are taken; not measured

Groups = tuple[Tensor, Tensor]


def search_on_device(points: Points, k: int, groups: Groups | None = None) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of each query and their distances, with one wait for the device.

    The ``k + 16`` lowest products of a row are candidates, ranked in float64, ties to the lower index. Where the last
    of them is not above what rounding may hide of the ``k``-th, as among many duplicates, more are, and the device is
    waited for once more.

    Args:
        points: Points and queries.
        k: Number of neighbours.
        groups: Groups of queries and of points; neighbours are of the query's group, those that it has not are at an
            infinite distance. ``None`` for one group.

    Shapes:
        output: two of :math:`[m, k]`.
    """
    most = len(points.x) - points.own
    count = min(k + _MORE, most)
    row = torch.arange(len(points.q), device=points.x.device)
    index, distance, open_ = _search(points, k, count, row, groups)
    while len(row := row[open_]):
        count = min(_WIDER * count, most)
        index[row], distance[row], open_ = _search(points, k, count, row, groups)
    return index, distance


def _search(
    points: Points, k: int, count: int, row: Tensor, groups: Groups | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Neighbours among ``count`` candidates of some queries, their distances, and whether there may be nearer ones."""
    n, d = points.x.shape
    grouped = groups is None and n >= _SHARE * GROUP * count and is_fused(points.x)
    width, members = (n // GROUP, GROUP * count) if grouped else (n, count)
    size = max(1, min(_PRODUCT // width, _PRODUCT // (members * (d + 1))))
    found = [
        _nearest(
            points, k, part, *(_of_groups if grouped else _of_all)(points, part, count, groups)
        )
        for part in row.split(size)
    ]
    index, distance, open_ = (torch.cat(part) for part in zip(*found, strict=True))
    return index, distance, open_


def _of_all(
    points: Points, row: Tensor, count: int, groups: Groups | None
) -> tuple[Tensor, Tensor]:
    """The ``count`` lowest products of each row, and their columns."""
    value = torch.addmm(points.bias, points.q[row], points.x.T, alpha=-2)
    if points.own:
        value.scatter_(1, row[:, None], torch.inf)
    if groups is not None:
        value.masked_fill_(groups[0][row, None] != groups[1], torch.inf)
    value, col = value.topk(count, largest=False)
    return value, col


def _of_groups(
    points: Points, row: Tensor, count: int, groups: Groups | None
) -> tuple[Tensor, Tensor]:
    """The same: as many groups of columns, of the lowest minima, hold them."""
    q, n = points.q[row], len(points.x)
    fine = q.new_empty(len(row), -(-n // GROUP))
    minima(q, points.x, points.bias, row if points.own else None, fine)
    col = fine.topk(count, largest=False).indices[..., None] * GROUP
    col = (col + torch.arange(GROUP, device=col.device)).flatten(1)
    there = col.clamp(max=n - 1)
    value = points.bias[there] - 2 * (points.x[there] @ q[..., None]).squeeze(2)
    out = col >= n
    value = value.masked_fill_((out | (col == row[:, None])) if points.own else out, torch.inf)
    value, place = value.topk(count, largest=False)
    return value, there.gather(1, place)


def _nearest(
    points: Points, k: int, row: Tensor, value: Tensor, col: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    bound, last = value[:, k - 1], value[:, -1]
    length = points.q[row].norm(dim=1)
    limit = bound + slack(length, length.square() + bound, points.x.shape[1])
    open_ = (last <= limit) & (last < torch.inf) & (col.shape[1] < len(points.x) - points.own)
    distance = _distances(points, row, col).masked_fill_(value == torch.inf, torch.inf)
    col, order = col.sort(1)
    distance, nearest = distance.gather(1, order).sort(dim=1, stable=True)
    return col.gather(1, nearest[:, :k]), distance[:, :k].to(points.raw_x.dtype), open_


def _distances(points: Points, row: Tensor, col: Tensor) -> Tensor:
    """Direct distances of queries and their candidates, in float64."""
    a, b = points.raw_x[col].double(), points.raw_q[row, None].double()
    if not points.cosine:
        distance: Tensor = torch.linalg.vector_norm(a - b, dim=2)
        return distance
    a, b = unit_rows(a.flatten(0, 1)).view_as(a), unit_rows(b.squeeze(1))[:, None]
    half = (a - b).square().sum(2) / 2
    return half.where(a.any(2) & b.any(2), 1.0)
