"""What gates on the edges of a graph are to learn."""

import math
from typing import Any

import torch
from torch import Tensor

from pyg_relational.nn.loss.balance import collapse_of
from pyg_relational.ops import edge_dot, modularity
from pyg_relational.ops.checks import check_count, check_features, check_share
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.graph.modularity import modularity_of
from pyg_relational.ops.graph.per_graph import check_weights, mean_of_present

__all__ = ["agreement_factor", "check_objective", "gated_modularity", "pruning_loss", "pruning_of"]


def gated_modularity(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    gate: Tensor,
    assignment: Tensor,
    resolution: float = 1.0,
    *,
    batch: Tensor | None = None,
) -> Tensor:
    r"""Modularity of a graph with gates on its edges, against the null model of the graph without them.

    .. math::
        Q = \frac{1}{M} \sum_{(i, j) \in E} g_{ij} w_{ij} \langle c_i, c_j \rangle
            - \gamma \frac{\lVert C^\top d \rVert^2}{M^2}

    with the degrees :math:`d` and their sum :math:`M` as they were: closing a gate inside of a cluster costs, closing
    one between clusters costs nothing, and none gains, unlike in the modularity of the pruned graph. :math:`O(E k)`
    time. A graph without edges has :math:`Q = 0`.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        gate: Gate :math:`g` of every edge, equal in both directions.
        assignment: Soft assignment :math:`C`. Half precision is computed in float32.
        resolution: :math:`\gamma`.
        batch: Graph of every node; the modularity of each is returned.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``, ``gate``: :math:`[E]`, ``assignment``: :math:`[n, k]`, or
        :math:`[n, P, k]` for the mean over :math:`P` partitions, ``batch``: :math:`[n]`, output: scalar, or :math:`[B]`
        with ``batch``.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: As :func:`~pyg_relational.ops.modularity`, and if ``gate`` has another shape or is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.pruning import gated_modularity
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> gated_modularity(edge_index, None, torch.tensor([1., 1., 0., 0.]), torch.eye(2)[[0, 0, 1, 1]])
        tensor(0.)
    """
    c = _checked_factor(assignment)
    q = modularity(edge_index, edge_weight, c, resolution=resolution, batch=batch)
    _check_gate(gate, edge_index.shape[1])
    return _less_closed(q, edge_index, edge_weight, gate, c, batch)


def _less_closed(
    q: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor | None,
    gate: Tensor,
    c: Tensor,
    batch: Tensor | None,
) -> Tensor:
    """Modularity less what closed gates carry."""
    row, col = edge_index
    weight = torch.ones_like(gate) if edge_weight is None else edge_weight.reshape(gate.shape)
    weight = weight * (1 + (row == col).to(weight.dtype))
    closed = weight * (1 - gate) * edge_dot(c, c, edge_index)
    graph = torch.zeros_like(row) if batch is None else batch.index_select(0, row)
    lost, total = (_sum(value.double(), graph, q.numel()) for value in (closed, weight))
    return q - (lost / total.where(total > 0, 1)).to(q.dtype).view_as(q)


def pruning_loss(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    gate: Tensor,
    assignment: Tensor,
    *,
    keep: float = 0.9,
    min_degree: int = 1,
    resolution: float = 1.0,
    budget: float = 10.0,
    hinge: float = 1.0,
    collapse: float = 1.0,
    batch: Tensor | None = None,
) -> Tensor:
    r"""Objective of gates on the edges of a graph: which to close, how many, and not all at one node.

    .. math::
        \mathcal{L} = -Q + \lambda_b (\bar g - \rho)^2
            + \frac{\lambda_d}{n} \sum_i \max\Big(0, \min(m, |N_i|) - \sum_{j \in N_i} g_{ij}\Big)
            + \lambda_c \Big(\frac{\sqrt{k}}{n} \Big\lVert \sum_i c_i \Big\rVert_2 - 1\Big)

    with :math:`Q` of :func:`gated_modularity`, the mean gate :math:`\bar g`, and the last term of
    `DMoN <https://arxiv.org/abs/2006.16904>`_. Self-loops are no neighbours, and not in the mean. Where the assignment
    has several partitions, the first and the last term are means over them. :math:`O(E k)` time.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        gate: Gate :math:`g` of every edge, equal in both directions.
        assignment: Soft assignment :math:`C`. Half precision is computed in float32.
        keep: Share of the edges to keep, :math:`\rho`. (default: 0.9)
        min_degree: Neighbours :math:`m` to leave a node that has as many. (default: 1)
        resolution: Resolution of the modularity. (default: 1)
        budget: :math:`\lambda_b`. (default: 10)
        hinge: :math:`\lambda_d`. (default: 1)
        collapse: :math:`\lambda_c`. (default: 1)
        batch: Graph of every node; the mean of the graphs' losses is taken.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``, ``gate``: :math:`[E]`, ``assignment``: :math:`[n, k]` or
        :math:`[n, P, k]`, ``batch``: :math:`[n]`, output: scalar.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, the graph is not undirected, or an edge joins two graphs of the
            batch.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.pruning import pruning_loss
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> pruning_loss(edge_index, None, torch.ones(4), torch.eye(2)[[0, 0, 1, 1]], keep=1.0)
        tensor(-0.5000)
    """
    check_objective(keep, min_degree, budget=budget, hinge=hinge, collapse=collapse)
    q = gated_modularity(edge_index, edge_weight, gate, assignment, resolution, batch=batch)
    return _objective(
        q, edge_index, gate, assignment, keep, min_degree, budget, hinge, collapse, batch
    )


