from types import SimpleNamespace

import pytest
import torch

from pyg_relational.ops import Direct
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.set_up import SetUp


@pytest.mark.parametrize(("last", "converged"), [(1e-8, True), (3e-8, False)])
@pytest.mark.filterwarnings("ignore:the linear solve did not converge")
def test_a_direct_solve_is_judged_by_its_last_step_over_the_larger_size(last, converged):
    """The solution is of size 2, asked for to 1; accepted is 1e-8 of the larger."""
    edges, one = torch.tensor([[0, 1], [1, 0]]), torch.ones(2).double()
    made = SetUp(ShiftedLaplacian(edges, one, 0 * one, torch.tensor([True, False])), Direct())
    u, off = torch.tensor([[0.0], [2.0]]).double(), torch.tensor([last], dtype=torch.float64)
    made.factors = SimpleNamespace(solve=lambda source: (u, off))
    _, info = made.solve(u, torch.ones(1).double(), None, torch.float64)
    assert info.residual.item() == last / 2
    assert info.converged == converged
