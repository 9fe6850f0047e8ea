"""Quadratic form of a symmetric graph, whose value and gradient are one sparse product."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.product import product
from pyg_relational.ops.graph.edge_dot import _Adjacency, _EdgeDot
from pyg_relational.ops.graph.spmm import csr_matrix, spmm

__all__ = ["quadratic_form"]


def _of_nodes(w: Tensor, c: Tensor, row: Tensor, col: Tensor) -> tuple[Tensor, Tensor]:
    """``W C``, and its inner products with ``C``, row by row."""
    if is_fused(w, c) and not torch.compiler.is_compiling():
        with torch.autocast(c.device.type, enabled=False):
            return product(csr_matrix(row, col, w, (len(c), len(c))), c, form=True)
    neighbours = spmm(row, col, w, c, len(c))
    return neighbours, (neighbours * c).sum(1)


class _QuadraticForm(torch.autograd.Function):
    @staticmethod
    def forward(
        w: Tensor, c: Tensor, row: Tensor, col: Tensor, graph: Tensor, count: int
    ) -> tuple[Tensor, Tensor]:
        neighbours, node = _of_nodes(w, c, row, col)
        node = node.double()
        if count == 1:
            return node.sum(0, keepdim=True), neighbours
        return node.new_zeros(count).index_add(0, graph, node), neighbours

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        w, c, row, col, graph, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(w, c, row, col, graph, output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> Any:
        w, c, row, col, graph, neighbours = ctx.saved_tensors
        grad = grad.to(c.dtype).index_select(0, graph)
        grad_w = grad_c = None
        if ctx.needs_input_grad[0]:
            grad_w = grad.index_select(0, row) * _EdgeDot.apply(c, c, row, col)
        if ctx.needs_input_grad[1]:
            if torch.is_grad_enabled():  # a second derivative needs the product's own
                neighbours = _Adjacency.apply(w, c, row, col, len(c))
            grad_c = 2 * grad[:, None] * neighbours
        return grad_w, grad_c, None, None, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, *inputs: Any) -> Any:
        """One form a part."""
        parts = (
            [x] * info.batch_size if dim is None else x.unbind(dim)
            for x, dim in zip(inputs, dims, strict=True)
        )
        found = [_QuadraticForm.apply(*part) for part in zip(*parts, strict=True)]
        return tuple(map(torch.stack, zip(*found, strict=True))), (0, 0)


def quadratic_form(
    edge_index: Tensor, edge_weight: Tensor, c: Tensor, graph: Tensor, count: int
) -> Tensor:
    r"""Sum :math:`\sum_{ij} w_{ij} \langle c_i, c_j \rangle` of every graph, in float64.

    The gradient in :math:`c` is :math:`2 W C`, which the value has taken already. Differentiable any number of times.

    Args:
        edge_index: Edges, in both directions, none between two graphs.
        edge_weight: Their weights, equal in both directions.
        c: Node values.
        graph: Graph of every node.
        count: Number of graphs.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``c``: :math:`[n, k]`, ``graph``: :math:`[n]`,
        output: :math:`[B]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.quadratic_form import quadratic_form
        >>> edge_index = torch.tensor([[0, 1], [1, 0]])
        >>> c = torch.tensor([[1.0], [3.0]])
        >>> quadratic_form(edge_index, torch.ones(2), c, torch.zeros(2, dtype=torch.int64), 1)
        tensor([6.], dtype=torch.float64)
    """
    value: Tensor = _QuadraticForm.apply(edge_weight, c, *edge_index, graph, count)[0]
    return value
