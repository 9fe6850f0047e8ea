import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.nn import laplace_propagation, p_laplace_propagation, propagation
from pyg_relational.ops import ConvergenceError
from tests.graphs import random_graph
from tests.oracles import dense_weights, general_residual, laplace

F64 = torch.float64


def cubic(q, w, i, j, a=1.0, *_):
    return w * (q + a * q**3)


def lopsided(q, w, i, j, a=1.0, *_):
    """Neither odd nor symmetric in its ends."""
    return w * (q + a * q**3 / 3) * (1 + 0.1 * i[:, None]) + 0.1 * q.exp()


def decay(u, i, a=1.0, tau=0.2):
    return tau * u + u**3


@pytest.mark.parametrize("phi", [cubic, lopsided])
@pytest.mark.parametrize("seed", range(4))
def test_the_solution_leaves_no_dense_residual(phi, seed):
    torch.manual_seed(seed)
    graph = random_graph(14, 0.3, seed=seed)
    f = torch.randn(14, 4, dtype=F64)
    edges = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    u = propagation(*edges, phi=phi, sigma=decay, f=f, num_classes=4)
    w = dense_weights(*edges[:2], 14)
    assert general_residual(w, u, graph.mask, phi, decay, f).abs().max() < 1e-8
    assert torch.equal(u[graph.mask], one_hot(graph.y, 4).double()[graph.mask])


@pytest.mark.parametrize("phi", [cubic, lopsided])
def test_first_and_second_derivatives_in_all(phi):
    graph = random_graph(4, 0.3, seed=1, labelled=0.1)
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(4, 1, dtype=F64, requires_grad=True)
    f = torch.randn(4, 1, dtype=F64, requires_grad=True)
    a, tau = (torch.tensor(t, dtype=F64, requires_grad=True) for t in (0.7, 0.3))

    def g(p, values, f, a, tau):
        edges = graph.edge_index, p[graph.pair], values, graph.mask
        return propagation(*edges, phi=phi, sigma=decay, f=f, parameters=(a, tau), tol=1e-13)

    assert gradcheck(g, (p, values, f, a, tau))
    assert gradgradcheck(g, (p, values, f, a, tau), fast_mode=True)


def test_third_derivative():
    path, y = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.tensor([0, -1, 1])
    weight, a = torch.ones(4, dtype=F64), torch.ones((), dtype=F64)

    def second(tau):
        u = propagation(path, weight, y, phi=lopsided, sigma=decay, parameters=(a, tau))[1, 0]
        (first,) = torch.autograd.grad(u, tau, create_graph=True)
        return torch.autograd.grad(first, tau, create_graph=True)[0]

    assert gradcheck(second, (torch.tensor(0.7, dtype=F64, requires_grad=True),))


def test_the_named_equations_are_members():
    graph = random_graph(15, 0.3, seed=2)
    edges = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    f = torch.randn(15, dtype=F64)
    u = propagation(*edges, phi=lambda q, w, i, j: w * q, sigma=lambda u, i: 0.1 * u, f=f)
    torch.testing.assert_close(u, laplace_propagation(*edges, tau=0.1, f=f))
    u = propagation(*edges, phi=lambda q, w, i, j: w * (q * q + 1e-12) * q)
    torch.testing.assert_close(u, p_laplace_propagation(*edges, p=4.0), rtol=1e-6, atol=1e-7)


def test_not_converged_raises():
    graph = random_graph(10, 0.3)
    edges = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    with pytest.raises(ConvergenceError, match="after 1 Newton steps"):
        propagation(*edges, phi=cubic, sigma=decay, f=5.0, max_iter=1)
    with pytest.raises(ConvergenceError, match="did not converge"):  # u^2 + 1 = 0
        propagation(*edges, phi=lambda q, w, i, j: 0 * q, sigma=lambda u, i: u * u + 1)
    with pytest.raises(ConvergenceError, match="phi is not finite"):
        propagation(*edges, phi=lambda q, w, i, j: q / 0)


