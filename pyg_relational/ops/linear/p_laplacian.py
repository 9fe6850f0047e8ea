"""The variational graph p-Laplace equation with values held at some nodes."""

from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.graph.edge_dot import edge_diff_dot
from pyg_relational.ops.graph.laplacian import degree, laplacian_product
from pyg_relational.ops.linear.cg import conjugate_round
from pyg_relational.ops.linear.components import Grounding
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.scaled import ScaledLaplacian
from pyg_relational.ops.linear.set_up import SetUp
from pyg_relational.ops.linear.solvers import CG, Direct, SolveInfo, report

__all__ = ["EPSILON", "PLaplacian"]

EPSILON = 1e-6  # differences of neighbours below this count as that
# Seconds and Newton steps below are of k = 10 neighbours of 1,000 points in 3-d, 20 labels, 10 classes, p = 8.
_GROWTH = 1.5  # of p from one stage to the next. At 1.25, 1.5, 2, 4: 127, 149, 166, 173 steps
_COARSE = 1e-2  # error that ends all stages but the last. At 1e-1, 1e-2, 1e-4: 135, 149, 246 steps
_FORCING = 1e-3  # what a linear solve leaves. At 1e-1, 1e-2, 1e-3, 1e-5: 1.06, .83, .80, .96 s
_STEPS = 300  # Newton's, at most, for one p; all of them took 149 for 10 classes
_HALVINGS = 10  # of a step at most. At 0, 3, 10 149 steps: none was needed
# For the adjoint, and what each leaves. 1, 2, 3 rounds and 1e-9 take the same 1.0 to 1.1 s.
_ROUNDS, _EXACT = 2, 1e-13


class _Newton(NamedTuple):
    """Where Newton's method is: what is left of the equation, its derivative's weights, and the error of each block."""

    f: Tensor
    stiffness: Tensor
    error: Tensor


