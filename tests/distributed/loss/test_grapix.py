import pytest
import torch
from torch import Tensor

from pyg_relational import distributed, nn
from tests.distributed.loss.sharded import EXACT, GRAPH_SIZES, here, weighted
from tests.distributed.pool import refused

OPTIONS = [{}, {"alpha": 3.0, "resolution": 0.7}]


def learned(rank: int, group, options: dict) -> dict[str, Tensor]:
    graph, x, _ = here(rank, group)
    centroids = weighted().centroids.requires_grad_()
    weight = graph.edge_weight.clone().requires_grad_()
    loss = distributed.grapix_loss(graph.with_weight(weight), x, centroids, **options)
    loss.backward()
    return {"loss": loss.detach(), "x": x.grad, "w": weight.grad, "centroids": centroids.grad}


@pytest.mark.parametrize("world", GRAPH_SIZES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_value_and_gradient_are_those_of_one_process(ranks, world, options):
    whole = weighted()
    leaves = [part.requires_grad_() for part in (whole.x, whole.edge_weight, whole.centroids)]
    x, weight, centroids = leaves
    loss = nn.grapix_loss(x, centroids, whole.edge_index, weight, **options)
    loss.backward()
    found = ranks(world, learned, options)
    for f in found:
        torch.testing.assert_close(f["loss"], loss.detach(), **EXACT)
    for name, leaf in {"x": x, "w": weight}.items():
        got = torch.cat([f[name] for f in found]) / world
        torch.testing.assert_close(got, leaf.grad, **EXACT)
    averaged = torch.stack([f["centroids"] for f in found]).mean(0)
    torch.testing.assert_close(averaged, centroids.grad, **EXACT)


def wrong(rank: int, group) -> dict[str, str]:
    graph, x, _ = here(rank, group)
    x, mu = x.detach(), weighted().centroids
    loss = distributed.grapix_loss
    calls = {
        "rows": lambda: loss(graph, x[1:] if rank == 0 else x, mu),
        "centroids": lambda: loss(graph, x, mu + (rank == 1) * 1e-12),
        "number": lambda: loss(graph, x, mu[: 3 - rank]),
        "width": lambda: loss(graph, x, mu[:, 1:]),
        "alpha": lambda: loss(graph, x, mu, alpha=1.0 + rank),
        "after": lambda: loss(graph, x, mu),
    }
    return {name: refused(call) for name, call in calls.items()}


def test_what_is_wrong_on_one_rank_is_raised_on_all(ranks):
    for got in ranks(2, wrong):
        assert "x must have the graph's 30 rows, got [29, 3] (on rank 0)" in got["rows"]
        assert "centroids must be alike on all ranks" in got["centroids"]
        assert "centroids must be alike on all ranks" in got["number"]
        assert "centroids must have shape [k, 3]" in got["width"]
        assert "got 1.0 on rank 0, 2.0 on rank 1" in got["alpha"]
        assert got["after"] == "no error"


def test_a_graph_of_one_process_is_refused():
    whole = weighted()
    with pytest.raises(TypeError, match="graph must be a ShardedGraph, got Tensor"):
        distributed.grapix_loss(whole.edge_index, whole.x, whole.centroids)
