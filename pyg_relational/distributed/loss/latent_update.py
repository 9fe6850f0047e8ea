"""Update of latent cluster correction over ranks: clusters from the first, targets where samples are."""

from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree
from pyg_relational.distributed.collectives import all_reduce, from_first, rank_and_size, to_first
from pyg_relational.distributed.gather import gather
from pyg_relational.distributed.knn_graph import knn_graph
from pyg_relational.distributed.loss.nearest_means import nearest_means
from pyg_relational.distributed.sharded_graph import ShardedGraph
from pyg_relational.nn.loss.latent_batch import check_finite
from pyg_relational.nn.loss.latent_cluster import full, matched
from pyg_relational.nn.loss.latent_layer import LatentClusterInfo, LatentLayer
from pyg_relational.nn.loss.latent_update import LatentUpdate
from pyg_relational.ops import modularity

__all__ = ["update_over_ranks"]


def update_over_ranks(
    update: LatentUpdate,
    pull: LatentLayer,
    latents: Tensor,
    recorded: Tensor,
    start: int,
    y: Tensor,
    epoch: int,
    name: str,
    group: Any = None,
) -> None:
    """Give a layer new clusters and targets, the same on all ranks.

    Args:
        update: Options.
        pull: Clusters and targets of all samples.
        latents: Latents of the samples here.
        recorded: Which of them are recorded.
        start: The first of these.
        y: Classes of all samples.
        epoch: Number of finished epochs, added to the seed of the draws.
        name: How the caller's signature names the latents.
        group: Processes. (default: all)

    Shapes:
        ``latents``: :math:`[N_r, d]`, ``recorded``: :math:`[N_r]`, ``y``: :math:`[N]`.
    """
    own = recorded.nonzero()[:, 0]
    z = full(latents[own])
    sizes = [size for (size,) in agree(lambda: _facts(z, own + start, name), group)]
    graph = knn_graph(z, update.k, kernel=update.kernel, bandwidth="unit", group=group)
    clusters, q = _clusters(update, graph, name)
    rows = gather(own + start, group)
    y = y.to(z.device)[rows]
    options = {**update.targets, "k": update.k, "seed": update.seed + epoch}
    seen = matched(y, clusters, from_clusters=None, **options)
    offsets = (0, *accumulate(sizes))
    found, target = nearest_means(z, y, seen, offsets, rank_and_size(group)[0], group)
    found, target = gather(found, group), gather(target, group)
    pull.to(z.device)
    pull.clusters = torch.full_like(pull.clusters, -1).index_copy(0, rows, clusters)
    pull.target = torch.cat([z.new_zeros(1, z.shape[1]), target])
    place = torch.arange(1, len(pull.target), device=z.device)
    pull.position = torch.zeros_like(pull.position).index_copy(0, rows[found], place)
    pull.info = LatentClusterInfo(
        num_samples=len(rows),
        num_clusters=len(clusters.unique()),
        num_misclustered=int(seen.misclustered.sum()),
        num_correctible=len(place),
        modularity=q,
    )


def _facts(z: Tensor, samples: Tensor, name: str) -> tuple[dict[str, object], list[int]]:
    check_finite(z, samples, name)
    return {"call": "update"}, [len(z)]


def _clusters(update: LatentUpdate, graph: ShardedGraph, name: str) -> tuple[Tensor, float]:
    """Cluster of every node and their modularity, found by the first rank."""
    weight, n, group = graph.edge_weight, graph.num_nodes, graph.group
    heaviest = all_reduce(torch.cat([weight, weight.new_zeros(1)]).amax(), group, "MAX")
    if not bool(heaviest):
        raise ValueError(
            f"kernel='gaussian': all weights exp(-d^2) of {name} are 0; scale them, or take 'binary'"
        )
    sizes = [size for (size,) in agree(lambda: ({}, [len(weight)]), group)]
    edge_index = to_first(graph.edge_index.T, sizes, group).T.contiguous()
    edge_weight = to_first(weight, sizes, group)
    clusters, q = edge_index.new_empty(n), weight.new_zeros(1, dtype=torch.float64)

    def by_first() -> tuple[dict[str, object], list[int]]:
        if rank_and_size(group)[0] == 0:
            clusters.copy_(update.cluster(edge_index, edge_weight, edge_weight.new_empty(n, 0)))
            q.copy_(modularity(edge_index, edge_weight, clusters))
        return {}, []

    agree(by_first, group)
    return from_first(clusters, group), from_first(q, group).item()
