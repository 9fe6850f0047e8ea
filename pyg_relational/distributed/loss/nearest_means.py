"""Means of the nearest rows of a group, over the rows of all ranks."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pyg_relational.distributed.halo import halo_of
from pyg_relational.distributed.knn import in_block, nearest
from pyg_relational.distributed.ring import ring
from pyg_relational.nn.loss.latent_cluster import Matched

__all__ = ["nearest_means"]


def nearest_means(
    z: Tensor, y: Tensor, seen: Matched, offsets: tuple[int, ...], rank: int, group: Any = None
) -> tuple[Tensor, Tensor]:
    """Targets of the samples here: the nearest of the groups' means of ``k`` neighbours.

    Latents of correctly clustered samples go once round the ranks; those that are among the nearest are fetched.

    Args:
        z: Latents of the samples here.
        y: Classes of the samples of all ranks.
        seen: What is to correct, and by what, of the samples of all ranks.
        offsets: First sample of each rank, and behind them the number of samples.
        rank: This rank.
        group: Processes. (default: all)

    Shapes:
        ``z``: :math:`[n_r, d]`, ``y``: :math:`[n]`, output: :math:`[m_r]` and :math:`[m_r, d]`.

    Returns:
        Samples that have a target, and the targets.
    """
    start, stop = offsets[rank], offsets[rank + 1]
    mine = seen.index[(seen.index >= start) & (seen.index < stop)]
    right = seen.right
    bounds = torch.searchsorted(right.sort().values, torch.tensor(offsets, device=z.device))
    sizes = [high - low for low, high in pairwise(bounds.tolist())]
    here = right[(right >= start) & (right < stop)].sort().values
    found = _search(z[mine - start], y[mine], z[here - start], here, y, seen, sizes, group)
    halo = halo_of(torch.cat([index.flatten() for _, index in found] or [here[:0]]), offsets, group)
    rows = halo.extend(z)
    closest = z.new_full((len(mine),), torch.inf)
    target = z.new_zeros(len(mine), z.shape[1])
    for query, index in found:
        mean = embedding_bag(halo.number(index), rows, mode="mean")
        distance = torch.linalg.vector_norm(z[mine[query] - start] - mean, dim=1)
        closer = distance < closest[query]
        closest[query[closer]], target[query[closer]] = distance[closer], mean[closer]
    has = closest < torch.inf
    return mine[has], target[has]


def _search(
    queries: Tensor,
    wanted: Tensor,
    points: Tensor,
    number: Tensor,
    y: Tensor,
    seen: Matched,
    sizes: list[int],
    group: Any,
) -> list[tuple[Tensor, Tensor]]:
    """For every group of right samples: queries of its class, and the numbers of their ``k`` nearest there."""
    of_right = seen.group[seen.right]
    values, number_of, counts = of_right.unique(return_inverse=True, return_counts=True)
    labels = torch.zeros_like(values).scatter_(0, number_of, y[seen.right])
    values, labels = values[counts >= seen.k], labels[counts >= seen.k]
    rows = [(wanted == label).nonzero()[:, 0] for label in labels.tolist()]
    best = [
        (number.new_empty(len(query), 0), points.new_empty(len(query), 0, dtype=torch.float64))
        for query in rows
    ]
    for _, (block, at) in ring((points, number), sizes, group):
        of = seen.group[at]
        for place, (value, query) in enumerate(zip(values.tolist(), rows, strict=True)):
            member = (of == value).nonzero()[:, 0]
            near, far = in_block(queries[query], block[member], seen.k, "euclidean", own=False)
            index, distance = best[place]
            index = torch.cat([index, at[member][near]], 1)
            best[place] = nearest(index, torch.cat([distance, far], 1), seen.k)
    return [(query, index) for query, (index, _) in zip(rows, best, strict=True) if len(query)]
