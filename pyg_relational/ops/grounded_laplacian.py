"""The equation that label propagation solves: a shifted graph Laplacian with values held at some nodes."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from pyg_relational.ops.components import connected_components
from pyg_relational.ops.implicit import implicit_solve
from pyg_relational.ops.laplacian import degree, laplacian_product
from pyg_relational.ops.solve import CG, Direct, SolveInfo, Solver, conjugate_gradients, report
from pyg_relational.ops.spmm import csr_matrix


class GroundedLaplacian:
    r"""The equation :math:`u = y` on fixed nodes, :math:`B (M^{-1} B)^{m-1} u = f`, :math:`B = L + \operatorname{diag}(\delta)`, on the others.

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
        self.edge_index = edge_index
        self.fixed = fixed
        self.order = order
        self.solver = solver or CG()
        self.initial = initial
        self.info: SolveInfo | None = None
        with torch.no_grad():
            self.weight, self.shift = weight.double(), shift.double()
            self.mass = [] if mass is None else [mass.double()]
            self.component, self.floating = self._floating()
        self._factors: scipy.sparse.linalg.SuperLU | None = None
        self._system: ScaledLaplacian | None = None

    def _floating(self) -> tuple[Tensor, Tensor]:
        """Components, and the nodes of those that nothing holds."""
        held = self.fixed | (self.shift > 0)
        if bool(held.all()):
            return torch.zeros_like(held, dtype=torch.int64), ~held
        n = held.shape[0]
        component = connected_components(self.edge_index[:, self.weight > 0], n)
        free = torch.ones(n, dtype=torch.bool, device=held.device)
        free[component[held]] = False
        return component, free[component]

    def solve(self, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Solution for ``rhs``, which holds values at fixed nodes and sources at the others."""
        rhs64 = rhs.double()
        at_fixed = rhs64.where(self.fixed[:, None], 0.0)
        source = (rhs64 - self.operator(at_fixed)).where(~self.fixed[:, None], 0.0)
        direct = isinstance(self.solver, Direct)
        u = self._direct(source) if direct else self._iterate(source, at_fixed, rhs.dtype)
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

    def _iterate(self, source: Tensor, at_fixed: Tensor, dtype: torch.dtype) -> Tensor:
        assert isinstance(self.solver, CG)
        self._system = self._system or ScaledLaplacian(self)
        scale = self._system.scale[:, None]
        start = None
        if self.initial is not None:
            start = self.initial.double().where(~self.fixed[:, None], 0.0)
            start = start * scale.where(scale > 0, torch.inf).reciprocal()
            self.initial = None
        size = at_fixed.abs().amax(0) if len(at_fixed) else at_fixed.new_zeros(at_fixed.shape[1])
        tol = self.solver.tolerance(dtype)
        x, info = conjugate_gradients(
            self._system, source * scale, start, size, tol, self.solver.max_iter
        )
        report(info, self.solver, "the linear solve")
        self.info = self.info or info
        return self.centred(x * scale)

    def _direct(self, source: Tensor) -> Tensor:
        if source.is_cuda:
            raise ValueError("solver=Direct() wants tensors on the CPU, got cuda; take CG()")
        self._factors = self._factors or self._factorise()
        rows = self._solvable()
        u = np.zeros(source.shape)
        u[rows] = self._factors.solve(self.centred(source).numpy()[rows])
        u64 = torch.from_numpy(u)
        residual = (self.operator(u64) - self.centred(source)).where(~self.fixed[:, None], 0.0)
        self.info = self.info or SolveInfo(0, residual.abs().amax(0), True)
        return self.centred(u64)

    def _solvable(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Nodes that are neither fixed nor the first of a floating component, whose value is held at 0."""
        first = torch.full_like(self.component, len(self.component))
        node = torch.arange(len(self.component))
        first.scatter_reduce_(0, self.component, node, "amin")
        pinned = self.floating & (first[self.component] == node)
        return (~self.fixed & ~pinned).numpy()

    def _factorise(self) -> scipy.sparse.linalg.SuperLU:
        n = len(self.fixed)
        row, col = self.edge_index.numpy()
        w = scipy.sparse.coo_array((self.weight.numpy(), (row, col)), shape=(n, n)).tocsr()
        diagonal = degree(self.edge_index, self.weight, n) + self.shift
        power = matrix = scipy.sparse.diags_array(diagonal.numpy()).tocsr() - w
        mass = self.mass[0].numpy() if self.mass else np.ones(n)
        for _ in range(self.order - 1):
            power = power @ scipy.sparse.diags_array(1 / mass) @ matrix
        rows = np.flatnonzero(self._solvable())
        return scipy.sparse.linalg.splu(
            power[rows][:, rows].tocsc(), "MMD_AT_PLUS_A", options={"SymmetricMode": True}
        )


class ScaledLaplacian:
    """The matrix of a :class:`GroundedLaplacian`, scaled to a unit diagonal, zero at fixed nodes."""

    def __init__(self, equation: GroundedLaplacian) -> None:
        self.equation = equation
        n = len(equation.fixed)
        row, col = equation.edge_index
        weight = equation.weight * (row != col)
        diagonal = degree(equation.edge_index, weight, n) + equation.shift
        if equation.order > 1:
            self.mass = equation.mass[0] if equation.mass else torch.ones_like(diagonal)
            ends = weight.square() / self.mass[col]
            square = diagonal.square() / self.mass + degree(equation.edge_index, ends, n)
            diagonal = diagonal * (square / diagonal.where(diagonal > 0, 1.0)) ** (
                equation.order - 1
            )
        usable = ~equation.fixed & (diagonal > 0)
        self.scale = diagonal.where(usable, torch.inf).rsqrt()
        self.free = usable[:, None]
        if equation.order == 1:
            weight = weight * self.scale[row] * self.scale[col]
        self.neighbours = {torch.float64: csr_matrix(row, col, weight, (n, n))}
        self.shifted = degree(equation.edge_index, weight, n) + equation.shift

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

    def precondition(self, r: Tensor) -> Tensor:
        """The diagonal is 1."""
        return r

    def project(self, x: Tensor) -> Tensor:
        """Take the part that a floating component cannot hold out of a right-hand side."""
        if not bool(self.equation.floating.any()):
            return x
        positive = self.scale[:, None].where(self.free, 1.0)
        return (self.equation.centred(x / positive) * positive).where(self.free, 0.0)

    def unscale(self, x: Tensor) -> Tensor:
        """Values of the nodes."""
        return x * self.scale[:, None]
