import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.nn import PoissonPropagation, poisson_propagation
from pyg_relational.ops import CG, ConvergenceError, Direct
from tests.graphs import Graph, graphs, random_graph, union
from tests.oracles import dense_weights, poisson

F64 = torch.float64


def run(graph: Graph, **options):
    options.setdefault("num_classes", 4)
    return poisson_propagation(graph.edge_index, graph.edge_weight, graph.y, graph.mask, **options)


@settings(deadline=None, max_examples=40)
@given(graphs())
def test_equals_the_pseudo_inverse(graph):
    u = run(graph)
    if len(graph.y[graph.mask].unique()) == 1:
        only = one_hot(graph.y[0], 4).double() - 0.25
        torch.testing.assert_close(u, only.expand_as(u))
        return
    w = dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))
    exact = poisson(w, one_hot(graph.y, 4).double(), graph.mask)
    torch.testing.assert_close(u, exact, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(run(graph, solver=Direct()), exact, rtol=1e-7, atol=1e-8)


def test_gradients_equal_those_through_the_pseudo_inverse():
    graph = random_graph(12, seed=2)
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(12, 3, dtype=F64, requires_grad=True)
    slope = torch.randn(12, 3, dtype=F64)
    ours = poisson_propagation(graph.edge_index, p[graph.pair], values, graph.mask)
    dense = poisson(dense_weights(graph.edge_index, p[graph.pair], 12), values, graph.mask)
    for a, b in zip(
        *(torch.autograd.grad((u * slope).sum(), (p, values)) for u in (ours, dense)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_first_and_second_derivatives():
    graph = random_graph(6, seed=1)
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(6, 2, dtype=F64, requires_grad=True)

    def f(p, values):
        return poisson_propagation(graph.edge_index, p[graph.pair], values, graph.mask)

    assert gradcheck(f, (p, values))
    assert gradgradcheck(f, (p, values))


def test_union_of_graphs_equals_each():
    a, b = random_graph(9, seed=3), random_graph(14, seed=4)
    both, batch = union(a, b)
    expected = torch.cat([run(a), run(b)])
    torch.testing.assert_close(run(both, batch=batch), expected, rtol=1e-8, atol=1e-9)


def test_components_of_one_graph_are_told_apart_by_their_labels():
    a, b = random_graph(8, seed=3, classes=1), random_graph(6, seed=4, classes=1)
    both, batch = union(a, b._replace(y=b.y + 2))
    u = run(both)
    assert u.argmax(1).tolist() == [0] * 8 + [2] * 6
    torch.testing.assert_close(u.sum(1), torch.zeros(14, dtype=F64))
    share = a.mask.sum() / both.mask.sum()
    torch.testing.assert_close(u[0], torch.tensor([1 - share, 0, share - 1, 0], dtype=F64))
    apart = run(both, batch=batch)
    torch.testing.assert_close(apart[0], torch.tensor([0.75, -0.25, -0.25, -0.25], dtype=F64))


def test_component_without_a_label_follows_the_rule():
    a, b = random_graph(8, seed=3), random_graph(5, seed=4)
    both, batch = union(a, b._replace(mask=torch.zeros_like(b.mask)))
    with pytest.raises(ValueError, match="5 nodes that no label reaches, the first is node 8"):
        run(both)
    u = run(both, on_unreachable="nan")
    torch.testing.assert_close(u[:8], run(a), rtol=1e-8, atol=1e-9)
    assert u[8:].isnan().all()
    prior = run(both, on_unreachable="prior")[8:]
    mean = one_hot(a.y[a.mask], 4).double().mean(0)
    torch.testing.assert_close(prior, mean.expand(5, 4))
    assert batch.sum() == 5


def test_one_class_and_all_labelled():
    graph = random_graph(10, seed=5, classes=1)
    only = torch.tensor([0.75, -0.25, -0.25, -0.25], dtype=F64)
    torch.testing.assert_close(run(graph), only.expand(10, 4))
    graph = random_graph(10, seed=5, labelled=1.1)
    w = dense_weights(graph.edge_index, graph.edge_weight, 10)
    exact = poisson(w, one_hot(graph.y, 4).double(), graph.mask)
    torch.testing.assert_close(run(graph), exact, rtol=1e-8, atol=1e-9)


def test_self_loops_have_no_effect_and_float32_agrees():
    graph = random_graph(15, seed=6)
    loop = torch.arange(15).expand(2, 15)
    u = poisson_propagation(
        torch.cat([graph.edge_index, loop], 1),
        torch.cat([graph.edge_weight, torch.full((15,), 3.0, dtype=F64)]),
        graph.y,
        graph.mask,
        num_classes=4,
    )
    torch.testing.assert_close(u, run(graph), rtol=1e-9, atol=1e-10)
    small = graph._replace(weight=graph.weight.float())
    assert run(small).dtype == torch.float32
    torch.testing.assert_close(run(small).double(), run(graph), rtol=1e-4, atol=1e-4)


def test_not_converged_is_said():
    with pytest.raises(ConvergenceError, match="did not converge"):
        run(random_graph(40, 0.0, labelled=0.1), solver=CG(max_iter=1, strict=True))


def test_module():
    graph = random_graph(10, seed=7)
    module = PoissonPropagation(num_classes=4)
    got = module(graph.edge_index, graph.edge_weight, graph.y, graph.mask)
    assert torch.equal(got, run(graph))
    assert repr(module) == "PoissonPropagation(num_classes=4)"


def test_equals_the_reference(reference_root):
    data = np.load(reference_root / "graphlearning_pendigits.npz")
    row = np.repeat(np.arange(len(data["y"])), np.diff(data["indptr"]))
    edge_index = torch.from_numpy(np.stack([row, data["indices"]])).long()
    y = torch.from_numpy(data["y"])
    mask = torch.zeros(len(y), dtype=torch.bool)
    mask[torch.from_numpy(data["idx"])] = True
    weight = torch.from_numpy(data["data"])
    u = poisson_propagation(edge_index, weight, y, mask, on_unreachable="nan")
    reached = ~u[:, 0].isnan()
    assert reached.sum() == 7470
    reference = torch.from_numpy(data["poisson_u"])[reached]
    torch.testing.assert_close(u[reached], reference, rtol=0, atol=1e-7)
    same = u[reached].argmax(1) == torch.from_numpy(data["poisson_pred"])[reached]
    assert same.double().mean() >= 0.999
