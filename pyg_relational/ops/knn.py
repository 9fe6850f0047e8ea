"""Exact k-nearest neighbours, tiled: matrix products find candidates, direct differences rank them."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_choice, check_features, check_labels
from pyg_relational.ops.kernels import unit_rows

_CACHE = 2**20  # elements of a tile that selection works on; it should stay in the L2 cache
_GEMM = 2**22  # elements of a tile that one matrix product fills
_CUDA = 2**26  # elements of a tile on a GPU
_PAIRS = 2**15  # candidate pairs to rank at once
_CLOSE = 1e-5  # relative gap below which float32 may swap two distances
_TINY = 1e-15  # distance whose square is near float32's smallest
_HELD = 8  # candidates held per neighbour wanted, before columns are no longer used twice


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
    backend: str = "auto",
) -> KNN:
    r"""Exact :math:`k` nearest neighbours of every row, in :math:`O(\text{tile} \cdot n + n k)` memory.

    .. math::
        d_{ij} = \lVert x_i - x_j \rVert_2 \quad\text{or}\quad
        d_{ij} = 1 - \frac{\langle x_i, x_j \rangle}{\lVert x_i \rVert \lVert x_j \rVert}

    The tiled matrix product :math:`\lVert x_j \rVert^2 - 2 \langle x_i, x_j \rangle` only nominates
    candidates, with a bound on its rounding error; the candidates are ranked by their direct differences,
    in float64 where float32 cannot tell the :math:`k`-th from the next. Ties go to the lower index. A row
    is not its own neighbour, but a duplicate of it is. Under ``"cosine"`` a zero row has cosine 0 with every row.

    Args:
        x: Features.
        k: Number of neighbours, ``1 <= k <= n - 1`` (``<= n`` with ``y``).
        metric: ``"euclidean"`` or ``"cosine"``.
        y: Queries; with it, neighbours in ``x`` of the rows of ``y``, nothing excluded.
        batch: Graph number of every row; neighbours stay inside a graph. It need not be sorted.
        backend: ``"torch"``, ``"faiss"`` (CPU; candidates by faiss, ties not resolved) or ``"auto"``, which is
            ``"torch"``: measured as fast as faiss's flat index, and exact.

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
    check_features(x)
    check_choice(metric, ("euclidean", "cosine"), "metric")
    check_choice(backend, ("auto", "torch", "faiss"), "backend")
    if y is not None:
        check_features(y, "y")
        if y.shape[1] != x.shape[1] or y.dtype != x.dtype:
            raise ValueError(
                f"y must match x's [*, {x.shape[1]}] {x.dtype}, got {list(y.shape)} {y.dtype}"
            )
        if batch is not None:
            raise ValueError("batch and y cannot be given together: call knn once a graph")
    if not isinstance(k, int):
        raise TypeError(f"k must be an int, got {type(k).__name__}")
    if batch is not None:
        return _knn_batch(x, k, metric, batch, backend)
    most = x.shape[0] - (y is None)
    if not 1 <= k <= most:
        what = "n - 1" if y is None else "n"
        raise ValueError(
            f"k must be in 1..{what} = {most} for n = {x.shape[0]} rows, got {k}: "
            "take a smaller k or a larger batch"
        )
    if y is not None and not len(y):
        return KNN(x.new_empty((0, k), dtype=torch.int64), x.new_empty((0, k)))
    search = _faiss if backend == "faiss" else _search
    with torch.autocast(x.device.type, enabled=False):
        return search(x, k, metric == "cosine", y)


def _knn_batch(x: Tensor, k: int, metric: str, batch: Tensor, backend: str) -> KNN:
    check_labels(batch, x.shape[0], "batch")
    order = batch.argsort(stable=True)
    graphs, sizes = (part.tolist() for part in batch[order].unique_consecutive(return_counts=True))
    for graph, size in zip(graphs, sizes, strict=True):
        if not 1 <= k < size:
            raise ValueError(f"k must be >= 1 and < {size}, the size of graph {graph}, got {k}")
    index = x.new_empty((x.shape[0], k), dtype=torch.int64)
    distance = x.new_empty((x.shape[0], k))
    for rows in order.split(sizes):
        found = knn(x[rows], k, metric, backend=backend)
        index[rows], distance[rows] = rows[found.index], found.distance
    return KNN(index, distance)


