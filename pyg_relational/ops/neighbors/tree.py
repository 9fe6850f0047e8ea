"""Candidates for the nearest neighbours, by a k-d tree, where it is faster than matrix products."""

import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyg_relational.ops.graph.kernels import unit_rows
from pyg_relational.ops.neighbors.candidates import Points, candidates

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

__all__ = ["Pairs", "candidates_in_tree", "faster", "finds", "fits", "plant"]

Pairs = Iterator[tuple[Tensor, Tensor]]

_FLAT = (
    3  # dimensions up to which the tree is 4 to 60 times as fast, whatever the data and n >= 1000
)
_DEEP = 64  # beyond, not even tight clusters make it faster
_LEAST = 1000  # points below which both take milliseconds
_TRIED = 16  # queries that the tree is timed on
_CHUNK = 2**18  # candidates at once
_WIDER = 4  # times as many neighbours are asked for where ties go beyond the k-th
_APART = 1e-9  # relative gap at which float64 tells two distances apart for certain


def fits(points: Points) -> bool:
    """Whether a tree finds the same neighbours, and may be faster."""
    n, d = points.x.shape
    return 1 <= d <= _DEEP and n >= _LEAST and finds(points)


def finds(points: Points) -> bool:
    """Whether a tree finds the same neighbours: on the CPU, without zero rows under the cosine."""
    if points.x.device.type != "cpu" or points.x.shape[1] == 0:
        return False
    return not points.cosine or bool(points.x.any(1).all() and points.q.any(1).all())


def faster(points: Points, k: int, products: Pairs) -> Pairs:
    """The tree's candidates or those of ``products``, whichever takes less time for some of the queries."""
    tree, q = plant(points)
    if q.shape[1] <= _FLAT:
        return candidates_in_tree(points, k, tree, q)
    some = q[:: max(1, len(q) // _TRIED)][:_TRIED]
    start = time.perf_counter()
    tree.query(some.numpy(), k + points.own + 1)
    middle = time.perf_counter()
    first = next(products)
    end = time.perf_counter()
    if (middle - start) / len(some) < (end - middle) / (int(first[0][-1]) + 1):
        return candidates_in_tree(points, k, tree, q)
    return chain([first], products)


def plant(points: Points) -> "tuple[cKDTree, Tensor]":
    """A tree of the points in float64, and the queries."""
    from scipy.spatial import cKDTree

    x, q = points.raw_x.double(), points.raw_q.double()
    if points.cosine:
        x, q = unit_rows(x), unit_rows(q)
    return cKDTree(x.numpy()), q


def candidates_in_tree(points: Points, k: int, tree: "cKDTree", q: Tensor) -> Pairs:
    """Query and point of every pair that may be among a query's ``k`` nearest, by query; block by block.

    One more neighbour than needed is asked for: where it is no farther than the ``k``-th, more are, and where
    these do not suffice either, the matrix product decides.
    """
    step = max(1, _CHUNK // (k + 2))
    for start in range(0, len(q), step):
        row = torch.arange(start, min(start + step, len(q)))
        pairs, open_ = _ask(points, k, tree, q, row, k + points.own + 1)
        if len(open_):
            more, open_ = _ask(points, k, tree, q, open_, _WIDER * k + points.own + 1)
            if 2 * len(open_) > len(row):
                yield from candidates(points, k, start)
                return
            pairs = torch.cat([pairs, more, _multiply(points, k, open_)]).sort().values
        yield pairs // len(points.x), pairs % len(points.x)


def _ask(
    points: Points, k: int, tree: "cKDTree", q: Tensor, row: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Pairs, as one number each, of the rows whose ties end among ``count`` neighbours; the other rows."""
    n = len(points.x)
    count = min(count, n)
    found = tree.query(q[row].numpy(), count, workers=torch.get_num_threads())
    distance, col = (torch.from_numpy(part).view(len(row), count) for part in found)
    last = k + points.own
    sure = distance[:, -1] > distance[:, last - 1] * (1 + _APART)
    sure |= count == n
    pair = row[sure, None] * n + col[sure]
    if points.own:
        pair = pair[col[sure] != row[sure, None]]
    return pair.flatten(), row[~sure]


def _multiply(points: Points, k: int, row: Tensor) -> Tensor:
    """Pairs of these rows by the matrix product."""
    if not len(row):
        return row
    some = points._replace(q=points.q[row], raw_q=points.raw_q[row], own=False)
    n = len(points.x)
    pairs = [(row[i], col) for i, col in candidates(some, k + points.own)]
    return torch.cat(
        [r[keep] * n + c[keep] for r, c in pairs for keep in [(r != c) | (not points.own)]]
    )
