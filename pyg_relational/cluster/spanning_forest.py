"""The edges that hold a graph together."""

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

__all__ = ["spanning_forest"]


def spanning_forest(edge_index: Tensor, weight: Tensor, num_nodes: int) -> Tensor:
    """Edges of a maximum spanning forest: each component of the graph stays one with these alone.

    Of two edges of the same weight, the first counts as the heavier. Runs on the CPU.

    Args:
        edge_index: Edges, in both directions, without duplicates.
        weight: Their weights, equal in both directions.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, output: :math:`[E]`, bool.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster.spanning_forest import spanning_forest
        >>> triangle = torch.tensor([[0, 1, 0, 2, 1, 2], [1, 0, 2, 0, 2, 1]])
        >>> spanning_forest(triangle, torch.tensor([3., 3., 1., 1., 2., 2.]), 3).tolist()
        [True, True, False, False, True, True]
    """
    low, high = edge_index.amin(0), edge_index.amax(0)
    key, pair = (low * num_nodes + high).unique(return_inverse=True)
    once = weight.detach().new_zeros(len(key)).scatter_reduce(0, pair, weight.detach(), "amax")
    i, j = (key // max(num_nodes, 1)).cpu().numpy(), (key % max(num_nodes, 1)).cpu().numpy()
    heavy_first = np.argsort(-once.cpu().numpy(), kind="stable")
    rank = np.empty(len(key))
    rank[heavy_first] = np.arange(1, len(key) + 1)
    ends = tuple(end[i != j].astype(np.int32) for end in (i, j))  # SciPy 1.12 takes no other
    graph = scipy.sparse.csr_array((rank[i != j], ends), shape=(num_nodes, num_nodes))
    held = scipy.sparse.csgraph.minimum_spanning_tree(graph).data.astype(np.int64) - 1
    kept = torch.zeros(len(key), dtype=torch.bool)
    kept[torch.from_numpy(heavy_first[held])] = True
    return kept.to(edge_index.device)[pair]