def pruning_of(
    edge_index: Tensor,
    edge_weight: Tensor,
    gate: Tensor,
    assignment: Tensor,
    *,
    keep: float,
    min_degree: int,
    resolution: float,
    budget: float,
    hinge: float,
    collapse: float,
    batch: Tensor | None,
) -> Tensor:
    """:func:`pruning_loss` of edges, gates and an assignment that are checked.

    Args:
        edge_index: Edges, in both directions, sorted.
        edge_weight: Their weights.
        gate: As there.
        assignment: As there, float32 at least.
        keep: As there.
        min_degree: As there.
        resolution: As there.
        budget: As there.
        hinge: As there.
        collapse: As there.
        batch: As there.

    Shapes:
        As there.
    """
    c = agreement_factor(assignment)
    q = modularity_of(edge_index, edge_weight, c, resolution, batch)
    q = _less_closed(q, edge_index, edge_weight, gate, c, batch)
    return _objective(
        q, edge_index, gate, assignment, keep, min_degree, budget, hinge, collapse, batch
    )


def _objective(
    q: Tensor,
    edge_index: Tensor,
    gate: Tensor,
    assignment: Tensor,
    keep: float,
    min_degree: int,
    budget: float,
    hinge: float,
    collapse: float,
    batch: Tensor | None,
) -> Tensor:
    c = assignment.to(torch.promote_types(assignment.dtype, torch.float32))
    partitions = c[:, None] if c.dim() == 2 else c
    sizes = torch.stack([collapse_of(part, batch) for part in partitions.unbind(1)]).mean()
    n = len(assignment)
    graph = torch.zeros(n, dtype=torch.int64, device=gate.device) if batch is None else batch
    between = (edge_index[0] != edge_index[1]).to(gate.dtype)
    degrees, gated = degree(edge_index, between, n), degree(edge_index, gate * between, n)
    missing = (degrees.clamp(max=min_degree) - gated).relu()
    number, total, left, lacking = (
        _sum(value, graph, q.numel()) for value in (torch.ones_like(gated), degrees, gated, missing)
    )
    price = budget * ((left - keep * total) / total.clamp(min=1)).square()
    return mean_of_present(price + hinge * lacking / number.clamp(min=1) - q, batch) + (
        collapse * sizes
    )


def agreement_factor(assignment: Tensor) -> Tensor:
    r"""Matrix whose rows have the inner products of the assignment's, averaged over its partitions.

    Args:
        assignment: Soft assignment, in one partition or in several.

    Shapes:
        ``assignment``: :math:`[n, k]` or :math:`[n, P, k]`, output: :math:`[n, k]` or :math:`[n, P k]`.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.pruning import agreement_factor
        >>> c = torch.eye(2)[torch.tensor([[0, 0], [0, 1]])]  # two nodes, together in one partition of two
        >>> a, b = agreement_factor(c)
        >>> round(float(a @ b), 4)
        0.5
    """
    if assignment.dim() < 3:
        return assignment
    return assignment.flatten(1) / math.sqrt(assignment.shape[1])


def _checked_factor(assignment: Any) -> Tensor:
    if not isinstance(assignment, Tensor):
        raise TypeError(f"assignment must be a Tensor, got {type(assignment).__name__}")
    c = agreement_factor(assignment)
    check_features(c, "assignment")
    if c.shape[1] == 0:
        raise ValueError(
            f"assignment must have at least one column, got shape {list(assignment.shape)}"
        )
    return c.to(torch.promote_types(c.dtype, torch.float32))


def _check_gate(gate: Any, num_edges: int) -> None:
    if not isinstance(gate, Tensor):
        raise TypeError(f"gate must be a Tensor, got {type(gate).__name__}")
    if not gate.is_floating_point():
        raise TypeError(f"gate must be floating point, got {gate.dtype}")
    if gate.shape != (num_edges,):
        raise ValueError(f"gate must have shape [{num_edges}], got {list(gate.shape)}")
    if not bool(gate.detach().isfinite().all()):
        edge = int((~gate.detach().isfinite()).nonzero()[0])
        raise ValueError(f"gate must be finite, got {gate[edge].item()} at edge {edge}")


def check_objective(keep: float, min_degree: int, **weights: float) -> None:
    """Raise unless the options of :func:`pruning_loss` are in range.

    Args:
        keep: Share of the edges to keep.
        min_degree: Neighbours to leave a node.
        **weights: Others, finite and not negative.

    Raises:
        ValueError: If one is not.
    """
    check_share(keep, "keep")
    check_count(min_degree, "min_degree", 0)
    check_weights(**weights)


def _sum(x: Tensor, graph: Tensor, count: int) -> Tensor:
    """Sum over every graph."""
    return x.new_zeros(count).index_add(0, graph, x)
