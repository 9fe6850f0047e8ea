"""Pooled proxies: the layers without attention."""

from typing import Any

from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.dense import Linear
from torch_geometric.typing import OptTensor
from torch_geometric.utils import degree

from pyg_relational.nn.conv.proxy_sets import (
    COMBINE,
    Sets,
    check_channels,
    combine,
    read_edges,
    read_sets,
)
from pyg_relational.ops.checks import check_choice


class ProxyPoolConv(MessagePassing):  # type: ignore[misc]
    r"""Mean, maximum or normalised sum of the proxies.

    What attention is held against in `"CNN2Graph: Building Graphs for Image Classification"
    <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_:

    .. math::
        x'_i = W_2 \, \mathrm{aggr}_j \, g_j + W_1 x_i

    On the complete graph the first term is the same for all samples: without ``self_loop="residual"`` the output says
    nothing of them. With it and one set, this is :class:`torch_geometric.nn.SAGEConv`, with the same parameters.

    Args:
        in_channels: Channels of both, or a tuple: of the proxies and of the samples.
        out_channels: Channels of the output.
        aggr: ``"mean"``, ``"max"``, or ``"sym"``: :math:`\sum_j g_j / \sqrt{d_i d_j}` with the numbers of neighbours
            :math:`d`, the paper's eq. 2. On the complete graph that is :math:`\sum_j g_j / \sqrt{P B}`, which depends
            on the size of the batch. (default: ``"mean"``)
        self_loop: ``"residual"`` adds :math:`W_1 x_i`, ``"none"`` does not. (default: ``"residual"``)
        combine: Of the sets: ``"sum"``, ``"mean"``, ``"max"`` or ``"cat"``. (default: ``"sum"``)
        bias: Add a learnable bias. (default: ``True``)

    Shapes:
        ``x``: :math:`[B, F]`, each set: :math:`[P, F]`, output: :math:`[B, C]`, and :math:`S` times as wide for
        :math:`S` sets with ``combine="cat"``.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ProxyPoolConv
        >>> ProxyPoolConv(16, 8, aggr="max")(torch.randn(5, 16), torch.randn(10, 16)).shape
        torch.Size([5, 8])
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        aggr: str = "mean",
        *,
        self_loop: str = "residual",
        combine: str = "sum",
        bias: bool = True,
    ) -> None:
        check_choice(aggr, ("mean", "max", "sym"), "aggr")
        check_choice(self_loop, ("none", "residual"), "self_loop")
        check_choice(combine, COMBINE, "combine")
        super().__init__(aggr="sum" if aggr == "sym" else aggr, node_dim=0)
        self.source, self.target = check_channels(in_channels, out_channels=out_channels)
        self.pool, self.combine, self.out_channels = aggr, combine, out_channels
        self.lin_l = Linear(self.source, out_channels, bias=bias)
        self.lin_r = None
        if self_loop == "residual":
            self.lin_r = Linear(self.target, out_channels, bias=False)

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        super().reset_parameters()
        self.lin_l.reset_parameters()
        if self.lin_r is not None:
            self.lin_r.reset_parameters()

    def forward(self, x: Tensor, sets: Sets, edge_index: Any = None) -> Tensor:
        """Return the samples' new features.

        Args:
            x: Features of the samples.
            sets: Features of the proxies: one set, or several.
            edge_index: All to all if ``None``; else as for :class:`ProxyGATv2Conv`.
        """
        groups = read_sets(x, sets, self.source, self.target)
        if edge_index is None:
            pooled = [self._complete(group, len(x)) for group in groups]
        else:
            edges = read_edges(edge_index, sets, groups, len(x))
            pooled = [self._sparse(g, len(x), e) for g, e in zip(groups, edges, strict=True)]
        base = None if self.lin_r is None else self.lin_r(x)
        return combine([self.lin_l(part) for part in pooled], self.combine, base)

    def _complete(self, group: Tensor, rows: int) -> Tensor:
        n = max(len(group), 1)
        if self.pool == "max":
            pooled = group.amax(0) if len(group) else group.sum(0)
        else:
            pooled = group.sum(0) / (n if self.pool == "mean" else (n * max(rows, 1)) ** 0.5)
        return pooled.expand(rows, -1)

    def _sparse(self, group: Tensor, rows: int, edges: Tensor) -> Tensor:
        weight = None
        if self.pool == "sym":
            source, target = (
                degree(row, size, group.dtype).rsqrt()
                for row, size in zip(edges, (len(group), rows), strict=True)
            )
            weight = source[edges[0]] * target[edges[1]]
        out: Tensor = self.propagate(edges, g=group, weight=weight, size=(len(group), rows))
        return out

    def message(self, g_j: Tensor, weight: OptTensor) -> Tensor:
        """Send each proxy, weighted."""
        return g_j if weight is None else weight[:, None] * g_j

    def __repr__(self) -> str:
        sizes = f"({self.source}, {self.target}), {self.out_channels}, aggr={self.pool!r}"
        return f"{type(self).__name__}({sizes})"
