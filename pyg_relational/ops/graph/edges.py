"""Undirected edges: pairs i < j, and both directions of them in the package's order."""

import torch
from torch import Tensor

__all__ = ["both_directions", "neighbor_pairs"]


def neighbor_pairs(index: Tensor, mutual: bool = False) -> Tensor:
    """Undirected edges of a table of neighbours, each once with ``i < j``, sorted.

    Args:
        index: Neighbours of every node.
        mutual: Keep only the pairs in which each is the other's neighbour.

    Shapes:
        ``index``: :math:`[n, k]`, output: :math:`[2, P]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import neighbor_pairs
        >>> neighbor_pairs(torch.tensor([[1], [0], [1]])).tolist()
        [[0, 1], [1, 2]]
    """
    n = index.shape[0]
    i = torch.arange(n, device=index.device)[:, None]
    key = _key(torch.minimum(i, index), torch.maximum(i, index), n).flatten()
    key, count = key.unique(return_counts=True)
    if mutual:
        key = key[count == 2]
    return torch.stack([key // max(n, 1), key % max(n, 1)]).long()


def both_directions(pairs: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Both directions of undirected pairs, sorted by (row, column), and which pair each edge comes from.

    Args:
        pairs: Pairs of different nodes, each once.
        num_nodes: Number of nodes.

    Shapes:
        ``pairs``: :math:`[2, P]`, output: ``edge_index`` :math:`[2, 2P]` and ``pair`` :math:`[2P]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import both_directions
        >>> edge_index, pair = both_directions(torch.tensor([[0, 0], [1, 2]]), 3)
        >>> edge_index.tolist(), pair.tolist()
        ([[0, 0, 1, 2], [1, 2, 0, 0]], [0, 1, 0, 1])
    """
    both = torch.cat([pairs, pairs.flip(0)], dim=1)
    order = _key(both[0], both[1], num_nodes).argsort()
    half = pairs.shape[1]
    return both.index_select(1, order), order.where(order < half, order - half)


def _key(row: Tensor, col: Tensor, n: int) -> Tensor:
    """Number of a place in an ``n`` by ``n`` matrix, as short an integer as holds it: it will be sorted."""
    key = row * n + col
    return key.int() if n * n < 2**31 else key
