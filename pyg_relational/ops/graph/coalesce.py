"""Duplicate edges to one, their weights summed."""

import torch
from torch import Tensor

__all__ = ["coalesce"]


def coalesce(edge_index: Tensor, edge_weight: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Edges sorted by (row, column), each once, with the sum of its weights, differentiable in these.

    Args:
        edge_index: Edges.
        edge_weight: Their weights, or rows of weights.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E, *]`, output: :math:`[2, E']` and :math:`[E', *]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.coalesce import coalesce
        >>> coalesce(torch.tensor([[1, 0, 1], [0, 1, 0]]), torch.tensor([1.0, 2.0, 4.0]), 2)
        (tensor([[0, 1],
                [1, 0]]), tensor([2., 5.]))
    """
    key, place = (edge_index[0] * num_nodes + edge_index[1]).unique(return_inverse=True)
    weight = edge_weight.new_zeros(len(key), *edge_weight.shape[1:])
    return torch.stack([key // num_nodes, key % num_nodes]), weight.index_add(0, place, edge_weight)
