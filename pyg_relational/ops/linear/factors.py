"""Sparse factors of a grounded Laplacian, on the CPU."""

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

if TYPE_CHECKING:
    from scipy.sparse.linalg import SuperLU

from pyg_relational.ops.linear.components import Grounding
from pyg_relational.ops.linear.operator import ShiftedLaplacian

__all__ = ["Factors"]


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
        """Solution, refined once, and the largest value in each column of one more step: how far off it may be."""
        source = self.grounding.centred(source)
        u, step = torch.zeros_like(source), self._raw(source)
        for _ in range(2):
            u = u + step
            step = self._raw(source - self.operator.apply(u))
        off = step.abs().amax(0) if len(step) else source.new_zeros(source.shape[1])
        return self.grounding.centred(u), off

    def _raw(self, source: Tensor) -> Tensor:
        u = torch.zeros_like(source)
        u[self._rows] = torch.from_numpy(self._factors.solve(source[self._rows].numpy()))
        return u

    def _solvable(self) -> Tensor:
        component, floating, _ = self.grounding
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
