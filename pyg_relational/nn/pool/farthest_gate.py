"""Gates between clusters whose centroids are farthest apart."""

import torch
from torch import Tensor

from pyg_relational.nn.pool.soft_assignment import check_assignment, check_positive
from pyg_relational.ops import edge_diff_dot, edge_dot, safe_sqrt
from pyg_relational.ops.checks import check_features
from pyg_relational.ops.graph.per_graph import split_graphs

__all__ = ["farthest_gate", "gates_of"]


def farthest_gate(
    edge_index: Tensor,
    x: Tensor,
    assignment: Tensor,
    *,
    temperature: float,
    batch: Tensor | None = None,
) -> Tensor:
    r"""Gates that close between a cluster and the one whose centroid is farthest from its own.

    .. math::
        g_{uv} = 1 - c_u^\top S c_v, \qquad S = R + R^\top - R \circ R^\top, \qquad
        R_{ab} = \mathrm{softmax}_{b \ne a}(\lVert \mu_a - \mu_b \rVert / T), \qquad
        \mu_a = \frac{\sum_i c_{ia} x_i}{\sum_i c_{ia}}

    :math:`S_{ab}` is the probability that one of two clusters is the other's farthest. For hard clusters and
    :math:`T \to 0` the gate is 0 where
    :func:`~pyg_relational.nn.pool.modularity_pruning.between_farthest` is true, else 1. Clusters that nobody is in are
    nobody's farthest. :math:`O(E k + n k d)` time. With several partitions, the mean of their gates.

    Args:
        edge_index: Edges, any.
        x: Features.
        assignment: Soft assignment :math:`c` to :math:`k` clusters; rows sum to 1.
        temperature: :math:`T`, a distance.
        batch: Graph of every node; centroids are those of its graph.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``x``: :math:`[n, d]`, ``assignment``: :math:`[n, k]` or :math:`[n, P, k]`,
        ``batch``: :math:`[n]`, output: :math:`[E]`.

    Raises:
        TypeError: If ``x`` and ``assignment`` are not both float32 or both float64, or edges not int64.
        ValueError: If a shape or value is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.farthest_gate import farthest_gate
        >>> x, edges = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0, 0, 1], [1, 2, 2]])
        >>> farthest_gate(edges, x, torch.eye(3), temperature=0.01).tolist()
        [1.0, 0.0, 0.0]
    """
    check_features(x)
    check_assignment(assignment, len(x))
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"x must be float32 or float64, got {x.dtype}")
    if assignment.dtype != x.dtype:
        raise TypeError(f"assignment must be {x.dtype}, as x, got {assignment.dtype}")
    check_positive(temperature=temperature)
    return gates_of(edge_index, x, assignment, temperature, batch)


def gates_of(
    edge_index: Tensor, x: Tensor, assignment: Tensor, temperature: float, batch: Tensor | None
) -> Tensor:
    """:func:`farthest_gate` of what is checked.

    Args:
        edge_index: As there.
        x: As there.
        assignment: As there.
        temperature: As there.
        batch: As there.

    Shapes:
        As there.
    """
    partitions = assignment[:, None] if assignment.dim() == 2 else assignment
    with torch.autocast(x.device.type, enabled=False):
        gates = [
            1 - edge_dot(_opposite(x, c, temperature, batch), c, edge_index)
            for c in partitions.unbind(1)
        ]
    return torch.stack(gates).mean(0).clamp(0, 1)


def _opposite(x: Tensor, c: Tensor, temperature: float, batch: Tensor | None) -> Tensor:
    """``C S``, with the ``S`` of every graph."""
    graphs = split_graphs(batch, x, c)
    product = torch.cat([part @ _apart(features, part, temperature) for features, part in graphs])
    if batch is None:
        return product
    return product.index_select(0, batch.argsort(stable=True).argsort())


def _apart(x: Tensor, c: Tensor, temperature: float) -> Tensor:
    """The matrix ``S``."""
    k, mass = c.shape[1], c.sum(0)
    there = mass > 0
    centroids = (c.mT @ x) / mass.where(there, 1)[:, None]
    place = torch.arange(k * k, device=x.device)
    grid = torch.stack([place // max(k, 1), place % max(k, 1)])
    distance = safe_sqrt(edge_diff_dot(centroids, centroids, grid)).view(k, k)
    other = there & ~torch.eye(k, dtype=torch.bool, device=x.device)
    lowest = torch.finfo(x.dtype).min
    r = (distance / temperature).where(other, lowest).softmax(1) * other
    return r + r.mT - r * r.mT
