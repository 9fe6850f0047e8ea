"""Clusters of strongly bound nodes, and the coarse system over them."""

import torch
from torch import Tensor

from pyg_relational.ops.graph.components import connected_components

__all__ = ["aggregate", "coarse_matrix", "strong_edges"]


def strong_edges(edge_index: Tensor, weight: Tensor, num_nodes: int, share: float) -> Tensor:
    """Edges heavier than a share of the heaviest at the lighter of their ends.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights.
        num_nodes: Number of nodes.
        share: The share, below 1: the heaviest edge of a node is always strong.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, output: :math:`[E]`, bool.
    """
    row, col = edge_index
    weight = weight * (row != col)
    top = weight.new_zeros(num_nodes).scatter_reduce_(0, row, weight, "amax")
    lighter = torch.minimum(top.index_select(0, row), top.index_select(0, col))
    return weight > share * lighter


def aggregate(edge_index: Tensor, weight: Tensor, num_nodes: int, most: int) -> Tensor:
    """Join every cluster with the neighbour it is bound to most strongly, until few are left or none can be joined.

    As in Borůvka's minimum spanning tree, so that a cluster joins inside before it joins across a weak cut.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights.
        num_nodes: Number of nodes.
        most: Clusters to stop at.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, output: :math:`[n]`.

    Returns:
        Number of the cluster of every node, from 0.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.aggregation import aggregate
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> aggregate(path, torch.tensor([1.0, 1.0, 0.1, 0.1, 1.0, 1.0]), 4, 2).tolist()
        [0, 0, 1, 1]
    """
    cluster = torch.arange(num_nodes, device=weight.device)
    row, col = edge_index
    weight = weight * (row != col)
    count = num_nodes
    while count > most:
        strongest = weight.new_zeros(count).scatter_reduce_(0, row, weight, "amax")
        hit = ((weight == strongest.index_select(0, row)) & (weight > 0)).nonzero()[:, 0]
        if len(hit) == 0:
            break
        merged = connected_components(torch.stack([row[hit], col[hit]]), count)
        count = int(merged.max()) + 1
        cluster, row, col = (merged.index_select(0, t) for t in (cluster, row, col))
        across = (row != col).nonzero()[:, 0]
        row, col, weight = (t.index_select(0, across) for t in (row, col, weight))
    return cluster


def coarse_matrix(
    edge_index: Tensor, weight: Tensor, shift: Tensor, cluster: Tensor, free: Tensor, count: int
) -> Tensor:
    r"""Galerkin matrix :math:`P^T (L + \operatorname{diag}(\delta)) P` of the clusters' free nodes.

    The diagonal is summed from what leaves a cluster, not as a difference of degrees.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights.
        shift: :math:`\delta`.
        cluster: Number of the cluster of every node.
        free: Nodes that take part.
        count: Number of clusters.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, ``shift``, ``cluster``, ``free``: :math:`[n]`,
        output: :math:`[m, m]`.
    """
    group = cluster.where(free, count)
    a, b = (group.index_select(0, ends) for ends in edge_index)
    flow = torch.bincount(a * (count + 1) + b, weight, (count + 1) ** 2)
    flow = flow.view(count + 1, count + 1).fill_diagonal_(0)[:count]
    held = torch.bincount(group, shift, count + 1)[:count]
    return torch.diag(flow.sum(1) + held) - flow[:, :count]
