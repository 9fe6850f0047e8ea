import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, transforms
from tests.distributed.pool import refused, share

SIZES = {1: [30], 2: [20, 10], 3: [11, 0, 19]}


def features() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(30, 3, dtype=torch.float64)


def layer(x: Tensor, edge_index: Tensor) -> Tensor:
    """Mean over the neighbours, as a layer of a GNN takes it."""
    source, target = edge_index
    total = torch.zeros_like(x).index_add(0, target, x[source])
    return total / target.bincount(minlength=len(x)).clamp(min=1)[:, None]


def exported(rank: int, group) -> dict[str, Tensor]:
    sizes = SIZES[distributed.collectives.rank_and_size(group)[1]]
    x = share(features(), rank, sizes).clone().requires_grad_()
    graph = distributed.knn_graph(x.detach(), 4, group=group)
    data = distributed.to_data(graph, x=x, y=torch.arange(len(x)))
    assert data.validate()
    assert data.batch_size == sizes[rank]
    assert data.offsets.tolist() == list(graph.offsets)
    assert data.n_id[data.edge_index].flip(0).equal(graph.edge_index)
    assert data.edge_weight.equal(graph.edge_weight)
    out = layer(data.x, data.edge_index)[: data.batch_size]
    out.square().sum().backward()
    return {"x": data.x.detach(), "n_id": data.n_id, "out": out.detach(), "grad": x.grad}


@pytest.mark.parametrize("world", SIZES)
def test_a_layer_gives_own_nodes_what_it_gives_them_on_the_whole_graph(ranks, world):
    x = features().requires_grad_()
    edge_index = transforms.knn_graph(features(), 4)[0]
    out = layer(x, edge_index)
    out.square().sum().backward()
    found = ranks(world, exported)
    for f in found:
        assert f["x"].equal(features()[f["n_id"]])
    torch.testing.assert_close(torch.cat([f["out"] for f in found]), out.detach())
    torch.testing.assert_close(torch.cat([f["grad"] for f in found]), x.grad)


def wrong(rank: int, group) -> dict[str, str]:
    x = share(features(), rank, [20, 10])
    graph = distributed.knn_graph(x, 4, group=group)
    calls = {
        "rows": lambda: distributed.to_data(graph, x=x[rank:]),
        "names": lambda: distributed.to_data(graph, **{"xy"[rank]: x}),
        "type": lambda: distributed.to_data(graph, x=[1.0] if rank else x),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    for got in ranks(2, wrong):
        assert "x must have the graph's 10 rows, got [9, 3] (on rank 1)" in got["rows"]
        assert "x must be alike on all ranks of the group" in got["names"]
        assert "x must be a Tensor, got list (on rank 1)" in got["type"]
