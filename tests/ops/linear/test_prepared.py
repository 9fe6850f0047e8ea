import copy
import pickle

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.nn import (
    LaplacePropagation,
    laplace_propagation,
    poisson_propagation,
    random_walk_propagation,
)
from pyg_relational.ops import CG, Direct, Multigrid, Prepared
from pyg_relational.ops.linear import factors, multigrid, set_up
from tests.graphs import random_graph

F64 = torch.float64
SOLVERS = (None, CG(), Direct(), Multigrid())


@pytest.fixture
def graph():
    return random_graph(40, 0.05, seed=2)


def edges(graph):
    return graph.edge_index, graph.edge_weight


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("f", [poisson_propagation, random_walk_propagation])
def test_other_labels_of_the_same_graph(graph, f, solver):
    prepared = Prepared()
    for seed in range(3):
        other = random_graph(40, 0.05, seed=seed)
        args = *edges(graph), other.y, other.mask
        u = f(*args, num_classes=3, solver=solver, prepared=prepared)
        torch.testing.assert_close(u, f(*args, num_classes=3, solver=solver), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("options", [{}, {"tau": 0.2}, {"normalization": "normalized", "f": 0.1}])
def test_other_values_and_another_number_of_columns(graph, solver, options):
    prepared = Prepared()
    for c in (1, 4):
        values = torch.randn(40, c, dtype=F64)
        args = *edges(graph), values, graph.mask
        u, info = laplace_propagation(
            *args, solver=solver, prepared=prepared, return_info=True, **options
        )
        exact = laplace_propagation(*args, solver=solver, **options)
        torch.testing.assert_close(u, exact, rtol=1e-9, atol=1e-9)
        assert info.residual.shape == (c,)


def test_a_power_of_the_normalized_matrix(graph):
    prepared = Prepared()
    options = {"order": 2, "normalization": "randomwalk", "tau": 0.1}
    for _ in range(2):
        args = *edges(graph), torch.randn(40, 2, dtype=F64), graph.mask
        u = laplace_propagation(*args, prepared=prepared, **options)
        torch.testing.assert_close(u, laplace_propagation(*args, **options))
    with pytest.raises(ValueError, match="got another order"):
        laplace_propagation(*args, prepared=prepared, **(options | {"order": 1}))


@pytest.mark.parametrize(
    ("solver", "module", "name"),
    [
        (Direct(), factors.Factors, "_factorise"),
        (Multigrid(), multigrid.VCycle, "__init__"),
        (None, set_up, "choose"),
        (CG(), set_up, "ground"),
    ],
)
def test_is_made_once_for_all_calls_forward_and_backward(graph, monkeypatch, solver, module, name):
    made = []
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args: made.append(1) or real(*args))
    prepared = Prepared()
    for _ in range(3):
        weight = graph.edge_weight.requires_grad_()
        u = laplace_propagation(
            graph.edge_index, weight, graph.y, graph.mask, solver=solver, prepared=prepared
        )
        u.square().sum().backward()
    assert len(made) == 1


