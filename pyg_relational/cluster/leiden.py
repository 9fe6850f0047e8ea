"""Leiden clustering of a graph."""

import gc
import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_count
from pyg_relational.ops.graph.components import smallest_member
from pyg_relational.ops.graph.modularity import check_resolution
from pyg_relational.ops.graph.undirected import undirected_edges

__all__ = ["leiden", "leiden_of"]


def leiden(
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    num_nodes: int | None = None,
    *,
    resolution: float = 1.0,
    seed: int = 0,
    max_iter: int = 2,
) -> Tensor:
    r"""Partition of an undirected graph that maximises its modularity, by the Leiden algorithm of igraph.

    From `Traag et al., "From Louvain to Leiden: guaranteeing well-connected communities"
    <https://arxiv.org/abs/1810.08473>`_ (2019). Every cluster is connected; an isolated node is a cluster of its own.
    The objective is :func:`~pyg_relational.ops.modularity`. Runs on the CPU. The same seed gives the same partition.
    The state of Python's random numbers does not change. Afterwards igraph draws from Python's generator again, as it
    does when it is imported.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_nodes: Number of nodes, ``None`` for the largest index plus one.
        resolution: :math:`\gamma`; above 1 it gives more and smaller clusters.
        seed: Seed of the order in which nodes move, and of the refinement.
        max_iter: Most runs of the algorithm, each from the result of the last. With -1 it runs until nothing improves,
            which on kNN graphs gives .001 more modularity for several times the time.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[n]`, int64.

    Returns:
        Cluster of every node, counted from 0 in the order of their first nodes.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import leiden
        >>> leiden(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), num_nodes=5).tolist()
        [0, 0, 1, 1, 2]
    """
    check_resolution(resolution)
    seed = check_count(seed, "seed", 0)
    if max_iter != -1:
        max_iter = check_count(max_iter, "max_iter")
    edges = undirected_edges(edge_index, edge_weight, num_nodes)
    return leiden_of(*edges, resolution, seed, max_iter)


def leiden_of(
    edge_index: Tensor, weight: Tensor, n: int, resolution: float, seed: int, max_iter: int = 2
) -> Tensor:
    """:func:`leiden` of edges that are checked, and sorted, each once.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights.
        n: Number of nodes.
        resolution: As there.
        seed: As there.
        max_iter: As there.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, output: :math:`[n]`, int64.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster.leiden import leiden_of
        >>> leiden_of(torch.tensor([[0, 1], [1, 0]]), torch.ones(2), 3, 1.0, 0).tolist()
        [0, 0, 1]
    """
    import igraph  # slow to import

    once = (edge_index[0] <= edge_index[1]).nonzero()[:, 0]
    row, col = pairs = edge_index.index_select(1, once).cpu()
    weight = _scaled(weight.detach().index_select(0, once).double().cpu())
    degree = torch.bincount(row, weight, n) + torch.bincount(col, weight, n)
    igraph.set_random_number_generator(random.Random(seed))
    try:  # the objective "modularity" is this one, but for self-loops, which it does not count in degrees
        with _without_garbage_collection():
            found = igraph.Graph(n, pairs.T.contiguous().numpy()).community_leiden(
                "CPM",
                weights=weight.numpy(),
                node_weights=degree.numpy(),
                resolution=resolution / (degree.sum().item() or 1),
                n_iterations=max_iter,
            )
    finally:
        igraph.set_random_number_generator(random)
    cluster = torch.tensor(found.membership, dtype=torch.int64, device=edge_index.device)
    number: Tensor = smallest_member(cluster).unique(return_inverse=True)[1]
    return number


def _scaled(weight: Tensor) -> Tensor:
    """Weights over a power of two near the largest, so that products of them neither over- nor underflow."""
    return weight.ldexp(-weight.frexp().exponent.max()) if len(weight) else weight


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """No collections while igraph makes Python objects of all edges: they would take most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
