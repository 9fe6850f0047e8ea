"""Approximate nearest neighbours of rows on all ranks: each looks among its own, blocks of queries go round."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree
from pyg_relational.distributed.collectives import all_reduce, rank_and_size
from pyg_relational.distributed.gather import gather
from pyg_relational.distributed.knn import check_rows, in_block, measured, nearest
from pyg_relational.distributed.ring import ring, shift
from pyg_relational.ops import ApproximateKNN
from pyg_relational.ops.neighbors.approximate import (
    as_near,
    check_recall,
    descent,
    nearest_of,
    need_pynndescent,
    sample_step,
    until_reached,
)
from pyg_relational.ops.neighbors.candidates import prepare

__all__ = ["approximate_knn", "approximate_search", "check_approximate"]

_FEW = 2048  # rows of a rank up to which their products fit the cache, and exact search is as fast

_Search = Callable[[Tensor | None], tuple[Tensor, Tensor]]


@torch.no_grad()
def approximate_knn(
    x: Tensor, k: int, metric: str = "euclidean", *, recall: float = 0.95, group: Any = None
) -> ApproximateKNN:
    r""":math:`k` nearest neighbours of most local rows among the rows of all ranks.

    As :func:`pyg_relational.ops.approximate_knn` in one process. Each rank builds an index of its own rows once, by
    nearest-neighbour descent (`Dong et al., 2011 <https://doi.org/10.1145/1963405.1963487>`_, pynndescent). Blocks of
    rows go round the ranks as queries, with the :math:`k` nearest that were found on the way, and these come home:
    :math:`O(n)` queries a rank, where exact search takes :math:`O(n^2 / W)` distances. A rank with few rows, or none,
    searches them exactly.

    The exact neighbours of 500 rows of all ranks are found as well, and descent keeps as many neighbours as it takes
    to reach the ``recall`` on these. Distances are exact. On the CPU.

    It pays where a rank has many rows, tens of thousands; with fewer, :func:`~pyg_relational.distributed.knn` is as
    fast, on however many ranks.

    Args:
        x: The local rows; their number may differ between ranks, and be 0.
        k: Number of neighbours, ``1 <= k < n``.
        metric: ``"euclidean"`` or ``"cosine"``.
        recall: Share of the exact neighbours to reach, in (0, 1).
        group: Processes that hold rows. (default: all)

    Shapes:
        ``x``: :math:`[n_r, d]` on rank :math:`r`, output: two of :math:`[n_r, k]` and a number.

    Returns:
        ``ApproximateKNN(index, distance, recall)``, indices as in the rows of all ranks, in rank order; the recall is
        that of all ranks' rows, with a warning on all where it is below what was asked for.

    Raises:
        TypeError: If an argument has the wrong type, on any rank.
        ValueError: If one is out of range on any rank, or dtype, width, device or options differ between ranks.
        ImportError: Without pynndescent, on any rank.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import approximate_knn
        >>> found = approximate_knn(torch.randn(2000, 16), k=5)  # doctest: +SKIP
        >>> found.recall > 0.95  # doctest: +SKIP
        True
    """
    options = {"metric": metric, "recall": recall}
    offsets = check_rows(
        "approximate_knn", x, k, options, group, lambda k, options: check_approximate(x, recall)
    )
    found = approximate_search(x, k, metric, recall, offsets, group)
    return found._replace(distance=found.distance.to(x.dtype))


def check_approximate(x: Tensor, recall: Any) -> None:
    """Raise unless an approximate search of ``x`` can be made.

    Args:
        x: The local rows.
        recall: Share of the neighbours to find.

    Raises:
        TypeError: If ``recall`` is no number.
        ValueError: If it is out of range, or ``x`` not on the CPU.
        ImportError: Without pynndescent.
    """
    check_recall(recall)
    if x.device.type != "cpu":
        raise ValueError(f"x must be on the CPU, got {x.device}: distributed.knn searches there")
    need_pynndescent()


def approximate_search(
    x: Tensor, k: int, metric: str, recall: float, offsets: tuple[int, ...], group: Any
) -> ApproximateKNN:
    """:func:`approximate_knn` of rows that are checked, with distances in float64.

    Args:
        x: The local rows.
        k: Number of neighbours.
        metric: As there.
        recall: As there.
        offsets: First row of each rank, and behind them the number of rows.
        group: Processes.

    Shapes:
        ``x``: :math:`[n_r, d]`, output: two of :math:`[n_r, k]` and a number.
    """
    some, reach = _sampled(x, k, metric, offsets, group)

    def recall_of(distance: Tensor) -> float:
        near = as_near(distance[some], reach)
        right, all_ = all_reduce(torch.tensor([int(near.sum()), near.numel()]), group).tolist()
        return float(right / all_)

    most = max(stop - start for start, stop in pairwise(offsets))
    return until_reached(
        lambda wide: _round(x, k, metric, wide, offsets, group),
        recall_of,
        recall,
        k,
        most,
        "distributed.knn",
    )


def _sampled(
    x: Tensor, k: int, metric: str, offsets: tuple[int, ...], group: Any
) -> tuple[Tensor, Tensor]:
    """Some of the local rows, and the exact distance of the ``k``-th neighbour of each."""
    rank, size = rank_and_size(group)
    step = sample_step(offsets[-1])
    some = torch.arange(-offsets[rank] % step, max(len(x), -offsets[rank] % step), step)
    rows = gather(x[some], group)
    near = in_block(rows, x, k + 1, metric, own=False)[1]  # the row itself is one of them
    none = near.new_full((len(rows), k + 1 - near.shape[1]), torch.inf)
    of_ranks = gather(torch.cat([near, none], 1), group).view(size, len(rows), k + 1)
    reach = of_ranks.transpose(0, 1).flatten(1).kthvalue(k + 1).values
    before = -(-offsets[rank] // step)
    return some, reach[before : before + len(some), None]


def _round(
    x: Tensor, k: int, metric: str, wide: int, offsets: tuple[int, ...], group: Any
) -> tuple[Tensor, Tensor]:
    """One way of all queries round the ring: the best of each travel with them, and come home."""
    rank = rank_and_size(group)[0]
    sizes = [stop - start for start, stop in pairwise(offsets)]
    made: list[_Search] = []

    def make() -> tuple[dict[str, object], list[int]]:
        made.append(_searching(x, k, metric, wide))
        return {}, []

    agree(make, group)
    best = [torch.full((len(x), k), offsets[-1]), torch.full((len(x), k), torch.inf).double()]
    for step, (owner, (block,)) in enumerate(ring([x], sizes, group)):
        best = shift(best, sizes[owner], group) if step else best
        near, far = made[0](block if step else None)
        index = torch.cat([best[0], near + offsets[rank]], 1)
        best = list(nearest(index, torch.cat([best[1], far], 1), k))
    index, distance = shift(best, len(x), group)
    return index, distance


def _searching(x: Tensor, k: int, metric: str, wide: int) -> _Search:
    """The search among the local rows, of queries, or of these themselves."""
    if len(x) <= max(_FEW, wide):
        return lambda q: in_block(x if q is None else q, x, k, metric, own=q is None)
    cosine = metric == "cosine"
    index = descent(prepare(x, None, cosine), wide)

    def search(q: Tensor | None) -> tuple[Tensor, Tensor]:
        points = prepare(x, q, cosine)
        if not len(points.q):
            return in_block(points.q, x, k, metric, own=False)
        if q is None:
            col = torch.from_numpy(index.neighbor_graph[0]).long()
        else:
            near, far = (
                torch.from_numpy(part) for part in index.query(points.q.float().numpy(), wide)
            )
            col = near.long().masked_fill(~far.isfinite(), -1)
        return measured(points, nearest_of(points, k, col)[0])

    return search
