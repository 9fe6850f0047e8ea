"""Attention of samples to sets of proxies: what the layers share."""

from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.nn import functional
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import OptTensor
from torch_geometric.utils import softmax as softmax_over_edges

from pyg_relational.nn.conv.proxy_sets import (
    Combine,
    check_channels,
    combine,
    joined,
    read_arguments,
    read_edges,
    read_sets,
)
from pyg_relational.ops.checks import check_choice, check_number
from pyg_relational.ops.options import show_options

__all__ = ["Attention", "ProxyConv", "SelfLoop", "Softmax", "check_pyg"]

Softmax = Literal["per_set", "joint"]
SelfLoop = Literal["none", "residual", "per_set", "raw"]
Attention = Tensor | tuple[Tensor, Tensor]  # of all pairs, or edges and their weights


class ProxyConv(MessagePassing):  # type: ignore[misc]
    """Base of the attention layers between samples and proxies.

    A layer says how it projects (:meth:`query`, :meth:`project`), what a pair scores (:meth:`score`), how all pairs do
    (:meth:`scores`), and what it adds of the sample itself (:meth:`skip`). Its arguments are explained there.
    """

    def __init__(
        self,
        in_channels: int | tuple[int, int],
        out_channels: int,
        heads: int,
        concat: bool,
        dropout: float,
        softmax: Softmax,
        self_loop: SelfLoop,
        combine: Combine,
        num_sets: int = 1,
    ) -> None:
        super().__init__(aggr="add", node_dim=0)
        check_choice(softmax, Softmax, "softmax")
        check_choice(self_loop, SelfLoop, "self_loop")
        check_choice(combine, Combine, "combine")
        if softmax == "joint" and combine != "sum" and self_loop != "raw":
            raise ValueError(f'combine must be "sum" with softmax="joint", got {combine!r}')
        check_number(dropout, "dropout")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        sizes = {"out_channels": out_channels, "heads": heads, "num_sets": num_sets}
        pair = check_channels(in_channels, **sizes)
        if self_loop == "per_set" and pair[0] != pair[1]:
            raise ValueError(f'self_loop="per_set" needs equal in_channels, got {in_channels}')
        self.source, self.target = pair
        self.out_channels, self.heads, self.concat = out_channels, heads, concat
        self.dropout, self.softmax = dropout, softmax
        self.self_loop, self.combine, self.num_sets = self_loop, combine, num_sets
        if self_loop == "raw" and combine != "cat" and self.target != self.width:
            raise ValueError(
                f'self_loop="raw" needs combine="cat" or {self.target} channels a set, got {self.width}'
            )

    @property
    def width(self) -> int:
        """Channels that come from each set."""
        return self.out_channels * (self.heads if self.concat else 1)

    def output_channels(self, sets: int) -> int:
        """Channels of the output.

        Args:
            sets: Number of sets that the layer is called with.
        """
        parts = 1 if self.softmax == "joint" else sets
        own = self.target if self.self_loop == "raw" else 0
        return parts * self.width + own if self.combine == "cat" else self.width

    def query(self, x: Tensor) -> Tensor:
        """Project samples, to :math:`[B, H, C]`."""
        raise NotImplementedError

    def project(self, x: Tensor, at: int = 0) -> tuple[Tensor, Tensor]:
        """Project proxies of set ``at`` to keys and values, :math:`[P, H, C]` each."""
        raise NotImplementedError

    def score(self, query: Tensor, key: Tensor) -> Tensor:
        """Score pairs: :math:`[E, H, C]` and the same, to :math:`[E, H]`."""
        raise NotImplementedError

    def scores(self, query: Tensor, key: Tensor) -> Tensor:
        """Score all pairs, to :math:`[H, B, P]`."""
        raise NotImplementedError

    def skip(self, x: Tensor) -> Tensor | None:
        """What is added of the sample itself."""
        raise NotImplementedError

    @overload
    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        sets: Any,
        edge_index: Any = None,
        return_attention_weights: Literal[False] | None = None,
    ) -> Tensor: ...

    @overload
    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        sets: Any,
        edge_index: Any = None,
        *,
        return_attention_weights: Literal[True],
    ) -> tuple[Tensor, list[Attention]]: ...

    def forward(
        self,
        x: Tensor | tuple[Tensor, Tensor],
        sets: Any,
        edge_index: Any = None,
        return_attention_weights: bool | None = None,
    ) -> Tensor | tuple[Tensor, list[Attention]]:
        """Return the samples' new features.

        As PyG's layers, it can be called as ``conv((proxies, samples), edge_index)``, and by
        :class:`torch_geometric.nn.HeteroConv`.

        Args:
            x: Features of the samples.
            sets: Features of the proxies: one set, or several.
            edge_index: All to all if ``None``; else the graph from the proxies to the samples, one a set if ``sets`` is
                a sequence. Row 0 holds proxies, row 1 samples; a sparse matrix is PyG's transposed adjacency
                [samples, proxies].
            return_attention_weights: Return ``(out, weights)``, weights a list with one entry a softmax.
        """
        x, sets, edge_index = read_arguments(x, sets, edge_index)
        groups = read_sets(x, sets, self.source, self.target)
        if 1 < self.num_sets < len(groups):
            raise ValueError(f"sets must be {self.num_sets} at most, got {len(groups)}")
        edges = None
        if edge_index is not None:
            edges = read_edges(edge_index, sets, groups, len(x))
        keys = [self.project(group, i) for i, group in enumerate(groups)]
        if self.softmax == "joint":
            edges = edges and [joined(edges, groups)]
            keys = [(torch.cat([k for k, _ in keys]), torch.cat([v for _, v in keys]))]
        query, weighted = self.query(x), bool(return_attention_weights)
        done = [
            self._complete(x, query, pair, i, weighted)
            if edges is None
            else self._sparse(x, query, pair, i, edges[i])
            for i, pair in enumerate(keys)
        ]
        parts = [part.flatten(1) if self.concat else part.mean(1) for part, _ in done]
        base = self.skip(x)
        if self.self_loop == "raw":
            parts = [x, *(part if base is None else part + base for part in parts)]
            base = None
        out = combine(parts, self.combine, base)
        return (out, [weights for _, weights in done]) if weighted else out

    def _complete(
        self, x: Tensor, query: Tensor, pair: tuple[Tensor, Tensor], at: int, weighted: bool
    ) -> tuple[Tensor, Any]:
        key, value = pair
        scores = self.scores(query, key)
        if self.self_loop != "per_set":
            alpha = self._alpha(scores.softmax(2), value)
            return torch.einsum("hbp,phc->bhc", alpha, value), alpha.movedim(0, 2)
        own_key, own_value = self.project(x, at)
        own = self.score(query, own_key).mT[:, :, None]
        alpha = self._alpha(torch.cat([scores, own], 2).softmax(2), value)
        out = torch.einsum("hbp,phc->bhc", alpha[:, :, :-1], value)
        return out + alpha[:, :, -1].mT[:, :, None] * own_value, alpha.movedim(0, 2)

    def _alpha(self, alpha: Tensor, value: Tensor) -> Tensor:
        return functional.dropout(alpha, self.dropout, self.training).to(value.dtype)

    def _sparse(
        self, x: Tensor, query: Tensor, pair: tuple[Tensor, Tensor], at: int, edges: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        key, value = pair
        if self.self_loop == "per_set":
            own = torch.arange(len(x), device=x.device)
            edges = torch.cat([edges, torch.stack([own + len(key), own])], 1)
            own_key, own_value = self.project(x, at)
            key, value = torch.cat([key, own_key]), torch.cat([value, own_value])
        size = len(key), len(x)
        alpha = self.edge_updater(edges, query=query, key=key, size=size)
        alpha = self._alpha(alpha, value)
        out: Tensor = self.propagate(edges, value=value, alpha=alpha, size=size)
        return out, (edges, alpha)

    def edge_update(
        self,
        query_i: Tensor,
        key_j: Tensor,
        index: Tensor,
        ptr: OptTensor,
        dim_size: int,
    ) -> Tensor:
        """Weigh the edges of each sample."""
        weights: Tensor = softmax_over_edges(self.score(query_i, key_j), index, ptr, dim_size)
        return weights

    def message(self, value_j: Tensor, alpha: Tensor) -> Tensor:
        """Send each proxy's value, weighted."""
        return alpha[:, :, None] * value_j

    def options(self) -> dict[str, Any]:
        """Options by name, as in the call that makes the layer."""
        names = ("heads", "concat", "dropout", "softmax", "self_loop", "combine")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        sizes = f"({self.source}, {self.target}), {self.out_channels}"
        return f"{type(self).__name__}({sizes}, {show_options(self.options())})"


def check_pyg(conv: Any, kind: Any, **wanted: Any) -> None:
    """Raise unless PyG's layer has nothing that the layer here has not.

    Args:
        conv: PyG's layer.
        kind: Its class.
        wanted: What its attributes must be.

    Raises:
        TypeError: If it is of another class.
        ValueError: If an attribute is not what it must be.
    """
    if not isinstance(conv, kind):
        raise TypeError(
            f"conv must be a torch_geometric.nn.{kind.__name__}, got {type(conv).__name__}"
        )
    if conv.aggr not in ("add", "sum"):
        raise ValueError(f"conv must have aggr='add', got {conv.aggr!r}")
    for name, value in {"flow": "source_to_target", **wanted}.items():
        if getattr(conv, name) != value:
            raise ValueError(f"conv must have {name}={value!r}, got {getattr(conv, name)!r}")