class _Points(NamedTuple):
    """What the search needs of ``x`` and the queries: rows to multiply, rows to subtract, originals."""

    x: Tensor  # [n, d] centred (or unit) rows for the matrix product
    q: Tensor  # [m, d] the same for the queries
    bias: Tensor  # [n] ||x_j||^2, 1 for unit rows
    raw_x: Tensor
    raw_q: Tensor
    cosine: bool
    own: bool  # queries are x itself


def _points(x: Tensor, y: Tensor | None, cosine: bool) -> _Points:
    low = x.dtype in (torch.float16, torch.bfloat16)
    raw_x = x.float() if low else x
    raw_q = raw_x if y is None else (y.float() if low else y)
    if cosine:
        x, bias = unit_rows(raw_x), raw_x.new_ones(raw_x.shape[0])
        q = x if y is None else unit_rows(raw_q)
    else:
        centre = _middle(raw_x)
        x = raw_x - centre
        q = x if y is None else raw_q - centre
        bias = torch.linalg.vecdot(x, x)
        if not torch.isfinite(2 * (bias.sum() + torch.linalg.vecdot(q, q).sum())):
            raise ValueError(f"x must have finite squared norms in {x.dtype}: rescale the features")
    return _Points(x, q, bias, raw_x, raw_q, cosine, y is None)


