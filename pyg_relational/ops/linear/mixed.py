"""Laplacians of a graph and of a hypergraph, mixed: the equation and its adjoint."""

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.graph.hypergraph import (
    hypergraph_diagonal,
    hypergraph_laplacian_product,
    hypergraph_scales,
)
from pyg_relational.ops.graph.laplacian import degree, laplacian_product
from pyg_relational.ops.graph.spmm import csr_matrix
from pyg_relational.ops.linear.cg import conjugate_round, largest
from pyg_relational.ops.linear.held import HeldEquation
from pyg_relational.ops.linear.solvers import CG, SolveInfo, report

__all__ = ["MixedEquation", "MixedLaplacian"]

# Least that one round of conjugate gradients reduces a residual to. On k = 10 neighbours and their hypergraph, 10,000
# points in 3-d, 20 labels, 10 classes: at 1e-2, 1e-4, 1e-8, 1e-12 175, 139, 120, 162 iterations, .78, .56, .43, .57 s.
_ROUND = 1e-8


class MixedLaplacian(NamedTuple):
    r"""The matrix :math:`\lambda L + (1 - \lambda) H + \tau I`.

    Args:
        edge_index: Edges of the graph, in both directions.
        edge_weight: Their weights.
        hyperedge_index: Nodes and the hyperedges they are in.
        hyperedge_weight: Weights of the hyperedges.
        mix: :math:`\lambda`, a scalar.
        tau: :math:`\tau`, a scalar.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.mixed import MixedLaplacian
        >>> pair, one = torch.tensor([[0, 1], [1, 0]]), torch.ones(2)
        >>> none, half = torch.empty(2, 0, dtype=torch.int64), torch.tensor(0.5)
        >>> MixedLaplacian(pair, one, none, one[:0], half, 0 * half).product(torch.eye(2)).tolist()
        [[0.5, -0.5], [-0.5, 0.5]]
    """

    edge_index: Tensor
    edge_weight: Tensor
    hyperedge_index: Tensor
    hyperedge_weight: Tensor
    mix: Tensor
    tau: Tensor

    def product(self, u: Tensor) -> Tensor:
        """Product with the matrix, differentiable any number of times in weights, numbers and ``u``."""
        graph = laplacian_product(self.edge_index, self.edge_weight, u)
        hypergraph = hypergraph_laplacian_product(self.hyperedge_index, self.hyperedge_weight, u)
        return self.mix * graph + (1 - self.mix) * hypergraph + self.tau * u

    def diagonal(self, num_nodes: int) -> Tensor:
        """Diagonal of the matrix."""
        weight = self.edge_weight * (self.edge_index[0] != self.edge_index[1])
        graph = degree(self.edge_index, weight, num_nodes)
        hypergraph = hypergraph_diagonal(self.hyperedge_index, self.hyperedge_weight, num_nodes)
        return self.mix * graph + (1 - self.mix) * hypergraph + self.tau


class _System:
    r"""The matrix between free nodes, with its diagonal as preconditioner, as conjugate gradients see it.

    Its sparse parts are made once: :math:`\lambda D + (1 - \lambda) [d > 0] + \tau`, less :math:`\lambda W`, less
    the incidence with :math:`1 - \lambda` times its weights times the incidence.
    """

    def __init__(self, matrix: MixedLaplacian, free: Tensor) -> None:
        self.matrix = matrix
        self.free = free[:, None]
        (row, col), (node, edge), n = matrix.edge_index, matrix.hyperedge_index, len(free)
        scale, share = hypergraph_scales(matrix.hyperedge_index, matrix.hyperedge_weight, n)
        weight, count = matrix.mix * matrix.edge_weight, len(share)
        self.neighbours = csr_matrix(row, col, weight, (n, n))
        self.members = csr_matrix(edge, node, scale[node], (count, n))
        weight = (1 - matrix.mix) * share[edge] * scale[node]
        self.hyperedges = csr_matrix(node, edge, weight, (n, count))
        own = (1 - matrix.mix) * (scale > 0) + matrix.tau
        self.own = own[:, None] + self.neighbours @ own.new_ones(n, 1)

    @cached_property
    def diagonal(self) -> Tensor:
        """The diagonal of free nodes; 1 at the others, and where it is 0."""
        whole = self.matrix.diagonal(len(self.free))
        return whole.where(self.free[:, 0] & (whole > 0), 1.0)[:, None]

    def apply(self, x: Tensor) -> Tensor:
        product = torch.addmm(self.own * x, self.neighbours, x, alpha=-1)
        return product.addmm_(self.hyperedges, self.members @ x, alpha=-1) * self.free

    def precondition(self, r: Tensor) -> Tensor:
        return r / self.diagonal


