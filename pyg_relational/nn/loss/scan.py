"""Neighbours that agree, and confident samples that teach: the two later steps of GraPix, after SCAN."""

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pyg_relational.ops import edge_dot
from pyg_relational.ops.checks import Check, check_matrix, check_share, finite, settle
from pyg_relational.ops.graph.per_graph import check_weights, graph_mean

__all__ = ["neighbor_consistency_loss", "self_label_loss"]

_SMALLEST = 1e-8  # mean assignment that the entropy tells from 0, as in SCAN's program


def neighbor_consistency_loss(
    assignment: Tensor,
    index: Tensor,
    *,
    entropy_weight: float = 2.0,
    batch: Tensor | None = None,
) -> Tensor:
    r"""Agreement with the nearest neighbours, clusters of like size: SCAN's loss (`Van Gansbeke et al., 2020 <https://arxiv.org/abs/2005.12320>`_).

    .. math::
        -\frac{1}{n k} \sum_i \sum_{j \in N_i} \log \langle c_i, c_j \rangle - \lambda H(\bar c), \qquad
        H(\bar c) = -\sum_a \bar c_a \log \bar c_a, \quad \bar c = \frac{1}{n} \sum_i c_i

    The first term is the binary cross-entropy of the agreement, with target 1. :math:`O(n k c)` time,
    :math:`O(n (k + c))` memory.

    Args:
        assignment: Soft assignment; rows sum to 1.
        index: Neighbours of every node, as :func:`~pyg_relational.ops.knn` gives them.
        entropy_weight: :math:`\lambda`.
        batch: Graph of every node; the mean of the graphs' losses is taken.

    Shapes:
        ``assignment``: :math:`[n, c]`, ``index``: :math:`[n, k]`, ``batch``: :math:`[n]`, output: scalar, at least
        float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, an index is out of range, or a value is negative or not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import neighbor_consistency_loss
        >>> sure, neighbors = torch.eye(2)[[0, 0, 1, 1]], torch.tensor([[1], [0], [3], [2]])
        >>> neighbor_consistency_loss(sure, neighbors, entropy_weight=0.0)
        tensor(0.)
        >>> neighbor_consistency_loss(sure, neighbors, entropy_weight=1.0)
        tensor(-0.6931)
    """
    check_matrix(assignment, "assignment")
    check_weights(entropy_weight=entropy_weight)
    n = len(assignment)
    settle(finite(assignment, "assignment"), *_index_checks(index, n), *_shares(assignment))
    c = assignment.to(torch.promote_types(assignment.dtype, torch.float32))
    row = torch.arange(n, device=index.device).repeat_interleave(index.shape[1])
    agreement = edge_dot(c, c, torch.stack([row, index.flatten()])).view(index.shape)
    surprise = -agreement.clamp(min=torch.finfo(c.dtype).tiny).log()

    def loss(surprise: Tensor, c: Tensor) -> Tensor:
        if not len(c):
            return surprise.sum()
        mean = c.mean(0).clamp(min=_SMALLEST)
        return surprise.mean() + entropy_weight * (mean * mean.log()).sum()

    return graph_mean(loss, batch, surprise, c)


def _shares(assignment: Tensor) -> list[Check]:
    def refuse() -> None:
        raise ValueError(f"assignment must be >= 0, got min {assignment.min().item():.3g}")

    if not assignment.numel():
        return []
    return [Check("assignment must be >= 0", assignment.detach().min, 0, math.inf, refuse)]


def _index_checks(index: Tensor, n: int) -> list[Check]:
    if index.dtype != torch.int64:
        raise TypeError(f"index must be int64, got {index.dtype}")
    if index.dim() != 2 or len(index) != n or index.shape[1] == 0:
        raise ValueError(f"index must have shape [{n}, k], k >= 1, got {list(index.shape)}")
    if not index.numel():
        return []

    def refuse() -> None:
        raise ValueError(f"index must be in 0..{n - 1}, got {int(index.min())}..{int(index.max())}")

    rule = f"index must be in 0..{n - 1}"
    return [Check(rule, end, 0, n - 1, refuse) for end in (index.min, index.max)]


def self_label_loss(
    weak: Tensor, strong: Tensor, *, threshold: float = 0.99, balance: bool = True
) -> Tensor:
    r"""Cross-entropy of strongly augmented views with the sure predictions of the weakly augmented ones.

    As in `SCAN <https://arxiv.org/abs/2005.12320>`_. With :math:`p = \mathrm{softmax}(\text{weak})`, a constant,
    :math:`\hat y_i = \arg\max_a p_{ia}` and :math:`\omega_i` one over the number of sure samples of
    :math:`\hat y_i` (1 without ``balance``),

    .. math::
        \frac{\sum_{i \in S} \omega_i \, \mathrm{CE}(\text{strong}_i, \hat y_i)}{\sum_{i \in S} \omega_i},
        \qquad S = \{ i : \max_a p_{ia} > \tau \}

    Where no sample is sure the loss is 0, with gradient 0 (the authors' programs stop with an error).

    Args:
        weak: Scores of the weakly augmented views; no gradient reaches them.
        strong: Scores of the strongly augmented views.
        threshold: :math:`\tau`.
        balance: Weigh the classes alike.

    Shapes:
        ``weak``, ``strong``: :math:`[n, c]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, or the threshold is out of [0, 1].

    Example:
        >>> import torch
        >>> from pyg_relational.nn import self_label_loss
        >>> weak = torch.tensor([[9.0, 0.0], [1.0, 0.0]])
        >>> self_label_loss(weak, torch.tensor([[0.0, 0.0], [0.0, 9.0]]))
        tensor(0.6931)
    """
    check_matrix(weak, "weak")
    check_matrix(strong, "strong")
    if weak.shape != strong.shape:
        raise ValueError(
            f"strong must have the shape of weak, {list(weak.shape)}, got {list(strong.shape)}"
        )
    check_share(threshold, "threshold")
    settle(finite(weak, "weak"), finite(strong, "strong"))
    strong = strong.to(torch.promote_types(strong.dtype, torch.float32))
    if not strong.numel():
        return strong.sum()
    confidence, target = weak.detach().to(strong.dtype).softmax(1).max(1)
    sure = confidence > threshold
    weight = sure.to(strong.dtype)
    if balance:
        count = weight.new_zeros(strong.shape[1]).index_add(0, target, weight)
        weight = weight / count.clamp(min=1)[target]
    loss = (weight * cross_entropy(strong, target, reduction="none")).sum()
    total = weight.sum()
    return loss / total.where(total > 0, 1)
