import torch
from torch.autograd import gradcheck, gradgradcheck

from pyg_relational.ops.linear.implicit import implicit_solve


class Kepler:
    """u - e sin u = m: nonlinear, with a derivative that depends on the solution."""

    def __init__(self):
        self.solves = 0

    def solve(self, e, m):
        self.solves += 1
        u = m.clone()
        for _ in range(50):
            u = u - (u - e * u.sin() - m) / (1 - e * u.cos())
        return u

    def residual(self, u, e, m):
        return u - e * u.sin() - m

    def adjoint(self, u, grad, e, m):
        return grad / (1 - e * u.cos())


def test_derivatives_of_a_nonlinear_equation_to_third_order():
    e = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)
    m = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)

    def f(e, m):
        return implicit_solve(Kepler(), e, m)

    def slope(e, m):
        return torch.autograd.grad(f(e, m).sum(), e, create_graph=True)[0]

    assert gradcheck(f, (e, m))
    assert gradgradcheck(f, (e, m))
    assert gradgradcheck(slope, (e, m))


def test_only_what_needs_a_gradient_gets_one_and_one_solve_is_done():
    equation = Kepler()
    e, m = torch.tensor([0.3]), torch.tensor([1.0], requires_grad=True)
    implicit_solve(equation, e, m).sum().backward()
    assert e.grad is None
    assert m.grad is not None
    assert equation.solves == 1
