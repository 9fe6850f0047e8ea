"""Nearest neighbours by a k-d tree, where it is faster than matrix products."""

import math
import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.graph.kernels import unit_rows
from pyg_relational.ops.neighbors.candidates import Points
from pyg_relational.ops.neighbors.rank import rank
from pyg_relational.ops.neighbors.whole import candidates_of, few, has_memory, of_rows

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

__all__ = ["Found", "faster", "finds", "fits", "hopeless", "plant", "search_in_tree"]

Found = Iterator[tuple[Tensor, Tensor]]

_FLAT = 3  # dimensions up to which the tree is 4 to 60 times as fast, whatever the data, n >= 1000
_DEEP = 64  # beyond, not even tight clusters make it faster
_LEAST = 1000  # points from which on the tree is asked; below, both take milliseconds
_REACH = 0.2  # of a cell's squared width; from .15 on products took less time at 1000 to 30,000 points, real and drawn
_LEAF = 24  # points; with SciPy's 16 it takes up to 14 % longer, with 32 to 64 as long or longer in up to 4 dimensions
_ASKED = (
    512  # queries beyond which the tree is planted: that takes as long as products of 150 to 300
)
_RUNS, _RUN = (
    8,
    4,
)  # queries that the tree is timed on; twice as many take an eighth of the time of 4000 normal rows
_COLD = 1.5  # times that one of these takes, at least, of one among all, which finds more in the cache; up to 3 seen
_CHUNK = (
    2**20
)  # candidates at once; with a quarter of them two threads take a fifth to two fifths longer, one thread as long
_WIDER = 4  # times as many neighbours are asked for where ties go beyond the k-th
_APART = 1e-9  # relative gap at which float64 tells two distances apart for certain


class _Tree(NamedTuple):
    """Points, queries, and the order in which these are asked: neighbours in it meet the same nodes in the cache."""

    points: "cKDTree"
    q: Tensor
    order: Tensor


def fits(points: Points) -> bool:
    """Whether a tree finds the same neighbours, and may be faster."""
    n, d = points.x.shape
    most = _FLAT if few(points) else _DEEP
    return 1 <= d <= most and n >= _LEAST and len(points.q) > _ASKED and finds(points)


