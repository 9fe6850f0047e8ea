"""A graph with features, and a rank's share of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational import distributed
from pyg_relational.transforms import knn_graph
from tests.distributed.pool import share

GRAPH_SIZES = {1: [40], 2: [30, 10], 3: [11, 0, 29], 4: [1, 20, 17, 2]}
EXACT = {"rtol": 1e-12, "atol": 1e-14}


class Weighted(NamedTuple):
    edge_index: Tensor
    edge_weight: Tensor
    x: Tensor
    y: Tensor
    centroids: Tensor


def weighted() -> Weighted:
    """Edges sorted by row, a self-loop among them; classes far apart, some rows without."""
    torch.manual_seed(0)
    x = torch.randn(40, 3, dtype=torch.float64)
    edge_index, weight = knn_graph(x, 5)
    edge_index = torch.cat([edge_index, torch.tensor([[7], [7]])], 1)
    order = (edge_index[0] * 40 + edge_index[1]).argsort()
    weight = torch.cat([weight, weight[:1]])[order]
    y = torch.tensor([-1, 0, 10**9, 3])[torch.randint(4, (40,))]
    return Weighted(edge_index[:, order], weight, x, y, torch.randn(3, 3, dtype=torch.float64))


def here(rank: int, group) -> tuple[distributed.ShardedGraph, Tensor, Tensor]:
    whole = weighted()
    sizes = GRAPH_SIZES[distributed.collectives.rank_and_size(group)[1]]
    start = sum(sizes[:rank])
    own = (whole.edge_index[0] >= start) & (whole.edge_index[0] < start + sizes[rank])
    edges = whole.edge_index[:, own], whole.edge_weight[own]
    graph = distributed.ShardedGraph.from_rows(*edges, sizes[rank], group)
    return graph, share(whole.x, rank, sizes).clone().requires_grad_(), share(whole.y, rank, sizes)
