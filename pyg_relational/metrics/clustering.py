"""Agreement of clusters with classes. Rows of class -1 are unlabelled and left out of all of it."""

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from pyg_relational.ops.checks import check_labels

__all__ = ["ari", "clustering_accuracy", "nmi"]


def clustering_accuracy(y: Tensor, clusters: Tensor) -> float:
    r"""Share of rows that are of the class matched with their cluster, under the best one-to-one matching.

    .. math::
        \text{ACC} = \max_\pi \frac{1}{n} \sum_i [y_i = \pi(c_i)]

    by the Hungarian method. Clusters beyond the number of classes match none.

    Args:
        y: Class of each row, -1 where it is unknown.
        clusters: Cluster of each row, any numbers.

    Shapes:
        - **y**, **clusters:** :math:`(n)`, int64
        - **returns:** number in [0, 1]

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, or if nothing is labelled.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import clustering_accuracy
        >>> clustering_accuracy(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 5, 2, 5]))
        0.75
    """
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics.cluster import contingency_matrix

    count = contingency_matrix(*_labelled(y, clusters))
    share: float = count[linear_sum_assignment(count, maximize=True)].sum() / count.sum()
    return float(share)


def nmi(y: Tensor, clusters: Tensor) -> float:
    r"""Normalised mutual information of classes and clusters, by the geometric mean of their entropies.

    From `Strehl and Ghosh, "Cluster ensembles" <https://www.jmlr.org/papers/v3/strehl02a.html>`_ (2002):

    .. math::
        \text{NMI} = \frac{I(y; c)}{\sqrt{H(y) H(c)}}

    0 where only one of the two is a single group, 1 where both are.

    Args:
        y: Class of each row, -1 where it is unknown.
        clusters: Cluster of each row, any numbers.

    Shapes:
        - **y**, **clusters:** :math:`(n)`, int64
        - **returns:** number in [0, 1]

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, or if nothing is labelled.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import nmi
        >>> round(nmi(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 2])), 4)
        0.8165
    """
    from sklearn.metrics import normalized_mutual_info_score

    share = normalized_mutual_info_score(*_labelled(y, clusters), average_method="geometric")
    return float(share)


def ari(y: Tensor, clusters: Tensor) -> float:
    r"""Adjusted Rand index: agreement on pairs of rows, 0 in expectation for random clusters of the same sizes.

    From `Hubert and Arabie, "Comparing partitions" <https://doi.org/10.1007/BF01908075>`_ (1985):

    .. math::
        \text{ARI} = \frac{\text{RI} - \mathbb{E}[\text{RI}]}{\max \text{RI} - \mathbb{E}[\text{RI}]}

    Args:
        y: Class of each row, -1 where it is unknown.
        clusters: Cluster of each row, any numbers.

    Shapes:
        - **y**, **clusters:** :math:`(n)`, int64
        - **returns:** number in [-0.5, 1]

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, or if nothing is labelled.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import ari
        >>> round(ari(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 2])), 4)
        0.5714
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(*_labelled(y, clusters)))


def _labelled(y: Tensor, clusters: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    check_labels(y, len(y) if isinstance(y, Tensor) and y.dim() else 0)
    check_labels(clusters, len(y), "clusters")
    labelled = y >= 0
    if not bool(labelled.any()):
        raise ValueError(f"y must label some row, got {len(y)} rows without a label")
    return y[labelled].cpu().numpy(), clusters.to(y.device)[labelled].cpu().numpy()
