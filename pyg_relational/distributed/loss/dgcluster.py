"""DGCluster on a graph over ranks."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree, described
from pyg_relational.distributed.collectives import all_sum
from pyg_relational.distributed.gather import gather
from pyg_relational.distributed.modularity import modularity_of, modularity_sums
from pyg_relational.distributed.sharded_graph import (
    ShardedGraph,
    check_graph,
    check_rows_of,
    group_of,
    weight_facts,
)
from pyg_relational.nn.loss.dgcluster import _membership
from pyg_relational.ops.checks import check_batch
from pyg_relational.ops.graph.per_graph import check_weights

__all__ = ["dgcluster_loss"]


def dgcluster_loss(
    graph: ShardedGraph, x: Tensor, y: Tensor | None = None, *, auxiliary: float = 0.2
) -> Tensor:
    r"""DGCluster loss of all ranks' rows on a graph, the same number on every rank.

    That of :func:`pyg_relational.nn.dgcluster_loss` on the whole graph: the memberships of the halo are exchanged, and
    the sums of the ranks are one exchange of :math:`d + 2` numbers, :math:`d^2 + C (d + 1)` more with :math:`C`
    classes. The gradient is that of the sum of the ranks' losses.

    Args:
        graph: The graph; its weights may need a gradient.
        x: Embeddings of the local rows.
        y: Classes of the local rows, -1 where there is none; ``None``, on all ranks, leaves the auxiliary term out.
        auxiliary: :math:`\lambda`.

    Shapes:
        ``x``: :math:`[n_r, d]`, ``y``: :math:`[n_r]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong, on any rank.
        ValueError: If a shape or value is wrong on any rank, something differs between ranks, or the graph is not
            undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import ShardedGraph, dgcluster_loss
        >>> graph = ShardedGraph.from_rows(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), None, num_rows=4)
        >>> dgcluster_loss(graph, torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, -1]))
        tensor(-0.5000)
    """
    group = group_of(graph)
    agree(lambda: (_facts(graph, x, y, auxiliary), []), group)
    check_graph(graph)
    with torch.autocast(x.device.type, enabled=False):
        u = _membership(x)
        dtype = torch.promote_types(graph.edge_weight.dtype, u.dtype)
        edges = modularity_sums(graph, graph.edge_weight.to(dtype), u.to(dtype))
        sums = () if y is None else _class_sums(u.double(), y, group)
        parts = [edges, *(part.flatten() for part in sums)]
        edges, *known = all_sum(torch.cat(parts), group).split(list(map(len, parts)))
        loss = -modularity_of(edges, 1.0)
        if known:
            loss = loss + auxiliary * _apart(*known)
        found: Tensor = loss.to(dtype)
    return found


def _facts(graph: Any, x: Any, y: Any, auxiliary: float) -> dict[str, object]:
    check_weights(auxiliary=auxiliary)
    check_batch({"x": x}, {} if y is None else {"y": y})
    check_rows_of(graph, x, "x")
    return {
        "call": "dgcluster_loss",
        **weight_facts(graph),
        "x": described(x),
        "y": None if y is None else described(y),
        "auxiliary": auxiliary,
    }


def _class_sums(u: Tensor, y: Tensor, group: Any) -> tuple[Tensor, Tensor, Tensor]:
    r"""Products :math:`U_S^\top U_S`, and number and sum of the rows of every class that any rank has."""
    known = y >= 0
    u, y = u[known], y[known]
    classes = gather(y.unique(), group).unique()
    number = torch.searchsorted(classes, y)
    counts = u.new_zeros(len(classes)).index_add(0, number, torch.ones_like(u[:, 0]))
    members = u.new_zeros(len(classes), u.shape[1]).index_add(0, number, u)
    return u.T @ u, counts, members


def _apart(gram: Tensor, counts: Tensor, members: Tensor) -> Tensor:
    """Mean square of the differences between classes and memberships, of pairs of rows with a class."""
    total = counts.square().sum() + gram.square().sum() - 2 * members.square().sum()
    mean: Tensor = total / counts.sum().clamp(min=1) ** 2
    return mean
