import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from pyg_relational.nn import DGClusterLoss, dgcluster_loss
from tests import oracles
from tests.graphs import graphs, random_graph, union

NONE = torch.empty(2, 0, dtype=torch.int64)


def embeddings(n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64, requires_grad=True)


@settings(deadline=None, max_examples=40)
@given(graphs(), st.integers(1, 4), st.floats(0, 2), st.integers(0, 999))
def test_equals_the_dense_form(graph, d, auxiliary, seed):
    n = len(graph.y)
    x = embeddings(n, d, seed)
    y = graph.y.where(graph.mask, -1)
    a = oracles.dense_weights(graph.edge_index, graph.edge_weight, n)
    loss = DGClusterLoss(auxiliary)(graph.edge_index, graph.edge_weight, x, y)
    expected = oracles.dgcluster(x, a, y, auxiliary)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, x), torch.autograd.grad(expected, x), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    without = dgcluster_loss(graph.edge_index, graph.edge_weight, x, auxiliary=auxiliary)
    torch.testing.assert_close(without, oracles.dgcluster(x, a, y, 0))


def test_names_of_classes_do_not_matter():
    graph = random_graph(8)
    x, names = embeddings(8, 3), torch.tensor([7, 100, 3])
    first, second = (
        dgcluster_loss(graph.edge_index, graph.edge_weight, x, y) for y in (graph.y, names[graph.y])
    )
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("labelled", [False, True])
def test_mean_over_graphs_each_as_alone(labelled):
    a, b = random_graph(7), random_graph(4, seed=1)
    both, batch = union(a, b)
    x, y = embeddings(11, 3), both.y.where(batch == 0, -1) if labelled else None
    alone = [
        dgcluster_loss(g.edge_index, g.edge_weight, x[rows], None if y is None else y[rows])
        for g, rows in ((a, slice(7)), (b, slice(7, 11)))
    ]
    loss = dgcluster_loss(both.edge_index, both.edge_weight, x, y, batch=batch)
    torch.testing.assert_close(loss, sum(alone) / 2)


def test_derivatives():
    graph = random_graph(6)
    y = graph.y.where(torch.arange(6) > 1, -1)

    def f(w, x):
        return dgcluster_loss(graph.edge_index, w[graph.pair], x, y, auxiliary=0.7)

    assert gradcheck(f, (graph.weight.clone().requires_grad_(), embeddings(6, 3)))


@pytest.mark.parametrize("rows", [0, 3])
def test_no_edge_and_no_label(rows):
    x = torch.zeros(rows, 2, requires_grad=True)
    y = torch.full((rows,), -1)
    for batch in (None, torch.zeros(rows, dtype=torch.int64)):
        loss = dgcluster_loss(NONE, None, x, y, batch=batch)
        assert loss == 0
        assert torch.autograd.grad(loss, x)[0].equal(torch.zeros(rows, 2))


def test_types():
    graph = random_graph(6)
    x = embeddings(6, 3).detach()
    edges = (graph.edge_index, graph.edge_weight.float())
    loss = dgcluster_loss(*edges, x.float(), graph.y)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), dgcluster_loss(*edges, x, graph.y), atol=1e-5, rtol=0)
    assert dgcluster_loss(*edges, x.bfloat16(), graph.y).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert dgcluster_loss(*edges, x.float(), graph.y).equal(loss)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu():
    graph, batch = union(random_graph(50), random_graph(30, seed=1))
    results = []
    for device in ("cpu", "cuda"):
        x = embeddings(80, 5).detach().float().to(device).requires_grad_()
        tensors = (graph.edge_index, graph.edge_weight.float(), x, graph.y)
        loss = dgcluster_loss(*(t.to(device) for t in tensors), batch=batch.to(device))
        results.append([loss.cpu(), torch.autograd.grad(loss, x)[0].cpu()])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2).long()}, TypeError, "x must be floating point"),
        ({"x": torch.full((2, 1), torch.nan)}, ValueError, "x must be finite, got nan"),
        ({"y": torch.zeros(2)}, TypeError, "y must be int64"),
        ({"y": torch.tensor([0, -2])}, ValueError, "y must be >= -1, got -2"),
        ({"auxiliary": -1}, ValueError, "auxiliary must be finite and >= 0, got -1"),
        ({"edge_weight": torch.tensor([1.0, 2.0])}, ValueError, "not undirected"),
        ({"batch": torch.tensor([0, 1])}, ValueError, "batch must be the same at both ends"),
    ],
)
def test_bad_input(change, error, message):
    pair = torch.tensor([[0, 1], [1, 0]])
    arguments = {"edge_index": pair, "edge_weight": None, "x": torch.eye(2)}
    with pytest.raises(error, match=message):
        dgcluster_loss(**(arguments | change))
