"""Connected components of a graph."""

from functools import partial

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from pyg_relational.ops.autograd.functorch import plainly
from pyg_relational.ops.checks import check_count

__all__ = ["connected_components", "edges_where", "joined", "smallest_member", "smallest_reachable"]

# Rounds of hooking between looks at whether it is done, for which a device is waited for, and jumps in a round. With 1,
# 2, 3, 4 and as many as there may be: 16, 8, 8, 8, 4 rounds on a path of 10,000 nodes, 12, 8, 4, 4, 4 on a grid of as
# many, 8 on neighbours of 3,000 points in 2-d.
_ROUNDS, _JUMPS = 4, 3


def connected_components(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Number of the connected component of every node, counted from 0 in the order of their first nodes.

    Directions do not matter. On the CPU by scipy, on other devices by passing the smallest number along the edges.

    Args:
        edge_index: Edges.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, output: :math:`[n]`, int64.

    Raises:
        TypeError: If ``num_nodes`` is no integer.
        ValueError: If it is negative.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import connected_components
        >>> connected_components(torch.tensor([[0, 2], [2, 0]]), 4).tolist()
        [0, 1, 0, 2]
    """
    num_nodes = check_count(num_nodes, "num_nodes", 0)
    if edge_index.device.type != "cpu":
        return _counted(smallest_reachable(edge_index, num_nodes))
    component: Tensor = plainly(partial(_by_scipy, num_nodes=num_nodes), edge_index)
    return component


def _by_scipy(edge_index: Tensor, num_nodes: int) -> Tensor:
    row, col = edge_index.numpy()
    ones = np.ones(len(row), dtype=np.int8)
    graph = scipy.sparse.coo_array((ones, (row, col)), shape=(num_nodes, num_nodes))
    component = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    return _counted(smallest_member(torch.from_numpy(component).long()))


def _counted(first: Tensor) -> Tensor:
    root = first == torch.arange(len(first), device=first.device)
    number: Tensor = (root.cumsum(0) - 1)[first]
    return number


def edges_where(edge_index: Tensor, keep: Tensor) -> Tensor:
    """Edges that are kept; on a device loops stand for the others, whose number need not be waited for.

    Args:
        edge_index: Edges.
        keep: Which are kept.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``keep``: :math:`[E]`, bool.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.components import edges_where
        >>> edges_where(torch.tensor([[0, 1], [1, 2]]), torch.tensor([True, False])).tolist()
        [[0], [1]]
    """
    if not keep.is_cpu:
        return torch.stack([edge_index[0], edge_index[1].where(keep, edge_index[0])])
    return edge_index if bool(keep.all()) else edge_index.index_select(1, keep.nonzero()[:, 0])


def joined(component: Tensor, marked: Tensor) -> Tensor:
    """Nodes whose component has a marked one.

    Args:
        component: Number of the component of every node, below their count.
        marked: Nodes.

    Shapes:
        ``component``: :math:`[n]`, ``marked``, output: :math:`[n]`, bool.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.components import joined
        >>> joined(torch.tensor([0, 0, 1]), torch.tensor([False, True, False])).tolist()
        [True, True, False]
    """
    count = torch.zeros_like(component).index_add_(0, component, marked.long())
    return count[component] > 0


def smallest_member(component: Tensor) -> Tensor:
    """Smallest node of the component of every node.

    Args:
        component: Number of the component of every node, below their count.

    Shapes:
        ``component``: :math:`[n]`, output: :math:`[n]`.
    """
    n = component.shape[0]
    first = component.new_full((n,), n)
    node = torch.arange(n, device=component.device)
    return first.scatter_reduce_(0, component, node, "amin")[component]


def smallest_reachable(edge_index: Tensor, num_nodes: int) -> Tensor:
    """Smallest node connected with every node, by hooking and pointer jumping.

    Args:
        edge_index: Edges.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, output: :math:`[n]`.
    """
    row, col = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    new = torch.arange(num_nodes, device=edge_index.device)
    while True:
        for _ in range(_ROUNDS):
            root = new
            here = root[row]
            new = root.scatter_reduce(0, here, torch.minimum(here, root[col]), "amin")
            for _ in range(_JUMPS):
                new = new[new]
        if torch.equal(new, root):
            return root