def _middle(x: Tensor) -> Tensor:
    """A point amid the rows, one far away or not: medians of some of them."""
    some = x[:: max(1, len(x) // 256)]
    return some.sort(0).values[len(some) // 2]


def _search(x: Tensor, k: int, cosine: bool, y: Tensor | None) -> KNN:
    points = _points(x, y, cosine)
    n, d = points.x.shape
    twice = points.own and d >= 128 and n >= 4096 and k <= 64 and x.device.type == "cpu"
    candidates = _candidates_both_ways if twice else _candidates
    found = [_rank(points, k, row, col) for row, col in candidates(points, k)]
    index, distance = (torch.cat(part) for part in zip(*found, strict=True))
    return KNN(index, distance.to(x.dtype))


def _candidates(points: _Points, k: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Query and point of every pair that may be among a query's ``k`` nearest, sorted; block by block.

    The ``k``-th smallest minimum over disjoint groups of columns bounds the ``k``-th smallest value, so a
    group whose minimum is above it (plus twice the rounding error) holds no neighbour.
    """
    (n, d), m = points.x.shape, points.q.shape[0]
    size = max(1, int(0.5 * math.sqrt(n / k)))
    per = max(1, n // size // (5 * k))  # groups of columns in a group of groups
    width = math.ceil(n / size / per) * per * size
    step = max(1, (_CACHE if points.x.device.type == "cpu" else _CUDA) // width)
    rows = min(m, max(step, _GEMM // width // step * step)) if d >= 128 else min(m, step)
    buffer = points.x.new_full((rows, width), math.inf)
    norm = points.q.norm(dim=1)
    parts: list[Tensor] = []
    for begin in range(first, m, rows):
        q = points.q[begin : begin + rows]
        block = buffer[: q.shape[0], :n]
        torch.addmm(points.bias, q, points.x.T, alpha=-2, out=block)
        if points.own:
            block.diagonal(begin).fill_(math.inf)
        for start in range(begin, begin + q.shape[0], step):
            tile = buffer[start - begin : min(start - begin + step, q.shape[0])]
            length = norm[start : start + tile.shape[0]]
            fine = _minima(tile, size)
            bound = _kth_smallest(fine.unflatten(1, (-1, per)).amin(2), k)
            bound = bound + _slack(length, length.square() + bound, d)
            row, col, _ = _within(tile, fine, bound)
            parts.append((row + start) * n + col)
            if sum(map(len, parts)) > _PAIRS or start + tile.shape[0] == m:
                pairs = torch.cat(parts).sort().values
                yield pairs // n, pairs % n
                parts = []


def _candidates_both_ways(points: _Points, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same for the neighbours of the points themselves, each product used for both its ends.

    ``best`` holds the ``k`` smallest group minima that a point has met; those of rows not reached yet
    come from the columns of earlier blocks, whose candidates wait until their row's turn. Where too many
    would wait, the rest goes one way.
    """
    n, d = points.x.shape
    rows = min(1024, max(256, 2 * _GEMM // n // 64 * 64))
    size = max(1, int(0.5 * math.sqrt(n / k)))
    buffer = points.x.new_empty(rows * (n + size))
    best = points.x.new_full((n, k), math.inf)
    norm = points.x.norm(dim=1)
    waiting: list[tuple[Tensor, Tensor, Tensor]] = []
    for begin in range(0, n, rows):
        stop = min(begin + rows, n)
        tile = _square_distances(points, begin, stop, size, buffer)
        across, down = tile, tile[:, stop - begin : n - begin].T
        limit, row, col, _ = _meet(best[begin:stop], across, size, norm[begin:stop], d)
        own = [(row + begin) * n + col + begin]
        for owner, other, value in waiting:
            first, last = torch.searchsorted(owner, torch.tensor([begin, stop])).tolist()
            near = value[first:last] <= limit[owner[first:last] - begin]
            own.append((owner[first:last] * n + other[first:last])[near])
        if stop < n:
            _, row, col, value = _meet(best[stop:], down, rows // 64, norm[stop:], d)
            waiting.append((row + stop, col + begin, value))
        pairs = torch.cat(own).sort().values
        yield pairs // n, pairs % n
        if sum(len(value) for *_, value in waiting) > _HELD * n * k:  # ties beyond number
            waiting.clear()
            yield from _candidates(points, k, stop)
            return


def _square_distances(points: _Points, begin: int, stop: int, size: int, buffer: Tensor) -> Tensor:
    """``||x_i - x_j||^2`` of rows ``begin:stop`` and columns from ``begin``, padded with inf."""
    n = points.x.shape[0] - begin
    tile = buffer[: (stop - begin) * (n + -n % size)].view(stop - begin, -1)
    block = tile[:, :n]
    torch.addmm(points.bias[begin:], points.x[begin:stop], points.x[begin:].T, alpha=-2, out=block)
    block.add_(points.bias[begin:stop, None])
    block.diagonal().fill_(math.inf)
    tile[:, n:] = math.inf
    return tile


def _meet(
    best: Tensor, tile: Tensor, size: int, norm: Tensor, d: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Let rows meet columns: update ``best``; the rows' limits, and what is within them."""
    fine = _minima(tile, size)
    per = max(1, fine.shape[1] // (5 * best.shape[1]))
    whole = fine.shape[1] // per * per
    coarse = fine[:, :whole].unflatten(1, (-1, per)).amin(2)
    best.copy_(torch.cat([best, coarse], 1).topk(best.shape[1], largest=False, sorted=False)[0])
    limit = best.amax(1)
    limit = limit + _slack(norm, limit, d)
    return limit, *_within(tile, fine, limit)


def _minima(tile: Tensor, size: int) -> Tensor:
    """Minima of groups of ``size`` columns, each group a stride of the row."""
    if tile.stride(0) == 1:  # a transposed view: amin is ten times slower across it
        down: Tensor = tile.T.unflatten(0, (size, -1)).amin(0)
        return down.T
    across: Tensor = tile.unflatten(1, (size, -1)).amin(1)
    return across


def _kth_smallest(values: Tensor, k: int) -> Tensor:
    smallest: Tensor = values.topk(k, largest=False, sorted=False).values
    return smallest.amax(1)


def _within(tile: Tensor, fine: Tensor, limit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Row, column and value, sorted by row, of everything within its row's limit."""
    row, group = (fine <= limit[:, None]).nonzero().unbind(1)
    groups = fine.shape[1]
    down, right = tile.stride()
    memory = tile.as_strided((1 + (len(tile) - 1) * down + (tile.shape[1] - 1) * right,), (1,))
    members = torch.arange(tile.shape[1] // groups, device=tile.device) * groups
    parts = []
    for r, g in zip(row.split(_PAIRS), group.split(_PAIRS), strict=True):
        flat = (r * down + g * right)[:, None] + members * right
        value = memory.index_select(0, flat.view(-1)).view(flat.shape)
        e, m = (value <= limit.index_select(0, r)[:, None]).nonzero().unbind(1)
        parts.append((r.index_select(0, e), g.index_select(0, e) + m * groups, value[e, m]))
    rows, cols, values = (torch.cat(part) for part in zip(*parts, strict=True))
    return rows, cols, values


def _slack(norm: Tensor, square: Tensor, d: int) -> Tensor:
    """Twice a bound on the error of every squared distance that is at most ``square``."""
    reach = 2 * norm + square.clamp(min=0).sqrt()
    tf32 = norm.is_cuda and norm.dtype == torch.float32 and torch.backends.cuda.matmul.allow_tf32
    eps: float = 2**-9 if tf32 else torch.finfo(norm.dtype).eps
    return reach * (reach * (2 * (d + 8) * eps)) + 2 * (d + 8) * torch.finfo(norm.dtype).tiny


def _rank(points: _Points, k: int, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of each query's candidates by direct distance, ties to the lower column."""
    local = row - row[0]
    counts = local.bincount()
    slot = torch.arange(row.numel(), device=row.device) - (counts.cumsum(0) - counts)[local]
    shape = (counts.numel(), int(counts.max()))
    widest = min(_CACHE, max(_PAIRS, 8 * row.numel()))
    if shape[0] > 1 and shape[0] * shape[1] > widest:  # a row of many ties would widen all
        half = [int(counts[: shape[0] // 2].sum())]
        halves = zip(row.tensor_split(half), col.tensor_split(half), strict=True)
        found = [_rank(points, k, *part) for part in halves]
        return torch.cat([index for index, _ in found]), torch.cat([value for _, value in found])
    index = col.new_zeros(shape).index_put((local, slot), col)
    value = points.x.new_full(shape, math.inf)
    value[local, slot] = _distance(points, row, col)
    value, order = value.sort(dim=1, stable=True)
    index = index.gather(1, order)
    if shape[1] > k and value.dtype != torch.float64:
        near = value[:, k] - value[:, k - 1] <= _CLOSE * value[:, k - 1] + _blur(
            points, value[:, k - 1]
        )
        exact = _distance_again(points, row[0] + near.nonzero(), index[near], value[near])
        value[near], index[near] = exact
    return index[:, :k], value[:, :k]


def _blur(points: _Points, value: Tensor) -> Tensor | float:
    """Absolute gap below which float32 may swap two distances: unit rows are rounded, squares vanish."""
    eps: float = torch.finfo(value.dtype).eps
    return 8 * eps * (value.sqrt() + 8 * eps) if points.cosine else _TINY


def _distance_again(
    points: _Points, row: Tensor, index: Tensor, value: Tensor
) -> tuple[Tensor, Tensor]:
    """Sort candidates again with float64 distances, where float32 may have swapped two."""
    index, order = index.sort(dim=1)
    row = row.expand_as(index)
    exact = _distance(points, row.flatten(), index.flatten(), torch.float64).view_as(value)
    exact = exact.where(value.gather(1, order).isfinite(), math.inf)
    exact, order = exact.sort(dim=1, stable=True)
    return exact.to(value.dtype), index.gather(1, order)


def _distance(
    points: _Points, row: Tensor, col: Tensor, dtype: torch.dtype | None = None
) -> Tensor:
    """Direct distance of query ``row`` and point ``col``, pair by pair, in chunks that fit the cache."""
    chunk = max(1, (2**25 if row.is_cuda else 2**19) // max(1, points.x.shape[1]))
    pairs = zip(row.split(chunk), col.split(chunk), strict=True)
    parts = [_pair_distance(points, r, c, dtype) for r, c in pairs]
    return torch.cat(parts) if parts else points.x.new_empty(0, dtype=dtype)


def _pair_distance(points: _Points, row: Tensor, col: Tensor, dtype: torch.dtype | None) -> Tensor:
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


def _faiss(x: Tensor, k: int, cosine: bool, y: Tensor | None) -> KNN:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "backend='faiss' needs faiss: pip install 'pyg-relational[faiss]'"
        ) from error
    points = _points(x.cpu(), None if y is None else y.cpu(), cosine)
    _, found = faiss.knn(points.q.float().numpy(), points.x.float().numpy(), k + points.own)
    col = torch.from_numpy(found)
    if points.own:
        keep = col != torch.arange(len(col))[:, None]
        keep[keep.all(1), -1] = False  # the farthest goes where the row itself was not found
        col = col[keep].view(-1, k)
    row = torch.arange(len(col)).repeat_interleave(k)
    index, distance = _rank(points, k, row, col.sort(1).values.flatten())
    return KNN(index.to(x.device), distance.to(x.device, x.dtype))
