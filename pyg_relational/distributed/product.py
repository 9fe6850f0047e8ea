"""Products with the Laplacian of a graph over ranks."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.sharded_graph import ShardedGraph
from pyg_relational.ops.graph.edge_dot import edge_diff_dot
from pyg_relational.ops.graph.spmm import csr_matrix

__all__ = ["ShardedLaplacian", "laplacian_product"]


class _Product(torch.autograd.Function):
    """Symmetric in the values of all ranks; each way one exchange of rows."""

    @staticmethod
    def forward(w: Tensor, u: Tensor, graph: ShardedGraph) -> Tensor:
        row, col = graph.local
        rows = graph.halo.extend(u)
        matrix = csr_matrix(row, col, w, (len(u), len(rows)))
        return torch.addcmul(-(matrix @ rows), matrix @ rows.new_ones(len(rows), 1), u)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        *tensors, ctx.graph = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        w, u = ctx.saved_tensors
        graph, (need_w, need_u, _) = ctx.graph, ctx.needs_input_grad
        grad_w = grad_u = None
        if need_w:
            ends = graph.halo.extend(grad), graph.halo.extend(u)
            grad_w = edge_diff_dot(*ends, graph.local) / 2
        if need_u:
            grad_u = _Product.apply(w, grad, graph)
        return grad_w, grad_u, None


def laplacian_product(graph: ShardedGraph, edge_weight: Tensor, u: Tensor) -> Tensor:
    r"""Local rows of the product :math:`L u = (D - W) u`, differentiable any number of times.

    As :func:`pyg_relational.ops.laplacian_product`, with the same derivatives: of weights in the symmetric part of
    :math:`W`, of values in those of all ranks. Forward and each derivative exchange :math:`h c` numbers.

    Args:
        graph: The graph.
        edge_weight: Weights of its edges, equal in both directions.
        u: Values of the local rows.

    Shapes:
        ``edge_weight``: :math:`[E_r]`, ``u``: :math:`[n_r, c]`, output: :math:`[n_r, c]`.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import ShardedGraph
        >>> from pyg_relational.distributed.product import laplacian_product
        >>> graph = ShardedGraph.from_rows(torch.tensor([[0, 1], [1, 0]]), None, 2)
        >>> laplacian_product(graph, graph.edge_weight, torch.eye(2)).tolist()
        [[1.0, -1.0], [-1.0, 1.0]]
    """
    product: Tensor = _Product.apply(edge_weight, u, graph)
    return product


class ShardedLaplacian:
    r"""Local rows of :math:`L + \operatorname{diag}(\delta)` in float64, without gradient.

    Args:
        graph: The graph.
        weight: Its weights in float64, 0 at self-loops.
        shift: :math:`\delta \ge 0` of the local rows, in float64.

    Shapes:
        ``weight``: :math:`[E_r]`, ``shift``: :math:`[n_r]`.
    """

    def __init__(self, graph: ShardedGraph, weight: Tensor, shift: Tensor) -> None:
        self.graph, self.weight, self.shift = graph, weight, shift

    def apply(self, u: Tensor) -> Tensor:
        r"""Product by :math:`\sum_j w_{ij} (u_i - u_j) + \delta_i u_i`: nothing of it is lost in larger sums."""
        row, col = self.graph.local
        rows = self.graph.halo.extend(u)
        out = self.shift[:, None] * u
        for into, value in zip(out.unbind(1), rows.unbind(1), strict=True):
            drop = value.index_select(0, row) - value.index_select(0, col)
            into.index_add_(0, row, drop.mul_(self.weight))
        return out