def hopeless(points: Points, k: int) -> bool:
    """Whether some queries' neighbours are so far that few cells of the tree are farther.

    A cell is bounded by as many planes as the tree is deep, each a standard deviation from a query.
    """
    n, d = points.x.shape
    if d <= _FLAT:
        return False
    q = points.q[:: -(-len(points.q) // 16)]
    square = torch.addmm(points.bias, q, points.x.T, alpha=-2) + q.square().sum(1, keepdim=True)
    reach = square.topk(k + points.own, largest=False).values.amax(1).median()
    width = points.x[:: -(-n // 1024)].var(0).amax() * math.log2(n / _LEAF)
    return bool(reach > _REACH * width)


def finds(points: Points) -> bool:
    """Whether a tree finds the same neighbours: in the CPU's memory, without zero rows under the cosine."""
    if points.x.device.type != "cpu" or points.x.shape[1] == 0 or not has_memory(points.x):
        return False
    return not points.cosine or bool(points.x.any(1).all() and points.q.any(1).all())


def faster(points: Points, k: int, products: Found) -> Found:
    """Neighbours by the tree or by ``products``, whichever takes less time for some of the queries.

    The time of other processes does not count, nor does that of the first block of the products, which finds nothing in
    the cache. Both blocks are kept.
    """
    tree = plant(points)
    if tree.q.shape[1] <= _FLAT:
        return iter([search_in_tree(points, k, tree)])
    runs = tree.order.unfold(0, _RUN, len(tree.order) // _RUNS)[:_RUNS]
    some = tree.q[runs.flatten()]
    kept = [next(products)]
    start = time.thread_time()
    tree.points.query(some.numpy(), k + points.own + 1)
    middle = time.thread_time()
    kept.append(next(products))
    end = time.thread_time()
    alone = torch.get_num_threads()  # products run in all threads, the tree's few queries in this
    if (middle - start) / (len(some) * alone * _COLD) < (end - middle) / len(kept[1][0]):
        products = iter([search_in_tree(points, k, tree, sum(len(index) for index, _ in kept))])
    return chain(kept, products)


def plant(points: Points) -> _Tree:
    """A tree of the points in float64."""
    from scipy.spatial import cKDTree

    x, q = points.raw_x.double(), points.raw_q.double()
    if points.cosine:
        x, q = unit_rows(x), unit_rows(q)
    tree = cKDTree(x.numpy(), leafsize=_LEAF)
    order = torch.from_numpy(tree.indices) if points.own else torch.arange(len(q), device=q.device)
    return _Tree(tree, q, order)


def search_in_tree(points: Points, k: int, tree: _Tree, first: int = 0) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of each query from ``first`` on and their distances."""
    order = tree.order[tree.order >= first] if first else tree.order
    index = order.new_empty((len(order), k), dtype=torch.int64)
    value = points.x.new_empty((len(order), k))
    step = max(1, _CHUNK // (k + 2))
    for start in range(0, len(order), step):
        row = order[start : start + step]
        found = _nearest(points, k, tree, row)
        if found is None:
            for row, col in candidates_of(points, k, order[start:].sort().values):
                some = row.unique_consecutive() - first
                index[some], value[some] = rank(points, k, row, col)
            break
        index[row - first], value[row - first] = found
    return index, value


def _nearest(points: Points, k: int, tree: _Tree, row: Tensor) -> tuple[Tensor, Tensor] | None:
    """Neighbours of some queries and their distances; None where too many are equally far.

    It asks for one more neighbour than needed. Where all distances differ, the first ``k`` are the answer. Else
    candidates are ranked.
    """
    own, n = points.own, len(points.x)
    distance, col = _ask(tree, row, k + own + 1)
    tied = (distance[:, 1:] <= distance[:, :-1] * (1 + _APART)).any(1)
    if own:
        tied |= col[:, 0] != row
    index, value = col[:, own : own + k], distance[:, own : own + k]
    value = (value.square() / 2 if points.cosine else value).to(points.x.dtype)
    if tied.any():
        pairs = _tied(points, k, tree, row[tied], distance[tied], col[tied])
        if pairs is None:
            return None
        here = tied.nonzero()[:, 0]
        here = here[row[here].argsort()]  # pairs come by row
        index[here], value[here] = rank(points, k, pairs // n, pairs % n)
    return index, value


def _ask(tree: _Tree, row: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distance and number of the ``count`` nearest, or of all there are."""
    count = min(count, tree.points.n)
    asking = tree.q.numpy()[
        row.numpy()
    ]  # torch's second thread would wait busily while the tree has two
    found = tree.points.query(asking, count, workers=torch.get_num_threads())
    distance, col = (torch.from_numpy(part).view(len(row), count) for part in found)
    return distance, col


def _tied(
    points: Points, k: int, tree: _Tree, row: Tensor, distance: Tensor, col: Tensor
) -> Tensor | None:
    """Candidates of rows with ties, as one number a pair; None where most have more ties than a wider search finds.

    Where the farthest found is no farther than the ``k``-th, more are asked for, and where these do not suffice
    either, the matrix product decides.
    """
    pairs, wide = _closed(points, k, row, distance, col)
    if not len(wide):
        return pairs
    more, open_ = _closed(points, k, wide, *_ask(tree, wide, _WIDER * k + points.own + 1))
    if 2 * len(open_) > len(row):
        return None
    if len(open_):
        more = torch.cat([more, of_rows(points, k, open_)])
    return torch.cat([pairs, more]).sort().values


def _closed(
    points: Points, k: int, row: Tensor, distance: Tensor, col: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs of the rows whose ties end among the neighbours found; the other rows."""
    n = len(points.x)
    last = k + points.own
    sure = distance[:, -1] > distance[:, last - 1] * (1 + _APART)
    sure |= distance.shape[1] == n
    pair = row[sure, None] * n + col[sure]
    if points.own:
        pair = pair[col[sure] != row[sure, None]]
    return pair.flatten().sort().values, row[~sure]