class PLaplacian:
    r"""The equation :math:`u = y` on fixed nodes, and a balance of fluxes on the others.

    .. math::
        \sum_j w_{ij} \phi(u_i - u_j) + \delta_i u_i = f_i

    :math:`\phi(t) = (t^2 + \epsilon^2)^{(p - 2) / 2}\, t` with :math:`\epsilon = 10^{-6}`, so that no derivative is
    lost where neighbours agree. Solved by Newton's method, with :math:`p` growing by half at a time from 2 on.
    Conjugate gradients solve the linear systems, as exactly as it pays. Blocks step together, each by its own numbers
    and until it is done: a device is waited for as often as for the longest of them.

    Args:
        edge_index: Edges, in both directions, no self-loops; none between blocks.
        fixed: Nodes whose values are given; one at least in every component without shift.
        p: :math:`p \ge 2`.
        solver: How to solve linear systems, and the tolerance: :math:`|F_i| / (\partial F_i / \partial u_i)` over the
            largest value of the solution in the block.
        tol: That tolerance.
        blocks: Number of graphs of equal size, one after the other, as one a class.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``fixed``: :math:`[n]`.
    """

    def __init__(
        self,
        edge_index: Tensor,
        fixed: Tensor,
        p: float,
        solver: CG | Direct,
        tol: float,
        blocks: int = 1,
    ) -> None:
        self.edge_index = edge_index
        self.fixed = fixed
        self.p = p
        self.solver = solver
        self.tol = tol
        self.blocks = blocks
        self.info = SolveInfo(0, torch.zeros(1), True)

    def solve(self, value: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
        """Solution for values at fixed nodes and sources at the others, ``[n, 1]``."""
        u, p, steps = value.where(self.fixed[:, None], 0.0), 2.0, 0
        while True:
            tol = self.tol if p == self.p else _COARSE
            u, error, done, count = self._newton(u, value, weight, shift, p, tol)
            steps += count
            if p == self.p:
                self.info = SolveInfo(steps, error, done)
                return u
            p = min(p * _GROWTH, self.p)

    def _newton(
        self, u: Tensor, value: Tensor, weight: Tensor, shift: Tensor, p: float, tol: float
    ) -> tuple[Tensor, Tensor, bool, int]:
        """Newton's method for one ``p``: the solution, errors, whether all are done, and the steps of all blocks."""
        most = _STEPS if isinstance(self.solver, Direct) else min(_STEPS, self.solver.max_iter)
        at = self._look(u, value, weight, shift, p)
        error: list[float] = at.error.tolist()
        steps = 0
        for _ in range(most):
            going = sum(not e <= tol for e in error)
            if not going:
                break
            u, at, error = self._step(u, at, value, weight, shift, p, tol)
            steps += going
        return u, at.error, all(e <= tol for e in error), steps

    def _step(
        self,
        u: Tensor,
        at: "_Newton",
        value: Tensor,
        weight: Tensor,
        shift: Tensor,
        p: float,
        tol: float,
    ) -> tuple[Tensor, "_Newton", list[float]]:
        """Newton's step, halved while the energy still rises steeply at its end, and what it leads to."""
        step = self._direction(at.f, at.stiffness, shift)
        if self.blocks > 1:
            step = self._rows(step).where(~(at.error <= tol)[:, None], 0.0).reshape(-1, 1)
        slope = self._rows(at.f * step).sum(1).abs()
        halvings = 0
        while True:
            new = u + step
            at = self._look(new, value, weight, shift, p)
            flat = self._rows(at.f * step).sum(1) <= slope / 2
            ends, *error = torch.cat([flat.all().double()[None], at.error.double()]).tolist()
            if ends or halvings == _HALVINGS:
                return new, at, error
            step = (self._rows(step) * torch.where(flat, 1.0, 0.5)[:, None]).reshape(-1, 1)
            halvings += 1

    def _rows(self, x: Tensor) -> Tensor:
        """Blocks as rows."""
        return x.view(self.blocks, -1)

    def _look(self, u: Tensor, value: Tensor, weight: Tensor, shift: Tensor, p: float) -> "_Newton":
        f = (self._flux(u, weight, shift, p) - value).where(~self.fixed[:, None], 0.0)
        stiffness = weight * self._curvature(u, p)
        return _Newton(f, stiffness, self._error(u, f, stiffness, shift))

    def residual(self, u: Tensor, value: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
        """Left side less right side, differentiable."""
        return self._flux(u, weight, shift, self.p).where(~self.fixed[:, None], u) - value

    def adjoint(
        self, u: Tensor, grad: Tensor, value: Tensor, weight: Tensor, shift: Tensor
    ) -> Tensor:
        r"""Solution for the Laplacian of the weights :math:`w_{ij} \phi'(u_i - u_j)`."""
        stiffness = weight * self._curvature(u, self.p)
        linear = _Stiffness(self.edge_index, stiffness, shift, self.fixed, self.solver, self.blocks)
        return linear.adjoint(u, grad, value, stiffness, shift)

    def _flux(self, u: Tensor, weight: Tensor, shift: Tensor, p: float) -> Tensor:
        square = edge_diff_dot(u, u, self.edge_index) + EPSILON**2
        return laplacian_product(self.edge_index, weight * square ** (p / 2 - 1), u) + (
            shift[:, None] * u
        )

    def _curvature(self, u: Tensor, p: float) -> Tensor:
        square = edge_diff_dot(u, u, self.edge_index)
        return (square + EPSILON**2) ** (p / 2 - 2) * ((p - 1) * square + EPSILON**2)

    def _error(self, u: Tensor, f: Tensor, stiffness: Tensor, shift: Tensor) -> Tensor:
        diagonal = (degree(self.edge_index, stiffness, len(u)) + shift)[:, None]
        size = self._rows(u).abs().amax(1).clamp(min=torch.finfo(u.dtype).tiny)
        return self._rows(f / diagonal.where(diagonal > 0, 1.0)).abs().amax(1) / size

    def _direction(self, f: Tensor, stiffness: Tensor, shift: Tensor) -> Tensor:
        if isinstance(self.solver, Direct):
            return GroundedLaplacian(
                self.edge_index, stiffness, shift, self.fixed, solver=self.solver
            ).solve(-f)
        system = _system(self.edge_index, stiffness, shift, self.fixed)
        b = -f * system.scale[:, None]
        x, _ = _round(system, b, self.blocks, _FORCING, self.solver.max_iter)
        return system.unscale(x)


def _system(edge_index: Tensor, weight: Tensor, shift: Tensor, fixed: Tensor) -> ScaledLaplacian:
    """Matrix of a Newton step as iterations see it; something holds every node."""
    none = torch.zeros_like(fixed)
    operator = ShiftedLaplacian(edge_index, weight, shift, fixed)
    return ScaledLaplacian(operator, Grounding(none.long(), none, False))


class _Columns:
    """Blocks of a matrix of unit diagonal as columns, as conjugate gradients see them."""

    def __init__(self, system: ScaledLaplacian) -> None:
        self.system = system

    def apply(self, x: Tensor) -> Tensor:
        return self.system.apply(x.T.reshape(-1, 1)).view(x.shape[1], -1).T

    def precondition(self, r: Tensor) -> Tensor:
        return r


def _round(
    system: ScaledLaplacian, b: Tensor, blocks: int, target: float, max_iter: int
) -> tuple[Tensor, int]:
    """Conjugate gradients in float64, each block by its own numbers."""
    if blocks == 1:
        return conjugate_round(system, b, torch.float64, target, max_iter)
    columns = b.view(blocks, -1).T
    x, count = conjugate_round(_Columns(system), columns, torch.float64, target, max_iter)
    return x.T.reshape(-1, 1), count


class _Stiffness(GroundedLaplacian):
    """Linear equation that accepts by the norm of the scaled residual: solutions span as many orders as the weights."""

    def __init__(
        self,
        edge_index: Tensor,
        weight: Tensor,
        shift: Tensor,
        fixed: Tensor,
        solver: CG | Direct,
        blocks: int,
    ) -> None:
        super().__init__(edge_index, weight, shift, fixed, solver=solver)
        if not isinstance(solver, Direct):
            self.set_up = _ByNorm(self.set_up.operator, solver, blocks)


class _ByNorm(SetUp):
    def __init__(self, operator: ShiftedLaplacian, solver: CG, blocks: int) -> None:
        super().__init__(operator, solver)
        self.blocks = blocks

    def solve(
        self, source: Tensor, size: Tensor, start: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, SolveInfo]:
        """Solution that is 0 at fixed nodes."""
        solver, operator = self.solver, self.operator
        assert not isinstance(solver, Direct)
        system = _system(operator.edge_index, operator.weight, operator.shift, operator.fixed)
        b = source * system.scale[:, None]
        x, r, iterations = torch.zeros_like(b), b, 0
        for _ in range(_ROUNDS):
            step, count = _round(system, r, self.blocks, _EXACT, solver.max_iter)
            x, iterations = x + step, iterations + count
            r = b - system.apply(x)
        left, whole = (torch.linalg.vector_norm(t.view(self.blocks, -1), dim=1) for t in (r, b))
        residual = left / whole.clamp(min=torch.finfo(b.dtype).tiny)
        converged = bool((residual <= solver.tolerances(dtype)[0]).all())
        info = SolveInfo(iterations, residual, converged)
        report(info, solver, "the adjoint of p-Laplace")
        return system.unscale(x), info
