"""The equation that label propagation solves: a shifted graph Laplacian with values held at some nodes."""

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse.linalg import SuperLU

from pyg_relational.ops.autograd.functorch import plainly
from pyg_relational.ops.graph.components import connected_components
from pyg_relational.ops.graph.laplacian import laplacian_product
from pyg_relational.ops.graph.spmm import csr_matrix
from pyg_relational.ops.linear.aggregation import strong_edges
from pyg_relational.ops.linear.auto import choose
from pyg_relational.ops.linear.cg import conjugate_gradients
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.scaled import WEAK, ScaledLaplacian
from pyg_relational.ops.linear.solvers import CG, Direct, Multigrid, SolveInfo, Solver, report

__all__ = ["GroundedLaplacian"]

_NOTHING = (
    2.0**-50
)  # an edge below this share is lost in rounding: 4 units in the last place of float64
# That are tried before components are looked for. At 0, 4, 8, 16, with 20 labels and k = 10 neighbours of 100,000
# points .22, .18, .05, .05 s in 16-d and .13, .15, .15, .06 in 3-d; on a 2-d grid .026, .029, .032, .036.
_STEPS = 8
_DECADES = 3  # of weights that are looked at together: as many as WEAK allows for


def _not_held(edge_index: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Components, and the nodes of those without a held one."""
    component = connected_components(edge_index, len(held))
    free = torch.ones_like(held)
    free[component[held]] = False
    return component, free[component]


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
        solver: How to solve; ``None`` for :func:`~pyg_relational.ops.linear.auto.choose`.
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
        if not isinstance(solver, CG | Direct | Multigrid | None):
            raise TypeError(
                f"solver must be CG(...), Direct(...), Multigrid(...) or None, got {solver!r}"
            )
        self.edge_index = edge_index
        self.fixed = fixed
        self.order = order
        self.solver = solver
        self.initial = initial
        self.info: SolveInfo | None = None
        self.mass: list[Tensor] = []
        self._factors: SuperLU | None = None
        self._system: ScaledLaplacian | None = None
        plainly(self._prepare, weight, shift, *([] if mass is None else [mass]))

    def _prepare(self, weight: Tensor, shift: Tensor, *mass: Tensor) -> None:
        row, col = self.edge_index
        n = len(self.fixed)
        self.weight = weight.double() * (row != col)
        self.shift = shift.double()
        self.matrix = csr_matrix(row, col, self.weight, (n, n))
        self.degree: Tensor = (self.matrix @ self.weight.new_ones(n, 1))[:, 0]
        self.mass = [m.double() for m in mass]
        self.component, self.floating, self.weak = self._floating()

    def _floating(self) -> tuple[Tensor, Tensor, bool]:
        """Components, the nodes of those that nothing holds, and whether something is held weakly only."""
        n = len(self.fixed)
        none = torch.zeros_like(self.fixed)
        if self._held_firmly():
            return none.long(), none, False
        loose = self._loose(WEAK)
        if not bool(loose.any()):
            return none.long(), none, False
        lost = self._loose(_NOTHING)
        row, col = self.edge_index
        felt = strong_edges(self.edge_index, self.weight, n, _NOTHING)
        felt &= lost.index_select(0, row) == lost.index_select(0, col)
        held = self.fixed | ((self.shift > 0) & ~lost)
        component, floating = _not_held(_where(self.edge_index, felt), held)
        return component, floating, not torch.equal(loose, floating)

    def _held_firmly(self) -> bool:
        """Whether a few steps along heavy edges lead from held nodes to all."""
        alone = self.fixed | (self.shift > WEAK * self.degree)
        if bool(alone.all()) or self.weight.numel() == 0:
            return bool(alone.all())
        least = WEAK * self.weight.max()
        held = self.fixed | (self.shift > least)
        row, col = self.edge_index
        heavy = csr_matrix(row, col, (self.weight > least).float(), (len(held), len(held)))
        for _ in range(_STEPS):
            held = held | (heavy @ held.float() > 0)
            if bool((alone | held).all()):
                return True
        return False

    def _loose(self, share: float) -> Tensor:
        """Nodes with an edge on every way to a fixed one that is lighter than about a share of their own heaviest."""
        row = self.edge_index[0]
        top = torch.zeros_like(self.shift).scatter_reduce_(0, row, self.weight, "amax")
        loose = ~self.fixed & (top == 0) & (self.shift == 0)
        level = (top.log10() / _DECADES).floor()
        for number in level[~self.fixed & (top > 0)].unique().tolist():
            least = share * 10.0 ** (_DECADES * number)
            some = _where(self.edge_index, self.weight > least)
            unheld = _not_held(some, self.fixed | (self.shift > least))[1]
            loose |= unheld & (level == number)
        return loose

    def solve(self, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Solution for ``rhs``, which holds values at fixed nodes and sources at the others."""
        rhs64 = rhs.double()
        at_fixed = rhs64.where(self.fixed[:, None], 0.0)
        source = (rhs64 - self.operator(at_fixed)).where(~self.fixed[:, None], 0.0)
        if self.initial is not None:
            _check_initial(self.initial, rhs)
        self.solver = self.solver or choose(self)
        if isinstance(self.solver, Direct):
            u = self._direct(source, self.solver, rhs.dtype)
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
        if not rhs.requires_grad:  # else the flux is the gradient of the fixed values
            return inner
        return inner.where(~fixed, grad - self._product(inner, *theta))

    def operator(self, u: Tensor) -> Tensor:
        """Product in float64, without gradient."""
        with torch.no_grad():
            for left in range(self.order, 0, -1):
                u = torch.addcmul(-(self.matrix @ u), (self.degree + self.shift)[:, None], u)
                if self.mass and left > 1:
                    u = u / self.mass[0][:, None]
            return u

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

    def scaled(self) -> ScaledLaplacian:
        """The matrix as iterations see it, made once."""
        self._system = self._system or ScaledLaplacian(self)
        return self._system

    def _iterate(
        self, source: Tensor, at_fixed: Tensor, solver: CG | Multigrid, dtype: torch.dtype
    ) -> Tensor:
        system = self.scaled()
        system.prepare(solver)
        scale = system.scale[:, None]
        start = None
        if self.initial is not None:
            start = self.initial.double().where(~self.fixed[:, None], 0.0)
            start = start * scale.where(scale > 0, torch.inf).reciprocal()
            self.initial = None
        size = at_fixed.abs().amax(0) if len(at_fixed) else at_fixed.new_zeros(at_fixed.shape[1])
        tol = solver.tolerances(dtype)
        x, info = conjugate_gradients(system, source * scale, start, size, tol, solver.max_iter)
        report(info, solver, "the linear solve")
        self.info = self.info or info._replace(solver=type(solver).__name__)
        return self.centred(x * scale)

    def _direct(self, source: Tensor, solver: Direct, dtype: torch.dtype) -> Tensor:
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
        info = SolveInfo(0, off, bool((off <= CG().tolerances(dtype)[1]).all()), "Direct")
        report(info, solver, "the linear solve")
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
        diagonal = self.degree + self.shift
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
