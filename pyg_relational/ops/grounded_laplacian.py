"""The equation that label propagation solves: a shifted graph Laplacian with values held at some nodes."""

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse.linalg import SuperLU

from pyg_relational.ops.aggregation import aggregate, coarse_matrix, strong_edges
from pyg_relational.ops.components import connected_components
from pyg_relational.ops.implicit import implicit_solve
from pyg_relational.ops.laplacian import degree, laplacian_product
from pyg_relational.ops.solve import (
    CG,
    Direct,
    SolveInfo,
    Solver,
    _round,
    conjugate_gradients,
    report,
)
from pyg_relational.ops.spmm import csr_matrix

_WEAK = 1e-3  # an edge below this share of its ends' heaviest is not counted on to converge
_NOTHING = 2.0**-50  # an edge below this share is lost in rounding
_DECADES = 3  # of weights that are looked at together
_LARGE = 20_000  # nodes from which a coarse system pays
_COARSE = 2048  # most unknowns of it
_SMALL, _LIMIT = 1e3, 1e5  # growth that is not looked at closer, and that needs a coarse system
_CRUDE, _FEW = 1e-2, 60  # accuracy of that look, and its iterations at most


def _not_held(edge_index: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Components, and the nodes of those without a held one."""
    component = connected_components(edge_index, len(held))
    free = torch.ones_like(held)
    free[component[held]] = False
    return component, free[component]


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of a symmetric matrix that is positive definite but for rounding."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed):
        factor = torch.linalg.cholesky(matrix + torch.diag(1e-13 * matrix.diagonal()))
    return torch.cholesky_inverse(factor)


def _where(edge_index: Tensor, keep: Tensor) -> Tensor:
    if bool(keep.all()):
        return edge_index
    return edge_index.index_select(1, keep.nonzero()[:, 0])


class GroundedLaplacian:
    r"""The equation :math:`u = y` on fixed nodes and :math:`B (M^{-1} B)^{m-1} u = f` on the others.

    Here :math:`B = L + \operatorname{diag}(\delta)`.
    A component without fixed nodes and shift floats: there :math:`u` is the solution of mean zero for :math:`f` less
    its mean. An instance belongs to one weighting of the graph: what it prepares serves forward and backward.

    Args:
        edge_index: Edges, in both directions.
        weight: Their weights.
        shift: :math:`\delta \ge 0` of every node.
        fixed: Nodes whose values are given.
        mass: :math:`M`, a diagonal; ``None`` for the identity.
        order: :math:`m`.
        solver: How to solve.
        initial: Where iterations of the forward solve start.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, ``shift``, ``fixed``, ``mass``: :math:`[n]`,
        ``initial``: :math:`[n, c]`.
    """

    def __init__(
        self,
        edge_index: Tensor,
        weight: Tensor,
        shift: Tensor,
        fixed: Tensor,
        mass: Tensor | None = None,
        order: int = 1,
        solver: Solver | None = None,
        initial: Tensor | None = None,
    ) -> None:
        if not isinstance(solver, CG | Direct | None):
            raise TypeError(f"solver must be CG(...) or Direct(...), got {solver!r}")
        self.edge_index = edge_index
        self.fixed = fixed
        self.order = order
        self.solver = solver or CG()
        self.initial = initial
        self.info: SolveInfo | None = None
        with torch.no_grad():
            self.weight, self.shift = weight.double(), shift.double()
            self.mass = [] if mass is None else [mass.double()]
            self.component, self.floating, self.weak = self._floating()
        self._factors: SuperLU | None = None
        self._system: ScaledLaplacian | None = None

    def _floating(self) -> tuple[Tensor, Tensor, bool]:
        """Components, the nodes of those that nothing holds, and whether something is held weakly only."""
        n = len(self.fixed)
        size = degree(self.edge_index, self.weight, n)
        none = torch.zeros_like(self.fixed)
        if bool((self.fixed | (self.shift > _WEAK * size)).all()):
            return none.long(), none, False
        loose = self._loose(_WEAK)
        if not bool(loose.any()):
            return none.long(), none, False
        lost = self._loose(_NOTHING)
        row, col = self.edge_index
        felt = strong_edges(self.edge_index, self.weight, n, _NOTHING)
        felt &= lost.index_select(0, row) == lost.index_select(0, col)
        held = self.fixed | ((self.shift > 0) & ~lost)
        component, floating = _not_held(_where(self.edge_index, felt), held)
        return component, floating, not torch.equal(loose, floating)

    def _loose(self, share: float) -> Tensor:
        """Nodes with an edge on every way to a fixed one that is lighter than about a share of their own heaviest."""
        row, col = self.edge_index
        inner = self.weight * (row != col)
        top = torch.zeros_like(self.shift).scatter_reduce_(0, row, inner, "amax")
        loose = ~self.fixed & (top == 0) & (self.shift == 0)
        level = (top.log10() / _DECADES).floor()
        for number in level[~self.fixed & (top > 0)].unique().tolist():
            least = share * 10.0 ** (_DECADES * number)
            some = _where(self.edge_index, inner > least)
            unheld = _not_held(some, self.fixed | (self.shift > least))[1]
            loose |= unheld & (level == number)
        return loose

    def solve(self, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Solution for ``rhs``, which holds values at fixed nodes and sources at the others."""
        rhs64 = rhs.double()
        at_fixed = rhs64.where(self.fixed[:, None], 0.0)
        source = (rhs64 - self.operator(at_fixed)).where(~self.fixed[:, None], 0.0)
        if isinstance(self.solver, Direct):
            u = self._direct(source, rhs.dtype)
        else:
            u = self._iterate(source, at_fixed, self.solver, rhs.dtype)
        return (u + at_fixed).to(rhs.dtype)

    def residual(self, u: Tensor, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Left side less right side, differentiable."""
        return self._product(u, *theta).where(~self.fixed[:, None], u) - rhs

    def adjoint(self, u: Tensor, grad: Tensor, rhs: Tensor, *theta: Tensor) -> Tensor:
        """The same equation for values 0 at fixed nodes, and what its flux leaves there."""
        fixed = self.fixed[:, None]
        inner = implicit_solve(self, grad.where(~fixed, 0.0), *theta)
        return inner.where(~fixed, grad - self._product(inner, *theta))

    def operator(self, u: Tensor) -> Tensor:
        """Product in float64, without gradient."""
        with torch.no_grad():
            return self._product(u, self.weight, self.shift, *self.mass)

    def _product(self, u: Tensor, weight: Tensor, shift: Tensor, *mass: Tensor) -> Tensor:
        for left in range(self.order, 0, -1):
            u = laplacian_product(self.edge_index, weight, u) + shift[:, None] * u
            if mass and left > 1:
                u = u / mass[0][:, None]
        return u

    def centred(self, x: Tensor) -> Tensor:
        """``x`` less its mean over each floating component."""
        if not bool(self.floating.any()):
            return x
        where = self.component
        total = torch.zeros_like(x).index_add_(0, where, x)
        count = x.new_zeros(len(x)).index_add_(0, where, x.new_ones(len(x)))
        mean = total / count.clamp(min=1)[:, None]
        return x - mean[where] * self.floating[:, None]

    def _iterate(self, source: Tensor, at_fixed: Tensor, solver: CG, dtype: torch.dtype) -> Tensor:
        self._system = self._system or ScaledLaplacian(self)
        scale = self._system.scale[:, None]
        start = None
        if self.initial is not None:
            _check_initial(self.initial, source)
            start = self.initial.double().where(~self.fixed[:, None], 0.0)
            start = start * scale.where(scale > 0, torch.inf).reciprocal()
            self.initial = None
        size = at_fixed.abs().amax(0) if len(at_fixed) else at_fixed.new_zeros(at_fixed.shape[1])
        tol = solver.tolerances(dtype)
        x, info = conjugate_gradients(
            self._system, source * scale, start, size, tol, solver.max_iter
        )
        report(info, solver, "the linear solve")
        self.info = self.info or info
        return self.centred(x * scale)

    def _direct(self, source: Tensor, dtype: torch.dtype) -> Tensor:
        """By factors, then refined once; the size of the refinement tells how far off it may be."""
        if source.is_cuda:
            raise ValueError("solver=Direct() wants tensors on the CPU, got cuda; take CG()")
        self._factors = self._factors or self._factorise()
        rows, source = self._solvable(), self.centred(source)
        u, step = torch.zeros_like(source), source
        for _ in range(2):
            u[rows] += torch.from_numpy(self._factors.solve(step[rows].numpy()))
            step = source - self.operator(u)
        step = torch.from_numpy(self._factors.solve(step[rows].numpy()))
        off = step.abs().amax(0) if len(step) else source.new_zeros(source.shape[1])
        off = off / u.abs().amax(0).clamp(min=1.0)
        info = SolveInfo(0, off, bool((off <= CG().tolerances(dtype)[1]).all()))
        report(info, self.solver, "the linear solve")
        self.info = self.info or info
        return self.centred(u)

    def _solvable(self) -> Tensor:
        """Nodes that are neither fixed nor the first of a floating component, whose value is held at 0."""
        first = torch.full_like(self.component, len(self.component))
        node = torch.arange(len(self.component))
        first.scatter_reduce_(0, self.component, node, "amin")
        pinned = self.floating & (first[self.component] == node)
        return (~self.fixed & ~pinned).nonzero()[:, 0]

    def _factorise(self) -> "SuperLU":
        from scipy.sparse.linalg import splu

        n = len(self.fixed)
        row, col = self.edge_index.numpy()
        w = scipy.sparse.coo_array((self.weight.numpy(), (row, col)), shape=(n, n)).tocsr()
        diagonal = degree(self.edge_index, self.weight, n) + self.shift
        power = matrix = scipy.sparse.diags_array(diagonal.numpy()).tocsr() - w
        mass = self.mass[0].numpy() if self.mass else np.ones(n)
        for _ in range(self.order - 1):
            power = power @ scipy.sparse.diags_array(1 / mass) @ matrix
        rows = self._solvable().numpy()
        return splu(power[rows][:, rows].tocsc(), "MMD_AT_PLUS_A", options={"SymmetricMode": True})


def _check_initial(initial: Tensor, source: Tensor) -> None:
    if initial.shape != source.shape:
        raise ValueError(f"initial must have shape {list(source.shape)}, got {list(initial.shape)}")
    if not bool(torch.isfinite(initial).all()):
        raise ValueError("initial must be finite, got NaN or infinity")


class ScaledLaplacian:
    """The matrix of a :class:`GroundedLaplacian`, scaled to a unit diagonal, zero at fixed nodes."""

    def __init__(self, equation: GroundedLaplacian) -> None:
        self.equation = equation
        n = len(equation.fixed)
        row, col = equation.edge_index
        weight = equation.weight * (row != col)
        diagonal = degree(equation.edge_index, weight, n) + equation.shift
        if equation.order > 1:
            positive = diagonal > 0
            self.mass = equation.mass[0] if equation.mass else torch.ones_like(diagonal)
            ends = weight.square() / self.mass[col]
            square = diagonal.square() / self.mass + degree(equation.edge_index, ends, n)
            diagonal = diagonal * (square / diagonal.where(diagonal > 0, 1.0)) ** (
                equation.order - 1
            )
            if not torch.equal(positive, (diagonal > 0) & torch.isfinite(diagonal)):
                raise ValueError(
                    f"edge_weight to the power order={equation.order} must stay in the range of float64; scale it"
                )
        usable = ~equation.fixed & (diagonal > 0)
        self.scale = diagonal.where(usable, torch.inf).rsqrt()
        self.free = usable[:, None]
        if equation.order == 1:
            weight = weight * self.scale.index_select(0, row) * self.scale.index_select(0, col)
        self.neighbours = {torch.float64: csr_matrix(row, col, weight, (n, n))}
        self.shifted = degree(equation.edge_index, weight, n) + equation.shift
        self.coarse: dict[torch.dtype, tuple[Tensor, Tensor, Tensor]] = {}
        self.growth = 1.0
        if equation.weak or n > _LARGE:
            self.strengthen()
        elif equation.order == 1:
            self.growth = self._growth()
            if self.growth > _LIMIT:
                self.strengthen()

    def apply(self, x: Tensor) -> Tensor:
        """Product in the number type of ``x``."""
        neighbours = self._neighbours(x.dtype)
        if self.equation.order == 1:
            return torch.addmm(x, neighbours, x, alpha=-1)
        scale = self.scale[:, None].to(x.dtype)
        x = x * scale
        for left in range(self.equation.order, 0, -1):
            x = torch.addcmul(-(neighbours @ x), self.shifted[:, None].to(x.dtype), x)
            if left > 1:
                x = x / self.mass[:, None].to(x.dtype)
        return x * scale

    def _neighbours(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self.neighbours:
            self.neighbours[dtype] = self.neighbours[torch.float64].to(dtype)
        return self.neighbours[dtype]

    def strengthen(self) -> None:
        """Add the coarse system to the preconditioner."""
        if self.equation.order == 1 and not self.coarse:
            self.coarse[torch.float64] = self._coarse()
            self.growth = 1.0

    def _growth(self) -> float:
        r"""Bound of how much larger than its residual an error is: of :math:`\lVert A^{-1} D \rVert_\infty`.

        :math:`D` is the diagonal of :math:`A`, whose inverse has no negative entry: where :math:`A v \ge \theta D 1`,
        it is at most :math:`\max v / \theta`. First :math:`v = 1`, then an approximate solution of :math:`A v = D 1`.
        """
        free = self.free & ~self.equation.floating[:, None]
        b = self.scale[:, None].reciprocal().where(free, 0.0)
        growth = self._bound(b, b)
        if growth > _SMALL:
            growth = self._bound(_round(self, b, torch.float32, _CRUDE, _FEW)[0], b)
        return growth

    def _bound(self, x: Tensor, b: Tensor) -> float:
        least = (self.apply(x) / b)[b > 0]
        if len(least) == 0:
            return 1.0
        low = least.min().item()
        return self.unscale(x).max().item() / low if low > 0 else math.inf

    def _coarse(self) -> tuple[Tensor, Tensor, Tensor]:
        """The scaled indicator of clusters, its transpose, and the inverse of the system over them."""
        equation, free = self.equation, self.free[:, 0]
        row, col = equation.edge_index
        strength = equation.weight * (free.index_select(0, row) & free.index_select(0, col))
        strong = strength * strong_edges(equation.edge_index, equation.weight, len(free), _WEAK)
        cluster = aggregate(equation.edge_index, strong, len(free), _COARSE)
        if int(cluster.max()) >= _COARSE:
            cluster = aggregate(equation.edge_index, strength, len(free), _COARSE)
        used = torch.zeros_like(cluster).index_fill_(0, cluster[free], 1)
        cluster = (used.cumsum(0) - 1).clamp(min=0)[cluster]
        count = int(used.sum())
        matrix = coarse_matrix(
            equation.edge_index, equation.weight, equation.shift, cluster, free, count
        )
        matrix += self._gauge(cluster, count, matrix)
        root = self.scale.where(free, 1.0).reciprocal() * free
        node = torch.arange(len(free), device=root.device)
        prolong = csr_matrix(node, cluster, root, (len(free), count))
        restrict = csr_matrix(cluster, node, root, (count, len(free)))
        return prolong, restrict, _inverse(matrix)

    def _gauge(self, cluster: Tensor, count: int, matrix: Tensor) -> Tensor:
        """Makes the matrix definite where a component floats; acts on its constants alone."""
        floating, component = self.equation.floating & self.free[:, 0], self.equation.component
        group = cluster.new_full((count,), -1)
        group[cluster[floating]] = component[floating]
        together = (group[:, None] == group) & (group >= 0)
        return together * matrix.diagonal().mean() / together.sum(1).clamp(min=1)[:, None]

    def precondition(self, r: Tensor) -> Tensor:
        """The diagonal, which is 1, and where there is one the coarse system."""
        if not self.coarse:
            return r
        if r.dtype not in self.coarse:
            some = self.coarse[torch.float64]
            self.coarse[r.dtype] = (some[0].to(r.dtype), some[1].to(r.dtype), some[2].to(r.dtype))
        prolong, restrict, inverse = self.coarse[r.dtype]
        return torch.addmm(r, prolong, inverse @ (restrict @ r))

    def project(self, x: Tensor) -> Tensor:
        """Take the part that a floating component cannot hold out of a right-hand side."""
        if not bool(self.equation.floating.any()):
            return x
        positive = self.scale[:, None].where(self.free, 1.0)
        return (self.equation.centred(x / positive) * positive).where(self.free, 0.0)

    def unscale(self, x: Tensor) -> Tensor:
        """Values of the nodes."""
        return x * self.scale[:, None]
