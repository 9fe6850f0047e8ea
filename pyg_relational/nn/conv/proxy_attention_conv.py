"""Scaled dot-product attention of samples to sets of proxies."""

import math
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import ModuleList, functional
from torch.nn.functional import scaled_dot_product_attention
from torch_geometric.nn import TransformerConv
from torch_geometric.nn.dense import Linear

from pyg_relational.nn.conv.proxy_conv import ProxyConv, SelfLoop, Softmax, check_pyg
from pyg_relational.nn.conv.proxy_sets import Combine
from pyg_relational.ops.checks import check_choice

__all__ = ["ProxyAttentionConv", "Scale"]

Scale = Literal["head", "embed"]


class ProxyAttentionConv(ProxyConv):
    r"""Scaled dot-product attention of each sample to every proxy.

    The layer of CNN2Transformer, from `"CNN2Graph: Building Graphs for Image Classification"
    <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_:

    .. math::
        m^s_i = \sum_j \alpha^s_{ij} W^s_v g^s_j, \qquad
        \alpha^s_i = \mathrm{softmax}_j \left( \frac{\langle W_q x_i, W^s_k g^s_j \rangle}{\sqrt{d}} \right), \qquad
        x'_i = \omega(x_i, m^1_i, m^2_i)

    Eqs. 5 to 7: the sets :math:`s`, anchors and proxies, have key and value maps of their own (the second
    :math:`W_{k_1}` in print is :math:`W_{k_2}`), and :math:`\omega` puts the sample itself and both messages side by
    side or takes their maximum: ``self_loop="raw"`` with ``combine="cat"`` or ``"max"``. With ``num_sets=1`` and
    ``self_loop="residual"`` it
    is :class:`torch_geometric.nn.TransformerConv` of the complete bipartite graph, with the same parameters.

    All to all it is :func:`torch.nn.functional.scaled_dot_product_attention`, which has no second derivative; with
    weights on request it is computed otherwise, and has one.

    Args:
        in_channels: Channels of both, or a tuple: of the proxies and of the samples.
        out_channels: Channels of a head.
        heads: Number of heads. (default: 1)
        concat: Heads side by side, else their mean. (default: ``True``)
        scale: :math:`d` is the channels of a head (``"head"``) or of all heads (``"embed"``). (default: ``"head"``)
        dropout: Probability of leaving out a weight in training. (default: 0)
        softmax: Over each set (``"per_set"``) or over all proxies at once (``"joint"``). (default: ``"per_set"``)
        self_loop: ``"residual"`` adds :math:`W_3 x_i`; ``"per_set"`` makes the sample itself, :math:`g = x_i`, one more
            proxy of each set; ``"raw"`` makes :math:`x_i` one of the parts that ``combine`` puts together.
            (default: ``"none"``)
        combine: How outputs of sets are joined: ``"sum"``, ``"mean"``, ``"max"`` or ``"cat"``. (default: ``"sum"``)
        num_sets: Sets that have maps of their own; 1 shares them between all sets. A call with fewer sets takes the
            first maps. (default: 2)
        bias: Add learnable biases. (default: ``True``)

    Shapes:
        As :class:`ProxyGATv2Conv`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ProxyAttentionConv
        >>> conv = ProxyAttentionConv(16, 8, heads=4, self_loop="residual")
        >>> out, weights = conv(torch.randn(5, 16), torch.randn(10, 16), return_attention_weights=True)
        >>> out.shape, weights[0].shape
        (torch.Size([5, 32]), torch.Size([5, 10, 4]))
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int = 1,
        concat: bool = True,
        *,
        scale: Scale = "head",
        dropout: float = 0.0,
        softmax: Softmax = "per_set",
        self_loop: SelfLoop = "none",
        combine: Combine = "sum",
        num_sets: int = 2,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, concat, dropout, softmax, self_loop, combine, num_sets
        )
        check_choice(scale, Scale, "scale")
        self.scaling = scale
        self.scale = 1 / math.sqrt(out_channels * (heads if scale == "embed" else 1))
        self.lin_query = Linear(self.target, heads * out_channels, bias=bias)
        self.lin_key, self.lin_value = (
            ModuleList(
                Linear(self.source, heads * out_channels, bias=bias) for _ in range(num_sets)
            )
            for _ in range(2)
        )
        self.lin_skip = None
        if self_loop == "residual":
            self.lin_skip = Linear(self.target, self.width, bias=bias)

    def options(self) -> dict[str, Any]:
        """Options by name, as in the call that makes the layer."""
        own = {"scale": self.scaling, "num_sets": self.num_sets}
        return super().options() | own | {"bias": self.lin_query.bias is not None}

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as PyG's layer does."""
        super().reset_parameters()
        for linear in (*self.lin_key, self.lin_query, *self.lin_value, self.lin_skip):
            if linear is not None:
                linear.reset_parameters()

    @classmethod
    def from_pyg(
        cls, conv: TransformerConv, softmax: Softmax = "joint", combine: Combine = "sum"
    ) -> "ProxyAttentionConv":
        """Take over the weights of PyG's layer, shared between sets; its root weight becomes ``self_loop="residual"``.

        Args:
            conv: The layer, without edge features and gate (``beta``).
            softmax: As above. (default: ``"joint"``, which is PyG's on the union of the sets)
            combine: As above.

        Raises:
            TypeError: If ``conv`` is not a :class:`torch_geometric.nn.TransformerConv`.
            ValueError: If it has what this layer has not.
        """
        check_pyg(conv, TransformerConv, beta=False, edge_dim=None)
        new = cls(
            (conv.lin_key.in_channels, conv.lin_query.in_channels),
            conv.out_channels,
            conv.heads,
            conv.concat,
            dropout=conv.dropout,
            softmax=softmax,
            self_loop="residual" if conv.root_weight else "none",
            combine=combine,
            num_sets=1,
            bias=conv.lin_key.bias is not None,
        )
        state = {
            name.replace("lin_key.", "lin_key.0.").replace("lin_value.", "lin_value.0."): value
            for name, value in conv.state_dict().items()
            if conv.root_weight or not name.startswith("lin_skip")
        }
        own = new.state_dict()
        for name in {"lin_skip.bias"} & (own.keys() - state.keys()):  # PyG 2.6 without bias
            state[name] = torch.zeros_like(own[name])
        new.to(conv.lin_key.weight).train(conv.training).load_state_dict(state)
        return new

    def query(self, x: Tensor) -> Tensor:
        """Return :math:`W_q x`."""
        return self._heads(self.lin_query(x))

    def project(self, x: Tensor, at: int = 0) -> tuple[Tensor, Tensor]:
        """Return :math:`W^s_k g` and :math:`W^s_v g` of set ``at``."""
        at = min(at, self.num_sets - 1)
        return self._heads(self.lin_key[at](x)), self._heads(self.lin_value[at](x))

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        """Score pairs."""
        return self.scale * (query * key).sum(2)

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score all pairs."""
        return torch.einsum("bhc,phc->hbp", self.scale * query, key)

    def skip(self, x: Tensor) -> Tensor | None:
        """Return :math:`W_3 x`."""
        own: Tensor | None = None if self.lin_skip is None else self.lin_skip(x)
        return own

    def _heads(self, x: Tensor) -> Tensor:
        out: Tensor = x.unflatten(1, (self.heads, self.out_channels))
        return out

    def _complete(
        self, x: Tensor, query: Tensor, pair: tuple[Tensor, Tensor], at: int, weighted: bool
    ) -> tuple[Tensor, Any]:
        key, value = pair
        if weighted or not len(key):
            return super()._complete(x, query, pair, at, weighted)
        if self.self_loop != "per_set":
            return self._attend(query, key, value), None
        own_key, own_value = self.project(x, at)
        own = self.score(query, own_key)[:, :, None] / self.scale
        out = self._attend(_beside(query, own), *map(_with_own, pair))
        out, share = out[:, :, : self.out_channels], out[:, :, self.out_channels, None]
        return out + share * own_value, None

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q, k, v = (t.transpose(0, 1)[None] for t in (query, key, value))
        p = self.dropout if self.training else 0.0
        out = scaled_dot_product_attention(q, k, v, dropout_p=p, scale=self.scale)
        return out[0].transpose(0, 1)


def _beside(x: Tensor, one: Tensor) -> Tensor:
    """One more channel, and zeros to a multiple of 8, as fused attention needs."""
    wider = torch.cat([x, one.to(x.dtype)], 2)
    return functional.pad(wider, (0, -wider.shape[2] % 8))


def _with_own(x: Tensor) -> Tensor:
    """Keys or values, and one more that has nothing but a 1 in one more channel: each sample's own."""
    one = x.new_zeros(1, x.shape[1], x.shape[2] + 1)
    one[:, :, -1] = 1
    rows = torch.cat([functional.pad(x, (0, 1)), one])
    return functional.pad(rows, (0, -rows.shape[2] % 8))
