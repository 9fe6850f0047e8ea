"""Which solver a linear system gets, and what it says of its work."""

import math
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_count, check_number

__all__ = [
    "CG",
    "Auto",
    "Chosen",
    "ConvergenceError",
    "Direct",
    "Multigrid",
    "SolveInfo",
    "Solver",
    "check_solver",
    "report",
]


class ConvergenceError(RuntimeError):
    """A solver with ``strict=True`` did not reach its tolerance."""


class SolveInfo(NamedTuple):
    r"""What a solver did.

    Args:
        iterations: Iterations over all rounds, 0 for a direct solver.
        residual: Estimate of the error of each column, relative to its largest value, ``[c]``: the preconditioned
            residual times :math:`\kappa`, and what rounding may hide; for factors, one more step of refinement.
            Rounding of the solution to its own number type is not counted.
        converged: Whether every column is within the tolerance.
        solver: Name of the solver of linear systems that ran, empty where nothing was solved: ``"CG"``, ``"Direct"``,
            ``"Multigrid"``, or ``"BiCGSTAB"`` in the game-theoretic equation.
    """

    iterations: int
    residual: Tensor
    converged: bool
    solver: str = ""


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
        TypeError: If ``max_iter`` is no integer.
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
        _check(self.tol, self.max_iter)

    def tolerances(self, dtype: torch.dtype) -> tuple[float, float]:
        """What is aimed at, and what is accepted where rounding does not let it get there."""
        return _tolerances(self.tol, dtype)


@dataclass(frozen=True)
class Multigrid:
    r"""Conjugate gradients as :class:`CG`, preconditioned by a V-cycle of smoothed aggregation, on the CPU.

    For large graphs on which values travel far: grids, roads, neighbours in few dimensions. The hierarchy is made by
    pyamg (``pip install pyamg``) once, and serves the backward pass too; the cycle
    (:class:`~pyg_relational.ops.linear.multigrid.VCycle`) runs on all right-hand sides at once. A solution is accepted
    as by :class:`CG`, with the cycle as :math:`M` and :math:`\kappa` measured as the largest value of
    :math:`A^{-1} D 1` over that of :math:`M^{-1} D 1`.

    Args:
        tol: Relative tolerance, as of :class:`CG`.
        max_iter: Most iterations.
        strict: Raise :class:`ConvergenceError` instead of warning where the tolerance is not reached.

    Raises:
        TypeError: If ``max_iter`` is no integer.
        ValueError: If a number is out of range; when it solves, on CUDA or for ``order > 1``.
        ImportError: When it solves, if pyamg is not installed.

    Example:
        >>> from pyg_relational.ops import Multigrid
        >>> Multigrid(tol=1e-8)
        Multigrid(tol=1e-08, max_iter=1000, strict=False)
    """

    tol: float | None = None
    max_iter: int = 1_000
    strict: bool = False

    def __post_init__(self) -> None:
        _check(self.tol, self.max_iter)

    def tolerances(self, dtype: torch.dtype) -> tuple[float, float]:
        """What is aimed at, and what is accepted where rounding does not let it get there."""
        return _tolerances(self.tol, dtype)


def _check(tol: float | None, max_iter: int = 1) -> None:
    if tol is not None:
        check_number(tol, "tol")
        if not 0 < tol < 1:
            raise ValueError(f"tol must be in (0, 1) or None, got {tol}")
    check_count(max_iter, "max_iter")


def _tolerances(tol: float | None, dtype: torch.dtype) -> tuple[float, float]:
    if tol is not None:
        return tol, tol
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


@dataclass(frozen=True)
class Auto:
    """The solver that was fastest on graphs like the given one: :class:`CG`, :class:`Direct` or :class:`Multigrid`.

    By the rule of :func:`~pyg_relational.ops.linear.auto.choose`; ``solver=None`` is ``Auto()``.
    :attr:`SolveInfo.solver` says which one ran.

    Args:
        tol: Relative tolerance, as of :class:`CG`. :class:`Direct` refines to 1e-12 in any case, and is held to this.
        strict: Raise :class:`ConvergenceError` instead of warning where the tolerance is not reached.

    Raises:
        ValueError: If ``tol`` is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import laplace_propagation
        >>> from pyg_relational.ops import Auto
        >>> path, y = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.tensor([0, -1, 1])
        >>> u, info = laplace_propagation(path, None, y, solver=Auto(tol=1e-4), return_info=True)
        >>> info.solver
        'CG'
    """

    tol: float | None = None
    strict: bool = False

    def __post_init__(self) -> None:
        _check(self.tol)

    def tolerances(self, dtype: torch.dtype) -> tuple[float, float]:
        """What is aimed at, and what is accepted where rounding does not let it get there."""
        return _tolerances(self.tol, dtype)


Chosen = CG | Direct | Multigrid
Solver = Chosen | Auto


def check_solver(solver: Any) -> None:
    """Raise ``TypeError`` unless ``solver`` is a solver or ``None``.

    Args:
        solver: The argument to check.
    """
    if not isinstance(solver, Solver | None):
        solvers = ", ".join(f"{kind.__name__}(...)" for kind in get_args(Solver))
        raise TypeError(f"solver must be {solvers} or None, got {solver!r}")


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
