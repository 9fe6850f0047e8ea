"""Terms that keep soft clusters from falling into one."""

import math
from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_features, check_matrix
from pyg_relational.ops.graph.per_graph import graph_products, graph_sizes, mean_of_present

__all__ = [
    "check_columns",
    "collapse_loss",
    "collapse_of",
    "orthogonality_loss",
    "orthogonality_of",
]


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
    return collapse_of(_checked(assignment), batch)


def collapse_of(c: Tensor, batch: Tensor | None = None) -> Tensor:
    """:func:`collapse_loss` of an assignment that is checked.

    Args:
        c: Soft assignment, float32 at least.
        batch: Graph of every node.

    Shapes:
        As there.
    """
    if batch is None:
        total, size = c.sum(0, keepdim=True), torch.full((1,), len(c), device=c.device)
    else:
        size = graph_sizes(batch, len(c))
        total = c.new_zeros(len(size), c.shape[1], dtype=torch.float64)
        total = total.index_add(0, batch, c.double()).to(c.dtype)
    length = torch.linalg.vector_norm(total / size[:, None].clamp(min=1), dim=1)
    return mean_of_present(math.sqrt(c.shape[1]) * length - (size > 0).to(c.dtype), batch)


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
    return orthogonality_of(_checked(assignment), batch)


def orthogonality_of(c: Tensor, batch: Tensor | None = None) -> Tensor:
    """:func:`orthogonality_loss` of an assignment that is checked.

    Args:
        c: Soft assignment, float32 at least.
        batch: Graph of every node.

    Shapes:
        As there.
    """
    with torch.autocast(c.device.type, enabled=False):
        product = graph_products(batch, c, c)
        norm = torch.linalg.matrix_norm(product, keepdim=True)
        target = torch.eye(c.shape[1], dtype=c.dtype, device=c.device) / math.sqrt(c.shape[1])
        distance = torch.linalg.matrix_norm(product / norm.where(norm > 0, 1) - target)
        return mean_of_present(distance, batch)


def _checked(assignment: Tensor) -> Tensor:
    check_columns(assignment)
    check_features(assignment, "assignment")
    return assignment.to(torch.promote_types(assignment.dtype, torch.float32))


def check_columns(assignment: Any) -> None:
    """Raise unless a soft assignment has the dtype and shape of one.

    Args:
        assignment: The argument to check.

    Raises:
        TypeError: If the dtype is wrong.
        ValueError: If the shape is wrong, or there is no cluster.
    """
    check_matrix(assignment, "assignment")
    if assignment.shape[1] == 0:
        raise ValueError(
            f"assignment must have at least one column, got shape {list(assignment.shape)}"
        )
