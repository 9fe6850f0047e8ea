"""Approximate nearest neighbours by nearest-neighbour descent, with the recall that was reached."""

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, SupportsFloat

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_choice, check_count, check_features
from pyg_relational.ops.neighbors.candidates import Points, prepare
from pyg_relational.ops.neighbors.knn import knn
from pyg_relational.ops.neighbors.rank import rank

__all__ = [
    "ApproximateKNN",
    "approximate_knn",
    "as_near",
    "check_recall",
    "descent",
    "nearest_of",
    "need_pynndescent",
    "sample_step",
    "until_reached",
]

_SAMPLE = 500  # rows that recall is estimated on: 95 % of estimates are within .01 of the truth at k = 10, .95
_SAME = 1e-6  # relative gap below which a neighbour is as near as the k-th: ties are no misses
_WIDER = 1.6  # times as many neighbours are kept in the next round
_RANKED = 2**15  # rows at once
_ROUNDS = 4  # at most: from 1.5 k on to 6 k


class ApproximateKNN(NamedTuple):
    """Neighbours of each row, nearest first, most of them right.

    Attributes:
        index: ``[n, k]`` int64.
        distance: ``[n, k]`` of the dtype of ``x``: exact distances to the neighbours found.
        recall: Share of the neighbours that are as near as the exact ones, estimated on 500 rows.
    """

    index: Tensor  # type: ignore[assignment]
    distance: Tensor
    recall: float


@torch.no_grad()
def approximate_knn(
    x: Tensor, k: int, metric: str = "euclidean", *, recall: float = 0.95
) -> ApproximateKNN:
    r""":math:`k` nearest neighbours of most rows, in about :math:`O(n^{1.14})` distances.

    Nearest-neighbour descent (`Dong et al., 2011 <https://doi.org/10.1145/1963405.1963487>`_) of pynndescent: a
    neighbour of a neighbour is likely to be a neighbour. The exact neighbours of 500 rows are found as well, and the
    descent keeps as many neighbours as it takes to reach the ``recall`` on these rows. Distances are exact. On the CPU.

    It pays from about 50,000 rows on, in more than 8 dimensions; below, :func:`~pyg_relational.ops.knn` is as fast. The
    first call of a new installation compiles for a minute.

    Args:
        x: Features.
        k: Number of neighbours, ``1 <= k < n``.
        metric: ``"euclidean"`` or ``"cosine"``.
        recall: Share of the exact neighbours to reach, in (0, 1).

    Shapes:
        ``x``: :math:`[n, d]`, output: two of :math:`[n, k]` and a number.

    Returns:
        ``ApproximateKNN(index, distance, recall)``, with a warning where the recall is below what was asked for.

    Raises:
        ValueError: If a number is out of range, or a value is not finite.
        TypeError: If an argument has the wrong dtype.
        ImportError: Without pynndescent.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import approximate_knn
        >>> found = approximate_knn(torch.randn(2000, 16), k=5)  # doctest: +SKIP
        >>> found.recall > 0.95  # doctest: +SKIP
        True
    """
    check_features(x)
    check_choice(metric, ("euclidean", "cosine"), "metric")
    k = check_count(k, "k")
    if k >= len(x):
        raise ValueError(f"k must be < n = {len(x)} rows, got {k}")
    check_recall(recall)
    if x.device.type != "cpu":
        raise ValueError(f"x must be on the CPU, got {x.device}: ops.knn searches there")
    some = torch.arange(0, len(x), sample_step(len(x)))
    reach = knn(x, k + 1, metric, y=x[some]).distance[:, -1:]  # the row itself is one of them
    return until_reached(
        lambda wide: _descend(x, k, metric, wide),
        lambda distance: float(as_near(distance[some], reach).double().mean()),
        recall,
        k,
        len(x),
        "ops.knn",
    )


def sample_step(n: int) -> int:
    """How many rows there are to each one that recall is estimated on.

    Args:
        n: Number of rows.
    """
    return math.ceil(n / _SAMPLE)


def as_near(distance: Tensor, reach: Tensor) -> Tensor:
    """Which neighbours are as near as the exact :math:`k`-th.

    Args:
        distance: Distances of the neighbours found.
        reach: That of the :math:`k`-th.

    Shapes:
        ``distance``: :math:`[m, k]`, ``reach``: :math:`[m, 1]`.
    """
    return distance <= reach * (1 + _SAME)


