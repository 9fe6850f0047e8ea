import torch

from pyg_relational.ops import CG
from pyg_relational.ops.linear.p_laplacian import PLaplacian


def test_a_newton_step_that_overshoots_is_halved():
    """From a flat start a full step leaves far too high: the flux of |t|^6 t is all but flat there."""
    edge = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    one, zero = torch.ones(4).double(), torch.zeros(3).double()
    fixed = torch.tensor([True, False, False])
    equation = PLaplacian(edge, fixed, 8.0, CG(), 1e-8)
    value = torch.tensor([[0.0], [0.0], [1e-3]]).double()  # a source at the end

    def energy(u):
        return equation_energy(u, value)

    def equation_energy(u, value):
        drop = (u[edge[0]] - u[edge[1]]).square() + 1e-12
        return (drop**4).sum() / 16 - (value * u).sum()

    u = torch.zeros(3, 1).double()
    at = equation._look(u, value, one, zero, 8.0)
    full = u + equation._direction(at.f, at.stiffness, zero)
    new = equation._step(u, at, value, one, zero, 8.0)[0]
    assert energy(full) > 1e6
    assert energy(new) < energy(full) / 1e6
