"""Edit distance of small graphs, from above."""

from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["edit_distance"]


def edit_distance(a: Any, b: Any) -> float:
    r"""Bipartite graph edit distance: the cost of the edit path that an assignment of nodes gives.

    From `Riesen and Bunke, "Approximate graph edit distance computation by means of bipartite graph matching"
    <https://doi.org/10.1016/j.imavis.2008.04.004>`_ (2009). Nodes of ``a`` are matched with nodes of ``b``, or with
    none, at the least sum of node costs and differences of degrees; the path then renames, deletes and inserts nodes,
    and deletes and inserts edges, at a cost of 1 each. It is the cost of an edit path, so never below the exact
    distance, which takes exponential time; :math:`O((n_a + n_b)^3)` on the CPU. Edges have no direction and no labels.
    It may differ in the two directions.

    Args:
        a: A graph, as PyG's ``Data``; two nodes are alike where their rows of ``x`` are equal, or there is no ``x``.
        b: Another.

    Raises:
        TypeError: If one is not such a graph.
        ValueError: If one has features and the other not, or other widths of them.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from torch_geometric.utils import to_undirected
        >>> from pyg_relational.metrics import edit_distance
        >>> path = to_undirected(torch.tensor([[0, 1, 2], [1, 2, 3]]))
        >>> ring = to_undirected(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]))
        >>> edit_distance(Data(edge_index=path, num_nodes=4), Data(edge_index=ring, num_nodes=4))
        1.0
    """
    from scipy.optimize import linear_sum_assignment

    (one, x), (other, z) = _read(a, "a"), _read(b, "b")
    if (x is None) != (z is None) or (x is not None and x.shape[1:] != z.shape[1:]):
        raise ValueError("b must have features of a's width where a has some, and none where not")
    n, m = len(one), len(other)
    renamed = np.zeros((n, m)) if x is None else (x[:, None] != z[None]).any(2).astype(float)
    degree, others = one.sum(1), other.sum(1)
    cost = np.zeros((n + m, n + m))
    cost[:n, :m] = renamed + abs(degree[:, None] - others)
    cost[:n, m:] = 1 + degree[:, None]  # any of them stands for no node
    cost[n:, :m] = 1 + others
    row, column = linear_sum_assignment(cost)
    kept = (row < n) & (column < m)
    i, j = row[kept], column[kept]
    nodes = renamed[i, j].sum() + (n - len(i)) + (m - len(j))
    common = (one[np.ix_(i, i)] * other[np.ix_(j, j)]).sum()
    return float(nodes + (one.sum() + other.sum() - 2 * common) / 2)


def _read(graph: Any, name: str) -> tuple[Any, Any]:
    """Adjacency, without loops, and features."""
    if not isinstance(getattr(graph, "edge_index", None), Tensor):
        raise TypeError(f"{name} must be a Data with an edge_index, got {type(graph).__name__}")
    row, col = graph.edge_index.cpu().numpy()
    adjacency = np.zeros((graph.num_nodes, graph.num_nodes))
    adjacency[row, col] = adjacency[col, row] = 1
    np.fill_diagonal(adjacency, 0)
    return adjacency, None if graph.x is None else graph.x.detach().cpu().numpy()
