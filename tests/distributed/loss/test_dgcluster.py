import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, nn
from tests.distributed.loss.sharded import EXACT, GRAPH_SIZES, here, weighted
from tests.distributed.pool import refused


def learned(rank: int, group, with_classes: bool) -> dict[str, Tensor]:
    graph, x, y = here(rank, group)
    weight = graph.edge_weight.clone().requires_grad_()
    y = y if with_classes else None
    loss = distributed.dgcluster_loss(graph.with_weight(weight), x, y, auxiliary=0.6)
    loss.backward(create_graph=True)
    (second,) = torch.autograd.grad(x.grad.square().sum(), x)
    found = {"loss": loss, "x": x.grad, "w": weight.grad, "second": second}
    return {name: value.detach() for name, value in found.items()}


@pytest.mark.parametrize("world", GRAPH_SIZES)
@pytest.mark.parametrize("with_classes", [True, False])
@pytest.mark.filterwarnings("ignore:Using backward")
def test_value_and_gradient_are_those_of_one_process(ranks, world, with_classes):
    whole = weighted()
    x, weight = whole.x.requires_grad_(), whole.edge_weight.requires_grad_()
    y = whole.y if with_classes else None
    loss = nn.dgcluster_loss(whole.edge_index, weight, x, y, auxiliary=0.6)
    loss.backward(create_graph=True)
    (second,) = torch.autograd.grad(x.grad.square().sum(), x)
    found = ranks(world, learned, with_classes)
    for f in found:
        torch.testing.assert_close(f["loss"], loss.detach(), **EXACT)
    for name, leaf in {"x": x, "w": weight}.items():
        got = torch.cat([f[name] for f in found]) / world
        torch.testing.assert_close(got, leaf.grad.detach(), **EXACT)
    got = torch.cat([f["second"] for f in found]) / world**2
    torch.testing.assert_close(got, second, rtol=1e-10, atol=1e-14)


def wrong(rank: int, group) -> dict[str, str]:
    graph, x, y = here(rank, group)
    x = x.detach()
    loss = distributed.dgcluster_loss
    calls = {
        "rows": lambda: loss(graph, x[1:] if rank == 0 else x),
        "classes": lambda: loss(graph, x, None if rank == 1 else y),
        "class": lambda: loss(graph, x, y - 1),
        "auxiliary": lambda: loss(graph, x, y, auxiliary=-1.0),
        "unlabelled": lambda: loss(graph, x, torch.full_like(y, -1)),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    for got in ranks(2, wrong):
        assert "x must have the graph's 30 rows, got [29, 3] (on rank 0)" in got["rows"]
        assert "y must be alike on all ranks of the group" in got["classes"]
        assert "y must be >= -1, got -2" in got["class"]
        assert "auxiliary must be finite and >= 0, got -1.0" in got["auxiliary"]
        assert got["unlabelled"] == "no error"
