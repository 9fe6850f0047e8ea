"""How many partitions of a graph keep an edge inside a cluster."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

from pyg_relational.cluster.absorb import absorb_of
from pyg_relational.cluster.contract import contract
from pyg_relational.cluster.leiden import leiden_of
from pyg_relational.cluster.overlap import neighbour_overlap
from pyg_relational.ops.checks import check_count, check_labels, check_number
from pyg_relational.ops.graph.modularity import check_resolution
from pyg_relational.ops.graph.undirected import undirected_edges

__all__ = ["edge_consensus", "leiden_partitions", "partitions_of"]

_RESOLUTIONS = (0.3, 0.5, 1.0, 2.0)

_GROUPED = 2000  # more nodes are first joined to groups
_FINE = 40.0  # resolution of the groups


def edge_consensus(edge_index: Tensor, partitions: Sequence[Tensor] | Tensor) -> Tensor:
    r"""Share of partitions that keep each edge inside a cluster, :math:`f_{ij} = \frac{1}{P} \sum_p [c^p_i = c^p_j]`.

    Args:
        edge_index: Edges.
        partitions: Clusters of the nodes, one tensor a partition, or the rows of one tensor; -1: in none.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``partitions``: :math:`[n]` each, output: :math:`[E]`, float32.

    Raises:
        TypeError: If edges or a partition are not int64.
        ValueError: If there is no partition, one has another length than the first, or edges have another shape or an
            index out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import edge_consensus
        >>> edges = torch.tensor([[0, 1], [1, 2]])
        >>> edge_consensus(edges, [torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0])]).tolist()
        [1.0, 0.5]
    """
    if not len(partitions):
        raise ValueError("partitions must not be empty")
    for i, clusters in enumerate(partitions):
        check_labels(clusters, len(partitions[0]), f"partitions[{i}]")
    n = len(partitions[0])
    if edge_index.dtype != torch.int64:
        raise TypeError(f"edge_index must be int64, got {edge_index.dtype}")
    if edge_index.dim() != 2 or len(edge_index) != 2:
        raise ValueError(f"edge_index must have shape [2, E], got {list(edge_index.shape)}")
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < n:
        raise ValueError(
            f"edge_index must be in [0, {n}), got {int(edge_index.min())} to {int(edge_index.max())}"
        )
    i, j = edge_index
    kept = [((c[i] == c[j]) & (c[i] >= 0)).float() for c in partitions]
    return torch.stack(kept).mean(0)


def leiden_partitions(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int,
    *,
    resolutions: Sequence[float] = _RESOLUTIONS,
    runs: int = 4,
    min_size: float = 0,
    seed: int = 0,
) -> list[Tensor]:
    r"""Leiden partitions at several resolutions, each of the graph with two kinds of weights.

    Different weights, coarse and fine partitions and repeated runs make different mistakes, so an edge that all of them
    cut is rarely inside of a class. With ``edge_weight``, the two kinds are these weights and ones. Without, they are
    :math:`J` and :math:`J^2`, where :math:`J_{ij}` is the share of the neighbours of :math:`i` and :math:`j`,
    themselves included, that both have. For speed, nodes of larger graphs are first joined to groups of about 20, by
    one run at a resolution of 40.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for those of the triangles.
        num_nodes: Number of nodes.
        resolutions: Resolutions of :func:`leiden`, tried one after the other.
        runs: Partitions of each kind.
        min_size: Smaller clusters are absorbed, see :func:`absorb_small`.
        seed: Run :math:`r` of :math:`R` has the seed :math:`R s + r`.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[n]` each.

    Raises:
        ValueError: As :func:`leiden`, or if ``runs`` is not positive.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import leiden_partitions
        >>> edges = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> leiden_partitions(edges, None, 4, resolutions=[1.0])[0].tolist()
        [0, 0, 1, 1]
    """
    runs = check_count(runs, "runs")
    seed = check_count(seed, "seed", 0)
    check_number(min_size, "min_size")
    for resolution in resolutions:
        check_resolution(resolution)
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, num_nodes)
    given = None if edge_weight is None else weight
    return partitions_of(edge_index, given, n, resolutions, runs, min_size, seed)


def partitions_of(
    edge_index: Tensor,
    weight: Tensor | None,
    n: int,
    resolutions: Sequence[float] = _RESOLUTIONS,
    runs: int = 4,
    min_size: float = 0,
    seed: int = 0,
) -> list[Tensor]:
    """:func:`leiden_partitions` of edges that are checked, and sorted, each once.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights, ``None`` for those of the triangles.
        n: Number of nodes.
        resolutions: As there.
        runs: As there.
        min_size: As there.
        seed: As there.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, output: :math:`[n]` each.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster.consensus import partitions_of
        >>> partitions_of(torch.tensor([[0, 1], [1, 0]]), torch.ones(2), 3, [1.0])[0].tolist()
        [0, 0, 1]
    """
    if weight is None:
        weight = neighbour_overlap(edge_index, n)
        kinds = torch.stack([weight, weight.square()], 1)
    else:
        kinds = torch.stack([weight, torch.ones_like(weight)], 1)
    found = []
    for run in range(runs * seed, runs * (seed + 1)):
        groups = _groups(edge_index, weight, n, run)
        between, total = contract(edge_index, kinds, groups)
        for resolution, kind in product(resolutions, total.unbind(1)):
            m = len(groups.unique())
            found.append(leiden_of(between, kind, m, resolution, run)[groups])
    return [absorb_of(edge_index, weight, clusters, min_size) for clusters in found]


def _groups(edge_index: Tensor, weight: Tensor, n: int, seed: int) -> Tensor:
    if n <= _GROUPED:
        return torch.arange(n, device=weight.device)
    return leiden_of(edge_index, weight, n, _FINE, seed, max_iter=1)
