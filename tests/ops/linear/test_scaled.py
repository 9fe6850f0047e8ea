import pytest
import torch

from pyg_relational.ops import CG
from pyg_relational.ops.graph.edges import both_directions
from pyg_relational.ops.linear import scaled
from pyg_relational.ops.linear.components import ground
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.scaled import ScaledLaplacian


def path(n, labels=1, order=1, tol=None):
    """Prepared for CG; its first nodes are given."""
    edges = both_directions(torch.stack([torch.arange(n - 1), torch.arange(1, n)]), n)[0]
    one, fixed = torch.ones(edges.shape[1]).double(), torch.arange(n) < labels
    operator = ShiftedLaplacian(edges, one, torch.zeros(n).double(), fixed, order=order)
    system = ScaledLaplacian(operator, ground(operator))
    system.prepare(CG(tol=tol))
    return system


def test_growth_bounds_the_inverse():
    """The largest value of the solution of ``L u = D 1`` is the largest row sum of ``L^-1 D``."""
    n = 50
    system = path(n)
    dense = system.operator.apply(torch.eye(n).double())[1:, 1:]
    growth = (dense.inverse() @ dense.diag().diag()).abs().sum(1).max().item()
    assert growth <= system.growth <= 1.1 * growth
    assert system.rounding == system.growth * 2.0**-53


@pytest.mark.parametrize("order", [1, 2, 3])
def test_product_is_that_of_the_power_scaled_on_both_sides(order):
    system = path(6, order=order)
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)).double() * system.free
    power = torch.linalg.matrix_power(path(6).operator.apply(torch.eye(6).double()), order)
    scale = system.scale[:, None]
    torch.testing.assert_close(system.apply(x)[1:], (scale * (power @ (scale * x)))[1:])


@pytest.mark.parametrize(("limit", "strong"), [(2e3, True), (3e3, False)])
def test_growth_above_the_limit_asks_for_the_coarse_system(limit, strong, monkeypatch):
    monkeypatch.setattr(scaled, "_LIMIT", limit)
    system = path(50)
    assert bool(system.coarse) == strong
    assert system.exact == strong


@pytest.mark.parametrize(("share", "exact"), [(0.51, True), (0.49, False)])
def test_residuals_are_exact_where_rounding_may_take_half_of_what_is_accepted(share, exact):
    rounding = path(50).rounding
    system = path(50, tol=rounding / share)
    assert system.exact == exact
    assert system.rounding == (0.0 if exact else rounding)
    assert not system.coarse


@pytest.mark.parametrize(
    ("nodes", "labels", "at_once"), [(500, 4, True), (500, 5, False), (400, 3, False)]
)
def test_large_graphs_with_few_labels_have_the_coarse_system_at_once(
    nodes, labels, at_once, monkeypatch
):
    monkeypatch.setattr(scaled, "_LARGE", 400)
    monkeypatch.setattr(scaled, "_LIMIT", float("inf"))
    system = path(nodes, labels)
    assert bool(system.coarse) == at_once
    assert not path(nodes, labels, order=2).coarse


def test_it_is_prepared_once():
    system = path(50)
    system.growth = -1.0
    system.prepare(CG())
    assert system.growth == -1.0
