import pytest
import torch

from pyg_relational.nn import laplace_propagation, poisson_propagation
from pyg_relational.ops import CG, Auto, ConvergenceError, Direct, Multigrid, Prepared
from pyg_relational.ops.graph.edges import both_directions
from pyg_relational.ops.linear import auto
from pyg_relational.ops.linear.auto import choose
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from tests.graphs import random_graph


def grid(*shape):
    node = torch.arange(torch.tensor(shape).prod()).view(shape)
    pairs = [
        torch.stack([node.narrow(d, 0, n - 1), node.narrow(d, 1, n - 1)]).flatten(1)
        for d, n in enumerate(shape)
    ]
    return both_directions(torch.cat(pairs, dim=1), node.numel())[0]


def expander(n):
    """Every node has edges to 16 random ones."""
    ends = torch.randint(n, (2, 8 * n), generator=torch.Generator().manual_seed(0))
    ends = ends[:, ends[0] != ends[1]]
    return both_directions(ends, n)[0]


def roads(n, torn=0.4):
    """A grid of ``n x n`` without a share of its streets."""
    edges = grid(n, n)
    pairs = edges[:, edges[0] < edges[1]]
    kept = torch.rand(pairs.shape[1], generator=torch.Generator().manual_seed(0)) > torn
    return both_directions(pairs[:, kept], n * n)[0]


