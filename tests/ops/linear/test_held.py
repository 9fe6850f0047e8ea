import torch

from pyg_relational.ops.linear.held import HeldEquation
from pyg_relational.ops.linear.implicit import implicit_solve


class Dense(HeldEquation):
    """The symmetric part of a matrix, and 5 times the identity."""

    def matrix(self, a):
        return a + a.T + 5 * torch.eye(len(a)).double()

    def product(self, u, a):
        return self.matrix(a) @ u

    def solve(self, rhs, a):
        free = ~self.fixed
        m, u = self.matrix(a), rhs.clone()
        source = rhs[free] - m[free][:, self.fixed] @ rhs[self.fixed]
        u[free] = torch.linalg.solve(m[free][:, free], source)
        return u


def test_first_and_second_derivatives_in_values_sources_and_matrix():
    torch.manual_seed(0)
    equation = Dense(torch.tensor([True, False, False, True]))
    rhs, a = (torch.randn(4, k).double().requires_grad_() for k in (2, 4))
    u = implicit_solve(equation, rhs, a)
    assert torch.equal(u[equation.fixed], rhs[equation.fixed])
    left = (equation.matrix(a) @ u)[~equation.fixed]
    torch.testing.assert_close(left, rhs[~equation.fixed])

    def solved(rhs, a):
        return implicit_solve(equation, rhs, a)

    assert torch.autograd.gradcheck(solved, (rhs, a))
    assert torch.autograd.gradgradcheck(solved, (rhs, a))


def test_the_adjoint_of_a_source_without_gradient_is_0_at_fixed_nodes():
    equation = Dense(torch.tensor([True, False]))
    rhs, a = torch.ones(2, 1).double(), torch.ones(2, 2).double()
    adjoint = equation.adjoint(equation.solve(rhs, a), torch.ones(2, 1).double(), rhs, a)
    assert adjoint.flatten().tolist() == [0.0, 1 / 7]
