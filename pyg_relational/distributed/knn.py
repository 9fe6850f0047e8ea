"""Exact nearest neighbours of rows on all ranks: blocks go round, the best stay."""

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from pyg_relational import ops
from pyg_relational.distributed.agree import agree, described
from pyg_relational.distributed.ring import ring
from pyg_relational.ops import KNN
from pyg_relational.ops.checks import check_choice, check_count, check_features
from pyg_relational.ops.neighbors.candidates import Points, prepare
from pyg_relational.ops.neighbors.rank import distances

__all__ = ["check_rows", "in_block", "knn", "measured", "nearest", "search"]

_ROOM = 1e13  # times a squared norm that its type must hold: sums of all rows' are taken


@torch.no_grad()
def knn(x: Tensor, k: int, metric: str = "euclidean", group: Any = None) -> KNN:
    r"""Exact :math:`k` nearest neighbours of the local rows among the rows of all ranks.

    Blocks of rows go round the ranks, the next one on its way while the present one is searched by
    :func:`pyg_relational.ops.knn`. The result is that of one process: distances are compared in float64, ties go to
    the lower index. A rank holds its own block and two others, and sends :math:`(n - n_{r + 1}) d` numbers.

    Args:
        x: The local rows; their number may differ between ranks, and be 0.
        k: Number of neighbours, ``1 <= k < n``.
        metric: ``"euclidean"`` or ``"cosine"``.
        group: Processes that hold rows. (default: all)

    Shapes:
        ``x``: :math:`[n_r, d]` on rank :math:`r`, output: two of :math:`[n_r, k]`.

    Returns:
        ``KNN(index, distance)``, indices as in the rows of all ranks, in rank order.

    Raises:
        TypeError: If an argument has the wrong type, on any rank.
        ValueError: If one is out of range on any rank, or dtype, width, device or options differ between ranks.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import knn
        >>> knn(torch.tensor([[0.0], [1.0], [3.0]]), k=1).index.flatten().tolist()
        [1, 0, 1]
    """
    offsets = check_rows("knn", x, k, {"metric": metric}, group)
    index, distance = search(x, k, metric, offsets, group)
    return KNN(index, distance.to(x.dtype))


def check_rows(
    call: str,
    x: Tensor,
    k: int,
    options: dict[str, Any],
    group: Any,
    also: Callable[[int, dict[str, Any]], None] = lambda k, options: None,
) -> tuple[int, ...]:
    """First row of each rank, and behind them the number of rows.

    Args:
        call: Name of the function that all ranks call.
        x: The local rows.
        k: Number of neighbours.
        options: What else must be alike on all ranks; ``metric`` among it.
        group: Processes.
        also: Checks ``k`` and ``options``.

    Raises:
        TypeError: If an argument has the wrong type, on any rank.
        ValueError: If one is out of range on any rank, or differs.
    """

    def facts() -> tuple[dict[str, object], list[int]]:
        check_features(x)
        check_choice(options["metric"], ("euclidean", "cosine"), "metric")
        also(k, options)
        _check_norms(x, options["metric"])
        return {"call": call, "x": described(x), "k": check_count(k, "k"), **options}, [len(x)]

    sizes = [size for (size,) in agree(facts, group)]
    n = sum(sizes)
    if k >= n:
        raise ValueError(
            f"k must be in 1..n - 1 = {n - 1} for n = {n} rows, got {k}: "
            "take a smaller k or more rows"
        )
    return (0, *accumulate(sizes))


def _check_norms(x: Tensor, metric: str) -> None:
    """Sums of squared norms must be finite wherever a block is."""
    if metric == "cosine" or x.numel() == 0:
        return
    dtype = torch.promote_types(x.dtype, torch.float32)
    longest = float(torch.linalg.vector_norm(x.detach().double(), dim=1).amax())
    if longest**2 > torch.finfo(dtype).max / _ROOM:
        raise ValueError(f"x must have finite squared norms in {dtype}: rescale the features")


def search(
    x: Tensor, k: int, metric: str, offsets: tuple[int, ...], group: Any
) -> tuple[Tensor, Tensor]:
    """:func:`knn` of rows that are checked, with distances in float64.

    Args:
        x: The local rows.
        k: Number of neighbours.
        metric: As there.
        offsets: First row of each rank, and behind them the number of rows.
        group: Processes.

    Shapes:
        ``x``: :math:`[n_r, d]`, output: two of :math:`[n_r, k]`.
    """
    sizes = [stop - start for start, stop in pairwise(offsets)]
    index = torch.empty(len(x), 0, dtype=torch.int64, device=x.device)
    distance = torch.empty(len(x), 0, dtype=torch.float64, device=x.device)
    for step, (owner, (block,)) in enumerate(ring([x], sizes, group)):
        near, far = in_block(x, block, k, metric, own=step == 0)
        index = torch.cat([index, near + offsets[owner]], 1)
        distance = torch.cat([distance, far], 1)
        index, distance = nearest(index, distance, k)
    return index, distance


def in_block(x: Tensor, block: Tensor, k: int, metric: str, own: bool) -> tuple[Tensor, Tensor]:
    """Up to ``k`` neighbours in a block, and their distances in float64.

    Args:
        x: Rows.
        block: Rows to search in.
        k: Number of neighbours.
        metric: ``"euclidean"`` or ``"cosine"``.
        own: Whether the block is ``x`` itself, and no row its own neighbour.

    Shapes:
        ``x``: :math:`[n, d]`, ``block``: :math:`[m, d]`, output: two of :math:`[n, k]`, or fewer columns.
    """
    k = min(k, len(block) - own) if len(x) else k
    if k < 1 or not len(x):
        index = torch.empty(len(x), max(k, 0), dtype=torch.int64, device=x.device)
        return index, index.double()
    queries = None if own else x
    index = ops.knn(block, k, metric, y=queries).index
    with torch.autocast(x.device.type, enabled=False):
        return measured(prepare(block, queries, metric == "cosine"), index)


def measured(points: Points, index: Tensor) -> tuple[Tensor, Tensor]:
    """Neighbours with their distances in float64.

    Args:
        points: Points and queries.
        index: Neighbours of the queries.

    Shapes:
        ``index``, output: :math:`[m, k]`.
    """
    row = torch.arange(len(index), device=index.device).repeat_interleave(index.shape[1])
    return index, distances(points, row, index.flatten(), torch.float64).view_as(index)


def nearest(index: Tensor, distance: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of each row, ties to the lower index.

    Args:
        index: Candidates.
        distance: Their distances.
        k: Number of neighbours.

    Shapes:
        ``index``, ``distance``: :math:`[n, m]`, output: two of :math:`[n, k]`.
    """
    index, order = index.sort(1)
    distance, nearest = distance.gather(1, order).sort(dim=1, stable=True)
    return index.gather(1, nearest[:, :k]), distance[:, :k]
