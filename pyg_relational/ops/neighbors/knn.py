"""Exact k-nearest neighbours, tiled: matrix products find candidates, direct differences rank them."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.checks import (
    check_choice,
    check_count,
    check_labels,
    check_matrix,
    finite,
    settle,
)
from pyg_relational.ops.neighbors.candidates import (
    Points,
    candidates,
    candidates_both_ways,
    norm_check,
    prepare,
)
from pyg_relational.ops.neighbors.cells import cells_apart, search_in_cells
from pyg_relational.ops.neighbors.projection import candidates_projected, project
from pyg_relational.ops.neighbors.rank import rank
from pyg_relational.ops.neighbors.small_graphs import small, within_small_graphs
from pyg_relational.ops.neighbors.top import search_on_device
from pyg_relational.ops.neighbors.tree import Found, faster, fits, hopeless
from pyg_relational.ops.neighbors.whole import candidates_whole, few
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["KNN", "knn"]

_BOTH_WAYS = (
    2**26
)  # n d^2 from which on a product halved saves more than its columns' minima cost: 4100 x 128


class KNN(NamedTuple):
    """Neighbours of each query row, nearest first.

    Attributes:
        index: ``[n, k]`` int64, rows of ``x``.
        distance: ``[n, k]`` of the dtype of ``x``: ``||x_i - x_j||``, or ``1 - cos(x_i, x_j)``.
    """

    index: Tensor  # type: ignore[assignment]
    distance: Tensor


@torch.no_grad()
def knn(
    x: Tensor,
    k: int,
    metric: str = "euclidean",
    y: Tensor | None = None,
    batch: Tensor | None = None,
) -> KNN:
    r"""Exact :math:`k` nearest neighbours of every row, in :math:`O(\text{tile} \cdot n + n k)` memory.

    .. math::
        d_{ij} = \lVert x_i - x_j \rVert_2 \quad\text{or}\quad
        d_{ij} = 1 - \frac{\langle x_i, x_j \rangle}{\lVert x_i \rVert \lVert x_j \rVert}

    How candidates are found depends on the data, the result does not: they are ranked by their direct differences, in
    float64 where float32 cannot tell two of them apart. On a CPU a k-d tree (:class:`scipy.spatial.cKDTree`) finds them
    for more than 512 queries in up to 3 dimensions, and in up to 64 where it answers some of the queries faster
    than the tiled matrix product :math:`\lVert x_j \rVert^2 - 2 \langle x_i, x_j \rangle`, whose rounding error is
    bounded. Where clusters lie apart, a query meets the points of near cells only, by the triangle inequality.
    Of at most 2048 rows the product is taken whole. In many dimensions each product serves both its ends,
    and where few principal directions leave few candidates, it is taken in these only: it bounds the distance from
    below. On other devices
    each row has as many candidates, of the lowest products, which are ranked in float64; on CUDA with triton, float32
    products of many points are reduced to minima of 8 columns before they leave the chip. Ties go to the lower index.
    A row is not its own neighbour, but a duplicate of it is. Under ``"cosine"`` a zero row has cosine 0 with every row.

    Args:
        x: Features.
        k: Number of neighbours, ``1 <= k <= n - 1`` (``<= n`` with ``y``).
        metric: ``"euclidean"`` or ``"cosine"``.
        y: Queries; with it, neighbours in ``x`` of the rows of ``y``, nothing excluded.
        batch: Graph number of every row; neighbours stay inside a graph. It need not be sorted.

    Shapes:
        - ``x``: :math:`[n, d]`, ``y``: :math:`[m, d]`, ``batch``: :math:`[n]`
        - output: two of :math:`[n, k]` (:math:`[m, k]` with ``y``)

    Returns:
        ``KNN(index, distance)``. Constant with respect to ``x``:
        :func:`~pyg_relational.transforms.knn_graph` gives differentiable weights.

    Raises:
        ValueError: If ``k`` is out of range, a value is not finite, or shapes disagree.
        TypeError: If an argument has the wrong dtype.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import knn
        >>> knn(torch.tensor([[0.0], [1.0], [3.0]]), k=1).index.flatten().tolist()
        [1, 0, 1]
    """
    check_matrix(x)
    check_choice(metric, ("euclidean", "cosine"), "metric")
    if y is not None:
        check_matrix(y, "y")
        if y.shape[1] != x.shape[1] or y.dtype != x.dtype:
            raise ValueError(
                f"y must match x's [*, {x.shape[1]}] {x.dtype}, got {list(y.shape)} {y.dtype}"
            )
        if batch is not None:
            raise ValueError("batch and y cannot be given together: call knn once a graph")
    k = check_count(k, "k")
    if batch is not None:
        return _knn_batch(x, k, metric, batch)
    most = x.shape[0] - (y is None)
    if not 1 <= k <= most:
        what = "n - 1" if y is None else "n"
        raise ValueError(
            f"k must be in 1..{what} = {most} for n = {x.shape[0]} rows, got {k}: "
            "take a smaller k or more rows"
        )
    return _knn(x, k, metric == "cosine", y)


@uncompiled  # sizes depend on the data; what is refused within a compiled autocast would leave it open
def _knn(x: Tensor, k: int, cosine: bool, y: Tensor | None) -> KNN:
    checks = [finite(x, "x")] if y is None else [finite(x, "x"), finite(y, "y")]
    if y is not None and not len(y):
        settle(*checks)
        return KNN(x.new_empty((0, k), dtype=torch.int64), x.new_empty((0, k)))
    with torch.autocast(x.device.type, enabled=False):
        points = prepare(x, y, cosine)
        settle(*checks, norm_check(points))
        index, distance = _search(points, k)
        return KNN(index, distance.to(x.dtype))


def _knn_batch(x: Tensor, k: int, metric: str, batch: Tensor) -> KNN:
    check_labels(batch, x.shape[0], "batch")
    order = batch.argsort(stable=True)
    graphs, graph, counts = batch[order].unique_consecutive(True, True)
    sizes = counts.tolist()
    if sizes and not k < min(sizes):
        least = min(sizes)
        name = graphs[sizes.index(least)]
        raise ValueError(f"k must be >= 1 and < {least}, the size of graph {name}, got {k}")
    index = x.new_empty((x.shape[0], k), dtype=torch.int64)
    distance = x.new_empty((x.shape[0], k))
    if metric == "euclidean" and small(sizes):
        settle(finite(x, "x"), norm_check(prepare(x, None, False)))
        near, apart = within_small_graphs(x[order], k, graph, counts, max(sizes))
        index[order], distance[order] = order[near], apart
        return KNN(index, distance)
    for rows in order.split(sizes):
        found = knn(x[rows], k, metric)
        index[rows], distance[rows] = rows[found.index], found.distance
    return KNN(index, distance)


def _search(points: Points, k: int) -> tuple[Tensor, Tensor]:
    if not points.x.is_cpu:
        return search_on_device(points, k)
    cells = cells_apart(points, k)
    if cells is not None:
        return search_in_cells(points, k, cells)
    found: Found = (rank(points, k, *pair) for pair in _candidates(points, k))
    if fits(points) and not hopeless(points, k):
        found = faster(points, k, found)
    index, distance = (torch.cat(part) for part in zip(*found, strict=True))
    return index, distance


def _candidates(points: Points, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    if few(points):
        return candidates_whole(points, k)
    low = project(points, k)
    if low is not None:
        return candidates_projected(points, low, k)
    if points.own and len(points.x) * points.x.shape[1] ** 2 >= _BOTH_WAYS and k <= 64:
        return candidates_both_ways(points, k)
    return candidates(points, k)
