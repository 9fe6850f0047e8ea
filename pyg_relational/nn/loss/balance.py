"""Terms that keep soft clusters from falling into one."""

import math

import torch
from torch import Tensor

from pyg_relational.nn.loss.per_graph import graph_mean
from pyg_relational.ops.checks import check_features


def collapse_loss(assignment: Tensor, batch: Tensor | None = None) -> Tensor:
    r"""Collapse regularisation of DMoN (`Tsitsulin et al., 2020 <https://arxiv.org/abs/2006.16904>`_).

    .. math::
        \frac{\sqrt{k}}{n} \Big\lVert \sum_i c_i \Big\rVert_2 - 1

    For rows that sum to 1, between 0 (clusters of one size) and :math:`\sqrt{k} - 1` (one cluster).

    Args:
        assignment: Soft assignment :math:`c` to :math:`k` clusters.
        batch: Graph of every node; the mean over the graphs is taken.

    Shapes:
        ``assignment``: :math:`[n, k]`, ``batch``: :math:`[n]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong, there is no cluster, or a value is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.balance import collapse_loss
        >>> collapse_loss(torch.eye(4)), collapse_loss(torch.eye(4)[[0, 0]])
        (tensor(0.), tensor(1.))
    """
    return graph_mean(_collapse, batch, _checked(assignment))


def orthogonality_loss(assignment: Tensor, batch: Tensor | None = None) -> Tensor:
    r"""Orthogonality of clusters (`Bianchi et al., 2020 <https://arxiv.org/abs/1907.00481>`_), in :math:`O(n k^2)`.

    .. math::
        \left\lVert \frac{C^\top C}{\lVert C^\top C \rVert_F} - \frac{I}{\sqrt{k}} \right\rVert_F

    It is 0 for hard clusters of one size.

    Args:
        assignment: Soft assignment :math:`C` to :math:`k` clusters.
        batch: Graph of every node; the mean over the graphs is taken.

    Shapes:
        ``assignment``: :math:`[n, k]`, ``batch``: :math:`[n]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong, there is no cluster, or a value is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.balance import orthogonality_loss
        >>> orthogonality_loss(torch.eye(4))
        tensor(0.)
    """
    c = _checked(assignment)
    with torch.autocast(c.device.type, enabled=False):
        return graph_mean(_orthogonality, batch, c)


def _checked(assignment: Tensor) -> Tensor:
    check_features(assignment, "assignment")
    if assignment.shape[1] == 0:
        raise ValueError(
            f"assignment must have at least one column, got shape {list(assignment.shape)}"
        )
    return assignment.to(torch.promote_types(assignment.dtype, torch.float32))


def _collapse(c: Tensor) -> Tensor:
    if not len(c):
        return c.sum()
    length: Tensor = torch.linalg.vector_norm(c.mean(0))
    return math.sqrt(c.shape[1]) * length - 1


def _orthogonality(c: Tensor) -> Tensor:
    product = c.T @ c
    norm = torch.linalg.vector_norm(product)
    target = torch.eye(len(product), dtype=c.dtype, device=c.device) / math.sqrt(len(product))
    distance: Tensor = torch.linalg.vector_norm(product / norm.where(norm > 0, 1) - target)
    return distance
