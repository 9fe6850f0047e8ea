"""Edges that partitions of the graph cut are weakened or dropped."""

import torch
from torch import Tensor

from pyg_relational.cluster.consensus import edge_consensus, partitions_of
from pyg_relational.cluster.spanning_forest import spanning_forest
from pyg_relational.nn.pool.strongest_edges import keep_strongest, undirected_pairs
from pyg_relational.ops.checks import check_count, check_number
from pyg_relational.ops.graph.undirected import undirected_edges

__all__ = ["Edges", "check_weakening", "kept_edges", "prune_by_consensus"]

Edges = tuple[Tensor, Tensor]

_HELD = 0.5  # least share of an edge that holds a component together


def prune_by_consensus(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_clusters: int,
    *,
    num_nodes: int | None = None,
    power: float = 3.0,
    min_degree: int = 1,
    seed: int = 0,
) -> Edges:
    r"""Weakens edges that many partitions of the graph cut, and drops those that all of them cut.

    With the share :math:`f_{ij}` of :func:`~pyg_relational.cluster.leiden_partitions` that keep an edge inside of a
    cluster, its weight becomes :math:`w_{ij} f_{ij}^p`. Clusters of fewer than :math:`0.3 n / k` nodes, where
    :math:`k` is the number of clusters, are absorbed before. Where all weights are equal, as in a binary graph,
    partitions are those of a graph without weights.

    In a maximum spanning forest of the shares, edges count as kept by half of the partitions at least, so that no
    component comes apart. One that does adds a copy of the eigenvalue 1 of :math:`D^{-1/2} W D^{-1/2}`, and a Lanczos
    solver with one starting vector, as many textbooks have it, misses most copies. A node that would have fewer than
    ``min_degree`` edges keeps the strongest of them, weakened as if half of a partition kept them.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_clusters: Number of clusters.
        num_nodes: Number of nodes, ``None`` for the largest index plus one.
        power: :math:`p`. (default: 3)
        min_degree: Neighbours to leave a node that has as many. (default: 1)
        seed: Seed of the partitions. (default: 0)

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[2, E']` and :math:`[E']`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import prune_by_consensus
        >>> cliques = torch.block_diag(torch.ones(4, 4), torch.ones(4, 4)).fill_diagonal_(0)
        >>> edges = torch.cat([cliques.nonzero().T, torch.tensor([[0, 4, 1, 5], [4, 0, 5, 1]])], 1)
        >>> edge_index, edge_weight = prune_by_consensus(edges, None, num_clusters=2)
        >>> edges.shape[1], edge_index.shape[1]  # of two edges between the cliques, one is left
        (28, 26)
    """
    check_count(num_clusters, "num_clusters")
    check_weakening(power, min_degree)
    seed = check_count(seed, "seed", 0)
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, num_nodes)
    given = None if bool((weight == weight[:1]).all()) else weight.detach()
    partitions = partitions_of(edge_index, given, n, min_size=0.3 * n / num_clusters, seed=seed)
    share = edge_consensus(edge_index, partitions).to(weight)
    held = spanning_forest(edge_index, share, n)
    keep = kept_edges((edge_index, weight), held | (share > 0), min_degree, n)
    share = torch.where(held, share.clamp(min=_HELD), share.clamp(min=0.5 / len(partitions)))
    return edge_index[:, keep], (weight * share**power)[keep]


def kept_edges(edges: Edges, keep: Tensor, min_degree: int, n: int) -> Tensor:
    """Edges to keep, with ``min_degree`` at every node that has as many."""
    pair = undirected_pairs(edges[0], n)[1]
    return keep_strongest(*edges, keep, pair, min_degree, n).nonzero()[:, 0]


def check_weakening(power: float, min_degree: int) -> None:
    """Raise unless both are in range."""
    check_number(power, "power")
    if not power > 0:
        raise ValueError(f"power must be > 0, got {power}")
    check_count(min_degree, "min_degree", 0)
