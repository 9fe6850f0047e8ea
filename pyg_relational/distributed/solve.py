"""Conjugate gradients on local rows: one exchange of rows and one sum over the ranks an iteration."""

import math

import torch
from torch import Tensor

from pyg_relational.distributed.collectives import all_reduce
from pyg_relational.distributed.product import ShardedLaplacian
from pyg_relational.ops.graph.spmm import csr_matrix
from pyg_relational.ops.linear.cg import conjugate_gradients, largest
from pyg_relational.ops.linear.solvers import CG, SolveInfo, report

__all__ = ["ShardedSystem", "single_reduction_round", "solve"]

_SMALL = 1e3  # growth not looked at closer, as in ops.linear.scaled
_CRUDE = 1e-2  # accuracy of that look
_EVERY = 16  # iterations between looks at whether a device is done, as in ops.linear.cg


class ShardedSystem:
    """Local rows of a shifted Laplacian, scaled to a unit diagonal, zero at fixed nodes.

    Args:
        operator: The matrix.
        fixed: Local rows whose values are given.
        max_iter: Most iterations of the look at how much larger than its residual an error may be.
    """

    dtype = torch.float32
    rounding = 0.0

    def __init__(self, operator: ShardedLaplacian, fixed: Tensor, max_iter: int) -> None:
        graph, self.operator = operator.graph, operator
        self.halo, self.group = graph.halo, graph.group
        row, col = graph.local
        diagonal = operator.shift.index_add(0, row, operator.weight)
        self.free = (~fixed & (diagonal > 0))[:, None]
        self.scale = diagonal.where(self.free[:, 0], torch.inf).rsqrt()
        scale = self.halo.extend(self.scale)
        weight = operator.weight * scale.index_select(0, row) * scale.index_select(0, col)
        self.neighbours = {torch.float64: csr_matrix(row, col, weight, (len(fixed), len(scale)))}
        self.growth = self._growth(max_iter)

    def apply(self, x: Tensor) -> Tensor:
        """Product in the number type of ``x``."""
        if x.dtype not in self.neighbours:
            self.neighbours[x.dtype] = self.neighbours[torch.float64].to(x.dtype)
        return torch.addmm(x, self.neighbours[x.dtype], self.halo.extend(x), alpha=-1)

    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        """What ``x`` leaves of ``b``, by differences along edges."""
        return b - self.operator.apply(self.unscale(x)) * self.scale[:, None]

    def precondition(self, r: Tensor) -> Tensor:
        """The diagonal, which is 1."""
        return r

    def project(self, x: Tensor) -> Tensor:
        """Nothing to take out: no component floats."""
        return x

    def strengthen(self) -> None:
        """There is no other preconditioner."""

    def unscale(self, x: Tensor) -> Tensor:
        """Values of the nodes."""
        return x * self.scale[:, None]

    def largest(self, x: Tensor) -> Tensor:
        """Largest absolute value of each column, of all ranks."""
        return all_reduce(largest(x), self.group, "MAX")

    def sums(self, *products: tuple[Tensor, Tensor]) -> Tensor:
        """Inner products of columns, of all ranks, in float64 and by one exchange."""
        local = torch.stack([torch.linalg.vecdot(a, b, dim=0) for a, b in products])
        return all_reduce(local.double(), self.group)

    def _growth(self, max_iter: int) -> float:
        """How much larger than its residual an error may be, as of ``ScaledLaplacian``.

        Where the crude solution is too crude for a bound, its largest value is the estimate.
        """
        b = self.scale[:, None].reciprocal().where(self.free, 0.0)
        low, high = self._ends(b, b)
        if low > 0 and high <= _SMALL * low:
            return high / low
        x, count = single_reduction_round(self, b, torch.float64, _CRUDE, max_iter)
        low, high = self._ends(x, b)
        if low > 0:
            return high / low
        return max(1.0, high) if count < max_iter else math.inf

    def _ends(self, x: Tensor, b: Tensor) -> tuple[float, float]:
        """Least of ``A x / b``, and the largest value of ``x``; 1 and 1 where nothing is free."""
        least = (self.apply(x) / b).where(b > 0, torch.inf)
        ends = torch.stack([-least, self.unscale(x).where(b > 0, -torch.inf)]).flatten(1)
        nothing = ends.new_full((2, 1), -torch.inf)
        low, high = all_reduce(torch.cat([ends, nothing], 1).amax(1), self.group, "MAX").tolist()
        return (-low, high) if high > -math.inf else (1.0, 1.0)


def single_reduction_round(
    system: ShardedSystem, r: Tensor, dtype: torch.dtype, target: float, max_iter: int
) -> tuple[Tensor, int]:
    """:func:`~pyg_relational.ops.linear.cg.conjugate_round` with both inner products in one sum over the ranks.

    In the form of `Chronopoulos and Gear, 1989 <https://doi.org/10.1016/0377-0427(89)90045-9>`_: the product with the
    matrix is that of the residual, and the curvature of the direction follows by recurrence.

    Args:
        system: The matrix.
        r: Right-hand sides.
        dtype: Type to compute in.
        target: What to reduce each residual to.
        max_iter: Most iterations.

    Shapes:
        ``r``: :math:`[n_r, c]`.

    Returns:
        The solution in float64, and the number of iterations.
    """
    norm = system.sums((r, r))[0].sqrt()
    norm = norm.where(norm > 0, 1.0)
    r = (r / norm).to(dtype)
    x, p, q = (torch.zeros_like(r) for _ in range(3))
    active = torch.ones_like(norm, dtype=torch.bool)
    square = alpha = goal = torch.ones_like(norm)
    every = 1 if r.is_cpu else _EVERY
    iterations = 0
    while iterations < max_iter:
        product = system.apply(r)
        new, along = system.sums((r, r), (r, product))
        if iterations == 0:
            goal = target**2 * new
        active = active & (new > goal)
        beta = torch.where(active, new / square, 0.0) if iterations else torch.zeros_like(new)
        curvature = along - beta * new / alpha
        active = active & (curvature > 0)
        if iterations % every == 0 and not bool(active.any()):
            break
        alpha = torch.where(active, new / curvature, 0.0)
        p = torch.addcmul(r, p, beta.to(dtype))
        q = torch.addcmul(product, q, beta.to(dtype))
        x.addcmul_(p, alpha.to(dtype))
        r.addcmul_(q, alpha.to(dtype), value=-1)
        square = new
        iterations += 1
    return x.double() * norm, iterations


def solve(
    system: ShardedSystem, source: Tensor, size: Tensor, solver: CG, dtype: torch.dtype
) -> tuple[Tensor, SolveInfo]:
    """Local rows of the solution that is 0 at fixed nodes.

    Args:
        system: The matrix.
        source: Right-hand sides in float64, 0 at fixed nodes.
        size: Least size of each solution that errors are relative to.
        solver: Tolerance and most iterations.
        dtype: Number type of the result, for the tolerance.

    Shapes:
        ``source``, output: :math:`[n_r, c]`, ``size``: :math:`[c]`.
    """
    scale, tol = system.scale[:, None], solver.tolerances(dtype)
    x, info = conjugate_gradients(
        system, source * scale, None, size, tol, solver.max_iter, single_reduction_round
    )
    info = info._replace(solver="CG")
    report(info, solver, "the linear solve")
    return x * scale, info
