import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops.linear.operator import ShiftedLaplacian
from tests import oracles
from tests.graphs import random_graph


def parts(n, seed):
    graph = random_graph(n, seed=seed)
    draws = torch.Generator().manual_seed(seed)
    shift = torch.rand(n, generator=draws).double()
    mass = torch.rand(n, generator=draws).double() + 0.5
    u = torch.randn(n, 3, generator=draws).double()
    w = oracles.dense_weights(graph.edge_index, graph.edge_weight, n)
    return graph, shift, mass, u, oracles.dense_laplacian(w) + torch.diag(shift)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 99), st.integers(1, 3), st.booleans())
def test_apply_is_the_product_with_the_power(n, seed, order, with_mass):
    graph, shift, mass, u, b = parts(n, seed)
    given_mass = mass if with_mass else None
    made = ShiftedLaplacian(
        graph.edge_index, graph.edge_weight, shift, graph.mask, given_mass, order
    )
    expected = u
    for left in range(order):
        if left and with_mass:
            expected = expected / mass[:, None]
        expected = b @ expected
    torch.testing.assert_close(made.apply(u), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 99))
def test_flux_is_the_same_by_differences(n, seed):
    graph, shift, _, u, b = parts(n, seed)
    made = ShiftedLaplacian(graph.edge_index, graph.edge_weight, shift, graph.mask)
    torch.testing.assert_close(made.flux(u), b @ u)
    torch.testing.assert_close(made.diagonal, b.diagonal())


def test_flux_keeps_what_a_weak_edge_carries():
    """The middle of a path of weights 1 and 1e-12: the sums of its row are of size 1, what leaves it is 2e-13."""
    path, weight = (
        torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]),
        torch.tensor([1.0, 1.0, 1e-12, 1e-12]),
    )
    none = torch.zeros(3)
    made = ShiftedLaplacian(path, weight.double(), none.double(), none.bool())
    u = torch.tensor([[0.1], [0.1], [0.3]], dtype=torch.float64)
    exact = -0.2 * weight.double()[2].item()
    assert made.flux(u)[1].item() == pytest.approx(exact, rel=1e-12, abs=0)
    assert made.apply(u)[1].item() != pytest.approx(exact, rel=1e-6, abs=0)


def test_outside_are_the_fixed_and_the_bare():
    edge, one = torch.tensor([[0, 1], [1, 0]]), torch.ones(2).double()
    fixed = torch.tensor([True, False, False, False])
    shift = torch.tensor([0.0, 0.0, 0.0, 1.0]).double()
    made = ShiftedLaplacian(edge, one, shift, fixed)
    assert made.outside.tolist() == [True, False, True, False]
