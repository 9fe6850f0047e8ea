"""Nearest neighbours in cells around some of the points, where clusters leave few cells near a query."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.neighbors.candidates import Points, candidates, merged, slack
from pyg_relational.ops.neighbors.rank import rank
from pyg_relational.ops.neighbors.tree import finds
from pyg_relational.ops.neighbors.whole import candidates_whole, few

__all__ = ["Cells", "cells_apart", "search_in_cells"]

_LEAST = 17  # dimensions; clusters of 50,000 in 16 take 1.2 times the tree's time, in 24 .9
_QUERIES = 4  # points to a query, at most: all are compared with all centres
_POINTS = 64  # in a cell on average; of twice as many, clusters of 500 may lack a centre
_ROWS = 256  # queries, of one cell or of several near each other, that share their columns
_MANY = 2048  # points near from which on the bound is tightened; fewer are multiplied whole
_SHARE = 0.4  # of the points near to a block of queries; tiles take as long at .3 (32 dimensions) to .6 (64)
_SAMPLE = 32  # queries
_BLOCKS = 4  # of queries


class Cells(NamedTuple):
    """Points by the nearest of some of them, the centres."""

    centre: Tensor  # [c, d]
    square: Tensor  # [c] its squared length
    radius: Tensor  # [c] distance of the farthest point from its centre, -inf of an empty cell
    full: Tensor  # [c] the same, inf of a cell without k others than a query
    counts: Tensor  # [c] number of points
    first: Tensor  # [c] place of the first of them in ``order``
    order: Tensor  # [n] points, cell by cell
    query: Tensor  # [m] queries, cell by cell


def cells_apart(points: Points, k: int) -> Cells | None:
    """Cells of the points, where those near to a query hold few of the points; else None."""
    n, d = points.x.shape
    if d < _LEAST or few(points) or n > _QUERIES * len(points.q) or not finds(points):
        return None
    half = n // max(2 * _POINTS, 4 * k)  # of the centres
    if half * _SHARE < 1:
        return None
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(n, generator=generator)[:half]  # a stride may be that of classes
    centre = _in_order(_centres(points.x, points.x[drawn], generator))
    if _least_share(points, centre) > _SHARE:
        return None
    cells = _partition(points, _means(points.x, centre), k)
    blocks = cells.query.split(_ROWS)
    blocks = blocks[:: max(1, len(blocks) // _BLOCKS)][:_BLOCKS]
    share = sum(len(_near(points, k, cells, rows)) for rows in blocks)
    return cells if share <= _SHARE * n * len(blocks) else None


def _centres(x: Tensor, some: Tensor, generator: torch.Generator) -> Tensor:
    """Some rows, and about as many that are likely to be far from these, so that no cluster lacks a centre.

    A row is drawn in proportion to its squared distance from the nearest, as in `k-means||
    <https://arxiv.org/abs/1203.6402>`_.
    """
    square = (x - some[_nearest(x, some)]).square_().sum(1)
    total = square.double().cumsum(0)
    drawn = torch.rand(len(some), dtype=total.dtype, generator=generator) * total[-1]
    return torch.cat([some, x[torch.searchsorted(total, drawn).clamp_(max=len(x) - 1).unique()]])


def _in_order(centre: Tensor) -> Tensor:
    """The centres, neighbours near each other."""
    from scipy.spatial import cKDTree

    return centre[torch.from_numpy(cKDTree(centre.numpy(), leafsize=2).indices)]


def _means(x: Tensor, centre: Tensor) -> Tensor:
    """Means of the rows nearest to each centre."""
    cell = _nearest(x, centre)
    count = cell.bincount(minlength=len(centre))
    total = torch.zeros_like(centre).index_add_(0, cell, x)
    return (total / count[:, None])[count > 0]


def _least_share(points: Points, centre: Tensor) -> float:
    """Share of the centres within twice the distance of the nearest: near, where cells and neighbours are as far."""
    q = points.q[:: max(1, len(points.q) // _SAMPLE)]
    distance = _distances(q, centre, torch.linalg.vecdot(centre, centre))[0]
    return float((distance <= 2 * distance.amin(1, keepdim=True)).float().mean())


def _distances(q: Tensor, centre: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Distances of queries from centres, and a bound of their rounding error for each query."""
    norm = q.norm(dim=1)
    value = torch.addmm(square, q, centre.T, alpha=-2).add_(norm.square()[:, None])
    error = slack(norm, value.amax(1), q.shape[1]).sqrt()
    return value.clamp_(min=0).sqrt_(), error


