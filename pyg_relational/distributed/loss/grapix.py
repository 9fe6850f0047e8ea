"""GraPix on a graph over ranks."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree, described, fingerprint
from pyg_relational.distributed.collectives import all_sum
from pyg_relational.distributed.modularity import modularity_of, modularity_sums, orthogonality_of
from pyg_relational.distributed.sharded_graph import (
    ShardedGraph,
    check_graph,
    check_rows_of,
    group_of,
    weight_facts,
)
from pyg_relational.nn.loss.grapix import _assign, _checks
from pyg_relational.ops.checks import settle
from pyg_relational.ops.graph.per_graph import check_weights

__all__ = ["grapix_loss"]


def grapix_loss(
    graph: ShardedGraph,
    x: Tensor,
    centroids: Tensor,
    *,
    alpha: float = 1.0,
    resolution: float = 0.05,
) -> Tensor:
    r"""GraPix loss of all ranks' rows on a graph, the same number on every rank.

    That of :func:`pyg_relational.nn.grapix_loss` on the whole graph: the assignments of the halo are exchanged, and the
    sums of the ranks are one exchange of :math:`k^2 + k + 3` numbers. The gradient is that of the sum of the ranks'
    losses, in ``x``, in the graph's weights, and in this rank's copy of the centroids, which
    ``DistributedDataParallel`` averages. The full affinity, without a graph, is not over ranks.

    Args:
        graph: The graph; its weights may need a gradient.
        x: Features of the local rows.
        centroids: :math:`\mu`, the same on every rank.
        alpha: :math:`\alpha`.
        resolution: :math:`\gamma` of the modularity.

    Shapes:
        ``x``: :math:`[n_r, d]`, ``centroids``: :math:`[k, d]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong, on any rank.
        ValueError: If a shape or value is wrong on any rank, something differs between ranks, or the graph is not
            undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import ShardedGraph, grapix_loss
        >>> graph = ShardedGraph.from_rows(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), None, num_rows=4)
        >>> x = torch.eye(2)[[0, 0, 1, 1]]
        >>> grapix_loss(graph, x, torch.eye(2), alpha=100.0, resolution=1.0)
        tensor(-1.5000)
    """
    options = {"alpha": alpha, "resolution": resolution}
    agree(lambda: (_facts(graph, x, centroids, options), []), group_of(graph))
    check_graph(graph)
    with torch.autocast(x.device.type, enabled=False):
        _, s, cosine = _assign(x, centroids, alpha)
        dtype = torch.promote_types(graph.edge_weight.dtype, s.dtype)
        edges = modularity_sums(graph, graph.edge_weight.to(dtype), s.to(dtype))
        c, k = s.double(), s.shape[1]
        best = cosine.amax(1).double().sum(0, keepdim=True)
        own = torch.cat([edges, (c.T @ c).flatten(), best])
        edges, gram, best = all_sum(own, graph.group).split([2 + k, k * k, 1])
        apart = orthogonality_of(gram.view(k, k)) - best[0] / max(graph.num_nodes, 1)
        loss: Tensor = (apart - modularity_of(edges, resolution)).to(dtype)
    return loss


def _facts(graph: Any, x: Any, centroids: Any, options: dict[str, Any]) -> dict[str, object]:
    check_weights(**options)
    settle(*_checks(x, centroids))
    check_rows_of(graph, x, "x")
    return {
        "call": "grapix_loss",
        **weight_facts(graph),
        "x": described(x),
        "centroids": (described(centroids), *fingerprint(centroids)),
        **options,
    }