def test_a_node_that_nothing_holds_and_bad_input():
    graph = random_graph(5)
    y, mask = torch.cat([graph.y, graph.y[:1]]), torch.cat([graph.mask, graph.mask[:1] & False])
    edges = graph.edge_index, graph.edge_weight, y, mask
    with pytest.raises(ValueError, match="got 1 nodes that no label reaches"):
        propagation(*edges, phi=cubic)
    assert propagation(*edges, phi=cubic, sigma=decay)[5].tolist() == [0.0] * 3
    with pytest.raises(ValueError, match=r"f must be a number or have shape \[6\]"):
        propagation(*edges, phi=cubic, f=torch.ones(5))
    with pytest.raises(ValueError, match="phi must return shape"):
        propagation(*edges, phi=lambda q, w, i, j: w[:, 0], sigma=decay)
    with pytest.raises(ValueError, match="initial must be finite and have shape"):
        propagation(*edges, phi=cubic, sigma=decay, initial=torch.ones(2, 2))


def test_autocast_changes_nothing():
    path, y = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.tensor([0, -1, 1])
    weight, a = torch.tensor([1.0, 1.0, 2.0, 2.0], dtype=F64), torch.tensor([[1.001]])

    def phi(q, w, i, j, a):
        return cubic(q, w, i, j, (a @ a).double())

    with torch.autocast("cpu", torch.bfloat16):
        u = propagation(path, weight, y, phi=phi, parameters=(a,))
    exact = propagation(path, weight, y, phi=cubic, parameters=(a.double() ** 2,))
    torch.testing.assert_close(u, exact, rtol=1e-6, atol=1e-6)


def test_what_holds_a_node():
    path, y = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.tensor([0, -1, -1])
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=F64)
    with pytest.raises(ValueError, match="got 1 nodes that no label reaches, the first is node 2"):
        propagation(path, weight, y, phi=cubic)
    with pytest.raises(ConvergenceError, match="its Jacobian is singular"):  # flat at the start
        propagation(path, weight, y, phi=cubic, sigma=lambda u, i: u**3)
    half = torch.full((3, 1), 0.5, dtype=F64)
    u = propagation(path, weight, y, phi=cubic, sigma=lambda u, i: u**3, initial=half)
    assert u[2].abs() < 1e-9


@pytest.mark.parametrize("normalization", ["combinatorial", "randomwalk", "normalized"])
@pytest.mark.parametrize("order", [1, 2])
def test_a_source_in_laplace(normalization, order):
    graph = random_graph(12, 0.3, seed=3)
    f = torch.randn(12, 4, dtype=F64, requires_grad=True)
    edges = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    options = {"normalization": normalization, "order": order, "tau": 0.1}
    u = laplace_propagation(*edges, num_classes=4, f=f, **options)
    w = dense_weights(*edges[:2], 12)
    dense = laplace(w, one_hot(graph.y, 4).double(), graph.mask, f=f, **options)
    torch.testing.assert_close(u, dense, rtol=1e-8, atol=1e-9)
    slope = torch.randn(12, 4, dtype=F64)
    grads = [torch.autograd.grad((t * slope).sum(), f, retain_graph=True)[0] for t in (u, dense)]
    torch.testing.assert_close(*grads, rtol=1e-7, atol=1e-8)


def test_a_source_in_p_laplace():
    graph = random_graph(7, 0.3, seed=3)
    f = torch.randn(7, dtype=F64, requires_grad=True)
    edges = graph.edge_index, graph.edge_weight, graph.y, graph.mask
    w = dense_weights(*edges[:2], 7)
    u = p_laplace_propagation(*edges, f=f, p=3.0, tau=0.1)
    left = (w[..., None] * (u[:, None] - u[None]).abs() * (u[:, None] - u[None])).sum(1) + 0.1 * u
    assert (left - f[:, None])[~graph.mask].abs().max() < 1e-5
    assert gradcheck(lambda f: p_laplace_propagation(*edges, f=f, p=3.0, tau=0.1), (f,), atol=1e-4)
    with pytest.raises(ValueError, match="f must be 0 with equation='game'"):
        p_laplace_propagation(*edges, f=1.0, equation="game")
