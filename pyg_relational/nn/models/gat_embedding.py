"""Graph attention that learns distances to prototype graphs."""

import torch
from torch import Tensor, nn
from torch_geometric.nn import MLP, GATConv, global_add_pool, global_max_pool, global_mean_pool

from pyg_relational.ops.checks import check_count, check_features, check_number
from pyg_relational.ops.options import show_options

__all__ = ["GATEmbedding"]


class GATEmbedding(nn.Module):
    r"""Distances of a graph to prototype graphs, without matching it to any.

    From `Leonardi and Riesen, "Dissimilarity-Based Graph Embedding: An Efficient GAT-based Approach"
    <https://doi.org/10.1007/978-3-031-78192-6>`_ (ICPR 2024, p. 361): three :class:`torch_geometric.nn.GATConv`, sums,
    maxima and means of the nodes side by side, a bottleneck, and four layers that widen to a distance for each
    prototype. It learns from distances that are computed once, by :func:`~pyg_relational.nn.dissimilarity_loss`.

    The text gives no widths: they are :math:`h, 2h, 4h` of the convolutions, :math:`h` of the bottleneck and
    :math:`2h, 4h, 8h` after it. It has a ReLU behind each of the four layers; here the last has none, as a unit that a
    ReLU has switched off learns no more.

    Args:
        in_channels: Features of a node.
        hidden_channels: :math:`h`.
        num_prototypes: Number of prototypes.
        dropout: Dropout between the four layers.

    Shapes:
        ``x``: :math:`[n, d]`, ``edge_index``: :math:`[2, E]`, ``batch``: :math:`[n]`, output: :math:`[B, m]`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If an option is out of range or a width is wrong.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import GATEmbedding
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> GATEmbedding(3, 8, num_prototypes=5)(torch.randn(4, 3), edge_index, torch.tensor([0, 0, 1, 1])).shape
        torch.Size([2, 5])
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, num_prototypes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        d, h = (
            check_count(in_channels, "in_channels"),
            check_count(hidden_channels, "hidden_channels"),
        )
        check_number(dropout, "dropout")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.convs = nn.ModuleList(
            GATConv(*sizes) for sizes in ((d, h), (h, 2 * h), (2 * h, 4 * h))
        )
        self.bottleneck = nn.Linear(12 * h, h)
        widths = [h, 2 * h, 4 * h, 8 * h, check_count(num_prototypes, "num_prototypes")]
        self.expand = MLP(widths, norm=None, dropout=dropout)
        self.in_channels, self.dropout = d, dropout

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        """Return predicted distances of each graph."""
        check_features(x)
        if x.shape[1] != self.in_channels:
            raise ValueError(f"x must have {self.in_channels} channels, got {x.shape[1]}")
        for conv in self.convs:
            x = conv(x, edge_index).relu()
        pools = global_add_pool, global_max_pool, global_mean_pool
        pooled = torch.cat([pool(x, batch) for pool in pools], 1)
        distance: Tensor = self.expand(self.bottleneck(pooled).relu())
        return distance

    def extra_repr(self) -> str:
        """Options shown by ``print``; widths are those of its parts."""
        return show_options({"dropout": self.dropout})
