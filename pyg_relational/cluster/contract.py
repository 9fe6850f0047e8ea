"""A graph whose nodes are groups of nodes of another."""

from torch import Tensor

from pyg_relational.ops.graph.coalesce import coalesce

__all__ = ["contract"]


def contract(edge_index: Tensor, edge_weight: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Graph of the groups, with the sums of the weights between them; those inside of a group become its self-loop.

    Any partition of the groups has the modularity that it gives the nodes.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, one column a kind of weight.
        groups: Group of every node, numbered from 0.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E, F]`, ``groups``: :math:`[n]`, output:
        :math:`[2, E']` and :math:`[E', F]`, float64.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster.contract import contract
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> contract(path, torch.ones(4, 1), torch.tensor([0, 0, 1]))
        (tensor([[0, 0, 1],
                [0, 1, 0]]), tensor([[1.],
                [1.],
                [1.]], dtype=torch.float64))
    """
    ends = groups[edge_index]
    inside = (ends[0] == ends[1]) & (edge_index[0] != edge_index[1])
    weight = edge_weight.detach().double() * (1 - 0.5 * inside.double())[:, None]
    index, total = coalesce(ends, weight, len(groups))
    return index, total
