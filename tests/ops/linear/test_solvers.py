import sys

import pytest
import torch

from pyg_relational.nn import laplace_propagation
from pyg_relational.ops import CG, Auto, ConvergenceError, Direct, Multigrid
from pyg_relational.ops.graph.edges import both_directions
from pyg_relational.ops.linear import multigrid
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from pyg_relational.ops.linear.solvers import SolveInfo, report
from pyg_relational.transforms import knn_graph
from tests.graphs import random_graph
from tests.oracles import dense_laplacian, dense_weights, laplace

F32, F64 = torch.float32, torch.float64


@pytest.fixture
def fine(monkeypatch):
    """Levels down to 3 unknowns, so that small graphs have several."""
    monkeypatch.setattr(multigrid, "_COARSEST", 3)


def solved(graph, solver, dtype=F64, fixed=True, shift=0.0, source=None):
    n = len(graph.y)
    mask = graph.mask if fixed else torch.zeros(n, dtype=torch.bool)
    rhs = torch.randn(n, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
    weight = graph.edge_weight.to(dtype)
    equation = GroundedLaplacian(
        graph.edge_index, weight, torch.full((n,), shift, dtype=dtype), mask, solver=solver
    )
    return rhs, equation.solve(rhs if source is None else source), equation


@pytest.mark.parametrize("solver", [CG(), Direct(), Multigrid()])
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_fixed_values_and_sources(solver, dtype, shift):
    graph = random_graph(40, 0.1)
    rhs, u, equation = solved(graph, solver, dtype, shift=shift)
    w = dense_weights(graph.edge_index, graph.edge_weight, 40)
    left = (dense_laplacian(w) + shift * torch.eye(40, dtype=F64)) @ u.double()
    tol = 1e-9 if dtype == F64 else 1e-4
    torch.testing.assert_close(left[~graph.mask], rhs[~graph.mask].double(), rtol=tol, atol=tol)
    assert torch.equal(u[graph.mask], rhs[graph.mask])
    assert equation.info.converged
    assert equation.info.residual.shape == (4,)


@pytest.mark.parametrize("solver", [CG(), Direct(), Multigrid()])
def test_floating_components_get_the_pseudo_inverse(solver):
    a, b = random_graph(9, seed=1), random_graph(6, seed=2)
    edge_index = torch.cat([a.edge_index, b.edge_index + 9], dim=1)
    weight = torch.cat([a.edge_weight, b.edge_weight])
    n = 16  # the last is isolated
    w = dense_weights(edge_index, weight, n)
    rhs = torch.randn(n, 3, dtype=F64)
    none = torch.zeros(n, dtype=torch.bool)
    u = GroundedLaplacian(edge_index, weight, torch.zeros(n).double(), none, solver=solver).solve(
        rhs
    )
    torch.testing.assert_close(u, torch.linalg.pinv(dense_laplacian(w), hermitian=True) @ rhs)


def test_columns_converge_on_their_own_and_a_zero_column_is_done():
    graph = random_graph(50, 0.05)
    values = torch.zeros(50, 3, dtype=F64)
    values[0, 0], values[0, 1] = 1.0, 1e-20
    mask = torch.arange(50) == 0
    mask[7] = True
    u, info = laplace_propagation(
        graph.edge_index, graph.edge_weight, values, mask, return_info=True
    )
    assert u[:, 2].eq(0).all()
    torch.testing.assert_close(u[:, 1] * 1e20, u[:, 0], rtol=1e-9, atol=1e-9)
    assert info.converged


def test_a_warm_start_at_the_solution_needs_no_iteration():
    graph = random_graph(60, 0.05)
    args = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    u, cold = laplace_propagation(*args, return_info=True)
    again, warm = laplace_propagation(*args, initial=u, return_info=True)
    assert warm.iterations <= 2 < cold.iterations
    torch.testing.assert_close(again, u)


@pytest.mark.parametrize("kind", [CG, Multigrid])
def test_no_convergence_is_never_silent(kind, fine):
    graph = random_graph(60, 0.02)
    args = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    with pytest.warns(RuntimeWarning, match="did not converge: residual"):
        laplace_propagation(*args, solver=kind(max_iter=2))
    with pytest.raises(ConvergenceError, match="after 2 iterations"):
        laplace_propagation(*args, solver=kind(max_iter=2, strict=True))


@pytest.mark.parametrize("kind", [CG, Multigrid])
def test_no_convergence_of_the_backward_solve_is_not_silent(kind, fine):
    graph = random_graph(60, 0.02)
    weight = graph.edge_weight.clone().requires_grad_()
    start = laplace_propagation(graph.edge_index, weight.detach(), graph.y, graph.mask)
    u = laplace_propagation(
        graph.edge_index, weight, graph.y, graph.mask, solver=kind(max_iter=2), initial=start
    )
    with pytest.warns(RuntimeWarning, match="did not converge"):
        u.square().sum().backward()


def linked(link, dtype):
    """A cluster without labels between two with one, held by edges ``link`` and ``2 link``."""
    graph = random_graph(20, 0.4, seed=3)
    pairs = graph.edge_index[:, graph.edge_index[0] < graph.edge_index[1]]
    pairs = torch.cat([pairs, pairs + 20, pairs + 40, torch.tensor([[5, 30], [25, 45]])], dim=1)
    weight = torch.cat([graph.weight] * 3 + [torch.tensor([link, 2 * link], dtype=F64)])
    edge_index, pair = both_directions(pairs, 60)
    y = torch.full((60,), -1)
    y[0], y[59] = 0, 1
    return edge_index, weight[pair].to(dtype), y


@pytest.mark.parametrize("solver", [CG(), Direct(), Multigrid()])
@pytest.mark.parametrize(("dtype", "limit"), [(F32, 1e-9), (F64, 1e-7)])
@pytest.mark.parametrize("link", [1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12, 1e-14])
def test_a_weakly_held_cluster_is_right_or_said_not_to_be(link, dtype, limit, solver, recwarn):
    u, info = laplace_propagation(*linked(link, dtype), solver=solver, return_info=True)
    right = bool((u[25] - torch.tensor([1 / 3, 2 / 3])).abs().max() < 1e-2)
    warned = any("did not converge" in str(w.message) for w in recwarn)
    assert right or warned
    assert info.converged != warned
    assert link < limit or right


@pytest.mark.parametrize("solver", [CG(), Direct(), Multigrid()])
def test_a_cluster_held_by_less_than_rounding_is_unreachable(solver):
    with pytest.raises(
        ValueError, match="got 20 nodes that no label reaches, the first is node 20"
    ):
        laplace_propagation(*linked(1e-18, F64), solver=solver)
    u = laplace_propagation(*linked(1e-18, F64), solver=solver, on_unreachable="prior")
    torch.testing.assert_close(u[20:40], torch.full((20, 2), 0.5, dtype=F64))


def clique_between_labels(n, link, dtype):
    """A clique, and two labelled nodes that hang on it by edges ``link`` and ``2 link``."""
    pairs = torch.cat([torch.triu_indices(n, n, 1), torch.tensor([[3, 5], [n, n + 1]])], dim=1)
    weight = torch.ones(pairs.shape[1], dtype=dtype)
    weight[-2:] = torch.tensor([link, 2 * link])
    edge_index, pair = both_directions(pairs, n + 2)
    return edge_index, pair, weight, torch.tensor([-1] * n + [0, 1])


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("link", [0.5, 1e-2, 1e-3, 1e-5, 1e-7, 1e-9, 1e-13])
@pytest.mark.parametrize("n", [20, 300])
def test_labels_with_weak_edges_only_are_felt_or_said_not_to_be(n, link, dtype, recwarn):
    edge_index, pair, weight, y = clique_between_labels(n, link, dtype)
    weight.requires_grad_()
    u, info = laplace_propagation(edge_index, weight[pair], y, return_info=True)
    (grad,) = torch.autograd.grad(u[5, 0], weight)
    ends = weight[-2:].detach().double().requires_grad_()
    flow = 1 / (1 / ends[0] + 2 / n + 1 / ends[1])
    exact = flow / ends[1]
    (slope,) = torch.autograd.grad(exact, ends)
    off, tilt = (u[5, 0] - exact).abs(), (grad[-2:] / slope - 1).abs().max()
    tol = 1e-4 if dtype == F32 else 1e-7
    assert off < tol or not info.converged
    assert info.converged or n * n / link > 1e6
    assert tilt < 100 * tol or any("did not converge" in str(w.message) for w in recwarn)


@pytest.mark.parametrize("solver", [CG(), Direct(), Multigrid()])
def test_labels_with_edges_below_rounding_reach_nothing(solver):
    edge_index, pair, weight, y = clique_between_labels(20, 1e-18, F64)
    with pytest.raises(ValueError, match="got 20 nodes that no label reaches"):
        laplace_propagation(edge_index, weight[pair], y, solver=solver)


def test_weights_that_fall_off_towards_the_labels():
    power = [*range(-10, 0, 2), 0, *range(-2, -11, -2)]
    weight = 10 ** torch.tensor(power, dtype=F64)
    n = len(power) + 1
    edge_index, pair = both_directions(torch.stack([torch.arange(n - 1), torch.arange(1, n)]), n)
    y = torch.tensor([0] + [-1] * (n - 2) + [1])
    u = laplace_propagation(edge_index, weight[pair].float(), y)
    drop = (1 / weight).cumsum(0) / (1 / weight).sum()
    torch.testing.assert_close(u[1:, 1].double(), drop, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("seed", range(4))
def test_weights_over_twelve_orders_of_magnitude(dtype, seed):
    g = torch.Generator().manual_seed(seed)
    graph = random_graph(150, 0.02, seed=seed, labelled=0.05)
    weight = 10 ** (12 * torch.rand(len(graph.weight), dtype=F64, generator=g) - 6)
    weight = weight.to(dtype)[graph.pair]
    u = laplace_propagation(graph.edge_index, weight, graph.y, graph.mask, num_classes=3)
    w = dense_weights(graph.edge_index, weight.double(), 150)
    exact = laplace(w, torch.nn.functional.one_hot(graph.y, 3).double(), graph.mask)
    tol = 1e-8 if dtype == F64 else 1e-4
    torch.testing.assert_close(u.double(), exact, rtol=tol, atol=tol)


def test_large_graphs_use_the_coarse_system_and_agree_with_the_direct_solver():
    torch.manual_seed(0)
    n = 20_500
    edge_index, weight = knn_graph(torch.rand(n, 2), 5)
    y = torch.randint(3, (n,))
    mask = torch.zeros(n, dtype=torch.bool)
    mask[:50] = True
    args = edge_index, weight.double(), y, mask
    u, info = laplace_propagation(*args, on_unreachable="prior", solver=CG(), return_info=True)
    exact = laplace_propagation(*args, on_unreachable="prior", solver=Direct())
    torch.testing.assert_close(u, exact, rtol=1e-8, atol=1e-8)
    assert info.iterations < 1000  # 2020 with the diagonal alone


def cut_in_two(n, link):
    """Two grids of ``n`` x ``n`` nodes, one edge between them, labels in the first."""
    node = torch.arange(n * n).view(n, n)
    pairs = torch.cat(
        [
            torch.stack([node[:-1], node[1:]]).flatten(1),
            torch.stack([node[:, :-1], node[:, 1:]]).flatten(1),
        ],
        1,
    )
    pairs = torch.cat([pairs, pairs + n * n, torch.tensor([[0], [n * n]])], dim=1)
    weight = torch.ones(pairs.shape[1], dtype=F64)
    weight[-1] = link
    edge_index, pair = both_directions(pairs, 2 * n * n)
    y = torch.full((2 * n * n,), -1)
    y[0], y[n * n - 1] = 0, 1
    return edge_index, pair, weight, y


@pytest.mark.parametrize(("dtype", "limit"), [(F32, 1e-9), (F64, 1e-5)])
@pytest.mark.parametrize("link", [1.0, 1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12])
def test_multigrid_over_a_weak_bridge(link, dtype, limit, fine, recwarn):
    edge_index, pair, weight, y = cut_in_two(12, link)
    u, info = laplace_propagation(
        edge_index, weight[pair].to(dtype), y, solver=Multigrid(), return_info=True
    )
    warned = any("did not converge" in str(w.message) for w in recwarn)
    one = torch.tensor([1.0, 0.0], dtype=dtype)  # node 0 is at the bridge
    off = (u[144:] - one).abs().max()
    assert off < (1e-4 if dtype == F32 else 1e-7) or warned
    assert info.converged != warned
    assert link < limit or info.converged
    assert off <= 10 * info.residual.max() + torch.finfo(dtype).eps


def test_one_hierarchy_serves_forward_and_backward(monkeypatch):
    built = []
    monkeypatch.setattr(
        multigrid,
        "_hierarchy",
        lambda *args, make=multigrid._hierarchy: built.append(1) or make(*args),
    )
    graph = random_graph(30, 0.1)
    weight = graph.edge_weight.clone().requires_grad_()
    args = graph.y, graph.mask
    u = laplace_propagation(graph.edge_index, weight, *args, solver=Multigrid())
    u.square().sum().backward()
    assert len(built) == 1
    assert weight.grad.abs().sum() > 0


def test_multigrid_says_what_it_cannot_do(monkeypatch):
    graph = random_graph(10)
    args = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    with pytest.raises(ValueError, match=r"Multigrid\(\) wants order=1, got 2; take CG\(\)"):
        laplace_propagation(*args, order=2, solver=Multigrid())
    monkeypatch.setitem(sys.modules, "pyamg.strength", None)
    with pytest.raises(ImportError, match="needs pyamg: pip install pyamg"):
        laplace_propagation(*args, solver=Multigrid())


def test_info_names_the_solver():
    graph = random_graph(10)
    args = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    for solver in (CG(), Direct(), Multigrid()):
        _, info = laplace_propagation(*args, solver=solver, return_info=True)
        assert info.solver == type(solver).__name__


@pytest.mark.parametrize("kind", [CG, Multigrid])
def test_bad_options(kind):
    with pytest.raises(ValueError, match=r"tol must be in \(0, 1\) or None, got 2"):
        kind(tol=2)
    with pytest.raises(ValueError, match="max_iter must be >= 1, got 0"):
        kind(max_iter=0)
    with pytest.raises(TypeError, match="max_iter must be an int, got float"):
        kind(max_iter=2.5)


@pytest.mark.parametrize("kind", [CG, Multigrid, Auto])
def test_tolerances(kind):
    assert kind(tol=0.5).tolerances(F32) == (0.5, 0.5)
    assert kind().tolerances(F32) == (1e-6, 1e-5)
    assert kind().tolerances(F64) == (1e-12, 1e-8)


def test_a_report_names_the_worst_column():
    info = SolveInfo(3, torch.tensor([1e-3, 1e-1, 1e-2]), converged=False)
    with pytest.warns(RuntimeWarning, match=r"residual 1.0e-01 after 3 iterations"):
        report(info, CG(), "it")
