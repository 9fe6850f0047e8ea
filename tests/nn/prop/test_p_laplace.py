import warnings

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.nn import PLaplacePropagation, laplace_propagation, p_laplace_propagation
from pyg_relational.ops import CG, ConvergenceError, Direct, Multigrid
from pyg_relational.ops.linear import p_laplacian
from tests.graphs import Graph, graphs, random_graph, union
from tests.oracles import dense_weights, game_p_laplace, p_laplace_energy, p_laplace_residual

F64 = torch.float64
EQUATIONS = ("variational", "game")
PS = (2.0, 3.0, 5.0, 10.0)


def run(graph: Graph, **options):
    options.setdefault("num_classes", 4)
    return p_laplace_propagation(
        graph.edge_index, graph.edge_weight, graph.y, graph.mask, **options
    )


def dense(graph: Graph):
    return dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))


@settings(deadline=None, max_examples=40)
@given(graphs(), st.sampled_from(PS), st.sampled_from([0.0, 0.1]))
def test_variational_solves_the_literal_equation(graph, p, tau):
    u = run(graph, p=p, tau=tau)
    assert torch.equal(u[graph.mask], one_hot(graph.y, 4).double()[graph.mask])
    if len(graph.y) > 1:
        residual = p_laplace_residual(dense(graph), u, graph.mask, p, tau)
        assert residual.numel() == 0 or residual.abs().max() < 1e-8
    assert u.min() >= -1e-9
    assert u.max() <= 1 + 1e-9


@pytest.mark.parametrize("p", [2.5, 3.0, 6.0])
@pytest.mark.parametrize("tau", [0.0, 0.1])
def test_variational_is_the_minimum_of_the_energy(p, tau):
    graph = random_graph(12, seed=3)
    w, y = dense(graph), one_hot(graph.y, 3).double()[:, :1]

    def energy(inner):
        inner = torch.tensor(inner, requires_grad=True)
        u = y.masked_scatter(~graph.mask[:, None], inner)
        value = p_laplace_energy(w, u, p, tau)
        return value.item(), torch.autograd.grad(value, inner)[0].numpy()

    free = int((~graph.mask).sum())
    found = scipy.optimize.minimize(energy, np.full(free, 0.5), jac=True, tol=1e-14)
    u = run(graph, p=p, tau=tau)[~graph.mask, 0]
    np.testing.assert_allclose(u, found.x, atol=1e-3)
    assert energy(u.numpy())[0] <= found.fun + 1e-12


@settings(deadline=None, max_examples=25)
@given(graphs(), st.sampled_from([*PS, 100.0]))
def test_game_equals_the_plain_iteration(graph, p):
    u = run(graph, p=p, equation="game")
    values = one_hot(graph.y, 4).double()
    if len(graph.y) == 1:
        assert torch.equal(u, values)
        return
    exact = game_p_laplace(dense(graph), values, graph.mask, p)
    torch.testing.assert_close(u, exact, rtol=0, atol=1e-8)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_p_2_is_laplace(equation):
    graph = random_graph(30, 0.1, seed=8)
    p = graph.weight.clone().requires_grad_()
    labels = (graph.y, graph.mask)
    ours = p_laplace_propagation(graph.edge_index, p[graph.pair], *labels, p=2.0, equation=equation)
    other = laplace_propagation(graph.edge_index, p[graph.pair], *labels)
    torch.testing.assert_close(ours, other, rtol=1e-8, atol=1e-9)
    a, b = (torch.autograd.grad(u.square().sum(), p)[0] for u in (ours, other))
    torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("p", PS)
@pytest.mark.parametrize("equation", EQUATIONS)
def test_first_derivatives_equal_finite_differences(equation, p):
    graph = random_graph(8, seed=1)
    weight = graph.weight.clone().requires_grad_()
    values = torch.rand(8, 2, dtype=F64, requires_grad=True)
    tau = torch.tensor(0.1, dtype=F64, requires_grad=True)

    def f(weight, values, *tau):
        more = {"tau": tau[0]} if tau else {}
        edges = (graph.edge_index, weight[graph.pair])
        return p_laplace_propagation(*edges, values, graph.mask, p=p, equation=equation, **more)

    assert gradcheck(f, (weight, values))
    if equation == "variational":
        assert gradcheck(f, (weight, values, tau))


@pytest.mark.parametrize(
    ("equation", "p"), [("variational", 3.0), ("variational", 5.0), ("game", 3.0)]
)
def test_second_derivatives(equation, p):
    graph = random_graph(6, seed=1)
    weight = graph.weight.clone().requires_grad_()
    values = torch.rand(6, 2, dtype=F64, requires_grad=True)

    def f(weight, values):
        edges = (graph.edge_index, weight[graph.pair])
        return p_laplace_propagation(*edges, values, graph.mask, p=p, equation=equation)

    assert gradgradcheck(f, (weight, values))


