"""A symmetric graph of which every rank holds some rows."""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree
from pyg_relational.distributed.collectives import all_reduce, rank_and_size
from pyg_relational.distributed.halo import Halo, halo_of
from pyg_relational.ops.checks import check_count

__all__ = ["ShardedGraph", "check_graph", "check_rows_of", "group_of", "weight_facts"]

_LAST: list[Any] = []  # the group of the last graph that this process has made


@dataclass(frozen=True, eq=False)
class ShardedGraph:
    r"""This rank's rows of a weighted undirected graph, and how to get values of other rows.

    Nodes are numbered through: rank :math:`r` holds rows ``offsets[r]`` to ``offsets[r + 1] - 1``. The edges of the
    ranks, one after the other, are those of the whole graph, both directions of each, sorted by (row, column). An edge
    between two ranks is on both, as a row of each.

    Args:
        edge_index: Edges whose row is here, both ends as numbered in the whole graph.
        edge_weight: Their weights ``>= 0``, equal in both directions.
        offsets: First row of each rank, and behind them the number of rows.
        halo: Exchange of the rows of other ranks that are columns here.
        group: Processes. ``None`` for all, or for one process without a group.

    Shapes:
        ``edge_index``: :math:`[2, E_r]`, ``edge_weight``: :math:`[E_r]`, ``offsets``: :math:`W + 1`.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import ShardedGraph
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> graph = ShardedGraph.from_rows(path, torch.ones(4), num_rows=3)
        >>> graph.num_nodes, graph.num_rows, graph.offsets
        (3, 3, (0, 3))
    """

    edge_index: Tensor
    edge_weight: Tensor
    offsets: tuple[int, ...]
    halo: Halo
    group: Any = None

    def __post_init__(self) -> None:
        """Remember the group, for :func:`group_of`."""
        _LAST[:] = [self.group]

    @classmethod
    def from_rows(
        cls,
        edge_index: Tensor,
        edge_weight: Tensor | None,
        num_rows: int,
        group: Any = None,
    ) -> "ShardedGraph":
        """The graph of edges that every rank has of its own rows; all ranks call it together.

        Args:
            edge_index: Edges whose row is here, in any order, each once; both ends as numbered in the whole graph.
            edge_weight: Their weights, ``None`` for ones.
            num_rows: Number of rows here.
            group: Processes. (default: all)

        Raises:
            TypeError: If a dtype is wrong, on any rank.
            ValueError: If an edge is not of this rank, twice there, or without its other direction, or a weight is
                negative or not finite, on any rank.
        """
        sizes = [
            size for (size,) in agree(lambda: _sizes(edge_index, edge_weight, num_rows), group)
        ]
        offsets = (0, *accumulate(sizes))
        rank = rank_and_size(group)[0]
        agree(lambda: _ends(edge_index, offsets, rank), group)
        order = (edge_index[0] * offsets[-1] + edge_index[1]).argsort()
        edge_index = edge_index.index_select(1, order)
        if edge_weight is None:
            weight = torch.ones(len(order), device=edge_index.device)
        else:
            weight = edge_weight.index_select(0, order)
        halo = halo_of(edge_index[1], offsets, group)
        graph = cls(edge_index, weight, offsets, halo, group)
        agree(lambda: (weight_facts(graph), []), group)
        check_graph(graph)
        return graph

    def state_dict(self) -> dict[str, Tensor]:
        """What this rank has to save: tensors, which ``torch.load(..., weights_only=True)`` reads."""
        offsets = torch.tensor(self.offsets)
        weight = self.edge_weight.detach()
        return {"edge_index": self.edge_index, "edge_weight": weight, "offsets": offsets}

    @classmethod
    def from_state_dict(cls, state: dict[str, Tensor], group: Any = None) -> "ShardedGraph":
        """The graph of what every rank has saved; all ranks call it together.

        Args:
            state: :meth:`state_dict` of this rank, of as many ranks.
            group: Processes. (default: all)

        Raises:
            TypeError: If ``state`` is no dict of Tensors, on any rank.
            ValueError: If the states are of another number of ranks, of different graphs, or in another order.

        Example:
            >>> import torch
            >>> from pyg_relational.distributed import ShardedGraph
            >>> graph = ShardedGraph.from_rows(torch.tensor([[0, 1], [1, 0]]), None, num_rows=2)
            >>> ShardedGraph.from_state_dict(graph.state_dict()).edge_weight
            tensor([1., 1.])
        """
        rank, size = rank_and_size(group)
        agree(lambda: _saved(state, size), group)
        offsets: list[int] = state["offsets"].tolist()
        num_rows = offsets[rank + 1] - offsets[rank]
        return cls.from_rows(state["edge_index"], state["edge_weight"], num_rows, group)

    def with_weight(self, edge_weight: Tensor) -> "ShardedGraph":
        """The same edges with other weights, without a word to the other ranks.

        Args:
            edge_weight: Weights of the edges, equal in both directions.

        Shapes:
            ``edge_weight``: :math:`[E_r]`.
        """
        if edge_weight.shape != self.edge_weight.shape:
            shape = list(self.edge_weight.shape)
            raise ValueError(f"edge_weight must have shape {shape}, got {list(edge_weight.shape)}")
        return replace(self, edge_weight=edge_weight)

    @property
    def num_nodes(self) -> int:
        """Number of nodes of the whole graph."""
        return self.offsets[-1]

    @property
    def num_rows(self) -> int:
        """Number of rows here."""
        return self.halo.stop - self.halo.start

    @cached_property
    def local(self) -> Tensor:
        """The edges with rows counted from 0, and columns as :meth:`Halo.extend` has them."""
        row, col = self.edge_index
        return torch.stack([row - self.halo.start, self.halo.number(col)])


