"""A V-cycle of smoothed aggregation on many right-hand sides at once."""

from typing import NamedTuple, Protocol

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from pyg_relational.ops.graph.spmm import csr_matrix

__all__ = ["Level", "Smoothing", "VCycle"]

# Edges below this share of the geometric mean of their ends' degrees do not join an aggregate.
# Set-up + solve in seconds at 0, .02, .05: kNN graphs of 100,000 Gaussian points in 2-d 2.39, 1.23, 1.22 and in 3-d
# 1.24, 1.37, 2.14; 10,000 in 16-d .15, .25, .77; iterations on the first two 42 and 28, 28 and 24, 23 and 18.
_STRONG = 0.02
# Jacobi's weight over a row's absolute sum, which bounds the spectral radius: 4/3 is theirs (Vaněk et al., 1996).
# Iterations on a 2-d grid of 100,000 nodes: 11; with an estimated radius, which draws random numbers, 10.
_DAMPING = 4 / 3
# Unknowns at which coarsening ends; a path of 10,000 nodes ends at 135, its set-up takes 17 ms.
_COARSEST = 300
# A row that is nothing but rounding, of a floating component that is one unknown: entries of 1e-15 in one of 40 nodes.
_ROUNDING = 1e-12


class Smoothing(Protocol):
    """Product with the finest matrix."""

    def __call__(self, x: Tensor) -> Tensor:
        """Product in the number type of ``x``."""


class Level(NamedTuple):
    """What one level of the hierarchy takes to the next.

    Args:
        matrix: Its matrix, ``None`` for the finest, whose product the caller has.
        prolong: Matrix from the next level's unknowns to its own.
        restrict: The transpose.
        damping: Jacobi's weights, ``[n, 1]``.
    """

    matrix: Tensor | None
    prolong: Tensor
    restrict: Tensor
    damping: Tensor

    def to(self, dtype: torch.dtype) -> "Level":
        """The level in another number type."""
        matrix = None if self.matrix is None else self.matrix.to(dtype)
        return Level(
            matrix, self.prolong.to(dtype), self.restrict.to(dtype), self.damping.to(dtype)
        )


class VCycle:
    r"""A symmetric V-cycle of smoothed aggregation, as a preconditioner.

    Of `Vaněk, Mandel and Brezina, 1996 <https://doi.org/10.1007/BF02238511>`_. The hierarchy is pyamg's; the cycle runs
    on all columns at once, in the number type of the right-hand side: one step of damped Jacobi
    :math:`x \leftarrow x + \omega \operatorname{diag}(\sum_j |a_{ij}|)^{-1} (b - A x)` before the next level's
    correction, one after it, and a dense inverse on the last level.

    Args:
        matrix: Symmetric matrix with a positive diagonal, positive semidefinite.
        near_null: Vector that it takes nearly to 0, such as ones for a Laplacian; 0 at rows that take no part.

    Shapes:
        ``matrix``: :math:`[n, n]`, ``near_null``: :math:`[n]`.

    Raises:
        ImportError: If pyamg is not installed.

    Example:
        >>> import numpy as np, scipy.sparse, torch
        >>> from pyg_relational.ops.linear.multigrid import VCycle
        >>> a = scipy.sparse.diags_array([[-1.0] * 3, [2.0] * 4, [-1.0] * 3], offsets=[-1, 0, 1]).tocsr()
        >>> cycle = VCycle(a, np.ones(4))
        >>> b = torch.ones(4, 1).double()
        >>> cycle(b, lambda x: torch.from_numpy(a @ x.numpy()))[:, 0]
        tensor([2.0000, 3.0000, 3.0000, 2.0000], dtype=torch.float64)
    """

    def __init__(self, matrix: scipy.sparse.csr_array, near_null: np.ndarray) -> None:
        levels, last = _hierarchy(matrix, near_null)
        self._levels = {torch.float64: levels}
        self._last = {torch.float64: last}

    def __call__(self, b: Tensor, product: Smoothing) -> Tensor:
        """Approximate solution for ``b``, ``[n, c]``; ``product`` is that with the finest matrix."""
        if b.dtype not in self._last:
            self._levels[b.dtype] = [level.to(b.dtype) for level in self._levels[torch.float64]]
            self._last[b.dtype] = self._last[torch.float64].to(b.dtype)
        return self._descend(b, 0, product)

    def _descend(self, b: Tensor, depth: int, product: Smoothing) -> Tensor:
        levels = self._levels[b.dtype]
        if depth == len(levels):
            last = self._last[b.dtype]
            return last * b if last.shape[1] == 1 else last @ b
        matrix, prolong, restrict, damping = levels[depth]

        def residual(x: Tensor) -> Tensor:
            return b - product(x) if matrix is None else torch.addmm(b, matrix, x, alpha=-1)

        x = b * damping
        x = torch.addmm(x, prolong, self._descend(restrict @ residual(x), depth + 1, product))
        return x.addcmul_(residual(x), damping)


def _hierarchy(matrix: scipy.sparse.csr_array, near_null: np.ndarray) -> tuple[list[Level], Tensor]:
    """Levels, and the dense inverse of the last, ``[m, m]``, or Jacobi's where no edge of it is strong, ``[m, 1]``."""
    try:
        from pyamg.aggregation import standard_aggregation
        from pyamg.strength import symmetric_strength_of_connection
    except ImportError as error:
        raise ImportError("solver=Multigrid() needs pyamg: pip install pyamg") from error
    levels: list[Level] = []
    finest = True
    matrix.eliminate_zeros()
    while matrix.shape[0] > _COARSEST:
        strong = symmetric_strength_of_connection(scipy.sparse.csr_matrix(matrix), _STRONG)
        groups = scipy.sparse.csr_array(standard_aggregation(strong)[0]).astype(float)
        total = abs(matrix).sum(1)
        damping = np.divide(_DAMPING, total, out=np.zeros_like(total), where=total > _ROUNDING)
        if groups.nnz == 0:
            return levels, torch.from_numpy(damping[:, None])
        prolong, near_null = _prolong(matrix, groups, near_null, damping)
        restrict = prolong.T.tocsr()
        levels.append(
            Level(
                None if finest else _torch(matrix),
                _torch(prolong),
                _torch(restrict),
                torch.from_numpy(damping[:, None]),
            )
        )
        matrix, finest = (restrict @ (matrix @ prolong)).tocsr(), False
    last = torch.from_numpy(matrix.toarray())
    return levels, torch.linalg.pinv(last, atol=_ROUNDING, rtol=0.0, hermitian=True)


def _prolong(
    matrix: scipy.sparse.csr_array,
    groups: scipy.sparse.csr_array,
    near_null: np.ndarray,
    damping: np.ndarray,
) -> tuple[scipy.sparse.csr_array, np.ndarray]:
    """Columns that span ``near_null`` over each group, of norm 1 and smoothed by a step of Jacobi, and their norms."""
    piecewise = scipy.sparse.diags_array(near_null) @ groups
    norm = np.sqrt(piecewise.power(2).sum(0))
    inverse = np.divide(1.0, norm, out=np.zeros_like(norm), where=norm > 0)
    piecewise = piecewise @ scipy.sparse.diags_array(inverse)
    smoothed = piecewise - scipy.sparse.diags_array(damping) @ (matrix @ piecewise)
    return smoothed.tocsr(), norm


def _torch(matrix: scipy.sparse.csr_array) -> Tensor:
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    rows, columns, values = (torch.from_numpy(a) for a in (row, matrix.indices, matrix.data))
    return csr_matrix(rows, columns, values, matrix.shape)
