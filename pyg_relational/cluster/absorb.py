"""Small clusters join their neighbours."""

import heapq

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_labels, check_number
from pyg_relational.ops.graph.coalesce import coalesce
from pyg_relational.ops.graph.undirected import undirected_edges

__all__ = ["absorb_of", "absorb_small"]


def absorb_small(
    edge_index: Tensor, edge_weight: Tensor | None, clusters: Tensor, min_size: float
) -> Tensor:
    """Each cluster of fewer than ``min_size`` nodes joins the one it has the heaviest edges to.

    The smallest first; sizes and edges add up as clusters join. A cluster without edges to others stays.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        clusters: Cluster of every node.
        min_size: Least number of nodes of a cluster.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``clusters``: :math:`[n]`, output: :math:`[n]`,
        int64, counted from 0.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import absorb_small
        >>> from pyg_relational.ops import both_directions
        >>> path, _ = both_directions(torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]]), 5)
        >>> absorb_small(path, None, torch.tensor([0, 0, 1, 2, 2]), min_size=2).tolist()
        [0, 0, 0, 1, 1]
    """
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, len(clusters))
    check_labels(clusters, n, "clusters")
    check_number(min_size, "min_size")
    return absorb_of(edge_index, weight, clusters, min_size)


def absorb_of(edge_index: Tensor, weight: Tensor, clusters: Tensor, min_size: float) -> Tensor:
    """:func:`absorb_small` of edges and clusters that are checked.

    Args:
        edge_index: Edges, in both directions, each once.
        weight: Their weights.
        clusters: Cluster of every node.
        min_size: Least number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, ``clusters``, output: :math:`[n]`.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster.absorb import absorb_of
        >>> edge, one = torch.tensor([[0, 1], [1, 0]]), torch.ones(2)
        >>> absorb_of(edge, one, torch.tensor([4, 7]), 2).tolist()
        [0, 0]
    """
    number: Tensor = clusters.unique(return_inverse=True)[1]
    size = number.bincount().tolist()
    joined = _join(_between(number[edge_index], weight, len(size)), size, min_size)
    merged: Tensor = joined.to(number.device)[number].unique(return_inverse=True)[1]
    return merged


def _between(pairs: Tensor, weight: Tensor, k: int) -> list[dict[int, float]]:
    """Weight from each cluster to each other."""
    apart = (pairs[0] != pairs[1]).nonzero()[:, 0]
    pairs, total = coalesce(pairs[:, apart], weight.detach().double()[apart], k)
    heavy: list[dict[int, float]] = [{} for _ in range(k)]
    for a, b, w in zip(*pairs.tolist(), total.tolist(), strict=True):
        heavy[a][b] = w
    return heavy


def _join(heavy: list[dict[int, float]], size: list[int], min_size: float) -> Tensor:
    """Where each cluster ends up."""
    to = list(range(len(size)))
    waiting = [(s, c) for c, s in enumerate(size) if s < min_size]
    heapq.heapify(waiting)
    while waiting:
        s, c = heapq.heappop(waiting)
        if to[c] != c or size[c] != s or not heavy[c]:
            continue
        into = max(heavy[c], key=lambda other: (heavy[c][other], -other))
        for other, w in heavy[c].items():
            del heavy[other][c]
            if other != into:
                heavy[other][into] = heavy[into][other] = heavy[into].get(other, 0.0) + w
        to[c], heavy[c], size[into] = into, {}, size[into] + s
        if size[into] < min_size:
            heapq.heappush(waiting, (size[into], into))
    end = torch.tensor(to, dtype=torch.int64, device="cpu")
    while not torch.equal(end, end[end]):
        end = end[end]
    return end
