"""How many partitions of a graph keep an edge inside a cluster."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pyg_relational.cluster.absorb import absorb_small
from pyg_relational.cluster.leiden import leiden
from pyg_relational.ops.checks import check_labels

RESOLUTIONS = (0.3, 0.5, 1.0, 2.0)


def edge_consensus(edge_index: Tensor, partitions: Sequence[Tensor]) -> Tensor:
    r"""Share of partitions that keep each edge inside a cluster, :math:`f_{ij} = \frac{1}{P} \sum_p [c^p_i = c^p_j]`.

    Args:
        edge_index: Edges.
        partitions: Clusters of the nodes, one tensor a partition.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``partitions``: :math:`[n]` each, output: :math:`[E]`, float32.

    Raises:
        TypeError: If a partition is not int64.
        ValueError: If there is none, one has another length than the first, or an index is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import edge_consensus
        >>> edges = torch.tensor([[0, 1], [1, 2]])
        >>> edge_consensus(edges, [torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0])]).tolist()
        [1.0, 0.5]
    """
    if not partitions:
        raise ValueError("partitions must not be empty")
    for i, clusters in enumerate(partitions):
        check_labels(clusters, len(partitions[0]), f"partitions[{i}]")
    n = len(partitions[0])
    if edge_index.numel() and not 0 <= int(edge_index.min()) <= int(edge_index.max()) < n:
        raise ValueError(
            f"edge_index must be in [0, {n}), got {int(edge_index.min())} to {int(edge_index.max())}"
        )
    i, j = edge_index
    kept = [(clusters[i] == clusters[j]).float() for clusters in partitions]
    return torch.stack(kept).mean(0)


def leiden_partitions(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int,
    *,
    resolutions: Sequence[float] = RESOLUTIONS,
    min_size: float = 0,
    seed: int = 0,
) -> list[Tensor]:
    """Leiden partitions at several resolutions, each of the weighted and of the binary graph.

    Weights and their absence err in different places, and so do coarse and fine partitions: what all of them cut is
    rarely an edge inside of a class.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_nodes: Number of nodes.
        resolutions: Of :func:`leiden`.
        min_size: Smaller clusters are absorbed, see :func:`absorb_small`.
        seed: Of :func:`leiden`.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[n]` each.

    Raises:
        ImportError: If igraph is not installed.
        ValueError: As :func:`leiden`.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import leiden_partitions
        >>> edges = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> leiden_partitions(edges, None, 4, resolutions=[1.0])[0].tolist()
        [0, 0, 1, 1]
    """
    forms = [None] if edge_weight is None else [edge_weight, None]
    found = [
        leiden(edge_index, weight, num_nodes, resolution=resolution, seed=seed)
        for resolution in resolutions
        for weight in forms
    ]
    return [absorb_small(edge_index, edge_weight, clusters, min_size) for clusters in found]
