import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.ops import laplacian_product
from pyg_relational.ops.graph.laplacian import degree
from tests.graphs import graphs, random_graph
from tests.oracles import dense_laplacian, dense_weights


@settings(deadline=None, max_examples=40)
@given(graphs(), st.integers(0, 3))
def test_equals_the_dense_product(graph, c):
    n = len(graph.y)
    u = torch.randn(n, c, dtype=torch.float64)
    w = dense_weights(graph.edge_index, graph.edge_weight, n)
    product = laplacian_product(graph.edge_index, graph.edge_weight, u)
    torch.testing.assert_close(product, dense_laplacian(w) @ u)
    torch.testing.assert_close(degree(graph.edge_index, graph.edge_weight, n), w.sum(1))


def test_first_and_second_derivatives():
    graph = random_graph(7)
    w = graph.weight.clone().requires_grad_()
    u = torch.randn(7, 2, dtype=torch.float64, requires_grad=True)

    def f(w, u):
        return laplacian_product(graph.edge_index, w[graph.pair], u)

    assert gradcheck(f, (w, u))
    assert gradgradcheck(f, (w, u))


def test_autocast_changes_nothing():
    graph = random_graph(7)
    w, u = graph.edge_weight.float().requires_grad_(), torch.randn(7, 2, requires_grad=True)
    value = laplacian_product(graph.edge_index, w, u)
    grads = torch.autograd.grad(value.square().sum(), (w, u))
    with torch.autocast("cpu", torch.bfloat16):
        cast = laplacian_product(graph.edge_index, w, u)
        cast_grads = torch.autograd.grad(cast.square().sum(), (w, u))
    assert cast.equal(value)
    assert all(map(torch.equal, cast_grads, grads))


def test_gradient_of_both_directions_of_an_edge_is_the_same():
    graph = random_graph(6)
    weight = graph.edge_weight.clone().requires_grad_()
    u = torch.randn(6, 2, dtype=torch.float64)
    product = laplacian_product(graph.edge_index, weight, u)
    (grad,) = torch.autograd.grad((product * torch.randn(6, 2)).sum(), weight)
    both = torch.stack([grad[graph.pair == p] for p in range(len(graph.weight))])
    torch.testing.assert_close(both[:, 0], both[:, 1])
