"""The matrix of a grounded Laplacian as conjugate gradients see it, with its preconditioner."""

import math

import scipy.sparse
import torch
from torch import Tensor

from pyg_relational.ops.checks import floats
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.graph.spmm import csr_matrix
from pyg_relational.ops.linear.aggregation import aggregate, coarse_matrix, strong_edges
from pyg_relational.ops.linear.cg import conjugate_round, largest
from pyg_relational.ops.linear.components import WEAK, Grounding, direct_share
from pyg_relational.ops.linear.multigrid import VCycle
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.solvers import CG, Multigrid

__all__ = ["LOOK", "ScaledLaplacian"]

# Seconds of CG() below are of one thread on k = 10 neighbours of Gaussian points with 20 labels, 10 classes.
_LARGE = 20_000  # nodes from which the coarse system pays at once. At once, later: 20,000 .20, .18; 50,000 .36, .47
_FEW_LABELS = 0.01  # share of labels below which. At once, later, 100,000 in 16-d: 20 labels .82, 1.58; 1,000 1.07, .82
_COARSE = 2048  # its most unknowns. At 512, 1,024, 2,048, 4,096: 100,000 in 3-d 3.9, 2.4, 2.0, 4.3
_SMALL = 1e3  # growth not looked at closer. At 1e1, 1e3, 1e5: 10,000 in 16-d, 1,000 labels, .058, .060, .056
_LIMIT = 1e5  # growth that needs a coarse system. At 1e3, 1e5, 1e7: 20,000 in 16-d .26, .15, .16
_JITTER = 1e-13  # of a coarse diagonal that rounding may have made indefinite: 2,048 terms of 1.1e-16 are 2e-13
_CRUDE = 1e-2  # accuracy of that look. At .1, .01, .001: 10,000 in 16-d 49, 32, 36 iterations; in 3-d .22, .26, .26
_FEW = 60  # its most iterations. At 20, 60, 200: 10,000 in 3-d .25, .30, .29; 16-d .065, .066, .072
# Largest A^-1 D 1 from which a cycle's iterations begin in float64. Seconds in float32 and float64: 2-d grid of 500,000
# nodes (1.4e5) 4.9, 7.9; path of 10,000 (3.8e5) .15, .08; roads of 10,000 (4.3e5) .17, .11; bridge (7e8) 3.6, 2.2.
_FLOAT32 = 2e5
# Of a row's sum. A bound: over bridges of 1e-9 it says 2e-5, and off is 1e-6 to 2e-6.
_ROUNDING = 2.0**-53
# Iterations of a crude solve from which values travel far. Of 10,000 and 100,000 points in 16-d it takes 10 and 12; in
# 3-d 77 and 175, in 2-d 200, on grids 64 to 181, on roads and over a bridge more than 300.
LOOK = 30