def _partition(points: Points, centre: Tensor, k: int) -> Cells:
    x = points.x
    cell = _nearest(x, centre)
    reach = torch.linalg.vector_norm(x - centre[cell], dim=1)
    reach *= 1 + x.shape[1] * torch.finfo(x.dtype).eps
    count = cell.bincount(minlength=len(centre))
    radius = reach.new_full((len(centre),), -torch.inf).scatter_reduce_(0, cell, reach, "amax")
    order = cell.argsort(stable=True)
    return Cells(
        centre=centre,
        square=torch.linalg.vecdot(centre, centre),
        radius=radius,
        full=radius.where(count >= k + points.own, torch.inf),
        counts=count,
        first=count.cumsum(0) - count,
        order=order,
        query=order if points.own else _nearest(points.q, centre).argsort(stable=True),
    )


def _nearest(x: Tensor, centre: Tensor) -> Tensor:
    """Nearest centre of every row."""
    square = torch.linalg.vecdot(centre, centre)
    parts = [torch.addmm(square, part, centre.T, alpha=-2).argmin(1) for part in x.split(_ROWS)]
    return torch.cat(parts)


def _near(points: Points, k: int, cells: Cells, rows: Tensor) -> Tensor:
    r"""Points of the cells that may hold one of the ``k`` nearest of some queries.

    A point of a cell of centre :math:`c` and radius :math:`r` is at least :math:`\lVert q - c \rVert - r` from
    :math:`q`, and the ``k`` nearest are at most :math:`\lVert q - c \rVert + r` from it where the cell has as many.
    Where this leaves many, the points of the cell of that bound are looked at.
    """
    q = points.q[rows]
    distance, error = _distances(q, cells.centre, cells.square)
    least, cell = (distance + cells.full).min(1)
    distance -= cells.radius

    def within(bound: Tensor) -> Tensor:
        return _members(cells, (distance <= bound[:, None]).any(0).nonzero()[:, 0])

    near = within(least + 2 * error)
    if len(near) <= _MANY:
        return near
    reach = _reach(points, k, q, _members(cells, cell.unique()))
    return within(reach.minimum(least + 2 * error) + 2 * error)


def _reach(points: Points, k: int, q: Tensor, some: Tensor) -> Tensor:
    """At least the distance of the ``k``-th nearest of some points, and of a query itself, from each query."""
    k = k + points.own
    product = torch.addmm(points.bias[some], q, points.x[some].T, alpha=-2)
    size = max(1, len(some) // (5 * k))
    least = product[:, : len(some) // size * size].unflatten(1, (size, -1)).amin(1)
    norm = q.norm(dim=1)
    square = least.topk(k, largest=False).values.amax(1) + norm.square()
    reach: Tensor = (square + slack(norm, square, q.shape[1])).clamp_(min=0).sqrt_()
    return reach


def _members(cells: Cells, some: Tensor) -> Tensor:
    """Points of some cells."""
    count = cells.counts[some]
    place = (cells.first[some] - (count.cumsum(0) - count)).repeat_interleave(count)
    return cells.order[place + torch.arange(len(place))]


def search_in_cells(points: Points, k: int, cells: Cells) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of each query and their distances."""
    m, n = len(points.q), len(points.x)
    index = cells.order.new_empty((m, k))
    value = points.x.new_empty((m, k))
    for row, col in merged(_candidates(points, k, cells)):
        pair = (row * n + col).sort().values
        row, col = pair // n, pair % n
        some = row.unique_consecutive()
        index[some], value[some] = rank(points, k, row, col)
    return index, value


def _candidates(points: Points, k: int, cells: Cells) -> Iterator[tuple[Tensor, Tensor]]:
    """Query and point of every pair that may be among a query's ``k`` nearest, block of queries by block."""
    for rows in cells.query.split(_ROWS):
        cols = _near(points, k, cells, rows)
        part = points._replace(
            x=points.x[cols],
            bias=points.bias[cols],
            q=points.q[rows],
            raw_q=points.raw_q[rows],
            own=False,
        )
        for r, c in (candidates_whole if few(part) else candidates)(part, k + points.own):
            row, col = rows[r], cols[c]
            if points.own:
                other = row != col
                row, col = row[other], col[other]
            yield row, col
