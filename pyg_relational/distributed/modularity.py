"""Modularity as a loss on a graph over ranks."""

import math
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree, described
from pyg_relational.distributed.collectives import all_sum
from pyg_relational.distributed.sharded_graph import (
    ShardedGraph,
    check_graph,
    group_of,
    weight_facts,
)
from pyg_relational.ops.checks import check_features
from pyg_relational.ops.graph.edge_dot import _Adjacency
from pyg_relational.ops.graph.modularity import check_resolution
from pyg_relational.ops.graph.per_graph import check_weights

__all__ = ["modularity_loss", "modularity_of", "modularity_sums", "orthogonality_of"]


def modularity_loss(
    graph: ShardedGraph,
    assignment: Tensor,
    *,
    resolution: float = 1.0,
    collapse: float = 1.0,
    orthogonality: float = 0.0,
) -> Tensor:
    r"""DMoN loss of a soft assignment of all ranks' rows, the same number on every rank.

    That of :func:`pyg_relational.nn.modularity_loss` on the whole graph; with ``collapse=0`` it is :math:`-Q`, the
    negative modularity. Each rank sums its own edges and rows; the sums of the ranks are one exchange of
    :math:`2 k + 2` numbers, :math:`k^2` more with orthogonality.

    The gradient is that of the sum of the ranks' losses, as with :func:`~pyg_relational.distributed.gather`: as many
    times that of one process as there are ranks, which the averaging of ``DistributedDataParallel`` takes out again.

    Args:
        graph: The graph; its weights may need a gradient.
        assignment: Soft assignment :math:`C` of the local rows to :math:`k` clusters, usually a softmax.
        resolution: :math:`\gamma` of the modularity.
        collapse: Weight of the collapse regularisation.
        orthogonality: Weight of the orthogonality of clusters.

    Shapes:
        ``assignment``: :math:`[n_r, k]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong, on any rank.
        ValueError: If a shape or value is wrong on any rank, something differs between ranks, or the graph is not
            undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import ShardedGraph, modularity_loss
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> graph = ShardedGraph.from_rows(edge_index, None, num_rows=4)
        >>> modularity_loss(graph, torch.eye(2)[[0, 0, 1, 1]])
        tensor(-0.5000)
    """
    options = {"resolution": resolution, "collapse": collapse, "orthogonality": orthogonality}
    agree(lambda: (_facts(graph, assignment, options), []), group_of(graph))
    check_graph(graph)
    dtype = torch.promote_types(graph.edge_weight.dtype, torch.float32)
    dtype = torch.promote_types(dtype, assignment.dtype)
    with torch.autocast(assignment.device.type, enabled=False):
        c = assignment.to(dtype)
        edges = modularity_sums(graph, graph.edge_weight.to(dtype), c)
        gram = (c.double().T @ c.double()).flatten() if orthogonality else c.new_zeros(0).double()
        own = torch.cat([edges, c.double().sum(0), gram])
        k = c.shape[1]
        edges, size, gram = all_sum(own, graph.group).split([2 + k, k, len(gram)])
        loss = -modularity_of(edges, resolution)
        if collapse:
            loss = loss + collapse * _collapse(size, graph.num_nodes)
        if orthogonality:
            loss = loss + orthogonality * orthogonality_of(gram.view(k, k))
        found: Tensor = loss.to(dtype)
    return found


def _facts(graph: Any, assignment: Any, options: dict[str, Any]) -> dict[str, object]:
    if not isinstance(graph, ShardedGraph):
        raise TypeError(f"graph must be a ShardedGraph, got {type(graph).__name__}")
    check_resolution(options["resolution"])
    check_weights(collapse=options["collapse"], orthogonality=options["orthogonality"])
    check_features(assignment, "assignment")
    rows, columns = assignment.shape
    if rows != graph.num_rows or columns == 0:
        raise ValueError(
            f"assignment must have the graph's {graph.num_rows} rows and at least one column, "
            f"got {list(assignment.shape)}"
        )
    return {
        "call": "modularity_loss",
        **weight_facts(graph),
        "assignment": described(assignment),
        **options,
    }


def modularity_sums(graph: ShardedGraph, weight: Tensor, c: Tensor) -> Tensor:
    """Weight inside clusters, all weight, and volumes of clusters, of the edges here, in float64.

    Half of an edge counts at each end, so that its weight has the same derivative in both directions.

    Args:
        graph: The graph.
        weight: Weights of its edges.
        c: Soft assignment of the local rows, of the same dtype.

    Shapes:
        ``weight``: :math:`[E_r]`, ``c``: :math:`[n_r, k]`, output: :math:`[2 + k]`.
    """
    row, col = graph.local
    rows = graph.halo.extend(c)
    weight = weight * (1 + (graph.edge_index[0] == graph.edge_index[1]).to(weight.dtype))
    neighbours: Tensor = _Adjacency.apply(weight, rows, row, col, len(c))
    inside = (c * neighbours).sum(1).double().sum()
    half = weight.double() / 2
    degree = half.new_zeros(len(rows)).index_add(0, row, half).index_add(0, col, half)
    return torch.cat([torch.stack([inside, degree.sum()]), degree @ rows.double()])


def modularity_of(sums: Tensor, resolution: float) -> Tensor:
    """Modularity, from what :func:`modularity_sums` has on all ranks together; 0 without weight.

    Args:
        sums: The sums.
        resolution: Resolution of the modularity.

    Shapes:
        ``sums``: :math:`[2 + k]`, output: scalar.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.modularity import modularity_of
        >>> modularity_of(torch.tensor([4.0, 4.0, 2.0, 2.0]), 1.0)
        tensor(0.5000)
    """
    total = sums[1].where(sums[1] > 0, 1.0)
    q: Tensor = sums[0] / total - resolution * (sums[2:] / total).square().sum()
    return q


def _collapse(size: Tensor, n: int) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(size / max(n, 1))
    return math.sqrt(len(size)) * length - min(n, 1)


def orthogonality_of(product: Tensor) -> Tensor:
    r"""Distance of :math:`C^\top C`, scaled to norm 1, from a multiple of the identity.

    Args:
        product: :math:`C^\top C` of all ranks' rows.

    Shapes:
        ``product``: :math:`[k, k]`, output: scalar.
    """
    norm = torch.linalg.matrix_norm(product)
    target = torch.eye(len(product), dtype=product.dtype, device=product.device)
    target = target / math.sqrt(len(product))
    distance: Tensor = torch.linalg.matrix_norm(product / norm.where(norm > 0, 1) - target)
    return distance
