"""The kNN graph of rows on all ranks, with weights that are differentiable in them."""

from typing import Any, Literal

import torch
from torch import Tensor

from pyg_relational.distributed.approximate import approximate_search, check_approximate
from pyg_relational.distributed.collectives import all_to_all, rank_and_size
from pyg_relational.distributed.halo import halo_of
from pyg_relational.distributed.knn import check_rows, search
from pyg_relational.distributed.sharded_graph import ShardedGraph
from pyg_relational.transforms.knn_graph import (
    Bandwidth,
    Kernel,
    Metric,
    check_knn_graph,
    knn_weights,
)

__all__ = ["knn_graph"]


def knn_graph(
    x: Tensor,
    k: int,
    *,
    metric: Metric = "euclidean",
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "self_tuning",
    symmetrize: Literal["union", "mutual"] = "union",
    recall: float | None = None,
    group: Any = None,
) -> ShardedGraph:
    r"""Weighted :math:`k`-nearest-neighbour graph of the rows of all ranks, each with the edges of its own.

    Edges and weights are those of :func:`pyg_relational.transforms.knn_graph` on the rows of all ranks, and so is the
    gradient: features of neighbours on other ranks come by an exchange whose backward sends their gradients home. What
    comes back to the local rows is the gradient of the sum of the ranks' losses, as with
    :func:`~pyg_relational.distributed.gather`.

    All ranks call it together, and each takes part in the backward pass, one without rows too.

    Args:
        x: The local rows; their number may differ between ranks, and be 0. Half precision is computed in float32.
        k: Number of neighbours, the point itself not counted, ``1 <= k < n``.
        metric: ``"euclidean"`` or ``"cosine"``.
        kernel: As there.
        bandwidth: As there.
        symmetrize: ``"union"`` or ``"mutual"``: an edge where either, or each, is the other's neighbour.
        recall: Share of the neighbours that an approximate search is to find
            (:func:`~pyg_relational.distributed.approximate_knn`, which warns where it finds fewer), ``None`` for an
            exact one (:func:`~pyg_relational.distributed.knn`).
        group: Processes that hold rows. (default: all)

    Shapes:
        ``x``: :math:`[n_r, d]` on rank :math:`r`.

    Raises:
        TypeError: If an argument has the wrong type, on any rank.
        ValueError: If one is out of range on any rank, or dtype, width, device or options differ between ranks.
        ImportError: With ``recall``, without pynndescent, on any rank.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import knn_graph
        >>> graph = knn_graph(torch.tensor([[0.0], [1.0], [3.0]]), k=1, kernel=None)
        >>> graph.edge_index.tolist(), graph.edge_weight.tolist()
        ([[0, 1, 1, 2], [1, 0, 2, 1]], [1.0, 1.0, 2.0, 2.0])
    """
    options = {"metric": metric, "kernel": kernel, "bandwidth": bandwidth, "symmetrize": symmetrize}
    options |= {"recall": recall}

    def also(k: Any, options: dict[str, Any]) -> None:
        _check_options(k, options)
        if recall is not None:
            check_approximate(x, recall)

    offsets = check_rows("knn_graph", x, k, options, group, also)
    dtype = x.dtype
    x = x.float() if dtype in (torch.float16, torch.bfloat16) else x
    if recall is None:
        index = search(x.detach(), k, metric, offsets, group)[0]
    else:
        index = approximate_search(x.detach(), k, metric, recall, offsets, group).index
    edge_index = _both_ways(index, offsets, symmetrize == "mutual", group)
    halo = halo_of(torch.cat([edge_index[1], index[:, -1]]), offsets, group)
    pairs = torch.stack([edge_index[0] - halo.start, halo.number(edge_index[1])])
    with torch.autocast(x.device.type, enabled=False):
        rows = halo.extend(x) if kernel != "binary" else x
        last = halo.number(index[:, -1])
        weight = knn_weights(rows, pairs, last, metric, kernel, bandwidth, halo.extend)
    return ShardedGraph(edge_index, weight.to(dtype), offsets, halo, group)


def _check_options(k: Any, options: dict[str, Any]) -> None:
    if options["symmetrize"] not in ("union", "mutual"):
        raise ValueError(
            f"symmetrize must be one of ('union', 'mutual'), got {options['symmetrize']!r}"
        )
    check_knn_graph(k, **options)


def _both_ways(index: Tensor, offsets: tuple[int, ...], mutual: bool, group: Any) -> Tensor:
    """Edges of the local rows: to their neighbours, and to those whose neighbours they are."""
    rank, size = rank_and_size(group)
    start, n = offsets[rank], offsets[-1]
    node = start + torch.arange(len(index), device=index.device)
    to = (node[:, None] * n + index).flatten()
    fro = (index * n + node[:, None]).flatten().sort().values
    bounds = torch.searchsorted(fro, n * torch.tensor(offsets, device=index.device))
    counts = bounds.diff()
    coming = all_to_all(counts, [1] * size, [1] * size, group)
    send, receive = torch.stack([counts, coming]).tolist()
    key = torch.cat([to, all_to_all(fro, send, receive, group)])
    key, count = key.unique(return_counts=True)
    if mutual:
        key = key[count == 2]
    return torch.stack([key // n, key % n])
