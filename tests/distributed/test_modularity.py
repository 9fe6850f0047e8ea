import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, nn
from pyg_relational.transforms import knn_graph
from tests.distributed.pool import refused, share

SIZES = {1: [40], 2: [30, 10], 3: [11, 0, 29], 4: [1, 20, 17, 2]}
EXACT = {"rtol": 1e-12, "atol": 1e-14}
OPTIONS = [
    {"collapse": 0.0},
    {"resolution": 0.7},
    {"collapse": 2.0, "orthogonality": 0.5},
]


def problem() -> tuple[Tensor, Tensor, Tensor]:
    """A weighted graph with a self-loop, and logits of 4 clusters."""
    torch.manual_seed(0)
    edge_index, weight = knn_graph(torch.randn(40, 3, dtype=torch.float64), 5)
    loop = torch.tensor([[7], [7]])
    edge_index, weight = torch.cat([edge_index, loop], 1), torch.cat([weight, weight[:1]])
    return edge_index, weight, torch.randn(40, 4, dtype=torch.float64)


def sharded(rank: int, group) -> tuple[distributed.ShardedGraph, Tensor]:
    sizes = SIZES[distributed.collectives.rank_and_size(group)[1]]
    edge_index, weight, logits = problem()
    start = sum(sizes[:rank])
    here = (edge_index[0] >= start) & (edge_index[0] < start + sizes[rank])
    graph = distributed.ShardedGraph.from_rows(
        edge_index[:, here], weight[here], sizes[rank], group
    )
    return graph, share(logits, rank, sizes).clone().requires_grad_()


def learned(rank: int, group, options: dict) -> dict[str, Tensor]:
    graph, logits = sharded(rank, group)
    weight = graph.edge_weight.clone().requires_grad_()
    loss = distributed.modularity_loss(graph.with_weight(weight), logits.softmax(1), **options)
    loss.backward(create_graph=True)
    first = logits.grad
    (second,) = torch.autograd.grad(first.square().sum(), logits)
    found = {"loss": loss, "w": weight.grad, "logits": first, "second": second}
    return {"edge_index": graph.edge_index} | {name: v.detach() for name, v in found.items()}


@pytest.mark.parametrize("world", SIZES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.filterwarnings("ignore:Using backward")
def test_value_and_gradient_are_those_of_one_process(ranks, world, options):
    edge_index, weight, logits = problem()
    order = (edge_index[0] * 40 + edge_index[1]).argsort()
    edge_index, weight = edge_index[:, order], weight[order].requires_grad_()
    logits.requires_grad_()
    loss = nn.modularity_loss(edge_index, weight, logits.softmax(1), **options)
    loss.backward(create_graph=True)
    (second,) = torch.autograd.grad(logits.grad.square().sum(), logits)
    found = ranks(world, learned, options)
    for f in found:
        torch.testing.assert_close(f["loss"], loss.detach(), **EXACT)
    assert torch.cat([f["edge_index"] for f in found], 1).equal(edge_index)
    for name, value in {"w": weight.grad, "logits": logits.grad}.items():
        got = torch.cat([f[name] for f in found]) / world
        torch.testing.assert_close(got, value.detach(), **EXACT)
    got = torch.cat([f["second"] for f in found]) / world**2
    torch.testing.assert_close(got, second, rtol=1e-10, atol=1e-14)


def wrong(rank: int, group) -> dict[str, str]:
    graph, logits = sharded(rank, group)
    c = logits.detach()
    loss = distributed.modularity_loss
    calls = {
        "rows": lambda: loss(graph, c[1:] if rank == 0 else c),
        "columns": lambda: loss(graph, c[:, : 4 - rank]),
        "value": lambda: loss(graph, c / 0 if rank == 2 else c),
        "resolution": lambda: loss(graph, c, resolution=1.0 + rank),
        "collapse": lambda: loss(graph, c, collapse=-1.0),
        "after": lambda: loss(graph, c),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    for got in ranks(3, wrong):
        assert "the graph's 11 rows and at least one column, got [10, 4] (on rank 0)" in got["rows"]
        assert "assignment must be alike on all ranks" in got["columns"]
        assert "assignment must be finite" in got["value"]
        assert "got 1.0 on rank 0, 2.0 on rank 1" in got["resolution"]
        assert "collapse must be finite and >= 0, got -1.0" in got["collapse"]
        assert got["after"] == "no error"


def test_no_edges_and_no_nodes_have_no_modularity():
    none = torch.empty(2, 0, dtype=torch.int64)
    for n in (3, 0):
        graph = distributed.ShardedGraph.from_rows(none, None, n)
        c = torch.ones(n, 1)
        assert distributed.modularity_loss(graph, c).item() == 0
        assert nn.modularity_loss(none, None, c).item() == 0
