"""Preconditioned conjugate gradients on many right-hand sides, refined in float64."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import threshold

from pyg_relational.ops.checks import floats
from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.gradients import Iterate
from pyg_relational.ops.linear.solvers import SolveInfo

__all__ = ["Preconditioned", "System", "conjugate_gradients", "conjugate_round", "largest"]

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

_EVERY = 16  # iterations between looks at whether a device is done; not measured


class Preconditioned(Protocol):
    """A symmetric positive matrix and its preconditioner."""

    def apply(self, x: Tensor) -> Tensor:
        """Product with the matrix."""

    def precondition(self, r: Tensor) -> Tensor:
        """Product with the inverse of the preconditioner."""


class System(Preconditioned, Protocol):
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

    def project(self, x: Tensor) -> Tensor:
        """Take out what the matrix cannot see."""

    def strengthen(self) -> None:
        """Take a better preconditioner: there are many iterations to come."""

    def unscale(self, x: Tensor) -> Tensor:
        """Values of the unknowns before scaling."""

    def largest(self, x: Tensor) -> Tensor:
        """Largest absolute value of each column."""


_Round = Callable[..., tuple[Tensor, int]]  # arguments of conjugate_round


def conjugate_gradients(
    system: System,
    b: Tensor,
    x: Tensor | None,
    size: Tensor,
    tol: tuple[float, float],
    max_iter: int,
    one_round: _Round | None = None,
) -> tuple[Tensor, SolveInfo]:
    """Solve in rounds, each on the residual of the last.

    Args:
        system: The matrix.
        b: Right-hand sides in float64, scaled.
        x: Where to start, ``None`` for 0.
        size: Least size of each solution that the tolerance is relative to.
        tol: Relative tolerance to aim at, and to accept.
        max_iter: Most iterations.
        one_round: What iterates, :func:`conjugate_round` where there is no other.

    Shapes:
        ``b``, ``x``: :math:`[n, c]`, ``size``: :math:`[c]`.

    Returns:
        The solution, scaled, and how it was reached.
    """
    iterate = one_round or conjugate_round
    b = system.project(b)
    x, r = (torch.zeros_like(b), b) if x is None else (x, system.residual(b, x))
    error, dtype, iterations, least = _error(system, r), system.dtype, 0, _LEAST
    state = _state(system, x, error, size, tol)
    trial = _TRIAL if b.is_cpu else 4 * _EVERY + 1  # a device is looked at just before
    while state.any_open and iterations < max_iter:
        target = _between(state.ratio / _MARGIN, _REFINE[dtype], least)
        most = min(max_iter - iterations, _ITERATIONS[dtype])
        most = most if iterations else min(most, trial)
        step, count = iterate(system, r.masked_fill(state.done, 0.0), dtype, target, most)
        if count == trial:
            system.strengthen()
        new_x = x + step
        new_r = system.residual(b, new_x)
        new_error = _error(system, new_r)
        iterations += count
        # / 1 is the same on the graphs above
        closer = ((new_error < error / 2) | state.done).all()
        x, r = torch.where(closer, new_x, x), torch.where(closer, new_r, r)
        error = torch.where(closer, new_error, error)
        state = _state(system, x, error, size, tol, closer)
        if state.closer:
            continue
        if dtype == torch.float32:
            dtype = torch.float64
        elif least > _REFINE[dtype] and not state.near:
            least *= _TIGHTER
        else:
            break
    bound = state.bound / state.whole.clamp(min=torch.finfo(state.whole.dtype).tiny)
    return x, SolveInfo(iterations, bound, state.converged)


class _State(NamedTuple):
    """Where the rounds are; numbers are read from a device together, before the first round not at all."""

    whole: Tensor
    done: Tensor
    bound: Tensor
    any_open: bool
    ratio: float | Tensor
    near: bool
    converged: bool
    closer: bool


def _state(
    system: System,
    x: Tensor,
    error: Tensor,
    size: Tensor,
    tol: tuple[float, float],
    closer: Tensor | None = None,
) -> _State:
    whole = torch.maximum(size, system.largest(system.unscale(x)))
    aim = min(tol[0], tol[1] / system.growth) * whole
    done = error - aim <= 0  # not where one is infinite or NaN
    ratio = (aim / error).masked_fill(done, 1.0)
    ratio = ratio.amin() if len(ratio) else error.new_ones(())
    if closer is None and not x.is_cpu:
        return _State(whole, done, error, True, ratio, False, False, False)
    grown, accept = error * system.growth, tol[1] * whole
    bound = torch.add(grown.masked_fill(error == 0, 0.0), whole, alpha=system.rounding)
    flags = [done.all(), ratio, (grown <= accept).all(), (bound <= accept).all()]
    all_done, least, *rest = floats(*flags, done.all() if closer is None else closer)
    return _State(whole, done, bound, not all_done, least, *map(bool, rest))


def _between(x: float | Tensor, low: float, high: float) -> float | Tensor:
    return x.clamp(low, high) if isinstance(x, Tensor) else min(max(x, low), high)


def largest(x: Tensor) -> Tensor:
    """Largest absolute value of each column, 0 of none."""
    return x.abs().amax(0) if x.numel() else x.new_zeros(x.shape[1])


def _error(system: System, r: Tensor) -> Tensor:
    return system.largest(system.unscale(system.precondition(r)))


def conjugate_round(
    system: Preconditioned, r: Tensor, dtype: torch.dtype, target: float | Tensor, max_iter: int
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
    norm = threshold(torch.linalg.vector_norm(r, dim=0), 0.0, 1.0)
    r = (r / norm).to(dtype)
    z = system.precondition(r)
    aim = target * threshold(_dot(r, z), 0.0, 1.0).sqrt()
    iterate = _iterate_fused if is_fused(r) else _iterate
    x, iterations = iterate(system, r / aim, z / aim, max_iter)
    return x * (norm * aim), iterations


def _iterate(system: Preconditioned, r: Tensor, p: Tensor, max_iter: int) -> tuple[Tensor, int]:
    """From the residual ``r``, whose :math:`M^{-1} r` is ``p``, until :math:`r^T M^{-1} r` is at most 1."""
    x, rz = torch.zeros_like(r), threshold(_dot(r, p), 1.0, torch.inf)
    size = torch.ones_like(rz)
    every = 1 if r.is_cpu else _EVERY
    for iterations in range(max_iter):
        look = (iterations or 1) % every == 0  # which waits for a device
        if look and not bool(((rz < torch.inf) & (size < torch.inf)).any()):
            return x, iterations
        q = system.apply(p)
        # Of a column that is done, rz is infinite; so is the size where rounding has made the matrix indefinite.
        size = threshold(_dot(p, q) / rz, 0.0, torch.inf)
        x.addcdiv_(p, size)
        r.addcdiv_(q, size, value=-1)
        z = system.precondition(r)
        new = _dot(r, z)
        torch.addcmul(z, p, new / rz, out=p)
        rz = threshold(new, 1.0, torch.inf)
    return x, max_iter


def _iterate_fused(
    system: Preconditioned, r: Tensor, z: Tensor, max_iter: int
) -> tuple[Tensor, int]:
    """The same by two kernels and a product an iteration."""
    at = Iterate(r)
    for iterations in range(max_iter):
        if iterations and iterations % _EVERY == 0 and not bool(at.size.isfinite().any()):
            return at.x, iterations
        at.step(z, system.apply(z))
        z = system.precondition(at.r)
    return at.x, max_iter


def _dot(a: Tensor, b: Tensor) -> Tensor:
    dot: Tensor = torch.linalg.vecdot(a, b, dim=0)
    return dot
