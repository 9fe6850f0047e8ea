"""Which label each cluster stands for."""

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_count, check_labels

__all__ = ["match_labels"]


def match_labels(y: Tensor, clusters: Tensor, num_clusters: int | None = None) -> Tensor:
    r"""The majority label of every cluster; several clusters may have the same.

    Latent cluster correction matches clusters :math:`b` to labels :math:`a` such that

    .. math::
        \sum_b \lvert \{ i : c_i = b, y_i = \alpha(b) \} \rvert

    is largest, by a maximum flow of minimal cost. Each cluster takes part in one match only, and a label in any number
    of them, so the sum is largest where each of its terms is: the optimum is :math:`\alpha(b)` = the majority label of
    :math:`b`, in :math:`O(n \log n)` time and :math:`O(n)` memory.

    Args:
        y: Label of every sample; samples with -1 (unlabelled) do not count.
        clusters: Cluster of every sample; -1: in none.
        num_clusters: Number of clusters, ``None`` for the largest in ``clusters`` plus one.

    Shapes:
        ``y``, ``clusters``: :math:`[n]`, output: :math:`[k]`, int64.

    Returns:
        Label of every cluster: the lowest of those it has most of, -1 where it has no labelled sample.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, or a cluster is below -1 or not below ``num_clusters``.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import match_labels
        >>> match_labels(torch.tensor([5, 5, 3, 4, 3, -1]), torch.tensor([0, 0, 0, 1, 1, 2])).tolist()
        [5, 3, -1]
    """
    if num_clusters is not None:
        num_clusters = check_count(num_clusters, "num_clusters", 0)
    n = len(clusters) if isinstance(clusters, Tensor) and clusters.dim() else 0
    check_labels(clusters, n, "clusters")
    check_labels(y, n)
    low, high = (int(end) for end in _ends(clusters)) if n else (-1, -1)
    k = high + 1 if num_clusters is None else num_clusters
    if low < -1 or high >= k:
        raise ValueError(f"clusters must be in -1..{k - 1}, got {low if low < -1 else high}")
    label, number = _numbered(y)
    pair = (clusters * n + number).where((clusters >= 0) & (y >= 0), k * n)
    pair, number = _numbered(pair)
    count = torch.zeros_like(y).index_add_(0, number, torch.ones_like(y))
    score = count * n + (n - 1 - pair % max(n, 1))  # more samples first, then the lower label
    best = score.new_full((k + 1,), -1)
    best.scatter_reduce_(0, pair // max(n, 1), score, "amax")  # the last pair again: 0 samples
    best = best[:k]
    return label[n - 1 - best % max(n, 1)].where(best >= 0, -1) if n else best


def _ends(x: Tensor) -> list[float]:
    """Least and largest, in one wait for the device."""
    ends: list[float] = torch.stack(x.aminmax()).tolist()
    return ends


def _numbered(x: Tensor) -> tuple[Tensor, Tensor]:
    """Different values in ascending order, the last again where places are left, and the place of each."""
    value, order = x.sort()
    number = torch.cat([value[:1] * 0, value.diff().sign().cumsum(0)])
    place = torch.empty_like(x).scatter_(0, order, number)
    values = value[-1:].expand_as(x).clone().scatter_(0, number, value)
    return values, place
