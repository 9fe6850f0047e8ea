"""Features of the soft clusters of every graph of a batch."""

import torch
from torch import Tensor
from torch.nn.functional import selu

from pyg_relational.nn.loss.balance import check_columns
from pyg_relational.ops.checks import (
    at_least,
    below,
    check_count,
    check_labels,
    check_matrix,
    finite,
    settle,
)
from pyg_relational.ops.graph.edge_dot import _Adjacency

__all__ = ["cluster_pool"]


def cluster_pool(
    x: Tensor,
    assignment: Tensor,
    batch: Tensor | None = None,
    batch_size: int | None = None,
) -> Tensor:
    r"""Cluster features :math:`\mathrm{SELU}((C / N)^\top X)` of every graph, for :math:`N` clusters.

    From `Park et al., "Clustering-based Image-Text Graph Matching for Domain Generalization"
    <https://doi.org/10.1007/978-3-031-78192-6_26>`_ (ICPR 2024, section 3.3), before the projection. All graphs at
    once, in :math:`O(n N d)` time and without an :math:`n \times N \times d` tensor. The sums grow with the number of
    nodes; the authors divide by the size of each cluster in their program instead.

    Args:
        x: Features of nodes.
        assignment: Soft assignment :math:`C` to :math:`N` clusters.
        batch: Graph of every node. (default: one graph)
        batch_size: Number of graphs. (default: one more than the largest of ``batch``)

    Shapes:
        ``x``: :math:`[n, d]`, ``assignment``: :math:`[n, N]`, ``batch``: :math:`[n]`, output: :math:`[B, N, d]`, at
        least float32.

    Returns:
        The features; 0 of a graph without nodes.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, or a graph is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import cluster_pool
        >>> x, clusters = torch.tensor([[1.0], [3.0], [4.0]]), torch.eye(2)[[0, 1, 1]]
        >>> cluster_pool(x, clusters) / torch.nn.functional.selu(torch.ones(()))
        tensor([[[0.5000],
                 [3.5000]]])
    """
    check_matrix(x)
    check_columns(assignment)
    if len(assignment) != len(x):
        raise ValueError(f"assignment must have the {len(x)} rows of x, got {len(assignment)}")
    if batch_size is not None:
        batch_size = check_count(batch_size, "batch_size", 0)
    checks = [finite(x, "x"), finite(assignment, "assignment")]
    if batch is None:
        batch, size = torch.zeros(len(x), dtype=torch.int64, device=x.device), 1
    else:
        check_labels(batch, len(x), "batch")
        checks.append(at_least(batch, 0, "batch"))
        size = _size(batch) if batch_size is None else batch_size
        checks.append(below(batch, size, "batch"))
    settle(*checks)
    node, k = torch.arange(len(x), device=x.device), assignment.shape[1]
    dtype = torch.promote_types(torch.promote_types(x.dtype, assignment.dtype), torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        row = (batch[:, None] * k + torch.arange(k, device=x.device)).flatten()
        share = assignment.to(dtype).flatten() / k
        pooled = _Adjacency.apply(share, x.to(dtype), row, node.repeat_interleave(k), size * k)
        return selu(pooled.view(size, k, x.shape[1]))


def _size(batch: Tensor) -> int:
    return int(batch.max()) + 1 if len(batch) else 0