@pytest.mark.parametrize("solver", SOLVERS)
def test_derivatives_are_as_without(graph, solver):
    prepared, grads = Prepared(), []
    for given in (prepared, prepared, None):
        weight = graph.weight.clone().requires_grad_()
        tau = torch.tensor(0.1, dtype=F64, requires_grad=True)
        u = laplace_propagation(
            graph.edge_index,
            weight[graph.pair],
            graph.y,
            graph.mask,
            tau=tau,
            solver=solver,
            prepared=given,
        )
        grads.append(torch.autograd.grad(u.square().sum(), (weight, tau)))
    for some in grads[:2]:
        torch.testing.assert_close(some, grads[2], rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_derivatives_in_the_values_equal_finite_differences(solver):
    graph = random_graph(8, seed=1)
    prepared = Prepared()
    values = torch.rand(8, 2, dtype=F64, requires_grad=True)
    f = torch.rand(8, 2, dtype=F64, requires_grad=True)

    def u(values, f):
        options = {"solver": solver, "prepared": prepared}
        return laplace_propagation(*edges(graph), values, graph.mask, f=f, **options).sin()

    assert gradcheck(u, (values, f))
    assert gradgradcheck(u, (values, f))


def test_what_differs_is_named(graph):
    prepared = Prepared()

    def call(edge_index=graph.edge_index, weight=graph.edge_weight, mask=graph.mask, **options):
        y = torch.zeros(len(mask), dtype=torch.int64)
        laplace_propagation(edge_index, weight, y, mask, prepared=prepared, **options)

    call(tau=0.1, normalization="randomwalk", solver=CG())
    usual = {"tau": 0.1, "normalization": "randomwalk", "solver": CG()}
    call(**usual)
    call(weight=graph.edge_weight.clone(), **usual)
    heavier = graph.edge_weight.clone()
    heavier *= 1 + 2**-50
    larger = random_graph(41, 0.05, seed=2)
    other = random_graph(40, 0.05, seed=2)
    for options, name in (
        (
            {"edge_index": larger.edge_index, "weight": larger.edge_weight, "mask": larger.mask},
            "edge_index",
        ),
        ({"weight": heavier}, "edge_weight"),
        ({"mask": ~other.mask}, "mask"),
        ({"tau": 0.2}, "tau"),
        ({"solver": CG(tol=1e-3)}, "solver"),
        ({"solver": None}, "solver"),
    ):
        with pytest.raises(ValueError, match=f"prepared must be .* got another {name}"):
            call(**(usual | options))
    call(**usual)


def test_a_tensor_changed_in_place_is_another(graph):
    prepared, weight, tau = Prepared(), graph.edge_weight, torch.tensor(0.5, dtype=F64)
    mask, edge_index = graph.mask.clone(), graph.edge_index.clone()

    def call():
        y = torch.zeros(40, dtype=torch.int64)
        laplace_propagation(edge_index, weight, y, mask, tau=tau, prepared=prepared)

    call()
    for tensor, name in ((weight, "edge_weight"), (tau, "tau"), (mask, "mask")):
        before = tensor.clone()
        tensor.copy_(~tensor if tensor.dtype == torch.bool else tensor * 2)
        with pytest.raises(ValueError, match=f"got another {name}"):
            call()
        tensor.copy_(before)
        call()


def test_another_alpha_is_refused(graph):
    prepared = Prepared()
    random_walk_propagation(*edges(graph), graph.y, graph.mask, alpha=0.5, prepared=prepared)
    with pytest.raises(ValueError, match="got another edge_weight"):
        random_walk_propagation(*edges(graph), graph.y, graph.mask, alpha=0.6, prepared=prepared)


def test_a_copy_is_empty(graph):
    prepared = Prepared()
    module = LaplacePropagation(solver=Direct(), prepared=prepared)
    module(*edges(graph), graph.y, graph.mask)
    assert repr(prepared) == f"Prepared(40 nodes, {graph.edge_index.shape[1]} edges)"
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other.options["prepared"]) == "Prepared()"


def test_a_wrong_type_is_refused(graph):
    with pytest.raises(TypeError, match=r"prepared must be Prepared\(\) or None, got 1"):
        LaplacePropagation(prepared=1)
    with pytest.raises(TypeError, match=r"prepared must be Prepared\(\) or None, got 1"):
        poisson_propagation(*edges(graph), graph.y, graph.mask, prepared=1)


def test_a_start_is_of_one_call(graph):
    prepared, args = Prepared(), (*edges(graph), graph.y, graph.mask)
    u = laplace_propagation(*args, solver=CG(), prepared=prepared)
    again, warm = laplace_propagation(
        *args, solver=CG(), prepared=prepared, initial=u, return_info=True
    )
    _, cold = laplace_propagation(*args, solver=CG(), prepared=prepared, return_info=True)
    assert warm.iterations < cold.iterations
    torch.testing.assert_close(u, again)
