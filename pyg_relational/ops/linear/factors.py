"""Sparse factors of a grounded Laplacian, on the CPU."""

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse.linalg import SuperLU

from pyg_relational.ops.linear.cg import largest
from pyg_relational.ops.linear.components import Grounding
from pyg_relational.ops.linear.operator import ShiftedLaplacian

__all__ = ["Factors"]


# Steps of refinement, at most, and what ends them. Bridges of 1e-3, 1e-7, 1e-9, 1e-12 between two paths, grids or
# neighbours take 1, 1, 2, 4 and are right to 1e-15.
_STEPS = 6
_DONE = 1e-12


class Factors:
    """LU factors by scipy, of the rows that are neither fixed nor the first of a floating component, held at 0.

    Args:
        operator: The matrix.
        grounding: What floats.

    Raises:
        ValueError: On CUDA.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.components import ground
        >>> from pyg_relational.ops.linear.factors import Factors
        >>> from pyg_relational.ops.linear.operator import ShiftedLaplacian
        >>> edge, one = torch.tensor([[0, 1], [1, 0]]), torch.ones(2).double()
        >>> operator = ShiftedLaplacian(edge, one, one, torch.zeros(2, dtype=torch.bool))
        >>> Factors(operator, ground(operator)).solve(torch.tensor([[3.0], [0.0]]).double())[0].tolist()
        [[2.0], [1.0]]
    """

    def __init__(self, operator: ShiftedLaplacian, grounding: Grounding) -> None:
        if operator.weight.is_cuda:
            raise ValueError("solver=Direct() wants tensors on the CPU, got cuda; take CG()")
        self.operator = operator
        self.grounding = grounding
        self._rows = self._solvable()
        self._factors = self._factorise()

    def solve(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Refined solution, and the largest value of each column's last step: how far off it may be."""
        source = self.grounding.centred(source)
        product = self.operator.flux if self.operator.order == 1 else self.operator.apply
        u, step = torch.zeros_like(source), self._raw(source)
        for _ in range(_STEPS):
            u = u + step
            step = self._raw(source - product(u))
            off, size = largest(step), largest(u)
            if bool((off <= _DONE * size).all()):
                break
        return self.grounding.centred(u + step), off

    def _raw(self, source: Tensor) -> Tensor:
        u = torch.zeros_like(source)
        u[self._rows] = torch.from_numpy(self._factors.solve(source[self._rows].numpy()))
        return u

    def _solvable(self) -> Tensor:
        component, floating, *_ = self.grounding
        first = torch.full_like(component, len(component))
        node = torch.arange(len(component))
        first.scatter_reduce_(0, component, node, "amin")
        pinned = floating & (first[component] == node)
        return (~self.operator.fixed & ~pinned).nonzero()[:, 0]

    def _factorise(self) -> "SuperLU":
        from scipy.sparse.linalg import splu

        operator, n = self.operator, len(self.operator.fixed)
        row, col = operator.edge_index.numpy()
        w = scipy.sparse.coo_array((operator.weight.numpy(), (row, col)), shape=(n, n)).tocsr()
        power = matrix = scipy.sparse.diags_array(operator.diagonal.numpy()).tocsr() - w
        mass = np.ones(n) if operator.mass is None else operator.mass.numpy()
        for _ in range(operator.order - 1):
            power = power @ scipy.sparse.diags_array(1 / mass) @ matrix
        rows = self._rows.numpy()
        return splu(power[rows][:, rows].tocsc(), "MMD_AT_PLUS_A", options={"SymmetricMode": True})