class ScaledLaplacian:
    """A shifted Laplacian, scaled to a unit diagonal, zero at fixed nodes.

    Args:
        operator: The matrix.
        grounding: What floats, and whether something is weakly held.

    Raises:
        ValueError: If a power of it leaves the range of float64.
    """

    def __init__(self, operator: ShiftedLaplacian, grounding: Grounding) -> None:
        self.operator = operator
        self.grounding = grounding
        row, col = operator.edge_index
        weight, diagonal = operator.weight, operator.diagonal
        if operator.order > 1:
            self.mass = torch.ones_like(diagonal) if operator.mass is None else operator.mass
            diagonal = _power_diagonal(operator, self.mass)
        self.scale = diagonal.masked_fill(operator.outside, torch.inf).rsqrt()
        self.free = ~operator.outside[:, None]
        if operator.order == 1:
            weight = weight * self.scale.index_select(0, row) * self.scale.index_select(0, col)
        self.neighbours = {torch.float64: operator.matrix(weight)}
        self.coarse: dict[torch.dtype, tuple[Tensor, Tensor, Tensor]] = {}
        self.cycle: VCycle | None = None
        self.growth = 1.0
        self.rounding = 0.0
        self.exact = False
        self.dtype = torch.float32
        self._prepared = False

    def prepare(self, solver: CG | Multigrid) -> None:
        """Make, at the first call, the preconditioner that the solver asks for; look at how far it can be trusted.

        Raises:
            ValueError: If ``Multigrid()`` is asked for on CUDA or for a power of the matrix.
            ImportError: If ``Multigrid()`` is asked for and pyamg is not installed.
        """
        if self._prepared:
            return
        self._prepared = True
        fixed, order, n = self.operator.fixed, self.operator.order, len(self.scale)
        if isinstance(solver, Multigrid):
            self.cycle = self._cycle()
        if self.grounding.weak:
            self.strengthen()
        elif self.cycle is not None:
            self._measure()
        elif n > _LARGE and int(fixed.sum()) < _FEW_LABELS * n:
            self._add_coarse()
        elif order == 1:
            self.growth = self._growth()
            self.rounding = self.growth * _ROUNDING
        if self.growth > _LIMIT:
            self.strengthen()
        if self.rounding > solver.tolerances(torch.float64)[1] / 2:
            self.exact, self.rounding = True, 0.0

    def _cycle(self) -> VCycle:
        if self.scale.is_cuda:
            raise ValueError("solver=Multigrid() wants tensors on the CPU, got cuda; take CG()")
        if self.operator.order > 1:
            raise ValueError(
                f"solver=Multigrid() wants order=1, got {self.operator.order}; take CG() or Direct()"
            )
        off, n = self.neighbours[torch.float64], len(self.scale)
        parts = (p.numpy() for p in (off.values(), off.col_indices(), off.crow_indices()))
        one = scipy.sparse.eye_array(n, format="csr")
        matrix = (one - scipy.sparse.csr_array(tuple(parts), shape=(n, n))).tocsr()
        root = self.scale.where(self.free[:, 0], torch.inf).reciprocal()
        return VCycle(matrix, root.numpy())

    def apply(self, x: Tensor) -> Tensor:
        """Product in the number type of ``x``."""
        neighbours = self._neighbours(x.dtype)
        if self.operator.order == 1:
            return torch.addmm(x, neighbours, x, alpha=-1)
        scale = self.scale[:, None].to(x.dtype)
        x = x * scale
        for left in range(self.operator.order, 0, -1):
            x = torch.addcmul(-(neighbours @ x), self.operator.diagonal[:, None].to(x.dtype), x)
            if left > 1:
                x = x / self.mass[:, None].to(x.dtype)
        return x * scale

    def _neighbours(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self.neighbours:
            values = self.neighbours[torch.float64].values()
            self.neighbours[dtype] = self.operator.matrix(values.to(dtype))
        return self.neighbours[dtype]

    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        """What ``x`` leaves of ``b``, projected; by differences along edges where sums would lose it."""
        if not self.exact:
            return self.project(b - self.apply(x))
        return self.project(b - self.operator.flux(self.unscale(x)) * self.scale[:, None])

    def strengthen(self) -> None:
        """Add the coarse system to the preconditioner, and take residuals by differences."""
        if self.operator.order == 1 and not (self.coarse and self.exact):
            self.exact = True
            self._add_coarse()
            self._measure()

    def _add_coarse(self) -> None:
        if self.operator.order == 1 and not self.coarse:
            self.coarse[torch.float64] = self._coarse()

    def look(self) -> int:
        """Iterations that a crude solve takes, at most 30: many where values travel far."""
        return conjugate_round(self, self._steady(), torch.float32, _CRUDE, LOOK)[1]

    def _steady(self) -> Tensor:
        """Scaled :math:`D 1`, with both signs where components float: the right-hand side of most iterations."""
        halves = torch.arange(len(self.scale), device=self.scale.device) < len(self.scale) // 2
        sign = torch.where(self.grounding.floating & halves, -1.0, 1.0)[:, None]
        return self.project((sign / self.scale[:, None]).where(self.free, 0.0))

    def _growth(self) -> float:
        r"""Bound of how much larger than its residual an error is: of :math:`\lVert A^{-1} D \rVert_\infty`.

        :math:`D` is the diagonal of :math:`A`, whose inverse has no negative entry: where :math:`A v \ge \theta D 1`,
        it is at most :math:`\max v / \theta`. First :math:`v = 1`, then an approximate solution of :math:`A v = D 1`.
        """
        floating, share = self.grounding.floating, self.grounding.share
        if share is None:
            share = direct_share(self.operator, floating).item()
        growth = 1 / share if share > 0 else math.inf
        if growth == 0:
            return 1.0  # nothing is free
        if growth > _SMALL:
            left_out = self.operator.outside | floating
            b = self.scale.reciprocal().masked_fill(left_out, 0.0)[:, None]
            growth = self._bound(conjugate_round(self, b, torch.float32, _CRUDE, _FEW)[0], b)
        return growth

    def _measure(self) -> None:
        r"""How much larger :math:`A^{-1} D 1` is than :math:`M^{-1} D 1`, by a crude solution.

        Where it is too large for a cycle's float32, iterations begin in float64 and residuals are taken by differences.
        """
        b = self._steady()
        x, count = conjugate_round(self, b, torch.float64, _CRUDE, _FEW)
        ends = (largest(self.unscale(y))[0] for y in (x, self.precondition(b)))
        size, first = floats(*ends)
        self.growth = max(1.0, size / first) if first > 0 else 1.0
        if self.cycle is not None and size > _FLOAT32:
            self.dtype, self.exact = torch.float64, True
        if count == _FEW and not self.coarse:
            self.growth = math.inf
        self.rounding = 0.0 if self.exact else size * _ROUNDING

    def _bound(self, x: Tensor, b: Tensor) -> float:
        least = (self.apply(x) / b).masked_fill(b == 0, math.inf).min()
        low, high = floats(least, self.unscale(x).max())
        if low == math.inf:
            return 1.0  # there is no b > 0
        return high / low if low > 0 else math.inf

    def _coarse(self) -> tuple[Tensor, Tensor, Tensor]:
        """The scaled indicator of clusters, its transpose, and the inverse of the system over them."""
        operator, free = self.operator, self.free[:, 0]
        row, col = operator.edge_index
        strength = operator.weight * (free.index_select(0, row) & free.index_select(0, col))
        strong = strength * strong_edges(operator.edge_index, operator.weight, len(free), WEAK)
        most = _COARSE + int((~free).sum())  # the others stay alone
        fewest = most if self.cycle is None else 1  # a cycle misses weakly held clusters alone
        cluster = aggregate(operator.edge_index, strong, len(free), fewest)
        if int(cluster.max()) >= most:
            cluster = aggregate(operator.edge_index, strength, len(free), most)
        used = torch.zeros_like(cluster).index_fill_(0, cluster[free], 1)
        cluster = (used.cumsum(0) - 1).clamp(min=0)[cluster]
        count = int(used.sum())
        matrix = coarse_matrix(
            operator.edge_index, operator.weight, operator.shift, cluster, free, count
        )
        matrix += self._gauge(cluster, count, matrix)
        root = self.scale.where(free, 1.0).reciprocal() * free
        node = torch.arange(len(free), device=root.device)
        prolong = csr_matrix(node, cluster, root, (len(free), count))
        restrict = csr_matrix(cluster, node, root, (count, len(free)))
        return prolong, restrict, _inverse(matrix)

    def _gauge(self, cluster: Tensor, count: int, matrix: Tensor) -> Tensor:
        """Makes the matrix definite where a component floats; acts on its constants alone."""
        floating, component = self.grounding.floating & self.free[:, 0], self.grounding.component
        group = cluster.new_full((count,), -1)
        group[cluster[floating]] = component[floating]
        together = (group[:, None] == group) & (group >= 0)
        size = matrix.diagonal().mean()
        return together * size.where(size > 0, 1.0) / together.sum(1).clamp(min=1)[:, None]

    def precondition(self, r: Tensor) -> Tensor:
        """The diagonal, which is 1, or the cycle, and where there is one the coarse system."""
        z = r if self.cycle is None else self.cycle(r, self.apply)
        if not self.coarse:
            return z
        if r.dtype not in self.coarse:
            some = self.coarse[torch.float64]
            self.coarse[r.dtype] = (some[0].to(r.dtype), some[1].to(r.dtype), some[2].to(r.dtype))
        prolong, restrict, inverse = self.coarse[r.dtype]
        return torch.addmm(z, prolong, inverse @ (restrict @ r))

    def project(self, x: Tensor) -> Tensor:
        """Take the part that a floating component cannot hold out of a right-hand side."""
        if not self.grounding.floats:
            return x
        positive = self.scale[:, None].where(self.free, 1.0)
        return (self.grounding.centred(x / positive) * positive).where(self.free, 0.0)

    def unscale(self, x: Tensor) -> Tensor:
        """Values of the nodes."""
        return x * self.scale[:, None]

    def largest(self, x: Tensor) -> Tensor:
        """Largest absolute value of each column."""
        return largest(x)


def _power_diagonal(operator: ShiftedLaplacian, mass: Tensor) -> Tensor:
    """About the diagonal of a power: that of the matrix, and what a second factor adds, to the power."""
    diagonal = operator.diagonal
    ends = operator.weight.square() / mass[operator.edge_index[1]]
    square = diagonal.square() / mass + degree(operator.edge_index, ends, len(diagonal))
    power = diagonal * (square / diagonal.where(diagonal > 0, 1.0)) ** (operator.order - 1)
    if not torch.equal(diagonal > 0, (power > 0) & torch.isfinite(power)):
        raise ValueError(
            f"edge_weight to the power order={operator.order} must stay in the range of float64; scale it"
        )
    return power


def _inverse(matrix: Tensor) -> Tensor:
    """Inverse of a symmetric matrix that is positive definite but for rounding."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed):
        factor = torch.linalg.cholesky(matrix + torch.diag(_JITTER * matrix.diagonal()))
    return torch.cholesky_inverse(factor)
