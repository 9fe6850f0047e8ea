"""How a classifier does on samples that its latent space has clustered correctly, and on the others."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pyg_relational.cluster.match_labels import match_labels
from pyg_relational.ops.checks import check_features, check_labels

__all__ = ["ClusteredScores", "GroupScore", "clustered_scores"]


class GroupScore(NamedTuple):
    """Accuracy and mean cross-entropy of some samples; both ``None`` where there are none."""

    num_samples: int
    accuracy: float | None
    cross_entropy: float | None


class ClusteredScores(NamedTuple):
    """Scores of correctly clustered samples, ``cc``, and of misclustered ones, ``mc``."""

    cc: GroupScore
    mc: GroupScore


def clustered_scores(logits: Tensor, y: Tensor, clusters: Tensor) -> ClusteredScores:
    r"""Accuracy and cross-entropy of correctly clustered samples (CC) and of misclustered ones (MC), apart.

    A sample is correctly clustered where the label :math:`\alpha` of its cluster, the majority's
    (:func:`~pyg_relational.cluster.match_labels`), is its own: :math:`\alpha(c_i) = y_i`. Latent cluster correction
    (Ho Thanh, "Improving Fine-Tuning with Latent Cluster Correction", eq. 9) rests on

    .. math::
        \text{acc}_\text{CC} > \text{acc}_\text{MC}

    Samples that are unlabelled or in no cluster are in neither group. Nothing is ever NaN: what has no samples is
    ``None``.

    Args:
        logits: Unnormalised log-probabilities of the classes.
        y: Class of each sample, -1 where it is unknown.
        clusters: Cluster of each sample, -1 where it is in none.

    Shapes:
        - **logits:** :math:`(n, c)`, floating point
        - **y**, **clusters:** :math:`(n)`, int64

    Raises:
        TypeError: Of a wrong dtype.
        ValueError: On wrong shapes, logits that are not finite, labels not below :math:`c`, or clusters below -1.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import clustered_scores
        >>> logits = torch.tensor([[2.0, 0], [3, 0], [1, 0], [0, 1]])
        >>> cc, mc = clustered_scores(logits, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
        >>> cc.num_samples, cc.accuracy, mc.num_samples, mc.accuracy
        (3, 1.0, 1, 0.0)
    """
    check_features(logits, "logits")
    check_labels(y, len(logits))
    check_labels(clusters, len(logits), "clusters")
    if len(y) and int(y.max()) >= logits.shape[1]:
        raise ValueError(f"y must be < {logits.shape[1]}, the number of logits, got {int(y.max())}")
    known = (y >= 0) & (clusters >= 0)
    label = match_labels(y, clusters)
    logits, y = logits[known], y[known]
    right = label[clusters[known]] == y
    return ClusteredScores(*(_score(logits[group], y[group]) for group in (right, ~right)))


def _score(logits: Tensor, y: Tensor) -> GroupScore:
    if len(y) == 0:
        return GroupScore(0, None, None)
    with torch.no_grad():
        accuracy = (logits.argmax(1) == y).double().mean()
        loss = cross_entropy(logits.double(), y)
    return GroupScore(len(y), accuracy.item(), loss.item())
