import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.nn import hypergraph_propagation, laplace_propagation
from pyg_relational.ops import CG, ConvergenceError
from pyg_relational.transforms import knn_graph, knn_hypergraph
from tests import oracles
from tests.graphs import random_graph

F64 = torch.float64


def hypergraph(n, m, seed):
    """Connected: a path of pairs, and random hyperedges."""
    g = torch.Generator().manual_seed(seed)
    f = torch.cat([torch.rand(n, m, generator=g) < 0.3, torch.zeros(n, max(n - 1, 0)).bool()], 1)
    for i in range(n - 1):
        f[i : i + 2, m + i] = True
    return f.double(), f.nonzero().T, torch.rand(f.shape[1], generator=g, dtype=F64) + 0.1


def dense(f, hyper_weight, graph, edge_weight, mix, tau):
    w = oracles.dense_weights(graph.edge_index, edge_weight, len(f))
    matrix = mix * oracles.dense_laplacian(w) + (1 - mix) * oracles.hypergraph_laplacian(
        f, hyper_weight
    )
    return matrix + tau * torch.eye(len(f), dtype=F64)


@given(
    st.integers(1, 12),
    st.integers(0, 5),
    st.integers(0, 999),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.2]),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_dense_solve(n, m, seed, mix, tau):
    f, index, weight = hypergraph(n, m, seed)
    graph = random_graph(n, 0.3, seed)
    edges = {"edge_index": graph.edge_index, "edge_weight": graph.edge_weight}
    u = hypergraph_propagation(
        index, weight, graph.y, graph.mask, **edges, mix=mix, tau=tau, num_classes=4
    )
    values = one_hot(graph.y, 4).double().where(graph.mask[:, None], 0.0)
    matrix = dense(f, weight, graph, graph.edge_weight, mix, tau)
    wanted = oracles.mixed_propagation(matrix, values, graph.mask)
    torch.testing.assert_close(u, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_gradients(tau):
    f, index, weight = hypergraph(6, 3, 0)
    graph = random_graph(6, 0.3, 1)
    y = torch.rand(6, 2, dtype=F64)
    inputs = [weight, graph.weight, y, torch.tensor(0.4, dtype=F64), torch.tensor(tau, dtype=F64)]
    inputs = [t.requires_grad_(i < 4 or tau > 0) for i, t in enumerate(inputs)]

    def ours(weight, edge, y, mix, tau):
        edges = {"edge_index": graph.edge_index, "edge_weight": edge[graph.pair]}
        return hypergraph_propagation(index, weight, y, graph.mask, **edges, mix=mix, tau=tau)

    def literal(weight, edge, y, mix, tau):
        values = y.where(graph.mask[:, None], 0.0)
        matrix = dense(f, weight, graph, edge[graph.pair], mix, tau)
        return oracles.mixed_propagation(matrix, values, graph.mask)

    assert gradcheck(ours, inputs)
    assert gradgradcheck(ours, inputs)
    leaves = [t for t in inputs if t.requires_grad]
    found, wanted = (
        torch.autograd.grad(call(*inputs).square().sum(), leaves) for call in (ours, literal)
    )
    torch.testing.assert_close(found, wanted)


def test_features_to_loss():
    x = torch.randn(20, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 2
    y[4:] = -1

    def loss(x):
        index, weight = knn_hypergraph(x, 4)
        edges = dict(zip(("edge_index", "edge_weight"), knn_graph(x, 4), strict=True))
        return hypergraph_propagation(index, weight, y, **edges, mix=0.5)[4:]

    assert gradcheck(loss, (x.requires_grad_(),))


def test_the_graph_alone_is_laplace_learning():
    graph = random_graph(12, 0.3, 3)
    index = torch.empty(2, 0, dtype=torch.int64)
    edges = {"edge_index": graph.edge_index, "edge_weight": graph.edge_weight}
    u = hypergraph_propagation(
        index, graph.weight[:0], graph.y, graph.mask, **edges, mix=1.0, num_classes=3
    )
    wanted = laplace_propagation(
        graph.edge_index, graph.edge_weight, graph.y, graph.mask, num_classes=3
    )
    torch.testing.assert_close(u, wanted)


def apart():
    """Two hyperedges that share no node; an edge between them."""
    index = torch.tensor([[0, 1, 2, 3], [0, 0, 1, 1]])
    edges = {"edge_index": torch.tensor([[1, 2], [2, 1]])}
    return index, torch.ones(2), torch.tensor([0, -1, -1, -1]), edges


def test_nodes_that_no_label_reaches():
    index, weight, y, edges = apart()
    with pytest.raises(ValueError, match="2 nodes that no label reaches"):
        hypergraph_propagation(index, weight, y, **edges)
    prior = hypergraph_propagation(index, weight, y, **edges, on_unreachable="prior")
    assert prior.tolist() == [[1.0]] * 4
    nan = hypergraph_propagation(index, weight, y, **edges, on_unreachable="nan")
    assert nan.isnan()[:, 0].tolist() == [False, False, True, True]
    for options in ({"mix": 0.5}, {"tau": 0.1}):
        assert hypergraph_propagation(index, weight, y, **edges, **options).isfinite().all()
    with pytest.raises(ValueError, match="no label reaches"):
        hypergraph_propagation(index, weight * torch.tensor([1.0, 0.0]), y, on_unreachable="error")


def test_float32_holds_what_it_says():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    y = torch.full((300,), -1)
    y[:6] = torch.arange(6) % 3
    single = hypergraph_propagation(*knn_hypergraph(x, 6), y, on_unreachable="prior")
    double = hypergraph_propagation(*knn_hypergraph(x.double(), 6), y, on_unreachable="prior")
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-5)


def test_a_missed_tolerance_is_said():
    x = torch.randn(200, 2, dtype=F64, generator=torch.Generator().manual_seed(0))
    y = torch.full((200,), -1)
    y[:2] = torch.arange(2)
    call = (*knn_hypergraph(x, 5), y)
    with pytest.warns(RuntimeWarning, match="did not converge"):
        hypergraph_propagation(*call, solver=CG(max_iter=3), on_unreachable="prior")
    with pytest.raises(ConvergenceError):
        hypergraph_propagation(*call, solver=CG(max_iter=3, strict=True), on_unreachable="prior")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hypergraph_propagation(*call, on_unreachable="prior")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mix": 1.5}, ValueError, r"mix must be in \[0, 1\], got 1.5"),
        ({"mix": float("nan")}, ValueError, "mix must be in"),
        ({"mix": torch.ones(2) / 2}, ValueError, "mix must be a number or a scalar"),
        ({"tau": -1.0}, ValueError, "tau must be >= 0"),
        ({"tau": torch.ones(4)}, ValueError, "tau must be a number or a scalar"),
        ({"solver": 3}, TypeError, "solver must be CG"),
        ({"edge_weight": torch.ones(2)}, ValueError, "edge_weight must be None"),
        ({"on_unreachable": "zero"}, ValueError, "on_unreachable must be one of"),
    ],
)
def test_bad_input_is_named(options, error, message):
    index, weight, y, _ = apart()
    with pytest.raises(error, match=message):
        hypergraph_propagation(index, weight, y, **options)
