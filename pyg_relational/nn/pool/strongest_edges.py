"""Edges that are kept, with the strongest others of nodes that would be left alone."""

import torch
from torch import Tensor

__all__ = ["keep_strongest", "undirected_pairs"]


def undirected_pairs(edge_index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Every undirected edge once, and which of them each edge is.

    Args:
        edge_index: Edges, in both directions.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, output: :math:`[2, p]` and :math:`[E]`.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.strongest_edges import undirected_pairs
        >>> undirected_pairs(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3)
        (tensor([[0, 1],
                [1, 2]]), tensor([0, 0, 1, 1]))
    """
    low, high = edge_index.amin(0), edge_index.amax(0)
    key, pair = (low * num_nodes + high).unique(return_inverse=True)
    return torch.stack([key // max(num_nodes, 1), key % max(num_nodes, 1)]), pair


def keep_strongest(
    edge_index: Tensor, weight: Tensor, keep: Tensor, pair: Tensor, min_degree: int, num_nodes: int
) -> Tensor:
    """Edges to keep, and the strongest others of nodes that would have fewer than ``min_degree``.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights.
        keep: Which to keep, equal in both directions.
        pair: Undirected edge of each, see :func:`undirected_pairs`.
        min_degree: Neighbours to leave a node that has as many; a self-loop is none.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``, ``keep``, ``pair``: :math:`[E]`, output: :math:`[E]`, bool.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.strongest_edges import keep_strongest
        >>> edges, weight = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.ones(4)
        >>> keep = torch.tensor([True, True, False, False])
        >>> keep_strongest(edges, weight, keep, torch.tensor([0, 0, 1, 1]), 1, 3).tolist()
        [True, True, True, True]
    """
    row, col = edge_index
    order = weight.detach().argsort(descending=True, stable=True)
    order = order[(row != col)[order]]
    order = order[(2 * row + ~keep)[order].argsort(stable=True)]  # by node, what is kept first
    count = row[order].bincount(minlength=num_nodes)
    rank = torch.arange(len(order), device=row.device) - (count.cumsum(0) - count)[row[order]]
    kept = torch.zeros_like(keep)
    kept[pair[keep]] = True
    kept[pair[order[rank < min_degree]]] = True
    return kept[pair]
