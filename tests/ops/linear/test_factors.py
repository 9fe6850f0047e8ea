import pytest
import torch

from pyg_relational.ops import both_directions
from pyg_relational.ops.linear.components import ground
from pyg_relational.ops.linear.factors import Factors
from pyg_relational.ops.linear.operator import ShiftedLaplacian


@pytest.mark.parametrize("order", [1, 2])
def test_solves_with_a_label_and_without(order):
    """A path of four nodes with a label at its front, and one of three without, where the mean is 0."""
    edges, pair = both_directions(torch.tensor([[0, 1, 2, 4, 5], [1, 2, 3, 5, 6]]), 7)
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.5]).double()[pair]
    fixed = torch.arange(7) == 0
    operator = ShiftedLaplacian(edges, weight, torch.zeros(7).double(), fixed, order=order)
    source = torch.tensor([[0.0, 1.0, -2.0, 0.5, 1.0, 2.0, -3.0]]).double().T
    u, off = Factors(operator, ground(operator)).solve(source)
    torch.testing.assert_close(operator.apply(u)[1:], source[1:])
    assert u[0] == 0
    assert abs(u[4:].sum()) < 1e-12
    assert off < 1e-12
