"""Sets of proxies and the edges from them: reading, checks, combination."""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.typing import SparseTensor
from torch_geometric.utils import to_edge_index

from pyg_relational.ops.checks import check_choice, check_count, check_matrix, finite, settle

__all__ = [
    "Combine",
    "Sets",
    "check_channels",
    "combine",
    "joined",
    "read_arguments",
    "read_edges",
    "read_sets",
]

Sets = Tensor | Sequence[Tensor]
Combine = Literal["sum", "mean", "max", "cat"]


def check_channels(in_channels: int | tuple[int, int], **sizes: int) -> tuple[int, int]:
    """Return the channels of proxies and of samples, or raise.

    Args:
        in_channels: Channels of samples and proxies, one number for both or a pair.
        sizes: Other arguments that must be integers >= 1.

    Raises:
        TypeError: If one is no integer.
        ValueError: If one is below 1, or ``in_channels`` are not one or two.
    """
    pair = in_channels if isinstance(in_channels, tuple) else (in_channels, in_channels)
    if len(pair) != 2:
        raise ValueError(f"in_channels must be one or two integers, got {in_channels}")
    for name, size in sizes.items():
        check_count(size, name)
    return check_count(pair[0], "in_channels"), check_count(pair[1], "in_channels")


def read_arguments(x: Any, sets: Any, edge_index: Any) -> tuple[Tensor, Any, Any]:
    """Samples, sets and edges, also of a call as PyG's: ``conv((proxies, samples), graph)``, ``conv(x, graph)``.

    Args:
        x: Samples, or proxies and samples.
        sets: Sets, or in the second manner the graph.
        edge_index: Graph, ``None`` in the second manner.

    Raises:
        ValueError: If ``x`` is a tuple of other than two.
        TypeError: If ``x`` is a tuple and ``edge_index`` is given, too.
    """
    if isinstance(x, tuple):
        if len(x) != 2:
            raise ValueError(f"x must be samples or (proxies, samples), got a tuple of {len(x)}")
        if edge_index is not None:
            raise TypeError(
                "edge_index must come second where x is (proxies, samples), got a third"
            )
        return x[1], x[0], sets
    floating = (
        isinstance(sets, Tensor) and sets.is_floating_point() and sets.layout == torch.strided
    )
    if edge_index is None and isinstance(sets, (Tensor, SparseTensor)) and not floating:
        return x, x, sets
    return x, sets, edge_index


def read_sets(x: Tensor, sets: Sets, source: int, target: int) -> tuple[Tensor, ...]:
    """Return the sets of proxies as a tuple, or raise where they or the samples have the wrong shape.

    Args:
        x: Samples.
        sets: One set or several.
        source: Channels of a proxy.
        target: Channels of a sample.

    Raises:
        TypeError: If one is not a floating-point Tensor, or ``sets`` no sequence of them.
        ValueError: If there is no set, a shape does not fit or a value is not finite.
    """
    if not isinstance(sets, (Tensor, list, tuple)):
        raise TypeError(f"sets must be a Tensor or a tuple of them, got {type(sets).__name__}")
    groups = (sets,) if isinstance(sets, Tensor) else tuple(sets)
    if not groups:
        raise ValueError("sets must hold at least one set, got none")
    names = ["sets"] if isinstance(sets, Tensor) else [f"sets[{i}]" for i in range(len(groups))]
    wanted = [("x", x, target)] + [(n, g, source) for n, g in zip(names, groups, strict=True)]
    for name, features, size in wanted:
        check_matrix(features, name)
        if features.shape[1] != size:
            raise ValueError(f"{name} must have {size} channels, got {features.shape[1]}")
    settle(*(finite(features, name) for name, features, _ in wanted))
    return groups


def read_edges(graphs: Any, sets: Sets, groups: tuple[Tensor, ...], rows: int) -> list[Tensor]:
    """Return the edges from each set to the samples as plain tensors, or raise.

    Args:
        graphs: One graph, or one a set if ``sets`` is a sequence.
        sets: As the user gave them.
        groups: The sets as a tuple.
        rows: Number of samples.

    Raises:
        TypeError: If a graph is not a Tensor, EdgeIndex, ``torch.sparse`` tensor or ``SparseTensor``, or there are
            several sets and no sequence of graphs.
        ValueError: If their number, a shape or an index does not fit.
    """
    if isinstance(sets, Tensor):
        graphs = (graphs,)
    if not isinstance(graphs, (list, tuple)):
        raise TypeError(
            f"edge_index must be a tuple with a graph for each set, got {type(graphs).__name__}"
        )
    if len(graphs) != len(groups):
        raise ValueError(
            f"edge_index must hold one graph for each of {len(groups)} sets, got {len(graphs)}"
        )
    return [_edges(graph, len(g), rows) for graph, g in zip(graphs, groups, strict=True)]


def _edges(graph: Any, proxies: int, rows: int) -> Tensor:
    if not isinstance(graph, (Tensor, SparseTensor)):
        raise TypeError(
            "edge_index must be a Tensor, EdgeIndex, torch.sparse tensor or SparseTensor, "
            f"got {type(graph).__name__}"
        )
    if isinstance(graph, EdgeIndex):
        edges: Tensor = graph.as_tensor()
    elif isinstance(graph, Tensor) and graph.layout == torch.strided:
        edges = graph
    else:
        edges = to_edge_index(graph)[0].flip(0)
        if (graph.size(0), graph.size(1)) != (rows, proxies):
            raise ValueError(
                "edge_index as a sparse matrix must have shape [samples, proxies] = "
                f"[{rows}, {proxies}], got [{graph.size(0)}, {graph.size(1)}]"
            )
    if edges.dim() != 2 or edges.shape[0] != 2 or edges.dtype != torch.int64:
        raise ValueError(
            f"edge_index must be int64 of shape [2, E], got {edges.dtype} {list(edges.shape)}"
        )
    for row, size, name in zip(edges, (proxies, rows), ("proxies", "samples"), strict=True):
        if len(row) and not 0 <= int(row.min()) <= int(row.max()) < size:
            raise ValueError(
                f"edge_index must lie in [0, {size}) for {name}, "
                f"got {int(row.min())} to {int(row.max())}"
            )
    return edges


def joined(edges: list[Tensor], groups: tuple[Tensor, ...]) -> Tensor:
    """Edges from several sets as edges from their concatenation.

    Args:
        edges: Edges from each set to the samples.
        groups: The sets.
    """
    moved, start = [], 0
    for edge, group in zip(edges, groups, strict=True):
        moved.append(torch.stack([edge[0] + start, edge[1]]))
        start += len(group)
    return torch.cat(moved, 1)


def combine(parts: list[Tensor], how: Combine, base: Tensor | None) -> Tensor:
    """Put together what came from each set, and with it the sample itself if it is among the parts.

    Args:
        parts: One a set.
        how: ``"sum"``, ``"mean"``, ``"max"``, or ``"cat"``: side by side, each with ``base``.
        base: Added to it.

    Shapes:
        ``parts``: :math:`[B, F]` each, ``base``: :math:`[B, F]` or :math:`[F]`,
        output: :math:`[B, F]`, or :math:`[B, S F]` for ``"cat"`` of :math:`S` sets.
    """
    check_choice(how, Combine, "combine")
    if how == "cat":
        return torch.cat([part if base is None else part + base for part in parts], 1)
    stack = torch.stack(parts)
    if how == "max":
        out = stack.amax(0)
    elif how == "mean":
        out = stack.mean(0)
    else:
        out = stack.sum(0)
    return out if base is None else out + base
