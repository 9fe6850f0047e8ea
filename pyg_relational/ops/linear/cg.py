"""Preconditioned conjugate gradients on many right-hand sides, refined in float64."""

from typing import Protocol

import torch
from torch import Tensor

from pyg_relational.ops.linear.solvers import SolveInfo

__all__ = ["System", "conjugate_gradients", "conjugate_round", "largest"]

# Graphs below are of k = 10 neighbours of 10,000 Gaussian points, or grids, with 20 labels; seconds of one thread.
# Most that one round reduces the residual by. float32 at 1e-4, 1e-5, 1e-6, 1e-7: 41, 42, 32, 34 iterations in 16-d;
# float64 at 1e-8, 1e-12, 1e-15: 1.17, 1.25, 1.20 s on roads, no difference: what rounding leaves.
_REFINE = {torch.float32: 1e-6, torch.float64: 1e-12}
_LEAST = 0.1  # least that a round reduces it by: at .5 and .1 32 iterations in 16-d, at .01 43
# What that becomes where a round of float64 was too short to halve the largest error. CG(tol=1e-6) on 50,000 points in
# 3-d is left at 1.8e-6 without; at .1, .01, 1e-4 it takes 90, 102, 124 iterations.
_TIGHTER = 0.1
_MARGIN = 2  # what a round aims below: at 1, 2, 10 36, 32, 42 iterations in 16-d, 266, 278, 308 on a 2-d grid
# Iterations before the coarse system. At 20, 60, 200 .257, .236, .222 s in 3-d; .134, .121, .150 s on a 3-d grid.
_TRIAL = 60
# Most iterations of one round: at 200, 1,000, 5,000 16.3, 7.2, 8.7 s on a 2-d grid of 100,000 nodes.
_ITERATIONS = {torch.float32: 1_000, torch.float64: 2**62}


class System(Protocol):
    """A matrix scaled to a unit diagonal, in the number type of what it is applied to."""

    @property
    def growth(self) -> float:
        """How much larger an error may be than its preconditioned residual."""

    @property
    def rounding(self) -> float:
        """What rounding of the residual may hide of an error, relative to the solution."""

    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        """What ``x`` leaves of ``b``, projected."""

    @property
    def dtype(self) -> torch.dtype:
        """Number type to begin in."""

    def apply(self, x: Tensor) -> Tensor:
        """Product with the matrix."""

    def precondition(self, r: Tensor) -> Tensor:
        """Product with the inverse of the preconditioner."""

    def project(self, x: Tensor) -> Tensor:
        """Take out what the matrix cannot see."""

    def strengthen(self) -> None:
        """Take a better preconditioner: there are many iterations to come."""

    def unscale(self, x: Tensor) -> Tensor:
        """Values of the unknowns before scaling."""


def conjugate_gradients(
    system: System,
    b: Tensor,
    x: Tensor | None,
    size: Tensor,
    tol: tuple[float, float],
    max_iter: int,
) -> tuple[Tensor, SolveInfo]:
    """Solve in rounds, each on the residual of the last.

    Args:
        system: The matrix.
        b: Right-hand sides in float64, scaled.
        x: Where to start, ``None`` for 0.
        size: Least size of each solution that the tolerance is relative to.
        tol: Relative tolerance to aim at, and to accept.
        max_iter: Most iterations.

    Shapes:
        ``b``, ``x``: :math:`[n, c]`, ``size``: :math:`[c]`.

    Returns:
        The solution, scaled, and how it was reached.
    """
    b = system.project(b)
    x, r = (torch.zeros_like(b), b) if x is None else (x, system.residual(b, x))
    error, dtype, iterations, least = _error(system, r), system.dtype, 0, _LEAST
    while True:
        whole = torch.maximum(size, largest(system.unscale(x)))
        aim = min(tol[0], tol[1] / system.growth) * whole
        open_ = (error > aim) | ~torch.isfinite(error)
        if iterations >= max_iter or not bool(open_.any()):
            break
        ratio = (aim / error)[open_].min().item()
        target = min(max(ratio / _MARGIN, _REFINE[dtype]), least)
        most = min(max_iter - iterations, _ITERATIONS[dtype])
        most = most if iterations else min(most, _TRIAL)
        step, count = conjugate_round(system, r * open_, dtype, target, most)
        if count == _TRIAL:
            system.strengthen()
        new_r = system.residual(b, x + step)
        new_error = _error(system, new_r)
        iterations += count
        if bool((new_error[open_] < error[open_] / 2).all()):  # / 1 is the same on the graphs above
            x, r, error = x + step, new_r, new_error
        elif dtype == torch.float32:
            dtype = torch.float64
        elif least > _REFINE[dtype] and not bool((error * system.growth <= tol[1] * whole).all()):
            least *= _TIGHTER
        else:
            break
    bound = (error * system.growth).where(error > 0, 0.0) + system.rounding * whole
    converged = bool((bound <= tol[1] * whole).all())
    bound = bound / whole.clamp(min=torch.finfo(whole.dtype).tiny)
    return x, SolveInfo(iterations, bound, converged)


def largest(x: Tensor) -> Tensor:
    """Largest absolute value of each column, 0 of none."""
    return x.abs().amax(0) if x.numel() else x.new_zeros(x.shape[1])


def _error(system: System, r: Tensor) -> Tensor:
    return largest(system.unscale(system.precondition(r)))


def conjugate_round(
    system: System, r: Tensor, dtype: torch.dtype, target: float, max_iter: int
) -> tuple[Tensor, int]:
    """Conjugate gradients from 0 until every column's residual is ``target`` of what it was.

    Args:
        system: The matrix.
        r: Right-hand sides.
        dtype: Type to compute in.
        target: What to reduce each residual to, in the norm of the preconditioner.
        max_iter: Most iterations.

    Shapes:
        ``r``: :math:`[n, c]`.

    Returns:
        The solution in float64, and the number of iterations.
    """
    norm = torch.linalg.vector_norm(r, dim=0)
    norm = norm.where(norm > 0, 1.0)
    r = (r / norm).to(dtype)
    x, z = torch.zeros_like(r), system.precondition(r)
    p = z.clone()
    rz = _dot(r, z)
    goal = target**2 * rz
    active = torch.ones_like(rz, dtype=torch.bool)
    every = (
        8 if r.is_cuda else 1
    )  # a look at the device's numbers waits for them; 8 is not measured
    iterations = 0
    while iterations < max_iter:
        active &= rz > goal
        if iterations % every == 0 and not bool(active.any()):
            break
        q = system.apply(p)
        curvature = _dot(p, q)
        active &= curvature > 0  # else rounding has made the matrix indefinite
        alpha = torch.where(active, rz / curvature, 0.0)
        x.addcmul_(p, alpha)
        r.addcmul_(q, alpha, value=-1)
        z = system.precondition(r)
        new = _dot(r, z)
        p.mul_(torch.where(active, new / rz, 0.0)).add_(z)
        rz = torch.where(active, new, rz)
        iterations += 1
    return x.double() * norm, iterations


def _dot(a: Tensor, b: Tensor) -> Tensor:
    dot: Tensor = torch.linalg.vecdot(a, b, dim=0)
    return dot