class MixedEquation(HeldEquation):
    r"""The equation :math:`(\lambda L + (1 - \lambda) H + \tau I) u = f` off fixed nodes, for :func:`implicit_solve`.

    Solved in float64 by conjugate gradients with the diagonal as preconditioner. As off-diagonal entries are
    :math:`\le 0`, the inverse between free nodes is :math:`\ge 0`, and :math:`\kappa = \max A^{-1} D 1` bounds how much
    larger an error is than its preconditioned residual; it is solved for as one more column.

    Args:
        edge_index: Edges of the graph, in both directions.
        hyperedge_index: Nodes and the hyperedges they are in.
        fixed: Nodes whose values are given.
        reached: Nodes that a fixed one or :math:`\tau` holds.
        solver: Tolerance, and what to do where it is missed.
    """

    def __init__(
        self,
        edge_index: Tensor,
        hyperedge_index: Tensor,
        fixed: Tensor,
        reached: Tensor,
        solver: CG,
    ) -> None:
        super().__init__(fixed)
        self.edge_index, self.hyperedge_index = edge_index, hyperedge_index
        self.free, self.solver = ~fixed & reached, solver

    def _matrix(self, weight: Tensor, of_hyper: Tensor, mix: Tensor, tau: Tensor) -> MixedLaplacian:
        return MixedLaplacian(self.edge_index, weight, self.hyperedge_index, of_hyper, mix, tau)

    def solve(self, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Solution for ``rhs``, which holds values at fixed nodes and sources at the others."""
        with torch.no_grad():
            system = _System(self._matrix(*(part.double() for part in theta)), self.free)
            values = rhs.double().where(self.fixed[:, None], 0.0)
            b = rhs.double() * system.free - system.apply(values)
            u, info = _solve(system, b, largest(values), rhs.dtype, self.solver)
            report(info, self.solver, "hypergraph propagation")
            return (u + values).to(rhs.dtype)

    def product(self, u: Tensor, *theta: Tensor) -> Tensor:
        """Product with the matrix, differentiable any number of times."""
        return self._matrix(*theta).product(u)


def _solve(
    system: _System, b: Tensor, size: Tensor, dtype: torch.dtype, solver: CG
) -> tuple[Tensor, SolveInfo]:
    aim, accept = solver.tolerances(dtype)
    b = torch.cat([b, system.diagonal * system.free], 1)
    x, r, iterations, last = torch.zeros_like(b), b, 0, float("inf")
    while True:
        error = largest(system.precondition(r))
        growth = x[:, -1].max() / (1 - error[-1]).clamp(min=1e-3) if len(x) else error[-1]
        whole = torch.maximum(size, largest(x)[:-1]).clamp(min=torch.finfo(b.dtype).tiny)
        bound = error[:-1] * growth.clamp(min=1) / whole
        worst, off = float("inf"), 1.0  # at 0, which is not waited for on a device
        if iterations or x.is_cpu or not len(x):
            ends = [bound.max() if len(size) else error[-1], error[-1]]
            worst, off = torch.stack(ends).tolist()
        held = off < 0.5
        stuck = held and not worst < last / 2
        if (held and worst <= aim) or stuck or iterations >= solver.max_iter or not len(x):
            info = SolveInfo(iterations, bound, bool(held and worst <= accept), "CG")
            return x[:, :-1], info
        last = worst if held else float("inf")
        least = solver.max_iter - iterations
        step, count = conjugate_round(system, r, torch.float64, _ROUND, least)
        iterations += max(count, 1)
        x = x + step
        r = (b - system.apply(x)) * system.free
