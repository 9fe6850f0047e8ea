"""Sparse matrix times dense matrix, from edges."""

import warnings

import torch
from torch import Tensor

from pyg_relational.ops.autograd.opaque import opaque
from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.product import product

__all__ = ["csr_matrix", "spmm", "with_values"]


def csr_matrix(
    row: Tensor, col: Tensor, weight: Tensor, shape: tuple[int, int], in_order: bool = False
) -> Tensor:
    """CSR matrix of edges; those sorted by row need no sort.

    Args:
        row: Row of every entry.
        col: Column of every entry.
        weight: Value of every entry; entries at one place add up.
        shape: Number of rows and columns.
        in_order: Whether rows are known to be sorted; a device is not asked.

    Shapes:
        ``row``, ``col``, ``weight``: :math:`[E]`.

    Raises:
        ValueError: If rows on the CPU are not sorted and were said to be.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.spmm import csr_matrix
        >>> csr_matrix(torch.tensor([0]), torch.tensor([1]), torch.tensor([2.0]), (1, 2)).to_dense().tolist()
        [[0.0, 2.0]]
    """
    small = max(row.numel(), *shape) < 2**31
    if small:  # what MKL wants, and quicker to sort
        row, col = row.int(), col.int()
    known = _is_sorted(row) if row.is_cpu else in_order  # elsewhere, looking would wait
    if in_order and not known:
        raise ValueError("edge_index must be sorted by row")
    if row.numel() > 1 and not known:
        row, order = row.sort()
        col, weight = col.index_select(0, order), weight.index_select(0, order)
    # MKL ignores strides.
    row, col, weight = row.contiguous(), col.contiguous(), weight.contiguous()
    ptr = torch._convert_indices_from_coo_to_csr(row, shape[0], out_int32=small)
    return _csr(ptr, col, weight, shape)


def with_values(matrix: Tensor, values: Tensor) -> Tensor:
    """CSR matrix with other values at the places of another.

    Args:
        matrix: The other.
        values: Value of every entry, in its order.

    Shapes:
        ``matrix``, output: :math:`[n, m]`, ``values``: :math:`[E]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.spmm import csr_matrix, with_values
        >>> one = csr_matrix(torch.tensor([0]), torch.tensor([1]), torch.ones(1), (1, 2))
        >>> with_values(one, torch.tensor([2.0])).to_dense().tolist()
        [[0.0, 2.0]]
    """
    return _csr(matrix.crow_indices(), matrix.col_indices(), values, matrix.shape)


def _csr(ptr: Tensor, col: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(
            ptr, col, values, shape, device=values.device, check_invariants=False
        )


def _is_sorted(row: Tensor) -> bool:
    return not bool((row[1:] < row[:-1]).any())


def spmm(row: Tensor, col: Tensor, weight: Tensor, x: Tensor, num_rows: int) -> Tensor:
    r"""Product :math:`y_i = \sum_{e:\, row_e = i} w_e\, x_{col_e}`, not differentiable by itself.

    Edges sorted by row go to CSR without a sort.

    Args:
        row: Row of every entry.
        col: Column of every entry.
        weight: Value of every entry; entries at one place add up.
        x: Dense matrix.
        num_rows: Number of rows of the result.

    Shapes:
        ``row``, ``col``, ``weight``: :math:`[E]`, ``x``: :math:`[m, d]`, output: :math:`[\text{num\_rows}, d]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.spmm import spmm
        >>> spmm(torch.tensor([0]), torch.tensor([1]), torch.tensor([2.0]), torch.eye(2), 1).tolist()
        [[0.0, 2.0]]
    """
    return _spmm(row, col, weight, x, num_rows)


@opaque("spmm", lambda row, col, weight, x, num_rows: x.new_empty(num_rows, x.shape[1]))
def _spmm(row: Tensor, col: Tensor, weight: Tensor, x: Tensor, num_rows: int) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        matrix = csr_matrix(row, col, weight, (num_rows, x.shape[0]))
        return product(matrix, x)[0] if is_fused(weight, x) else matrix @ x
