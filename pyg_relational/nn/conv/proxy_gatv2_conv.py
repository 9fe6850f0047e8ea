"""GATv2 attention of samples to sets of proxies."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import dropout, leaky_relu
from torch_geometric.nn import GATv2Conv
from torch_geometric.nn.dense import Linear
from torch_geometric.nn.inits import glorot, zeros

from pyg_relational.nn.conv.proxy_conv import ProxyConv, SelfLoop, Softmax, check_pyg
from pyg_relational.nn.conv.proxy_sets import Combine
from pyg_relational.ops.checks import check_number
from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.pairs.gatv2 import gatv2_scores
from pyg_relational.ops.pairs.gatv2_attention import gatv2_attention

__all__ = ["ProxyGATv2Conv"]


class ProxyGATv2Conv(ProxyConv):
    r"""GATv2 attention of each sample to every proxy.

    The layer of CNN2GNN, from `"CNN2Graph: Building Graphs for Image Classification"
    <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_:

    .. math::
        x'_i = \sum_j \alpha_{ij} W_2 g_j, \qquad
        \alpha_i = \mathrm{softmax}_j \left( a^\top \mathrm{LeakyReLU}(W_1 x_i + W_2 g_j) \right)

    over each set apart or over all proxies. The complete graph is never built, nor anything of size
    :math:`B P H C` (see :func:`~pyg_relational.ops.gatv2_scores`); with triton on CUDA, nothing of size :math:`B P H`
    either, unless weights are asked for or dropped (:func:`~pyg_relational.ops.pairs.gatv2_attention.gatv2_attention`).
    With one set it is :class:`torch_geometric.nn.GATv2Conv` of the complete bipartite graph, with the same parameters.

    This is Algorithm 1, with the softmax over each set as its text says, and maps that anchors and proxies share. What
    becomes of the sets' results the algorithm leaves open; step 5 of the method aggregates :math:`x_i` with both,
    which is ``self_loop="raw"``.

    Args:
        in_channels: Channels of both, or a tuple: of the proxies and of the samples.
        out_channels: Channels of a head.
        heads: Number of heads. (default: 1)
        concat: Heads side by side, else their mean. (default: ``True``)
        negative_slope: Slope of the LeakyReLU below 0. (default: 0.2)
        dropout: Probability of leaving out a weight in training. (default: 0)
        softmax: Over each set (``"per_set"``) or over all proxies at once (``"joint"``). (default: ``"per_set"``)
        self_loop: ``"residual"`` adds :math:`W_3 x_i`; ``"per_set"`` makes the sample itself, :math:`g = x_i`, one more
            proxy of each set; ``"raw"`` makes :math:`x_i` one of the parts that ``combine`` puts together.
            (default: ``"none"``)
        combine: How outputs of sets are joined: ``"sum"``, ``"mean"``, ``"max"`` or ``"cat"``. (default: ``"sum"``)
        bias: Add learnable biases. (default: ``True``)

    Shapes:
        ``x``: :math:`[B, F]`, each set: :math:`[P, F]`, output: :math:`[B, H C]`, :math:`[B, C]` without ``concat``,
        and :math:`S` times as wide for :math:`S` sets with ``combine="cat"``. Weights, one entry a softmax:
        :math:`[B, P, H]`, the sample itself last with ``self_loop="per_set"``; with ``edge_index``, as in PyG, the
        edges :math:`[2, E]` and their weights :math:`[E, H]`, sample :math:`i` itself as proxy :math:`P + i`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ProxyGATv2Conv
        >>> conv = ProxyGATv2Conv(16, 8, heads=4)
        >>> anchors, proxies = torch.randn(20, 16), torch.randn(10, 16)
        >>> conv(torch.randn(5, 16), (anchors, proxies)).shape
        torch.Size([5, 32])
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        *,
        negative_slope: float = 0.2,
        dropout: float = 0.0,
        softmax: Softmax = "per_set",
        self_loop: SelfLoop = "none",
        combine: Combine = "sum",
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, dropout, softmax, self_loop, combine
        )
        check_number(negative_slope, "negative_slope")
        self.negative_slope = negative_slope
        options = {"bias": bias, "weight_initializer": "glorot"}
        self.lin_l = Linear(self.source, heads * out_channels, **options)
        self.lin_r = Linear(self.target, heads * out_channels, **options)
        self.att = Parameter(torch.empty(1, heads, out_channels))
        self.bias = Parameter(torch.empty(self.width)) if bias else None
        self.res = None
        if self_loop == "residual":
            self.res = Linear(self.target, self.width, bias=False, weight_initializer="glorot")
        self.reset_parameters()

    def options(self) -> dict[str, Any]:
        """Options by name, as in the call that makes the layer."""
        own = {"negative_slope": self.negative_slope, "bias": self.bias is not None}
        return super().options() | own

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as PyG's layer does."""
        super().reset_parameters()
        for linear in (self.lin_l, self.lin_r, self.res):
            if linear is not None:
                linear.reset_parameters()
        glorot(self.att)
        zeros(self.bias)

    @classmethod
    def from_pyg(
        cls, conv: GATv2Conv, softmax: Softmax = "joint", combine: Combine = "sum"
    ) -> "ProxyGATv2Conv":
        """Take over the weights of PyG's layer; a residual becomes ``self_loop="residual"``.

        Args:
            conv: The layer, without self-loops, edge features and shared weights.
            softmax: As above. (default: ``"joint"``, which is PyG's on the union of the sets)
            combine: As above.

        Raises:
            TypeError: If ``conv`` is not a :class:`torch_geometric.nn.GATv2Conv`.
            ValueError: If it has what this layer has not.
        """
        check_pyg(conv, GATv2Conv, add_self_loops=False, edge_dim=None, share_weights=False)
        new = cls(
            (conv.lin_l.in_channels, conv.lin_r.in_channels),
            conv.out_channels,
            conv.heads,
            conv.concat,
            negative_slope=conv.negative_slope,
            dropout=conv.dropout,
            softmax=softmax,
            self_loop="residual" if conv.residual else "none",
            combine=combine,
            bias=conv.bias is not None,
        )
        new.to(conv.att).train(conv.training).load_state_dict(conv.state_dict())
        return new

    def query(self, x: Tensor) -> Tensor:
        """Return :math:`W_1 x`."""
        out: Tensor = self.lin_r(x).unflatten(1, (self.heads, self.out_channels))
        return out

    def project(self, x: Tensor, at: int = 0) -> tuple[Tensor, Tensor]:
        """Return :math:`W_2 g`, key and value."""
        key = self.lin_l(x).unflatten(1, (self.heads, self.out_channels))
        return key, key

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        """Score pairs."""
        return (self.att * leaky_relu(query + key, self.negative_slope)).sum(2)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score all pairs."""
        return gatv2_scores(query, key, self.att[0], self.negative_slope)

    def skip(self, x: Tensor) -> Tensor | None:
        """Return :math:`W_3 x` and the bias."""
        if self.res is None:
            return self.bias
        own: Tensor = self.res(x)
        return own if self.bias is None else own + self.bias

    def _complete(
        self, x: Tensor, query: Tensor, pair: tuple[Tensor, Tensor], at: int, weighted: bool
    ) -> tuple[Tensor, Any]:
        key, value = pair
        if weighted or not is_fused(query, key):
            return super()._complete(x, query, pair, at, weighted)
        share = self.dropout if self.training else 0.0
        out, total = gatv2_attention(query, key, value, self.att[0], self.negative_slope, share)
        if self.self_loop == "per_set":
            own_key, own_value = self.project(x, at)
            own = (self.score(query, own_key) - total).sigmoid()[:, :, None].to(out.dtype)
            out = out - own * out + dropout(own, share) * own_value
        return out, None
