"""The equation that label propagation solves, and the derivative of its solution."""

import torch
from torch import Tensor

from pyg_relational.ops.autograd.functorch import plainly
from pyg_relational.ops.graph.laplacian import laplacian_product
from pyg_relational.ops.linear.cg import largest
from pyg_relational.ops.linear.held import HeldEquation
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.prepared import Prepared
from pyg_relational.ops.linear.set_up import SetUp
from pyg_relational.ops.linear.solvers import Auto, SolveInfo, Solver, check_solver

__all__ = ["GroundedLaplacian"]


class GroundedLaplacian(HeldEquation):
    r"""The equation :math:`u = y` on fixed nodes and :math:`B (M^{-1} B)^{m-1} u = f` on the others.

    Here :math:`B = L + \operatorname{diag}(\delta)`.
    A component without fixed nodes and shift floats: there :math:`u` is the solution of mean zero for :math:`f` less
    its mean. An instance belongs to one weighting of the graph: what it prepares serves forward and backward.

    Args:
        edge_index: Edges, in both directions, sorted by row.
        weight: Their weights.
        shift: :math:`\delta \ge 0` of every node.
        fixed: Nodes whose values are given.
        mass: :math:`M`, a diagonal; ``None`` for the identity.
        order: :math:`m`.
        solver: How to solve; ``None`` for :class:`~pyg_relational.ops.Auto`.
        initial: Where iterations of the forward solve start.
        prepared: Where what is made for the matrix is kept for other instances.

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
        prepared: Prepared | None = None,
    ) -> None:
        super().__init__(fixed)
        check_solver(solver)
        how = solver or Auto()
        self.edge_index = edge_index
        self.order = order
        self.initial = initial
        self.info: SolveInfo | None = None

        def prepare(weight: Tensor, shift: Tensor, *mass: Tensor) -> None:
            weight = weight.double() * (edge_index[0] != edge_index[1])
            rest = (mass[0].double() if mass else None, order)
            operator = ShiftedLaplacian(edge_index, weight, shift.double(), fixed, *rest)
            self.set_up = (
                SetUp(operator, how) if prepared is None else prepared.set_up(operator, how)
            )

        plainly(prepare, weight, shift, *([] if mass is None else [mass]))

    @property
    def floating(self) -> Tensor | None:
        """Nodes of components that nothing holds, ``None`` of none."""
        grounding = self.set_up.grounding
        return grounding.floating if grounding.floats else None

    def solve(self, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Solution for ``rhs``, which holds values at fixed nodes and sources at the others."""
        rhs64, fixed = rhs.double(), self.fixed[:, None]
        at_fixed = rhs64.masked_fill(~fixed, 0.0)
        source = (rhs64 - self.set_up.operator.apply(at_fixed)).masked_fill(fixed, 0.0)
        start, self.initial = self.initial, None
        if start is not None:
            _check_initial(start, rhs)
            start = start.double().masked_fill(fixed, 0.0)
        u, info = self.set_up.solve(source, largest(at_fixed), start, rhs.dtype)
        self.info = self.info or info
        return (u + at_fixed).to(rhs.dtype)

    def product(self, u: Tensor, *theta: Tensor) -> Tensor:
        """Product with the matrix, differentiable any number of times."""
        weight, shift, *mass = theta
        for left in range(self.order, 0, -1):
            u = laplacian_product(self.edge_index, weight, u) + shift[:, None] * u
            if mass and left > 1:
                u = u / mass[0][:, None]
        return u


def _check_initial(initial: Tensor, source: Tensor) -> None:
    if initial.shape != source.shape:
        raise ValueError(f"initial must have shape {list(source.shape)}, got {list(initial.shape)}")
    if not bool(torch.isfinite(initial).all()):
        raise ValueError("initial must be finite, got NaN or infinity")
