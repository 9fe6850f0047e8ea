import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.nn import RandomWalkPropagation, random_walk_propagation
from pyg_relational.ops import Direct
from tests.graphs import Graph, graphs, random_graph, union
from tests.oracles import dense_weights, random_walk

F64 = torch.float64


def run(graph: Graph, **options):
    options.setdefault("num_classes", 4)
    return random_walk_propagation(
        graph.edge_index, graph.edge_weight, graph.y, graph.mask, **options
    )


@settings(deadline=None, max_examples=40)
@given(graphs(), st.sampled_from([0.0, 0.5, 0.95, 0.999]))
def test_equals_the_dense_solve(graph, alpha):
    values = one_hot(graph.y, 4).double()
    if len(graph.y) == 1:
        assert torch.equal(run(graph, alpha=alpha), values)
        return
    w = dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))
    exact = random_walk(w, values, graph.mask, alpha)
    torch.testing.assert_close(run(graph, alpha=alpha), exact, rtol=1e-7, atol=1e-8)
    direct = run(graph, alpha=alpha, solver=Direct())
    torch.testing.assert_close(direct, exact, rtol=1e-7, atol=1e-8)


def test_gradients_equal_those_through_the_dense_solve():
    graph = random_graph(12, seed=2)
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(12, 3, dtype=F64, requires_grad=True)
    alpha = torch.tensor(0.9, dtype=F64, requires_grad=True)
    slope = torch.randn(12, 3, dtype=F64)
    ours = random_walk_propagation(graph.edge_index, p[graph.pair], values, graph.mask, alpha=alpha)
    w = dense_weights(graph.edge_index, p[graph.pair], 12)
    dense = random_walk(w, values, graph.mask, alpha)
    leaves = (p, values, alpha)
    for a, b in zip(
        *(torch.autograd.grad((u * slope).sum(), leaves) for u in (ours, dense)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_first_and_second_derivatives():
    graph = random_graph(6, seed=1)
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(6, 2, dtype=F64, requires_grad=True)
    alpha = torch.tensor(0.7, dtype=F64, requires_grad=True)

    def f(p, values, alpha):
        return random_walk_propagation(
            graph.edge_index, p[graph.pair], values, graph.mask, alpha=alpha
        )

    assert gradcheck(f, (p, values, alpha))
    assert gradgradcheck(f, (p, values, alpha))


def test_union_of_graphs_equals_each():
    a, b = random_graph(9, seed=3), random_graph(14, seed=4)
    both, _ = union(a, b)
    torch.testing.assert_close(run(both), torch.cat([run(a), run(b)]), rtol=1e-9, atol=1e-10)


def test_nodes_that_no_label_reaches():
    a, b = random_graph(9, seed=3), random_graph(14, seed=4)
    both, batch = union(a, b._replace(mask=torch.zeros_like(b.mask)))
    with pytest.raises(ValueError, match="14 nodes that no label reaches, the first is node 9"):
        run(both)
    u = run(both, on_unreachable="nan")
    assert u[9:].isnan().all()
    torch.testing.assert_close(u[:9], run(a), rtol=1e-9, atol=1e-10)
    prior = one_hot(a.y, 4).double()[a.mask].mean(0).expand(14, 4)
    torch.testing.assert_close(run(both, on_unreachable="prior")[9:], prior)
    with pytest.raises(ValueError, match="got none in graph 1"):
        run(both, on_unreachable="prior", batch=batch)
    with pytest.raises(ValueError, match="batch must be the same at both ends"):
        run(a, batch=torch.arange(9))


def test_self_loops_have_no_effect_and_float32_agrees():
    graph = random_graph(15, seed=6)
    loop = torch.arange(15).expand(2, 15)
    u = random_walk_propagation(
        torch.cat([graph.edge_index, loop], 1),
        torch.cat([graph.edge_weight, torch.full((15,), 3.0, dtype=F64)]),
        graph.y,
        graph.mask,
        num_classes=4,
    )
    torch.testing.assert_close(u, run(graph), rtol=1e-9, atol=1e-10)
    small = run(graph._replace(weight=graph.weight.float()))
    assert small.dtype == torch.float32
    torch.testing.assert_close(small.double(), run(graph), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("alpha", [1.0, -0.1, float("nan"), torch.tensor([0.5, 0.5])])
def test_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match=r"alpha must be a number in \[0, 1\)"):
        run(random_graph(4), alpha=alpha)


def test_module_learns_alpha():
    graph = random_graph(10, seed=7)
    module = RandomWalkPropagation(alpha=nn.Parameter(torch.tensor(0.8)), num_classes=4)
    u = module(graph.edge_index, graph.edge_weight, graph.y, graph.mask)
    torch.testing.assert_close(u, run(graph, alpha=0.8), rtol=1e-6, atol=1e-6)
    u.sum().backward()
    assert module.alpha.raw.grad > 0
