"""DMoN pooling on edges instead of dense adjacency matrices."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, selu
from torch_geometric.nn import MLP

from pyg_relational.nn.loss.balance import collapse_of, orthogonality_of
from pyg_relational.ops.checks import check_count, check_matrix, check_number, finite
from pyg_relational.ops.graph.edge_dot import _Adjacency
from pyg_relational.ops.graph.modularity import modularity_of
from pyg_relational.ops.graph.per_graph import graph_products, mean_of_present
from pyg_relational.ops.graph.undirected import check_graph_numbers, undirected_edges
from pyg_relational.ops.options import show_options

__all__ = ["DMoNLosses", "SparseDMoN", "SparseDMoNOutput"]


class DMoNLosses(NamedTuple):
    """The losses of :class:`SparseDMoN`, each the mean over the graphs; their sum is the usual objective.

    Attributes:
        modularity: Minus the modularity.
        orthogonality: See :func:`~pyg_relational.nn.loss.balance.orthogonality_loss`.
        collapse: See :func:`~pyg_relational.nn.loss.balance.collapse_loss`.
    """

    modularity: Tensor
    orthogonality: Tensor
    collapse: Tensor


class SparseDMoNOutput(NamedTuple):
    """What :class:`SparseDMoN` returns.

    Attributes:
        assignment: ``[n, k]``, soft assignment of the nodes.
        x: ``[B k, d]``, features of the clusters; those of graph ``g`` are nodes ``g k`` to ``g k + k - 1``.
        edge_index: ``[2, E]``, edges between clusters, both directions, sorted.
        edge_weight: ``[E]``, their weights.
        losses: :class:`DMoNLosses`.
        batch: ``[B k]``, graph of every cluster, ``None`` where none was given.
    """

    assignment: Tensor
    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    losses: DMoNLosses
    batch: Tensor | None


class SparseDMoN(nn.Module):
    r"""Modularity pooling of sparse graphs, from `"Graph Clustering with Graph Neural Networks" <https://arxiv.org/abs/2006.16904>`_.

    .. math::
        C = \mathrm{softmax}(\mathrm{MLP}(X)), \qquad X' = \mathrm{SELU}(C^\top X), \qquad
        A' = D^{-1/2} (C^\top A\, C)_{\text{off-diagonal}} D^{-1/2}

    It gives what :class:`torch_geometric.nn.dense.DMoNPooling` gives, whose ``state_dict`` it loads, with
    :math:`A'` as edges: the pooled features are sums, as there. The paper's authors divide each cluster's by
    its size before the SELU. It takes :math:`O(E k + n k^2)` time and :math:`O(E + n k)` memory. Clusters that share no
    edge are not joined, so a graph without edges has a coarse graph without edges. Of the losses, see
    :func:`~pyg_relational.nn.modularity_loss`.

    Args:
        channels: Size of a feature, or sizes of the layers of an MLP, without the last.
        num_clusters: Number of clusters :math:`k`.
        dropout: Probability of dropping a score.

    Shapes:
        ``x``: :math:`[n, d]`, ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``batch``: :math:`[n]`,
        output: :class:`SparseDMoNOutput`.

    Example:
        >>> import torch
        >>> from torch_geometric.nn import GCNConv, global_mean_pool
        >>> from pyg_relational.nn import SparseDMoN
        >>> x, edge_index = torch.randn(4, 8), torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> pooled = SparseDMoN(8, num_clusters=2)(x, edge_index, batch=torch.tensor([0, 0, 1, 1]))
        >>> pooled.batch.tolist(), pooled.edge_index.tolist()
        ([0, 0, 1, 1], [[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> h = GCNConv(8, 5)(pooled.x, pooled.edge_index, pooled.edge_weight)
        >>> global_mean_pool(h, pooled.batch).shape
        torch.Size([2, 5])
        >>> sum(pooled.losses).backward()
    """

    def __init__(self, channels: int | list[int], num_clusters: int, dropout: float = 0.0) -> None:
        super().__init__()
        num_clusters = check_count(num_clusters, "num_clusters")
        check_number(dropout, "dropout")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        sizes = list(channels) if isinstance(channels, (list, tuple)) else [channels]
        sizes = [check_count(size, "channels") for size in sizes]
        self.mlp = MLP([*sizes, num_clusters], act=None, norm=None)
        self.dropout = dropout

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        self.mlp.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> SparseDMoNOutput:
        """Return assignment, coarse graph and losses."""
        check_matrix(x)
        if x.shape[1] != self.mlp.in_channels:
            raise ValueError(f"x must have {self.mlp.in_channels} columns, got {x.shape[1]}")
        scores = dropout(self.mlp(x), self.dropout, training=self.training)
        c = scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(1)
        checks = finite(x, "x"), finite(c, "assignment")
        edge_index, edge_weight, _ = undirected_edges(edge_index, edge_weight, len(x), *checks)
        if batch is not None:
            check_graph_numbers(batch, edge_index, len(x))
        with torch.autocast(x.device.type, enabled=False):
            weight = edge_weight.to(c.dtype)
            ac = _Adjacency.apply(weight, c, edge_index[0], edge_index[1], len(c))
            product = graph_products(batch, c, torch.cat([ac, x.to(c.dtype)], dim=1))
            coarse_a, coarse_x = product.split([c.shape[1], x.shape[1]], dim=2)
            coarse_index, coarse_weight = _normalized_edges(coarse_a)
            losses = DMoNLosses(
                -mean_of_present(modularity_of(edge_index, edge_weight, c, 1.0, batch), batch),
                orthogonality_of(c, batch),
                collapse_of(c, batch),
            )
        number = torch.arange(len(coarse_x), device=x.device).repeat_interleave(c.shape[1])
        return SparseDMoNOutput(
            c,
            selu(coarse_x.flatten(0, 1)),
            coarse_index,
            coarse_weight,
            losses,
            None if batch is None else number,
        )

    def __repr__(self) -> str:
        options = {
            "channels": self.mlp.channel_list[:-1],
            "num_clusters": self.mlp.out_channels,
            "dropout": self.dropout,
        }
        return f"{type(self).__name__}({show_options(options)})"


def _normalized_edges(a: Tensor) -> tuple[Tensor, Tensor]:
    """Edges of the graphs ``[B, k, k]``, without loops, symmetrically normalised."""
    k = a.shape[1]
    a = _off_diagonal(a)
    degree = a.sum(2, keepdim=True)
    root = degree.where(degree > 0, 1).sqrt()
    a = _off_diagonal(a / root / root.mT)
    graph, first, second = (a.detach() > 0).nonzero().unbind(1)
    return torch.stack([graph * k + first, graph * k + second]), a[graph, first, second]


def _off_diagonal(a: Tensor) -> Tensor:
    """What is off the diagonal, symmetric to the last bit."""
    upper = a.triu(1)
    return upper + upper.mT
