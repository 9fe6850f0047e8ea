"""Modularity of embeddings whose cosines are the memberships (DGCluster)."""

import torch
from torch import Tensor, nn

from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import batch_checks, check_features
from pyg_relational.ops.graph.modularity import modularity_of
from pyg_relational.ops.graph.per_graph import check_weights, graph_mean, mean_of_present
from pyg_relational.ops.graph.undirected import edges_to_sum

__all__ = ["DGClusterLoss", "dgcluster_loss", "soft_membership"]


def dgcluster_loss(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    x: Tensor,
    y: Tensor | None = None,
    *,
    auxiliary: float = 0.2,
    batch: Tensor | None = None,
) -> Tensor:
    r"""DGCluster loss, from `Bhowmick et al., "DGCLUSTER" (AAAI 2024) <https://arxiv.org/abs/2312.12697>`_.

    The number of clusters is not given: two nodes share a cluster as far as their embeddings, taken to the positive
    orthant, point one way.

    .. math::
        u_i = \frac{\tanh^2(x_i)}{\lVert \tanh^2(x_i) \rVert_2}, \qquad
        \mathcal{L} = -\frac{1}{2m} \mathrm{Tr}(U^\top B\, U)
        + \frac{\lambda}{|S|^2} \left\lVert H - U_S U_S^\top \right\rVert_F^2, \qquad
        B = A - \frac{d d^\top}{2m}

    :math:`S` are the nodes with a class and :math:`H_{ij} = [y_i = y_j]`. With :math:`C` the one-hot classes,
    :math:`\lVert C C^\top - U U^\top \rVert^2 = \lVert C^\top C \rVert^2 + \lVert U^\top U \rVert^2
    - 2 \lVert U^\top C \rVert^2`, so that all takes :math:`O(E d + n d^2)` time and :math:`O(E + n d)` memory.
    Clusters are found from :func:`soft_membership` afterwards; the authors take BIRCH with a threshold of 0.5.

    The authors' program also divides all embeddings by the sum of their entries before :math:`\tanh`. That sum
    may vanish, and it ties the graphs of a batch together: divide before calling, if wanted.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        x: Embeddings.
        y: Classes known to the auxiliary term, -1 where there is none; ``None`` leaves the term out.
        auxiliary: :math:`\lambda`.
        batch: Graph of every node; the mean of the graphs' losses is taken.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``x``: :math:`[n, d]`,
        ``y``, ``batch``: :math:`[n]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, a weight is negative, the graph is not undirected, or
            an edge joins two graphs of the batch.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import dgcluster_loss
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> dgcluster_loss(edge_index, None, torch.eye(2)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, -1]))
        tensor(-0.5000)
    """
    check_weights(auxiliary=auxiliary)
    checks = batch_checks({"x": x}, {} if y is None else {"y": y})
    edge_index, edge_weight = edges_to_sum(edge_index, edge_weight, len(x), *checks)
    with torch.autocast(x.device.type, enabled=False):
        u = _membership(x)
        loss = -mean_of_present(modularity_of(edge_index, edge_weight, u, 1.0, batch), batch)
        return loss if y is None else loss + auxiliary * graph_mean(_auxiliary, batch, u, y)


def soft_membership(x: Tensor) -> Tensor:
    r"""Rows :math:`\tanh^2(x_i)`, scaled to length 1; zero rows stay zero.

    Args:
        x: Embeddings.

    Shapes:
        ``x``: :math:`[n, d]`, output: :math:`[n, d]`, at least float32.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.dgcluster import soft_membership
        >>> soft_membership(torch.tensor([[-2.0, 0.0], [0.0, 0.0]]))
        tensor([[1., 0.],
                [0., 0.]])
    """
    check_features(x)
    with torch.autocast(x.device.type, enabled=False):
        return _membership(x)


def _membership(x: Tensor) -> Tensor:
    return unit_rows(x.to(torch.promote_types(x.dtype, torch.float32)).tanh().square())


def _auxiliary(u: Tensor, y: Tensor) -> Tensor:
    """Rows without a class are 0; classes are numbered in order, in as many places as there are rows."""
    known = y >= 0
    y, order = y.sort()
    number = torch.cat([y[:1] * 0, y.diff().sign().cumsum(0)])
    u = (u * known[:, None]).index_select(0, order)
    count = torch.zeros_like(y).index_add(0, number, (y >= 0).long())
    class_sum = torch.zeros_like(u).index_add(0, number, u)
    total = (
        count.square().sum()
        + (u.T @ u).square().sum(dtype=torch.float64)
        - 2 * class_sum.square().sum(dtype=torch.float64)
    )
    return (total / known.sum().clamp(min=1) ** 2).to(u.dtype)


class DGClusterLoss(nn.Module):
    """Module form of :func:`dgcluster_loss`.

    Args:
        auxiliary: Weight of the auxiliary term.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import DGClusterLoss
        >>> x = torch.randn(4, 3, requires_grad=True)
        >>> DGClusterLoss()(torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), None, x).backward()
    """

    def __init__(self, auxiliary: float = 0.2) -> None:
        super().__init__()
        check_weights(auxiliary=auxiliary)
        self.auxiliary = auxiliary

    def forward(
        self,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        x: Tensor,
        y: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of a graph, or the mean of a batch of them."""
        return dgcluster_loss(edge_index, edge_weight, x, y, auxiliary=self.auxiliary, batch=batch)

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        return f"auxiliary={self.auxiliary!r}"
