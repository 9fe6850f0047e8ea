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
    low, high = (int(clusters.min()), int(clusters.max())) if n else (-1, -1)
    k = high + 1 if num_clusters is None else num_clusters
    if low < -1 or high >= k:
        raise ValueError(f"clusters must be in -1..{k - 1}, got {low if low < -1 else high}")
    counted = (clusters >= 0) & (y >= 0)
    labels, number = y[counted].unique(return_inverse=True)
    width = max(1, len(labels))
    pair, count = (clusters[counted] * width + number).unique(return_counts=True)
    cluster, number = pair // width, pair % width
    score = count * width + (width - 1 - number)  # more samples first, then the lower label
    best = score.new_full((k,), -1).scatter_reduce(0, cluster, score, "amax")
    label = torch.cat([labels, labels.new_tensor([-1])])
    return label[(width - 1 - best % width).where(best >= 0, -1)]