def until_reached(
    search: Callable[[int], tuple[Tensor, Tensor]],
    recall_of: Callable[[Tensor], float],
    recall: float,
    k: int,
    most: int,
    exact: str,
) -> ApproximateKNN:
    """A search that keeps more neighbours until it reaches the recall, or warns.

    Args:
        search: From how many are kept to indices and distances.
        recall_of: From distances to the recall.
        recall: What to reach.
        k: Number of neighbours.
        most: Most that can be kept.
        exact: Name of the exact search, for the warning.
    """
    wide = math.ceil(1.5 * (k + 1))
    for _ in range(_ROUNDS):
        index, distance = search(min(wide, most))
        reached = recall_of(distance)
        if reached >= recall or wide >= most:
            break
        wide = math.ceil(_WIDER * wide)
    if reached < recall:
        warnings.warn(
            f"recall reached {reached:.3f} of {recall}; {exact} is exact",
            RuntimeWarning,
            stacklevel=3,
        )
    return ApproximateKNN(index, distance, reached)


def check_recall(recall: Any) -> None:
    """Raise unless ``recall`` is a number in (0, 1).

    Args:
        recall: Share of the neighbours to find.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is out of range.
    """
    if isinstance(recall, bool) or not isinstance(recall, SupportsFloat):
        raise TypeError(f"recall must be a number, got {type(recall).__name__}")
    if not 0 < float(recall) < 1:
        raise ValueError(f"recall must be in (0, 1), got {recall}: ops.knn is exact")


def need_pynndescent() -> Any:
    """``NNDescent``.

    Raises:
        ImportError: Without pynndescent.
    """
    try:
        from pynndescent import NNDescent
    except ImportError as error:
        raise ImportError("approximate_knn needs pynndescent: pip install pynndescent") from error
    return NNDescent


def descent(points: Points, wide: int) -> Any:
    """The points' index by pynndescent.

    Args:
        points: The points.
        wide: Number of neighbours that descent keeps.

    Raises:
        ImportError: Without pynndescent.
    """
    x, threads = points.x.float().numpy(), torch.get_num_threads()
    return need_pynndescent()(x, n_neighbors=wide, n_jobs=threads, random_state=0)


def _descend(x: Tensor, k: int, metric: str, wide: int) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of ``wide`` neighbours that descent keeps."""
    points = prepare(x, None, metric == "cosine")
    col = torch.from_numpy(descent(points, wide).neighbor_graph[0]).long()
    index, distance = nearest_of(points, k, col)
    return index, distance.to(x.dtype)


def nearest_of(points: Points, k: int, col: Tensor) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of what descent has found, by exact distance; where that is too little, of all points.

    Args:
        points: Points and queries.
        k: Number of neighbours, at most as many as there are.
        col: Points near each query, the nearest first; -1 for none.

    Shapes:
        ``col``: :math:`[m, w]`, output: two of :math:`[m, k]`, :math:`m > 0`.
    """
    n, m = len(points.x), len(points.q)
    row = torch.arange(m)[:, None].expand_as(col)
    keep = col >= 0
    if points.own:
        keep &= col != row
    keep &= keep.cumsum(1) <= k + 1
    open_ = (keep.sum(1) < k).nonzero()[:, 0]
    pairs = row[keep] * n + col[keep]
    if len(open_):
        exact = open_[:, None] * n + _exactly(points, k, open_)
        pairs = torch.cat([pairs, exact.flatten()]).unique()
    found = [rank(points, k, *_split(part, n)) for part in _by_rows(pairs, n, m)]
    index, distance = (torch.cat(part) for part in zip(*found, strict=True))
    return index, distance


def _exactly(points: Points, k: int, row: Tensor) -> Tensor:
    """Neighbours of some queries by exact search."""
    metric = "cosine" if points.cosine else "euclidean"
    index = knn(points.raw_x, k + points.own, metric, y=points.raw_q[row]).index
    return _without(index, row) if points.own else index


def _by_rows(pairs: Tensor, n: int, m: int) -> tuple[Tensor, ...]:
    """Sorted pairs of ``m`` queries in parts of whole rows."""
    last = torch.arange(1, math.ceil(m / _RANKED)) * (_RANKED * n)
    parts: tuple[Tensor, ...] = pairs.tensor_split(torch.searchsorted(pairs, last))
    return parts


def _split(pairs: Tensor, n: int) -> tuple[Tensor, Tensor]:
    return pairs // n, pairs % n


def _without(index: Tensor, row: Tensor) -> Tensor:
    """All but the row itself, or the farthest where duplicates hide it."""
    keep = index != row[:, None]
    keep[keep.all(1), -1] = False
    return index[keep].view(len(row), -1)
