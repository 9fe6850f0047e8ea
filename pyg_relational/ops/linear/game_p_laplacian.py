"""The game-theoretic graph p-Laplace equation with values held at some nodes."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.graph.laplacian import degree, laplacian_product
from pyg_relational.ops.linear.bicgstab import bicgstab
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.solvers import CG, SolveInfo, report

__all__ = ["GamePLaplacian", "Policy", "PolicyEquation"]

_STEPS = 100  # most; 1,000 points in 3-d of k = 10 neighbours, p = 8, 10 classes take 11 to 17
_SLACK = 10  # between the recurrence's residual and the true one: .07 to .97 of the tolerance on these, 41 iterations
_FORCING = 1e-3  # what a linear solve leaves. At 1e-1, 1e-3, 1e-6 on these: 17, 12, 11 steps in .30, .48, .92 s


class Policy(NamedTuple):
    """The neighbours that are taken as those of least and of largest value.

    Args:
        low: Neighbour of least value, the first of several, ``[n, c]``.
        high: Neighbour of largest value, the first of several, ``[n, c]``.
    """

    low: Tensor
    high: Tensor


class GamePLaplacian:
    r"""The equation :math:`u = y` on fixed nodes, and a mean of three on the others.

    .. math::
        u_i = \alpha \frac{\sum_j w_{ij} u_j}{\sum_j w_{ij}} + (1 - \alpha) \frac{\min_j u_j + \max_j u_j}{2}

    over the neighbours :math:`j`. Solved by policy iteration, which is Newton's method here: least and largest
    neighbours are chosen, the linear equation is solved, until the choice stays. Derivatives are those of the last
    choice.

    Args:
        edge_index: Edges, in both directions, no self-loops.
        fixed: Nodes whose values are given; one at least in every component.
        alpha: :math:`\alpha = 1 / (p - 1)`.
        tol: Largest error of a row over the largest value that ends the iteration.
        solver: Its ``max_iter`` is the most steps, and the most iterations of each linear solve.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``fixed``: :math:`[n]`.
    """

    def __init__(
        self, edge_index: Tensor, fixed: Tensor, alpha: float, tol: float, solver: CG
    ) -> None:
        self.edge_index = edge_index
        self.fixed = fixed
        self.alpha = alpha
        self.tol = tol
        self.solver = solver
        self.info = SolveInfo(0, torch.zeros(0), True)

    def solve(self, value: Tensor, weight: Tensor) -> Tensor:
        """Solution for values at fixed nodes, ``[n, c]``."""
        u = value.where(self.fixed[:, None], 0.0)
        most = min(_STEPS, self.solver.max_iter)
        for steps in range(most + 1):
            linear = PolicyEquation(self, self.policy(u), _FORCING)
            residual = linear.product(u, weight).where(~self.fixed[:, None], 0.0)
            error = residual.abs().amax(0) / u.abs().amax(0).clamp(min=torch.finfo(u.dtype).tiny)
            if bool((error <= self.tol).all()) or steps == most:
                break
            u = u - linear.solve(residual, weight)
        self.info = SolveInfo(steps, error, bool((error <= self.tol).all()))
        return u

    def residual(self, u: Tensor, value: Tensor, weight: Tensor) -> Tensor:
        """Left side less right side, differentiable."""
        linear = PolicyEquation(self, self.policy(u), self.tol)
        return linear.residual(u, value.where(self.fixed[:, None], 0.0), weight)

    def adjoint(self, u: Tensor, grad: Tensor, value: Tensor, weight: Tensor) -> Tensor:
        """Solution of the transposed equation of the last choice."""
        transposed = PolicyEquation(self, self.policy(u), self.tol, transpose=True)
        return implicit_solve(transposed, grad, weight)

    def policy(self, u: Tensor) -> Policy:
        """Choice at ``u``."""
        u = u.detach()
        return Policy(self._first_least(u), self._first_least(-u))

    def _first_least(self, u: Tensor) -> Tensor:
        row, col = self.edge_index
        value = u[col]
        to = row[:, None].expand_as(value)
        least = torch.full_like(u, torch.inf).scatter_reduce_(0, to, value, "amin")
        edge = torch.arange(len(row), device=u.device)[:, None].where(value == least[row], len(row))
        first = torch.full_like(u, len(row), dtype=torch.int64).scatter_reduce_(0, to, edge, "amin")
        node = torch.arange(len(u), device=u.device)[:, None]
        return torch.cat([col, col.new_zeros(1)])[first].where(first < len(row), node)


class PolicyEquation:
    """The linear equation ``A u = b`` of a fixed choice, or with the transposed matrix."""

    def __init__(
        self, game: GamePLaplacian, policy: Policy, tol: float, transpose: bool = False
    ) -> None:
        self.game = game
        self.policy = policy
        self.tol = tol
        self.transpose = transpose

    def solve(self, b: Tensor, weight: Tensor) -> Tensor:
        """Solution, without gradient."""
        solver = self.game.solver
        x, count = bicgstab(lambda x: self.product(x, weight), b, self.tol, solver.max_iter)
        if self.tol != _FORCING:  # Newton's method looks at what its steps leave
            left = (b - self.product(x, weight)).abs().amax(0) / b.abs().amax(0).clamp(
                min=torch.finfo(b.dtype).tiny
            )
            info = SolveInfo(count, left, bool((left <= _SLACK * self.tol).all()))
            report(info, solver, "the adjoint of p-Laplace")
        return x

    def residual(self, u: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        """Left side less right side, differentiable."""
        return self.product(u, weight) - b

    def adjoint(self, u: Tensor, grad: Tensor, b: Tensor, weight: Tensor) -> Tensor:
        """Solution with the transpose."""
        other = PolicyEquation(self.game, self.policy, self.tol, not self.transpose)
        return implicit_solve(other, grad, weight)

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """Product with the matrix or its transpose, differentiable."""
        game, fixed = self.game, self.game.fixed[:, None]
        d = degree(game.edge_index, weight, len(x)).where(~game.fixed, 1.0)[:, None]
        if not self.transpose:
            mean = laplacian_product(game.edge_index, weight, x) / d
            extreme = (x.gather(0, self.policy.low) + x.gather(0, self.policy.high)) / 2
            return x.where(fixed, game.alpha * mean + (1 - game.alpha) * (x - extreme))
        inner = x.where(~fixed, 0.0)
        mean = laplacian_product(game.edge_index, weight, inner / d)
        sent = inner.scatter_add(0, self.policy.low, -inner / 2)
        extreme = sent.scatter_add(0, self.policy.high, -inner / 2)
        return x.where(fixed, 0.0) + game.alpha * mean + (1 - game.alpha) * extreme
