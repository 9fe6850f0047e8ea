"""Outliers among points by symmetry and distance ratios, and the cluster of the nearest point that has one."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops import KNN, knn
from pyg_relational.ops.checks import check_classes, check_count, check_features, check_number

__all__ = ["Outliers", "check_outliers", "join_nearest", "outliers"]

_TILE = 1 << 22  # values of mirror points at a time


class Outliers(NamedTuple):
    """Whether a point is an outlier, and the degree that says so.

    Attributes:
        mask: ``[n]`` bool.
        degree: ``[n]``, :math:`R_s - R_d`.
    """

    mask: Tensor
    degree: Tensor


@torch.no_grad()
def outliers(x: Tensor, k: int = 10, *, whisker: float = 0.5) -> Outliers:
    r"""Points that have neighbours on one side alone, or are farther from them than these from theirs.

    `Zhai, Fei and Ma, "A Novel Outlier Detection Algorithm Based on Symmetry and Distance Ratio"
    <https://doi.org/10.1007/978-3-031-78192-6>`_ (ICPR 2024, p. 331). With the neighbours :math:`N_i` of a point, the
    mirror points :math:`2 x_i - x_j`, :math:`\delta` the distance to the nearest of all points and
    :math:`S_i = \sum_{j \in N_i} \lVert x_i - x_j \rVert`:

    .. math::
        R_s(i) = \frac{1}{S_i} \sum_{j \in N_i} \delta(2 x_i - x_j) \in [0, 1], \qquad
        R_d(i) = \frac{1}{k S_i} \sum_{j \in N_i} S_j, \qquad
        O_i = R_s(i) - R_d(i)

    (eqs. 2 to 5). A point is an outlier if :math:`O_i > Q_3 + r (Q_3 - Q_1)`, where :math:`Q_1` and :math:`Q_3` are the
    values of rank :math:`n / 4` and :math:`3 n / 4`, rounded, halves up (eqs. 6 to 10). At most a quarter of the points
    are outliers, as none is up to :math:`Q_3`.

    What the text leaves open:

    - "NORM" of eq. 5 is not named. No increasing linear map changes who is an outlier, so the degree is not normalised.
    - Eq. 1 takes all that tie with the :math:`k`-th neighbour, eqs. 3 and 4 sum to :math:`k`: here ties go to the lower
      row, as in :func:`~pyg_relational.ops.knn`.
    - A point with :math:`k` copies of itself has :math:`S_i = 0`, and both ratios 0/0. Its mirror points are points,
      and its neighbours are as far from theirs as it is: :math:`R_s = 0`, :math:`R_d = 1`. It is never an outlier.
    - "Approximately :math:`O(k n)` time" leaves out that mirror points are :math:`k n` queries for a nearest neighbour.

    Memory is :math:`O(n k)` beyond that of the queries, which are tiled.

    Args:
        x: Features.
        k: Number of neighbours.
        whisker: :math:`r`, how many interquartile ranges above the upper quartile an outlier begins; 1.5 is Tukey's.

    Shapes:
        ``x``: :math:`[n, d]`, output: two of :math:`[n]`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import outliers
        >>> grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
        >>> x = torch.cat([grid, torch.tensor([[20.0, 20.0]])])
        >>> outliers(x, k=4).mask.nonzero().flatten().tolist()  # the corners as well
        [0, 5, 30, 35, 36]
    """
    check_features(x)
    k = check_outliers(k, whisker)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    near = knn(x, k)
    total = near.distance.sum(1)
    crowded = total == 0
    scale = total.masked_fill(crowded, 1)
    symmetry = _to_mirrors(x, near) / scale
    distance = total[near.index].mean(1) / scale
    degree = torch.where(crowded, -1, symmetry - distance)
    return Outliers(~crowded & (degree > _fence(degree, whisker)), degree)


def check_outliers(k: int, whisker: float) -> int:
    """``k`` as an int; raise unless both options are in range."""
    check_number(whisker, "whisker")
    if not 0 <= whisker < float("inf"):
        raise ValueError(f"whisker must be >= 0 and finite, got {whisker}")
    return check_count(k, "k")


def _to_mirrors(x: Tensor, near: KNN) -> Tensor:
    """Sum over the mirror points of each row of the distance to the nearest point."""
    n, k = near.index.shape
    parts = []
    for rows in torch.arange(n, device=x.device).split(max(1, _TILE // (k * max(1, x.shape[1])))):
        mirrors = 2 * x[rows, None] - x[near.index[rows]]
        found = knn(x, 1, y=mirrors.flatten(0, 1)).distance.view(-1, k)
        parts.append(found.minimum(near.distance[rows]).sum(1))  # the row itself, but for rounding
    return torch.cat(parts)


def _fence(degree: Tensor, whisker: float) -> Tensor:
    """Upper end of the whisker of a box plot."""
    n = len(degree)
    ranked = degree.sort().values
    low, high = ranked[(n + 2) // 4 - 1], ranked[(3 * n + 2) // 4 - 1]
    return high + whisker * (high - low)


def join_nearest(x: Tensor, clusters: Tensor) -> Tensor:
    """Gives every row without a cluster that of the nearest row that has one.

    What `Zhai, Fei and Ma <https://doi.org/10.1007/978-3-031-78192-6>`_ do with outliers once the other points are
    clustered. Of rows that are equally near the first decides.

    Args:
        x: Features.
        clusters: Cluster of every row, -1 where in none.

    Shapes:
        ``x``: :math:`[n, d]`, ``clusters``: :math:`[n]`, output: :math:`[n]`, int64.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or no row has a cluster.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import join_nearest
        >>> join_nearest(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([3, -1, 4])).tolist()
        [3, 3, 4]
    """
    check_features(x)
    check_classes(clusters, len(x), "clusters")
    none = clusters < 0
    held = clusters[~none]
    if len(clusters) and not len(held):
        raise ValueError("clusters must hold at least one cluster, got -1 alone")
    joined = clusters.clone()
    if len(held) < len(clusters):
        joined[none] = held[knn(x[~none], 1, y=x[none]).index[:, 0]]
    return joined
