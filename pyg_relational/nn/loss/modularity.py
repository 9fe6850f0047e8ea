"""Modularity as a loss, with what keeps its clusters apart."""

from typing import Any

import torch
from torch import Tensor, nn

from pyg_relational.nn.loss.balance import check_columns, collapse_of, orthogonality_of
from pyg_relational.ops import modularity
from pyg_relational.ops.checks import check_matrix
from pyg_relational.ops.graph.per_graph import check_weights, mean_of_present
from pyg_relational.ops.options import show_options

__all__ = ["ModularityLoss", "modularity_loss"]


def modularity_loss(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    assignment: Tensor,
    *,
    resolution: float = 1.0,
    collapse: float = 1.0,
    orthogonality: float = 0.0,
    batch: Tensor | None = None,
) -> Tensor:
    r"""DMoN loss of a soft assignment, from `"Graph Clustering with Graph Neural Networks" <https://arxiv.org/abs/2006.16904>`_.

    .. math::
        \mathcal{L} = -Q + \lambda_c \left(\frac{\sqrt{k}}{n} \Big\lVert \sum_i c_i \Big\rVert_2 - 1\right)
        + \lambda_o \left\lVert \frac{C^\top C}{\lVert C^\top C \rVert_F} - \frac{I}{\sqrt{k}} \right\rVert_F

    with :math:`Q` of :func:`~pyg_relational.ops.modularity`; :math:`O(E k)` time, :math:`O(E + n k)` memory
    (the last term, off by default, takes :math:`O(n k^2)` time).

    The terms equal the losses of :class:`torch_geometric.nn.dense.DMoNPooling`, in value and gradient, with two
    exceptions. For graphs of several sizes PyG divides the norm of each graph by the size of every graph
    (pyg-team/pytorch_geometric#10148); here by its own. And a self-loop, held once, adds twice its weight to
    the adjacency matrix. A graph without edges has :math:`Q = 0`.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        assignment: Soft assignment :math:`C` to :math:`k` clusters, usually a softmax.
        resolution: :math:`\gamma` of the modularity.
        collapse: :math:`\lambda_c`.
        orthogonality: :math:`\lambda_o`.
        batch: Graph of every node; the mean of the graphs' losses is taken.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``assignment``: :math:`[n, k]`,
        ``batch``: :math:`[n]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, a weight is negative, the graph is not undirected, or
            an edge joins two graphs of the batch.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import modularity_loss
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> modularity_loss(edge_index, None, torch.eye(2)[[0, 0, 1, 1]])
        tensor(-0.5000)
    """
    check_weights(collapse=collapse, orthogonality=orthogonality)
    if collapse or orthogonality:
        check_columns(assignment)
    else:
        check_matrix(assignment, "assignment")
    q = modularity(edge_index, edge_weight, assignment, resolution=resolution, batch=batch)
    loss = -mean_of_present(q, batch)
    c = assignment.to(torch.promote_types(assignment.dtype, torch.float32))
    if collapse:
        loss = loss + collapse * collapse_of(c, batch)
    if orthogonality:
        loss = loss + orthogonality * orthogonality_of(c, batch)
    return loss


class ModularityLoss(nn.Module):
    """Module form of :func:`modularity_loss`; arguments and defaults are the same.

    Args:
        resolution: Resolution of the modularity.
        collapse: Weight of the collapse regularisation.
        orthogonality: Weight of the orthogonality of clusters.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ModularityLoss
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> logits = torch.randn(4, 2, requires_grad=True)
        >>> ModularityLoss()(edge_index, None, logits.softmax(1)).backward()
    """

    def __init__(
        self, resolution: float = 1.0, collapse: float = 1.0, orthogonality: float = 0.0
    ) -> None:
        super().__init__()
        check_weights(resolution=resolution, collapse=collapse, orthogonality=orthogonality)
        self.options: dict[str, Any] = {
            "resolution": resolution,
            "collapse": collapse,
            "orthogonality": orthogonality,
        }

    def forward(
        self,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        assignment: Tensor,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a graph, or the mean of a batch of them."""
        return modularity_loss(edge_index, edge_weight, assignment, batch=batch, **self.options)

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        return show_options(self.options)