@pytest.mark.parametrize(("max_iter", "says"), [(1000, False), (12, True)])
def test_the_adjoint_of_the_game_says_where_it_did_not_converge(max_iter, says):
    graph = random_graph(60, 0.02, seed=1)
    weight = graph.edge_weight.requires_grad_()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        solver = CG(tol=1e-10, max_iter=max_iter)
        u = p_laplace_propagation(
            graph.edge_index, weight, graph.y, graph.mask, equation="game", solver=solver
        )
        u.square().sum().backward()
    assert any("the adjoint of p-Laplace" in str(w.message) for w in warned) == says


@pytest.mark.parametrize("p", [3.0, 10.0])
def test_gradient_equals_that_through_the_dense_linearisation(p):
    graph = random_graph(12, seed=2)
    weight = graph.weight.clone().requires_grad_()
    values = torch.rand(12, 3, dtype=F64)
    u = p_laplace_propagation(graph.edge_index, weight[graph.pair], values, graph.mask, p=p)
    slope = torch.randn(12, 3, dtype=F64)
    (ours,) = torch.autograd.grad((u * slope).sum(), weight)
    w = dense_weights(graph.edge_index, weight[graph.pair], 12)
    expected = torch.zeros_like(weight)
    free = ~graph.mask
    for k in range(3):
        start = u[:, [k]].detach()

        def residual(inner, start=start, w=w):
            return p_laplace_residual(w, start.masked_scatter(free[:, None], inner), graph.mask, p)[
                :, 0
            ]

        jacobian = torch.autograd.functional.jacobian(residual, start[free, 0]).detach()
        adjoint = torch.linalg.solve(jacobian.T, slope[free, k])
        (part,) = torch.autograd.grad(residual(start[free, 0]) @ adjoint, weight, retain_graph=True)
        expected -= part
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("p", [3.0, 10.0])
def test_union_of_graphs_equals_each(equation, p):
    a, b = random_graph(9, seed=3), random_graph(14, seed=4)
    both, _ = union(a, b)
    options = {"p": p, "equation": equation}
    expected = torch.cat([run(a, **options), run(b, **options)])
    torch.testing.assert_close(run(both, **options), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_component_without_a_label_follows_the_rule(equation):
    a, b = random_graph(8, seed=3), random_graph(5, seed=4)
    both, _ = union(a, b._replace(mask=torch.zeros_like(b.mask)))
    with pytest.raises(ValueError, match="5 nodes that no label reaches, the first is node 8"):
        run(both, equation=equation)
    u = run(both, equation=equation, on_unreachable="nan")
    torch.testing.assert_close(u[:8], run(a, equation=equation), rtol=0, atol=1e-8)
    assert u[8:].isnan().all()
    prior = run(both, equation=equation, on_unreachable="prior")[8:]
    torch.testing.assert_close(prior, one_hot(a.y[a.mask], 4).double().mean(0).expand(5, 4))


def test_tau_reaches_every_component():
    a, b = random_graph(8, seed=3), random_graph(5, seed=4)
    both, _ = union(a, b._replace(mask=torch.zeros_like(b.mask)))
    assert torch.equal(run(both, tau=0.1)[8:], torch.zeros(5, 4, dtype=F64))


@pytest.mark.parametrize("equation", EQUATIONS)
@pytest.mark.parametrize("p", [3.0, 10.0])
def test_flat_regions_have_finite_derivatives(equation, p):
    """Labels of one class, and a branch that hangs on one label: all neighbours agree there."""
    edge = torch.tensor([[0, 1, 1, 2, 2, 3, 2, 4, 4, 5], [1, 0, 2, 1, 3, 2, 4, 2, 5, 4]])
    y, mask = torch.zeros(6, dtype=torch.int64), torch.tensor([1, 0, 1, 0, 0, 0]).bool()
    w = torch.ones(10, dtype=F64, requires_grad=True)
    u = p_laplace_propagation(edge, w, y, mask, num_classes=2, p=p, equation=equation)
    torch.testing.assert_close(u, torch.tensor([[1.0, 0.0]], dtype=F64).expand(6, 2))
    (grad,) = torch.autograd.grad(u.square().sum(), w, create_graph=True)
    torch.testing.assert_close(grad, torch.zeros(10, dtype=F64))
    y[2] = 1
    u = p_laplace_propagation(edge, w, y, mask, num_classes=2, p=p, equation=equation)
    torch.testing.assert_close(u[1], torch.full((2,), 0.5, dtype=F64), rtol=0, atol=1e-5)
    (grad,) = torch.autograd.grad(u.square().sum(), w)
    assert grad.isfinite().all()


@pytest.mark.parametrize("equation", EQUATIONS)
def test_self_loops_zero_weights_and_float32(equation):
    graph = random_graph(15, 0.0, seed=6)  # a path
    more = torch.tensor([[0, 14, 3], [14, 0, 3]])
    weight = torch.cat([graph.edge_weight, torch.tensor([0.0, 0.0, 5.0], dtype=F64)])
    edges = torch.cat([graph.edge_index, more], 1)
    u = p_laplace_propagation(edges, weight, graph.y, graph.mask, num_classes=4, equation=equation)
    torch.testing.assert_close(u, run(graph, equation=equation), rtol=0, atol=1e-9)
    small = run(graph._replace(weight=graph.weight.float()), equation=equation)
    assert small.dtype == torch.float32
    torch.testing.assert_close(small.double(), u, rtol=0, atol=1e-5)


def test_all_labelled_and_isolated():
    graph = random_graph(6, labelled=1.1)
    for equation in EQUATIONS:
        assert torch.equal(run(graph, equation=equation), one_hot(graph.y, 4).double())
    nothing = torch.zeros(2, 0, dtype=torch.int64)
    for equation in EQUATIONS:
        u = p_laplace_propagation(
            nothing, None, torch.tensor([1, -1]), equation=equation, on_unreachable="nan"
        )
        assert u[0].tolist() == [0, 1]
        assert u[1].isnan().all()


def test_direct_solver_agrees():
    graph = random_graph(25, 0.1, seed=9)
    torch.testing.assert_close(
        run(graph, p=4.0, solver=Direct()), run(graph, p=4.0), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.5}, r"p must be in \[2, 10.0\]"),
        ({"p": 11.0}, r"p must be in \[2, 10.0\]"),
        ({"p": float("nan")}, "p must be in"),
        ({"equation": "other"}, "equation must be one of"),
        ({"equation": "game", "tau": 0.1}, "tau must be 0 with equation='game'"),
        ({"equation": "game", "solver": Direct()}, "solver must be CG"),
        ({"solver": Multigrid()}, r"solver must be CG\(...\) or Direct\(...\), got Multigrid"),
        ({"tau": -1.0}, "tau must be >= 0"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        run(random_graph(5), **options)


@pytest.mark.parametrize("equation", EQUATIONS)
def test_not_converged_is_said(equation):
    graph = random_graph(60, 0.02, seed=1, labelled=0.05)
    solver = CG(max_iter=1, strict=True)
    with pytest.raises(ConvergenceError, match="did not converge"):
        run(graph, p=10.0, solver=solver, equation=equation)


def test_not_converged_is_said_with_factors(monkeypatch):
    graph = random_graph(60, 0.02, seed=1, labelled=0.05)
    monkeypatch.setattr(p_laplacian, "_STEPS", 1)
    with pytest.raises(ConvergenceError, match=r"did not converge: .* with Direct"):
        run(graph, p=10.0, solver=Direct(strict=True))
    with pytest.warns(RuntimeWarning, match="did not converge"):
        run(graph, p=10.0, solver=Direct())


def test_module_learns_tau():
    graph = random_graph(10, seed=7)
    module = PLaplacePropagation(tau=nn.Parameter(torch.tensor(0.2)), p=4.0, num_classes=4)
    u = module(graph.edge_index, graph.edge_weight, graph.y, graph.mask)
    torch.testing.assert_close(u, run(graph, tau=0.2, p=4.0), rtol=0, atol=1e-6)
    u.sum().backward()
    assert module.tau.raw.grad < 0


def test_game_equals_the_reference(reference_root):
    data = np.load(reference_root / "graphlearning_pendigits.npz")
    row = np.repeat(np.arange(len(data["y"])), np.diff(data["indptr"]))
    edge_index = torch.from_numpy(np.stack([row, data["indices"]])).long()
    y = torch.from_numpy(data["y"])
    mask = torch.zeros(len(y), dtype=torch.bool)
    mask[torch.from_numpy(data["idx"])] = True
    weight = torch.from_numpy(data["data"])
    options = {"p": 3.0, "equation": "game", "on_unreachable": "nan"}
    u = p_laplace_propagation(edge_index, weight, y, mask, **options)
    reached = ~u[:, 0].isnan()
    assert reached.sum() == 7470
    reference = torch.from_numpy(data["plaplace_u"])[reached]
    torch.testing.assert_close(u[reached], reference, rtol=0, atol=1e-4)  # it stops at 1e-6
    same = u[reached].argmax(1) == torch.from_numpy(data["plaplace_pred"])[reached]
    assert same.double().mean() >= 0.99


@pytest.mark.parametrize(
    ("options", "ran"),
    [({}, "CG"), ({"solver": Direct()}, "Direct"), ({"equation": "game"}, "BiCGSTAB")],
)
def test_info_says_what_ran(options, ran):
    graph = random_graph(6, seed=0)
    given = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    _, info = p_laplace_propagation(*given, num_classes=3, return_info=True, **options)
    assert info.solver == ran