def group_of(graph: Any) -> Any:
    """The group of a graph; of what is none, that of the last graph made here, whose ranks are likely to wait.

    A rank that has something else in the place of a graph must refuse it where the others are.

    Args:
        graph: The argument that should be a graph.

    Example:
        >>> from pyg_relational.distributed.sharded_graph import group_of
        >>> group_of("no graph") is None
        True
    """
    if isinstance(graph, ShardedGraph):
        return graph.group
    return _LAST[0] if _LAST else None


def _saved(state: Any, size: int) -> tuple[dict[str, object], list[int]]:
    names = ("edge_index", "edge_weight", "offsets")
    if not isinstance(state, dict) or not all(isinstance(state.get(n), Tensor) for n in names):
        got = sorted(state) if isinstance(state, dict) else type(state).__name__
        raise TypeError(f"state must be a dict of Tensors {list(names)}, got {got}")
    offsets = state["offsets"].tolist()
    if len(offsets) != size + 1:
        raise ValueError(f"state must be of {size} ranks, got one of {len(offsets) - 1}")
    return {"offsets": offsets}, []


def _sizes(edge_index: Any, edge_weight: Any, num_rows: Any) -> tuple[dict[str, object], list[int]]:
    for name, value in (("edge_index", edge_index), ("edge_weight", edge_weight)):
        if not isinstance(value, Tensor) and not (name == "edge_weight" and value is None):
            raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}")
    if edge_index.dtype != torch.int64:
        raise TypeError(f"edge_index must be int64, got {edge_index.dtype}")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise ValueError(f"edge_index must have shape [2, E], got {list(edge_index.shape)}")
    size = edge_index.shape[1]
    if edge_weight is not None and edge_weight.shape != (size,):
        raise ValueError(f"edge_weight must have shape [{size}], got {list(edge_weight.shape)}")
    count = check_count(num_rows, "num_rows", least=0)
    if count >= 2**62:
        raise ValueError(f"num_rows must be < 2**62, got {count}")
    return {"call": "from_rows", "device": edge_index.device.type}, [count]


def _ends(
    edge_index: Tensor, offsets: tuple[int, ...], rank: int
) -> tuple[dict[str, object], list[int]]:
    ends = zip(
        ("row", "column"), edge_index, (offsets[rank : rank + 2], (0, offsets[-1])), strict=True
    )
    for name, end, (low, high) in ends:
        wrong = (end < low) | (end >= high)
        if bool(wrong.any()):
            got = int(end[wrong][0])
            raise ValueError(f"edge_index must have every {name} in [{low}, {high}), got {got}")
    key = edge_index[0] * offsets[-1] + edge_index[1]
    if len(key.unique()) < len(key):
        raise ValueError("edge_index must hold every edge once, got one twice")
    return {}, []


def weight_facts(graph: ShardedGraph) -> dict[str, object]:
    """What ranks must agree on, of weights that are checked here.

    Args:
        graph: The graph.

    Raises:
        TypeError: If weights are not floating point.
        ValueError: If one is negative or not finite.
    """
    weight = graph.edge_weight
    if not weight.is_floating_point():
        raise TypeError(f"edge_weight must be floating point, got {weight.dtype}")
    if weight.numel():
        low, high = torch.stack(weight.detach().double().aminmax()).tolist()
        if not 0 <= low <= high < float("inf"):
            raise ValueError(f"edge_weight must be finite and >= 0, got {low:.3g} to {high:.3g}")
    needs_grad = weight.requires_grad and torch.is_grad_enabled()
    words = "with" if needs_grad else "without"
    return {"edge_weight": f"{weight.dtype} on {weight.device.type} {words} gradient"}


def check_rows_of(graph: Any, x: Tensor, name: str) -> None:
    """Raise unless ``graph`` is one over ranks, and ``x`` has as many rows as are here.

    Args:
        graph: The graph.
        x: Values of its rows.
        name: How the caller's signature names them.

    Raises:
        TypeError: If it is no ShardedGraph.
        ValueError: If ``x`` has another number of rows.
    """
    if not isinstance(graph, ShardedGraph):
        raise TypeError(f"graph must be a ShardedGraph, got {type(graph).__name__}")
    if len(x) != graph.num_rows:
        raise ValueError(f"{name} must have the graph's {graph.num_rows} rows, got {list(x.shape)}")


def check_graph(graph: ShardedGraph) -> None:
    r"""Raise, on all ranks, unless weights are equal in both directions: :math:`a^T W b = b^T W a`.

    Args:
        graph: The graph.

    Raises:
        ValueError: Otherwise.
    """
    weight = graph.edge_weight.detach().double()
    square = graph.edge_index.double().square()
    a, b = (square * 0.6180339887498949).sin(), (square * 0.7320508075688772).cos()
    parts = (weight * b[0] * a[1], weight * a[0] * b[1], weight.square(), weight)
    ba, ab, squares, total = all_reduce(torch.stack([p.sum() for p in parts]), graph.group).tolist()
    if abs(ba - ab) > 1e-6 * squares**0.5 + 1e-12 * total:
        raise ValueError(
            "edge_weight must be equal in both directions of every edge, got a graph that is not undirected; "
            "see torch_geometric.utils.to_undirected"
        )
