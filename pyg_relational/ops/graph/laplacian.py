"""Graph Laplacian of an undirected graph, as a product that is differentiable any number of times."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.autograd.functorch import join_nodes, join_rows, split_parts
from pyg_relational.ops.autograd.opaque import opaque
from pyg_relational.ops.graph.edge_dot import _EdgeDiffDot
from pyg_relational.ops.graph.spmm import csr_matrix

__all__ = ["degree", "laplacian_product"]


@opaque("laplacian_product", lambda row, col, w, u: u.new_empty(u.shape))
def _laplacian_product(row: Tensor, col: Tensor, w: Tensor, u: Tensor) -> Tensor:
    n = u.shape[0]
    with torch.autocast(u.device.type, enabled=False):
        matrix = csr_matrix(row, col, w, (n, n))
        product: Tensor = torch.addcmul(-(matrix @ u), matrix @ u.new_ones(n, 1), u)
        return product.contiguous()


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(w: Tensor, u: Tensor, row: Tensor, col: Tensor) -> Tensor:
        return _laplacian_product(row, col, w, u)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        w, u, row, col = ctx.saved_tensors
        need_w, need_u, *_ = ctx.needs_input_grad
        grad_w = _EdgeDiffDot.apply(grad, u, row, col) / 2 if need_w else None
        return grad_w, _Product.apply(w, grad, row, col) if need_u else None, None, None

    @staticmethod
    def vmap(info: Any, dims: Any, w: Tensor, u: Tensor, row: Tensor, col: Tensor) -> Any:
        size = info.batch_size
        w, u = join_rows(w, dims[0], size), join_rows(u, dims[1], size)
        row, col = (
            join_nodes(t, d, size, len(u) // size)
            for t, d in zip((row, col), dims[2:], strict=True)
        )
        return split_parts(_Product.apply(w, u, row, col), size), 0


def laplacian_product(edge_index: Tensor, edge_weight: Tensor, u: Tensor) -> Tensor:
    r"""Product :math:`L u = (D - W) u` with the combinatorial Laplacian of an undirected graph.

    The derivative in a weight is that in the symmetric part of :math:`W`,
    :math:`\partial J / \partial w_{ij} = \frac{1}{2} \langle g_i - g_j, u_i - u_j \rangle` for each direction of
    an edge. Differentiable any number of times, in :math:`O(E + n c)` memory. Self-loops cancel.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, equal in both directions.
        u: Node values.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``u``: :math:`[n, c]`, output: :math:`[n, c]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import laplacian_product
        >>> laplacian_product(torch.tensor([[0, 1], [1, 0]]), torch.ones(2), torch.eye(2)).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    product: Tensor = _Product.apply(edge_weight, u, edge_index[0], edge_index[1])
    return product


def degree(edge_index: Tensor, edge_weight: Tensor, num_nodes: int) -> Tensor:
    """Sum of the weights at every node.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[n]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.laplacian import degree
        >>> degree(torch.tensor([[0, 1], [1, 0]]), torch.ones(2), 3).tolist()
        [1.0, 1.0, 0.0]
    """
    return edge_weight.new_zeros(num_nodes).index_add(0, edge_index[0], edge_weight)
