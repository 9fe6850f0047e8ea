"""Edges that partitions of the graph cut are weakened or dropped."""

from torch import Tensor

from pyg_relational.cluster import edge_consensus, leiden_partitions
from pyg_relational.nn.pool.strongest_edges import keep_strongest, undirected_pairs
from pyg_relational.ops.undirected import undirected_edges

Edges = tuple[Tensor, Tensor]


def prune_by_consensus(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int,
    k: int,
    *,
    power: float = 3.0,
    min_degree: int = 1,
    seed: int = 0,
) -> Edges:
    r"""Weakens edges that many partitions of the graph cut, and drops those that all of them cut.

    With the share :math:`f_{ij}` of :func:`~pyg_relational.cluster.leiden_partitions` that keep an edge inside of a
    cluster, its weight becomes :math:`w_{ij} f_{ij}^p`. Clusters of fewer than :math:`0.3 n / k` nodes are absorbed
    before. A node that would have fewer than ``min_degree`` edges keeps the strongest of them, weakened as if half of a
    partition kept them.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_nodes: Number of nodes.
        k: Number of clusters.
        power: :math:`p`. (default: 3)
        min_degree: Neighbours to leave a node that has as many. (default: 1)
        seed: Of the partitions. (default: 0)

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[2, E']` and :math:`[E']`.

    Raises:
        ImportError: If igraph is not installed.
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import prune_by_consensus
        >>> triangles = torch.tensor([[0, 0, 1, 2, 3, 3, 4], [1, 2, 2, 3, 4, 5, 5]])
        >>> edges = torch.cat([triangles, triangles.flip(0)], 1)
        >>> edge_index, edge_weight = prune_by_consensus(edges, None, 6, k=2)
        >>> edges.shape[1], edge_index.shape[1]
        (14, 12)
    """
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be an integer >= 1, got {k}")
    check_pruning(power, min_degree)
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, num_nodes)
    partitions = leiden_partitions(edge_index, weight, n, min_size=0.3 * n / k, seed=seed)
    share = edge_consensus(edge_index, partitions).to(weight)
    keep = kept_edges((edge_index, weight), share > 0, min_degree, n)
    weaker = weight * share.clamp(min=0.5 / len(partitions)) ** power
    return edge_index[:, keep], weaker[keep]


def kept_edges(edges: Edges, keep: Tensor, min_degree: int, n: int) -> Tensor:
    """Edges to keep, with ``min_degree`` at every node that has as many."""
    pair = undirected_pairs(edges[0], n)[1]
    return keep_strongest(*edges, keep, pair, min_degree, n).nonzero()[:, 0]


def check_pruning(power: float, min_degree: int) -> None:
    """Raise unless both are in range."""
    if not power > 0:
        raise ValueError(f"power must be > 0, got {power}")
    if not isinstance(min_degree, int) or min_degree < 0:
        raise ValueError(f"min_degree must be an integer >= 0, got {min_degree}")