def chain(n):
    """A path and ``n / 4`` chords from anywhere to anywhere."""
    chords = torch.randint(n, (2, n // 4), generator=torch.Generator().manual_seed(0))
    pairs = torch.cat([torch.stack([torch.arange(n - 1), torch.arange(1, n)]), chords], dim=1)
    return both_directions(pairs[:, pairs[0] != pairs[1]], n)[0]


def equation(edge_index, labels=20, order=1):
    n = int(edge_index.max()) + 1
    fixed = torch.zeros(n, dtype=torch.bool)
    fixed[: labels or 0] = True
    weight = torch.ones(edge_index.shape[1])
    return GroundedLaplacian(edge_index, weight, torch.zeros(n), fixed, order=order).set_up


@pytest.mark.parametrize("labels", [20, 0])
@pytest.mark.parametrize(
    ("graph", "solver"),
    [
        (grid(3000), Direct()),
        (grid(40, 40), Direct()),
        (grid(120, 120), Multigrid()),
        (grid(25, 25, 25), Multigrid()),
        (roads(160), Direct()),
        (roads(160, torn=0.2), Multigrid()),
        (chain(25_000), Multigrid()),
        (expander(1000), CG()),
        (expander(5000), CG()),
    ],
)
def test_the_rule(graph, solver, labels):
    assert choose(equation(graph, labels), Auto()) == solver


def test_many_labels_are_near_every_node():
    assert choose(equation(grid(120, 120), 120 * 119), Auto()) == CG()


def test_powers_are_iterated():
    assert choose(equation(grid(60, 60), order=2), Auto()) == CG()


def test_trees_beside_a_dense_part_are_no_forest():
    pairs = torch.arange(100_000).view(2, 50_000) + 5000
    edges = torch.cat([expander(5000), pairs, pairs.flip(0)], dim=1)
    assert not auto._nearly_forest(equation(edges).operator)
    assert auto._nearly_forest(equation(torch.cat([pairs, pairs.flip(0)], dim=1)).operator)


def test_without_pyamg_it_is_conjugate_gradients(monkeypatch):
    monkeypatch.setattr(auto, "find_spec", lambda name: None)
    assert choose(equation(grid(120, 120)), Auto()) == CG()


@pytest.mark.parametrize("graph", [grid(3000), grid(60, 60), grid(15, 15, 15)])
def test_what_ran_is_said_and_agrees_with_conjugate_gradients(graph):
    n = int(graph.max()) + 1
    weight = torch.ones(graph.shape[1], dtype=torch.float64, requires_grad=True)
    y = torch.full((n,), -1)
    y[:20] = torch.arange(20) % 3
    u, info = laplace_propagation(graph, weight, y, return_info=True)
    v, other = laplace_propagation(graph, weight, y, solver=CG(), return_info=True)
    assert (info.solver, other.solver) == (type(choose(equation(graph), Auto())).__name__, "CG")
    torch.testing.assert_close(u, v, rtol=0, atol=1e-7)
    grads = [torch.autograd.grad(t.square().sum(), weight)[0] for t in (u, v)]
    torch.testing.assert_close(*grads, rtol=0, atol=1e-6)


def test_poisson_learning_takes_it_too():
    graph = grid(75, 75)
    y = torch.full((5625,), -1)
    y[:4] = torch.tensor([0, 1, 0, 1])
    weight = torch.ones(graph.shape[1]).double()
    u, info = poisson_propagation(graph, weight, y, return_info=True)
    v, _ = poisson_propagation(graph, weight, y, solver=CG(), return_info=True)
    assert info.solver == "Multigrid"
    assert info.converged
    torch.testing.assert_close(u, v, rtol=1e-6, atol=1e-6)


def test_the_choice_is_the_same_every_time():
    graph = random_graph(200, 0.01)
    made = [
        GroundedLaplacian(
            graph.edge_index, graph.edge_weight, torch.zeros(200).double(), graph.mask
        ).set_up
        for _ in range(2)
    ]
    assert choose(made[0], Auto()) == choose(made[1], Auto())


def test_a_start_is_checked_by_every_solver():
    graph = grid(30, 30)
    y = torch.full((900,), -1)
    y[:2] = torch.tensor([0, 1])
    for solver in (None, CG(), Direct(), Multigrid()):
        with pytest.raises(ValueError, match=r"initial must have shape \[900, 2\], got \[900, 3\]"):
            laplace_propagation(graph, None, y, initial=torch.zeros(900, 3), solver=solver)


@pytest.mark.parametrize(
    ("graph", "kind"), [(expander(1000), CG), (grid(3000), Direct), (grid(80, 80), Multigrid)]
)
def test_auto_hands_its_options_to_what_it_chooses(graph, kind):
    options = {"strict": True} if kind is Direct else {"tol": 1e-3, "strict": True}
    assert choose(equation(graph), Auto(tol=1e-3, strict=True)) == kind(**options)


def some_labels(graph):
    y = torch.full((int(graph.max()) + 1,), -1)
    y[:20] = torch.arange(20) % 3
    return graph, torch.ones(graph.shape[1], dtype=torch.float64), y


@pytest.mark.parametrize("tol", [1e-4, 1e-9])
@pytest.mark.parametrize("graph", [expander(1000), grid(40, 40), grid(80, 80)])
def test_auto_agrees_with_conjugate_gradients_to_its_tolerance(graph, tol):
    args = some_labels(graph)
    u, info = laplace_propagation(*args, solver=Auto(tol=tol), return_info=True)
    v = laplace_propagation(*args, solver=CG(tol=1e-12))
    assert info.converged
    assert (u - v).abs().max() <= tol
    if info.solver != "Direct":  # no more work than was asked for
        assert info.iterations < laplace_propagation(*args, return_info=True)[1].iterations


@pytest.mark.parametrize(
    ("graph", "kind"),
    [(expander(1000), "CG"), (grid(40, 40), "Direct"), (grid(80, 80), "Multigrid")],
)
def test_auto_says_where_its_tolerance_is_not_reached(graph, kind):
    args = some_labels(graph)
    with pytest.warns(RuntimeWarning, match=f"did not converge: residual .* with {kind}"):
        info = laplace_propagation(*args, solver=Auto(tol=1e-200), return_info=True)[1]
    assert (info.solver, info.converged) == (kind, False)
    with pytest.raises(ConvergenceError, match="did not converge"):
        laplace_propagation(*args, solver=Auto(tol=1e-200, strict=True))


def test_auto_is_what_none_means():
    args, prepared = some_labels(grid(80, 80)), Prepared()
    u = laplace_propagation(*args, prepared=prepared)
    assert torch.equal(laplace_propagation(*args, solver=Auto(), prepared=prepared), u)
    with pytest.raises(ValueError, match="got another solver"):
        laplace_propagation(*args, solver=Auto(tol=1e-3), prepared=prepared)


@pytest.mark.parametrize("tol", [0.0, 1.0, -1e-3, float("nan")])
def test_auto_checks_its_tolerance(tol):
    with pytest.raises(ValueError, match=r"tol must be in \(0, 1\) or None"):
        Auto(tol=tol)


def test_a_solver_that_is_none_is_refused():
    with pytest.raises(
        TypeError, match=r"solver must be CG\(...\), .*Auto\(...\) or None, got 'cg'"
    ):
        laplace_propagation(*some_labels(grid(5, 5)), solver="cg")
