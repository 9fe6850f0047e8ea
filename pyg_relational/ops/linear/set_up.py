"""What is made once for a matrix and serves every solve with it, forward and backward."""

from functools import cached_property

import torch
from torch import Tensor

from pyg_relational.ops.linear.auto import choose
from pyg_relational.ops.linear.cg import conjugate_gradients, largest
from pyg_relational.ops.linear.components import Grounding, ground
from pyg_relational.ops.linear.factors import Factors
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.scaled import ScaledLaplacian
from pyg_relational.ops.linear.solvers import CG, Auto, Chosen, Direct, SolveInfo, Solver, report

__all__ = ["SetUp"]


class SetUp:
    """A matrix, what holds its nodes, and its factors or preconditioner, each made when first asked for.

    Args:
        operator: The matrix, and where values are given.
        solver: How to solve.
    """

    def __init__(self, operator: ShiftedLaplacian, solver: Solver) -> None:
        self.operator = operator
        self._solver = solver

    @cached_property
    def grounding(self) -> Grounding:
        """Which components float."""
        return ground(self.operator)

    @cached_property
    def solver(self) -> Chosen:
        """What solves."""
        return choose(self, self._solver) if isinstance(self._solver, Auto) else self._solver

    @cached_property
    def scaled(self) -> ScaledLaplacian:
        """The matrix as iterations see it."""
        return ScaledLaplacian(self.operator, self.grounding)

    @cached_property
    def factors(self) -> Factors:
        """Its factors."""
        return Factors(self.operator, self.grounding)

    def solve(
        self, source: Tensor, size: Tensor, start: Tensor | None, dtype: torch.dtype
    ) -> tuple[Tensor, SolveInfo]:
        """Solution that is 0 at fixed nodes.

        Args:
            source: Right-hand sides in float64, 0 at fixed nodes.
            size: Least size of each solution that errors are relative to.
            start: Where iterations start, ``None`` for 0.
            dtype: Number type of the result, for the tolerance.

        Shapes:
            ``source``, ``start``, output: :math:`[n, c]`, ``size``: :math:`[c]`.
        """
        solver = self.solver
        if isinstance(solver, Direct):
            u, off = self.factors.solve(source)
            size = torch.maximum(size, largest(u))
            off = off / size.clamp(min=torch.finfo(size.dtype).tiny)
            asked = CG() if isinstance(self._solver, Direct) else self._solver
            converged = bool((off <= asked.tolerances(dtype)[1]).all())
            info = SolveInfo(0, off, converged, "Direct")
        else:
            scaled = self.scaled
            scaled.prepare(solver)
            scale, tol = scaled.scale[:, None], solver.tolerances(dtype)
            if start is not None:
                start = start * scale.where(scale > 0, torch.inf).reciprocal()
            x, info = conjugate_gradients(scaled, source * scale, start, size, tol, solver.max_iter)
            u, info = self.grounding.centred(x * scale), info._replace(solver=type(solver).__name__)
        report(info, solver, "the linear solve")
        return u, info
