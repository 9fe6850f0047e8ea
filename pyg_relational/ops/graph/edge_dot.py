"""Inner products and squared distances along edges, differentiable any number of times in O(E + n d) memory.

Forward, products are sampled edge by edge in chunks, with triton on CUDA in one kernel; backward, they are sparse
matrix products. The two operations of each pair are each other's derivatives, so no order of differentiation leaves the
file.
"""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.autograd.functorch import join_nodes, join_rows, split_parts
from pyg_relational.ops.autograd.opaque import opaque
from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.sampled import sampled
from pyg_relational.ops.graph.spmm import spmm

__all__ = ["edge_diff_dot", "edge_dot"]

_COLUMNS = 128  # columns of a Laplacian product done at once


def _by_chunks(f: Any, row: Tensor, col: Tensor, u: Tensor, *v: Tensor) -> Tensor:
    step = max(1, (2**25 if u.is_cuda else 2**17) // max(1, u.shape[1]))
    out = u.new_empty(row.shape[0])
    with torch.autocast(u.device.type, enabled=False):
        for i in range(0, row.shape[0], step):
            out[i : i + step] = f(row[i : i + step], col[i : i + step], u, *v)
    return out


def _dot(row: Tensor, col: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return _row_dot(u.index_select(0, row), v.index_select(0, col))


def _diff(row: Tensor, col: Tensor, u: Tensor) -> Tensor:
    return u.index_select(0, row).sub_(u.index_select(0, col))


def _diff_dot(row: Tensor, col: Tensor, u: Tensor, v: Tensor) -> Tensor:
    return _row_dot(_diff(row, col, u), _diff(row, col, v))


def _diff_square(row: Tensor, col: Tensor, u: Tensor) -> Tensor:
    diff = _diff(row, col, u)
    return _row_dot(diff, diff)


def _row_dot(a: Tensor, b: Tensor) -> Tensor:
    dot: Tensor = (a * b) @ a.new_ones(a.shape[1])  # twice as fast as a sum over short rows
    return dot


@opaque("edge_dot", lambda row, col, u, v: u.new_empty(row.shape[0]))
def _edge_dot(row: Tensor, col: Tensor, u: Tensor, v: Tensor) -> Tensor:
    if len(row) and is_fused(u, v):
        return sampled(row, col, u, v, False)
    return _by_chunks(_dot, row, col, u, v)


@opaque("edge_diff_dot", lambda row, col, u, v: u.new_empty(row.shape[0]))
def _edge_diff_dot(row: Tensor, col: Tensor, u: Tensor, v: Tensor) -> Tensor:
    if len(row) and is_fused(u, v):
        return sampled(row, col, u, v, True)
    return _by_chunks(_diff_dot, row, col, u, v)


@opaque("edge_square", lambda row, col, u: u.new_empty(row.shape[0]))
def _edge_square(row: Tensor, col: Tensor, u: Tensor) -> Tensor:
    if len(row) and is_fused(u):
        return sampled(row, col, u, u, True)
    return _by_chunks(_diff_square, row, col, u)


@opaque("edge_laplacian", lambda g, v, row, col: v.new_empty(v.shape))
def _laplacian(g: Tensor, v: Tensor, row: Tensor, col: Tensor) -> Tensor:
    degree = v.new_zeros(len(v), 1)
    degree.index_add_(0, row, g[:, None]).index_add_(0, col, g[:, None])
    out = torch.empty_like(v, memory_format=torch.contiguous_format)
    for start in range(0, v.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        part = v[:, columns] - v[:, columns].mean(0)  # L 1 = 0: an offset only costs digits
        out[:, columns] = degree * part
        out[:, columns] -= spmm(row, col, g, part, len(v))
        out[:, columns] -= spmm(col, row, g, part, len(v))
    return out


class _EdgeDot(torch.autograd.Function):
    @staticmethod
    def forward(u: Tensor, v: Tensor, row: Tensor, col: Tensor) -> Tensor:
        return _edge_dot(row, col, u, v)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        u, v, row, col = ctx.saved_tensors
        need_u, need_v, *_ = ctx.needs_input_grad
        grad_u = _Adjacency.apply(grad, v, row, col, u.shape[0]) if need_u else None
        grad_v = _Adjacency.apply(grad, u, col, row, v.shape[0]) if need_v else None
        return grad_u, grad_v, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, u: Tensor, v: Tensor, row: Tensor, col: Tensor) -> Any:
        size = info.batch_size
        u, v = join_rows(u, dims[0], size), join_rows(v, dims[1], size)
        row = join_nodes(row, dims[2], size, u.shape[0] // size)
        col = join_nodes(col, dims[3], size, v.shape[0] // size)
        return split_parts(_EdgeDot.apply(u, v, row, col), size), 0


class _Adjacency(torch.autograd.Function):
    """``out[i] = sum_e [row_e = i] g_e v[col_e]``."""

    @staticmethod
    def forward(g: Tensor, v: Tensor, row: Tensor, col: Tensor, n: int) -> Tensor:
        return spmm(row, col, g, v, n)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:4])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        g, v, row, col = ctx.saved_tensors
        need_g, need_v, *_ = ctx.needs_input_grad
        grad_g = _EdgeDot.apply(grad, v, row, col) if need_g else None
        grad_v = _Adjacency.apply(g, grad, col, row, v.shape[0]) if need_v else None
        return grad_g, grad_v, None, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, g: Tensor, v: Tensor, row: Tensor, col: Tensor, n: int) -> Any:
        size = info.batch_size
        g, v = join_rows(g, dims[0], size), join_rows(v, dims[1], size)
        row = join_nodes(row, dims[2], size, n)
        col = join_nodes(col, dims[3], size, v.shape[0] // size)
        return split_parts(_Adjacency.apply(g, v, row, col, size * n), size), 0


class _EdgeDiffDot(torch.autograd.Function):
    @staticmethod
    def forward(u: Tensor, v: Tensor, row: Tensor, col: Tensor) -> Tensor:
        return _edge_diff_dot(row, col, u, v)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        u, v, row, col = ctx.saved_tensors
        need_u, need_v, *_ = ctx.needs_input_grad
        grad_u = _Laplacian.apply(grad, v, row, col) if need_u else None
        grad_v = _Laplacian.apply(grad, u, row, col) if need_v else None
        return grad_u, grad_v, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, u: Tensor, v: Tensor, row: Tensor, col: Tensor) -> Any:
        size = info.batch_size
        u, v = join_rows(u, dims[0], size), join_rows(v, dims[1], size)
        row, col = (
            join_nodes(t, d, size, len(u) // size)
            for t, d in zip((row, col), dims[2:], strict=True)
        )
        return split_parts(_EdgeDiffDot.apply(u, v, row, col), size), 0


class _EdgeSquare(torch.autograd.Function):
    """:class:`_EdgeDiffDot` of two equal arguments: half the work, forward and backward."""

    @staticmethod
    def forward(u: Tensor, row: Tensor, col: Tensor) -> Tensor:
        return _edge_square(row, col, u)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        u, row, col = ctx.saved_tensors
        return _Laplacian.apply(2 * grad, u, row, col), None, None

    @staticmethod
    def vmap(info: Any, dims: Any, u: Tensor, row: Tensor, col: Tensor) -> Any:
        size = info.batch_size
        u = join_rows(u, dims[0], size)
        row, col = (
            join_nodes(t, d, size, len(u) // size)
            for t, d in zip((row, col), dims[1:], strict=True)
        )
        return split_parts(_EdgeSquare.apply(u, row, col), size), 0


class _Laplacian(torch.autograd.Function):
    """``L v``: every edge adds ``g_e (v[row_e] - v[col_e])`` to its row and takes it from its column."""

    @staticmethod
    def forward(g: Tensor, v: Tensor, row: Tensor, col: Tensor) -> Tensor:
        return _laplacian(g, v, row, col)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        g, v, row, col = ctx.saved_tensors
        need_g, need_v, *_ = ctx.needs_input_grad
        grad_g = _EdgeDiffDot.apply(grad, v, row, col) if need_g else None
        return grad_g, _Laplacian.apply(g, grad, row, col) if need_v else None, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, g: Tensor, v: Tensor, row: Tensor, col: Tensor) -> Any:
        size = info.batch_size
        g, v = join_rows(g, dims[0], size), join_rows(v, dims[1], size)
        row, col = (
            join_nodes(t, d, size, len(v) // size)
            for t, d in zip((row, col), dims[2:], strict=True)
        )
        return split_parts(_Laplacian.apply(g, v, row, col), size), 0


def edge_dot(u: Tensor, v: Tensor, edge_index: Tensor) -> Tensor:
    r"""Inner product :math:`\langle u_i, v_j \rangle` of every edge :math:`(i, j)`.

    Args:
        u: Features of the row end.
        v: Features of the column end.
        edge_index: Edges.

    Shapes:
        ``u``: :math:`[n, d]`, ``v``: :math:`[m, d]`, ``edge_index``: :math:`[2, E]`, output: :math:`[E]`.

    Returns:
        The products, differentiable twice and more, in :math:`O(E + n d)` memory both ways.

    Raises:
        ValueError: If shapes disagree.
        TypeError: If features are not both float32 or both float64, or edges not int64.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import edge_dot
        >>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        >>> edge_dot(x, x, torch.tensor([[0, 0], [0, 1]])).tolist()
        [5.0, 11.0]
    """
    _check_inputs(u, v, edge_index)
    if u is v:
        v = v.view_as(v)  # torch.compile takes no tensor twice
    return _EdgeDot.apply(u, v, edge_index[0], edge_index[1])  # type: ignore[no-any-return]


def edge_diff_dot(u: Tensor, v: Tensor, edge_index: Tensor) -> Tensor:
    r"""Inner product :math:`\langle u_i - u_j, v_i - v_j \rangle` of every edge :math:`(i, j)`.

    With :math:`u = v` it is the squared Euclidean length of the edge. Its derivative is a product with a
    graph Laplacian, :math:`\partial / \partial u = L_g v`.

    Args:
        u: Node features.
        v: Node features.
        edge_index: Edges.

    Shapes:
        ``u``, ``v``: :math:`[n, d]`, ``edge_index``: :math:`[2, E]`, output: :math:`[E]`.

    Returns:
        The products, differentiable twice and more, in :math:`O(E + n d)` memory both ways.

    Raises:
        ValueError: If shapes disagree.
        TypeError: If features are not both float32 or both float64, or edges not int64.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import edge_diff_dot
        >>> x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> edge_diff_dot(x, x, torch.tensor([[0], [1]])).tolist()
        [25.0]
    """
    _check_inputs(u, v, edge_index)
    if u.shape != v.shape:
        raise ValueError(f"v must have u's shape {list(u.shape)}, got {list(v.shape)}")
    row, col = edge_index[0], edge_index[1]
    if u is v:
        return _EdgeSquare.apply(u, row, col)  # type: ignore[no-any-return]
    return _EdgeDiffDot.apply(u, v, row, col)  # type: ignore[no-any-return]


def _check_inputs(u: Tensor, v: Tensor, edge_index: Tensor) -> None:
    for name, x in (("u", u), ("v", v)):
        if x.dtype not in (torch.float32, torch.float64) or x.dtype != u.dtype:
            raise TypeError(f"{name} must be float32 or float64, like the other, got {x.dtype}")
        if x.dim() != 2 or x.shape[1] != u.shape[1]:
            raise ValueError(f"{name} must have shape [n, d], d as the other, got {list(x.shape)}")
    if edge_index.dtype != torch.int64:
        raise TypeError(f"edge_index must be int64, got {edge_index.dtype}")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape [2, E], got {list(edge_index.shape)}")
