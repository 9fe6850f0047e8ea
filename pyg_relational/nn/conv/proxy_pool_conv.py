"""Pooled proxies: the layers without attention."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.dense import Linear
from torch_geometric.typing import OptTensor
from torch_geometric.utils import degree

from pyg_relational.nn.conv.proxy_sets import (
    Combine,
    check_channels,
    combine,
    joined,
    read_arguments,
    read_edges,
    read_sets,
)
from pyg_relational.ops.checks import check_choice
from pyg_relational.ops.options import show_options

__all__ = ["Aggr", "PoolSelfLoop", "ProxyPoolConv"]

Aggr = Literal["mean", "max", "sym"]
PoolSelfLoop = Literal["none", "residual"]


class ProxyPoolConv(MessagePassing):  # type: ignore[misc]
    r"""Mean, maximum or normalised sum of the proxies.

    What attention is held against in `"CNN2Graph: Building Graphs for Image Classification"
    <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_:

    .. math::
        x'_i = W_2 \, \mathrm{aggr}_j \, g_j + W_1 x_i

    The paper pools over anchors and proxies as one bank, without :math:`W_2` and :math:`W_1`: ``"sym"`` is its eq. 2,
    and its maximum includes the sample itself. The mean is ours, over each set. On the complete graph the first term of
    ``"mean"`` and
    ``"sym"`` is the same for all samples: without ``self_loop="residual"`` the output says nothing of them. ``"mean"``
    of one set is :class:`torch_geometric.nn.SAGEConv`, with the same parameters.

    Args:
        in_channels: Channels of both, or a tuple: of the proxies and of the samples.
        out_channels: Channels of the output.
        aggr: ``"mean"`` of each set; ``"max"`` of all proxies and the sample, channel by channel; or ``"sym"``:
            :math:`\sum_j g_j / \sqrt{d_i d_j}` over all proxies, with the numbers of neighbours :math:`d`. On the
            complete
            graph that is :math:`\sum_j g_j / \sqrt{P B}`, which depends on the size of the batch. (default: ``"mean"``)
        self_loop: ``"residual"`` adds :math:`W_1 x_i`, ``"none"`` does not. (default: ``"residual"``)
        combine: How pooled sets are combined: ``"sum"``, ``"mean"``, ``"max"`` or ``"cat"``. (default: ``"sum"``)
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
        aggr: Aggr = "mean",
        *,
        self_loop: PoolSelfLoop = "residual",
        combine: Combine = "sum",
        bias: bool = True,
    ) -> None:
        check_choice(aggr, Aggr, "aggr")
        check_choice(self_loop, PoolSelfLoop, "self_loop")
        check_choice(combine, Combine, "combine")
        if aggr != "mean" and combine != "sum":
            raise ValueError(f'combine must be "sum" with aggr={aggr!r}, got {combine!r}')
        super().__init__(aggr="sum" if aggr == "sym" else aggr, node_dim=0)
        self.source, self.target = check_channels(in_channels, out_channels=out_channels)
        if aggr == "max" and self.source != self.target:
            raise ValueError(f'aggr="max" needs equal in_channels, got {in_channels}')
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

    def output_channels(self, sets: int) -> int:
        """Channels of the output.

        Args:
            sets: Number of sets that the layer is called with.
        """
        return self.out_channels * (sets if self.combine == "cat" else 1)

    def forward(
        self, x: Tensor | tuple[Tensor, Tensor], sets: Any, edge_index: Any = None
    ) -> Tensor:
        """Return the samples' new features.

        As PyG's layers, it can be called as ``conv((proxies, samples), edge_index)``, and by
        :class:`torch_geometric.nn.HeteroConv`.

        Args:
            x: Features of the samples.
            sets: Features of the proxies: one set, or several.
            edge_index: All to all if ``None``; else as for :class:`ProxyGATv2Conv`.
        """
        x, sets, edge_index = read_arguments(x, sets, edge_index)
        groups = read_sets(x, sets, self.source, self.target)
        edges = None
        if edge_index is not None:
            edges = read_edges(edge_index, sets, groups, len(x))
        if self.pool != "mean":
            edges = edges and [joined(edges, groups)]
            groups = (torch.cat(groups),)
        pooled = [
            self._complete(x, group) if edges is None else self._sparse(x, group, edges[i])
            for i, group in enumerate(groups)
        ]
        base = None if self.lin_r is None else self.lin_r(x)
        return combine([self.lin_l(part) for part in pooled], self.combine, base)

    def _complete(self, x: Tensor, group: Tensor) -> Tensor:
        if self.pool == "max":
            return torch.maximum(x, group.amax(0)) if len(group) else x
        n = max(len(group), 1)
        pooled = group.sum(0) / (n if self.pool == "mean" else (n * max(len(x), 1)) ** 0.5)
        return pooled.expand(len(x), -1)

    def _sparse(self, x: Tensor, group: Tensor, edges: Tensor) -> Tensor:
        weight = None
        if self.pool == "sym":
            source, target = (
                degree(row, size, group.dtype).rsqrt()
                for row, size in zip(edges, (len(group), len(x)), strict=True)
            )
            weight = source[edges[0]] * target[edges[1]]
        if self.pool == "max":
            own = torch.arange(len(x), device=x.device)
            edges = torch.cat([edges, torch.stack([own + len(group), own])], 1)
            group = torch.cat([group, x])
        out: Tensor = self.propagate(edges, g=group, weight=weight, size=(len(group), len(x)))
        return out

    def message(self, g_j: Tensor, weight: OptTensor) -> Tensor:
        """Send each proxy, weighted."""
        return g_j if weight is None else weight[:, None] * g_j

    def __repr__(self) -> str:
        residual = "none" if self.lin_r is None else "residual"
        choices = {"aggr": self.pool, "self_loop": residual, "combine": self.combine}
        options = choices | {"bias": self.lin_l.bias is not None}
        sizes = f"({self.source}, {self.target}), {self.out_channels}"
        return f"{type(self).__name__}({sizes}, {show_options(options)})"
