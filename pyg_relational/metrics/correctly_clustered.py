"""How a classifier does on samples that its latent space has clustered correctly, and on the others."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pyg_relational.cluster.match_labels import match_labels
from pyg_relational.ops.checks import below, check_labels, check_matrix, finite, settle

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
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, logits that are not finite, labels not below :math:`c`, or clusters below -1.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import clustered_scores
        >>> logits = torch.tensor([[2.0, 0], [3, 0], [1, 0], [0, 1]])
        >>> cc, mc = clustered_scores(logits, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
        >>> cc.num_samples, cc.accuracy, mc.num_samples, mc.accuracy
        (3, 1.0, 1, 0.0)
    """
    check_matrix(logits, "logits")
    check_labels(y, len(logits))
    check_labels(clusters, len(logits), "clusters")
    settle(finite(logits, "logits"), below(y, logits.shape[1], "y"))
    label = torch.cat([match_labels(y, clusters), y.new_full((1,), -1)])  # -1 of no cluster
    known = (y >= 0) & (clusters >= 0)
    right = known & (label[clusters] == y)
    numbers = _sums(logits.detach().double(), y.where(known, 0), right, known & ~right)
    return ClusteredScores(*(_score(*group) for group in numbers))


def _sums(logits: Tensor, y: Tensor, *groups: Tensor) -> list[list[float]]:
    """Of each group, its size and the sums of hits and losses, in one wait for a device."""
    if not logits.numel():
        return [[0.0, 0.0, 0.0] for _ in groups]
    loss = cross_entropy(logits, y, reduction="none")
    each = torch.stack([torch.ones_like(loss), (logits.argmax(1) == y).to(loss), loss])
    sums: list[list[float]] = torch.stack([each.where(g, 0.0).sum(1) for g in groups]).tolist()
    return sums


def _score(size: float, hits: float, loss: float) -> GroupScore:
    if size == 0:
        return GroupScore(0, None, None)
    return GroupScore(int(size), hits / size, loss / size)
