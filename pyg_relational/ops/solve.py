"""Solvers of symmetric positive (semi)definite sparse systems with many right-hand sides."""

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

_REFINE = {torch.float32: 1e-6, torch.float64: 1e-12}  # most that one round reduces the residual by


_TRIAL = 60  # iterations after which a better preconditioner pays
_ITERATIONS = {torch.float32: 1_000, torch.float64: 2**62}  # most of one round


class ConvergenceError(RuntimeError):
    """A solver with ``strict=True`` did not reach its tolerance."""


class SolveInfo(NamedTuple):
    """What a solver did.

    Args:
        iterations: Iterations over all rounds, 0 for a direct solver.
        residual: Largest preconditioned residual of each column over the size of its solution, ``[c]``.
        converged: Whether every column is within the tolerance.
    """

    iterations: int
    residual: Tensor
    converged: bool


@dataclass(frozen=True)
class CG:
    r"""Preconditioned conjugate gradients on all right-hand sides at once.

    Iterates in float32 and corrects by residuals in float64 (iterative refinement), or iterates in float64 where
    float32 makes no progress, so that what is reported is the true residual. A solution is accepted when
    :math:`\kappa \lVert M^{-1} (b - A u) \rVert_\infty \le \text{tol} \cdot \lVert u \rVert_\infty` in each column.
    :math:`M` is the preconditioner: with the diagonal, each value agrees with what its row asks for, and
    :math:`\kappa` bounds how much larger the error may be, as where labels hold a cluster by weak edges only.

    Args:
        tol: Relative tolerance. ``None`` is 1e-5 for float32 and 1e-8 for float64, and aims at 1e-6 and 1e-12 without
            :math:`\kappa`.
        max_iter: Most iterations.
        strict: Raise :class:`ConvergenceError` instead of warning where the tolerance is not reached.

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> from pyg_relational.ops import CG
        >>> CG(tol=1e-8)
        CG(tol=1e-08, max_iter=10000, strict=False)
    """

    tol: float | None = None
    max_iter: int = 10_000
    strict: bool = False

    def __post_init__(self) -> None:
        if self.tol is not None and not 0 < self.tol < 1:
            raise ValueError(f"tol must be in (0, 1) or None, got {self.tol}")
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be >= 1, got {self.max_iter}")

    def tolerances(self, dtype: torch.dtype) -> tuple[float, float]:
        """What is aimed at, and what is accepted where rounding does not let it get there."""
        if self.tol is not None:
            return self.tol, self.tol
        return (1e-6, 1e-5) if dtype == torch.float32 else (1e-12, 1e-8)


@dataclass(frozen=True)
class Direct:
    """Sparse LU factorisation by scipy, on the CPU: for small or hard systems.

    The factors are kept for the backward pass. The residual it reports is the size of one more step of iterative
    refinement.

    Args:
        strict: Raise :class:`ConvergenceError` instead of warning where rounding leaves 1e-5 (float32) or 1e-8 of it.

    Example:
        >>> from pyg_relational.ops import Direct
        >>> Direct()
        Direct(strict=False)
    """

    strict: bool = False


Solver = CG | Direct


class System(Protocol):
    """A matrix scaled to a unit diagonal, in the number type of what it is applied to."""

    @property
    def growth(self) -> float:
        """How much larger an error may be than its preconditioned residual."""

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
    x, r = (torch.zeros_like(b), b) if x is None else (x, system.project(b - system.apply(x)))
    error, dtype, iterations = _largest(system, r), torch.float32, 0
    while True:
        whole = torch.maximum(size, _largest_of(system.unscale(x)))
        aim = min(tol[0], tol[1] / system.growth) * whole
        open_ = (error > aim) | ~torch.isfinite(error)
        if iterations >= max_iter or not bool(open_.any()):
            break
        ratio = (aim / error)[open_].min().item()
        target = min(max(ratio / 2, _REFINE[dtype]), 0.1)
        most = min(max_iter - iterations, _ITERATIONS[dtype])
        most = most if iterations else min(most, _TRIAL)
        step, count = conjugate_round(system, r * open_, dtype, target, most)
        if count == _TRIAL:
            system.strengthen()
        new_r = system.project(b - system.apply(x + step))
        new_error = _largest(system, new_r)
        iterations += count
        if bool((new_error[open_] < error[open_] / 2).all()):
            x, r, error = x + step, new_r, new_error
        elif dtype == torch.float32:
            dtype = torch.float64
        else:
            break
    converged = bool((error <= tol[1] / system.growth * whole).all())
    return x, SolveInfo(
        iterations, error / whole.clamp(min=torch.finfo(whole.dtype).tiny), converged
    )


def _largest_of(x: Tensor) -> Tensor:
    return x.abs().amax(0) if x.numel() else x.new_zeros(x.shape[1])


def _largest(system: System, r: Tensor) -> Tensor:
    return _largest_of(system.unscale(system.precondition(r)))


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
    every = 8 if r.is_cuda else 1  # a look at the device's numbers waits for them
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


def report(info: SolveInfo, solver: Solver, what: str) -> None:
    """Warn, or with ``strict`` raise, where a solve did not converge.

    Args:
        info: What the solver did.
        solver: Its options.
        what: What was solved, for the message.

    Raises:
        ConvergenceError: If ``solver.strict``.
    """
    if info.converged:
        return
    worst = info.residual.max().item() if info.residual.numel() else math.nan
    message = (
        f"{what} did not converge: residual {worst:.1e} after {info.iterations} iterations "
        f"with {solver}; the graph may hang together by too weak edges: "
        "set tau > 0, take float64, another tol or another solver"
    )
    if solver.strict:
        raise ConvergenceError(message)
    warnings.warn(message, RuntimeWarning, stacklevel=3)
