"""Modularity of a hard or soft partition, sparse and differentiable."""

import math
from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.checks import (
    Check,
    at_least,
    check_labels,
    check_matrix,
    check_number,
    finite,
    may_read,
)
from pyg_relational.ops.graph.quadratic_form import quadratic_form
from pyg_relational.ops.graph.undirected import check_graph_numbers, edges_to_sum

__all__ = ["check_resolution", "modularity", "modularity_of"]

_ROWS = 4096  # terms summed in the assignment's own precision; the rest in float64


def modularity(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    assignment: Tensor,
    *,
    resolution: float = 1.0,
    batch: Tensor | None = None,
) -> Tensor:
    r"""Modularity of a partition of an undirected graph, or of a soft assignment to clusters.

    From `Newman, "Modularity and community structure in networks" <https://doi.org/10.1073/pnas.0601602103>`_ (2006),
    with the resolution :math:`\gamma` of `Reichardt and Bornholdt <https://doi.org/10.1103/PhysRevE.74.016110>`_:

    .. math::
        Q = \frac{1}{M} \sum_{ij} \Big( A_{ij} - \gamma \frac{d_i d_j}{M} \Big) \langle c_i, c_j \rangle
          = \frac{1}{M} \sum_{(i, j) \in E} w_{ij} \langle c_i, c_j \rangle
            - \gamma \frac{\lVert C^\top d \rVert^2}{M^2}, \qquad M = \sum_i d_i

    The second form takes :math:`O(E k)` time and :math:`O(E + n k)` memory. Labels count as one-hot rows :math:`c_i`.
    Differentiable in weights and assignment, any number of times; the derivative in a weight is that in the symmetric
    part of :math:`A`. A self-loop, held once, adds twice its weight to :math:`A_{ii}`, as in networkx and igraph. Sums
    run in float64. A graph without edges, or with weights of 0 alone, has :math:`Q = 0`.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        assignment: Cluster of every node (int64), or soft assignment, whose rows usually sum to 1.
        resolution: :math:`\gamma`; above 1 it favours smaller clusters.
        batch: Graph of every node: :math:`Q` of each graph. Equal labels in two graphs are two clusters.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``assignment``: :math:`[n]` or :math:`[n, k]`,
        ``batch``: :math:`[n]`, output: scalar, or :math:`[B]` with ``batch``; of the floating-point types that came in
        the widest, float32 at least.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, a weight or label is negative, the graph is not
            undirected, or an edge joins two graphs of the batch.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import modularity
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> modularity(edge_index, None, torch.tensor([0, 0, 1, 1]))
        tensor(0.5000)
        >>> modularity(edge_index, None, torch.full((4, 2), 0.5))
        tensor(0.)
    """
    rule = _assignment_check(assignment)
    check_resolution(resolution)
    n = assignment.shape[0]
    edge_index, weight = edges_to_sum(edge_index, edge_weight, n, rule)
    return modularity_of(edge_index, weight, assignment, resolution, batch)


def check_resolution(resolution: float) -> None:
    """Raise ``ValueError`` unless ``resolution`` is finite and not negative.

    Args:
        resolution: The argument to check.
    """
    check_number(resolution, "resolution")
    if not math.isfinite(resolution) or resolution < 0:
        raise ValueError(f"resolution must be finite and >= 0, got {resolution}")


def modularity_of(
    edge_index: Tensor,
    weight: Tensor,
    assignment: Tensor,
    resolution: float,
    batch: Tensor | None,
) -> Tensor:
    """:func:`modularity` of edges and an assignment that are checked.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights.
        assignment: Labels, or soft assignment.
        resolution: As there.
        batch: As there.

    Shapes:
        As there.
    """
    n = len(assignment)
    if batch is not None:
        check_graph_numbers(batch, edge_index, n)
    dtype = torch.promote_types(weight.dtype, torch.float32)
    if assignment.is_floating_point():
        dtype = torch.promote_types(dtype, assignment.dtype)
        assignment = assignment.to(dtype)
    graph = assignment.new_zeros(n, dtype=torch.int64) if batch is None else batch
    count = int(graph.max()) + 1 if batch is not None and n else 1
    with torch.autocast(weight.device.type, enabled=False):
        q = _modularity(edge_index, weight.to(dtype), assignment, resolution, graph, count)
    return (q[0] if batch is None else q).to(dtype)


def _modularity(
    edge_index: Tensor, weight: Tensor, c: Tensor, resolution: float, graph: Tensor, count: int
) -> Tensor:
    row, col = edge_index
    loop = row == col
    if not (weight.is_cpu and may_read()) or bool(loop.any()):  # elsewhere, looking would wait
        weight = weight * (1 + loop.to(weight.dtype))
    half = weight.double() / 2
    degree = half.new_zeros(len(graph)).index_add(0, row, half).index_add(0, col, half)
    total = _sum(degree, graph, count)
    total = total.where(total > 0, 1)
    degree = degree / total.index_select(0, graph)
    if c.is_floating_point():
        inside = quadratic_form(edge_index, weight, c, graph, count)
        return inside / total - resolution * _soft_volumes(degree, c, graph, count)
    same = (weight * (c[row] == c[col])).double()
    inside = _sum(same, graph.index_select(0, row), count)
    return inside / total - resolution * _hard_volumes(degree, c, graph, count)


def _soft_volumes(degree: Tensor, c: Tensor, graph: Tensor, count: int) -> Tensor:
    r""":math:`\lVert C^\top d \rVert^2` of every graph, for degrees that sum to 1."""
    if count == 1:
        parts = zip(degree.to(c.dtype).split(_ROWS), c.split(_ROWS), strict=True)
        volume = torch.stack([d @ part for d, part in parts]).double().sum(0, keepdim=True)
    else:
        volume = degree.new_zeros(count, c.shape[1]).index_add(0, graph, degree[:, None] * c)
    return volume.square().sum(1)


def _hard_volumes(degree: Tensor, c: Tensor, graph: Tensor, count: int) -> Tensor:
    number = c.unique(return_inverse=True)[1]
    cluster, member = (graph + count * number).unique(return_inverse=True)
    volume = _sum(degree, member, len(cluster))
    return _sum(volume.square(), cluster % count, count)


def _sum(x: Tensor, index: Tensor, count: int) -> Tensor:
    if count == 1:
        return x.sum(0, keepdim=True)
    return x.new_zeros(count).index_add(0, index, x)


def _assignment_check(assignment: Any) -> Check:
    """What is asked of its values; dtype and shape are checked at once."""
    if not isinstance(assignment, Tensor):
        raise TypeError(f"assignment must be a Tensor, got {type(assignment).__name__}")
    if assignment.is_floating_point():
        check_matrix(assignment, "assignment")
        return finite(assignment, "assignment")
    if assignment.dim() != 1:
        raise ValueError(
            f"assignment must have shape [n] with labels, got {list(assignment.shape)}"
        )
    check_labels(assignment, len(assignment), "assignment")
    return at_least(assignment, 0, "assignment")
