"""Losses of a batch of graphs: each graph as if it were alone, then their mean."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_labels, check_number

__all__ = [
    "check_weights",
    "graph_mean",
    "graph_products",
    "graph_sizes",
    "mean_of_present",
    "split_graphs",
]


def split_graphs(batch: Tensor | None, *values: Tensor) -> list[tuple[Tensor, ...]]:
    """Rows of every graph in order, graphs without a row included; without ``batch``, all rows as one graph.

    Args:
        batch: Graph of every row.
        *values: Tensors with a row for every node.

    Shapes:
        ``batch``: :math:`[n]`, values: :math:`[n, *]`.

    Raises:
        TypeError: If ``batch`` is not an int64 Tensor.
        ValueError: If it has another shape or a negative entry.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.per_graph import split_graphs
        >>> split_graphs(torch.tensor([0, 2, 0]), torch.arange(3))
        [(tensor([0, 2]),), (tensor([], dtype=torch.int64),), (tensor([1]),)]
    """
    if batch is None:
        return [values]
    sizes = graph_sizes(batch, len(values[0])).tolist()
    order = batch.argsort(stable=True)
    return list(zip(*(x.index_select(0, order).split(sizes) for x in values), strict=True))


def graph_sizes(batch: Tensor, num_nodes: int) -> Tensor:
    """Number of nodes of every graph, of one at least.

    Args:
        batch: Graph of every node.
        num_nodes: Number of nodes.

    Shapes:
        ``batch``: :math:`[n]`, output: :math:`[B]`.

    Raises:
        TypeError: If ``batch`` is not an int64 Tensor.
        ValueError: If it has another shape or a negative entry.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.per_graph import graph_sizes
        >>> graph_sizes(torch.tensor([0, 2, 0]), 3).tolist()
        [2, 0, 1]
    """
    check_labels(batch, num_nodes, "batch")
    if num_nodes and int(batch.min()) < 0:
        raise ValueError(f"batch must be >= 0, got {int(batch.min())}")
    return batch.bincount(minlength=1)


def graph_products(batch: Tensor | None, a: Tensor, b: Tensor) -> Tensor:
    r"""Product :math:`A_g^\top B_g` of the rows of every graph, in :math:`O(n k m)`.

    Args:
        batch: Graph of every row.
        a: A matrix.
        b: Another.

    Shapes:
        ``batch``: :math:`[n]`, ``a``: :math:`[n, k]`, ``b``: :math:`[n, m]`, output: :math:`[B, k, m]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.per_graph import graph_products
        >>> graph_products(torch.tensor([0, 1, 0]), torch.eye(3)[:, :2], torch.ones(3, 1)).tolist()
        [[[1.0], [0.0]], [[0.0], [1.0]]]
    """
    return torch.stack([p.T @ q for p, q in split_graphs(batch, a, b)])


def mean_of_present(values: Tensor, batch: Tensor | None) -> Tensor:
    """Mean of what the graphs have, over those with a node; 0 where no graph has one.

    Args:
        values: A value for every graph, a scalar or one value without ``batch``.
        batch: Graph of every node.

    Shapes:
        ``values``: :math:`[B]`, ``batch``: :math:`[n]`, output: scalar.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.per_graph import mean_of_present
        >>> mean_of_present(torch.tensor([1.0, 5.0, 2.0]), torch.tensor([0, 2, 0]))
        tensor(1.5000)
    """
    if batch is None:
        return values.squeeze()
    present = batch.bincount(minlength=1) > 0
    return (values * present).sum() / present.sum().clamp(min=1)


def graph_mean(f: Callable[..., Tensor], batch: Tensor | None, *values: Tensor) -> Tensor:
    """Mean of a function of the rows of a graph, over the graphs that have any.

    Args:
        f: The function, of as many tensors as there are values.
        batch: Graph of every row.
        *values: Tensors with a row for every node.

    Shapes:
        ``batch``: :math:`[n]`, values: :math:`[n, *]`, output: that of ``f``.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.per_graph import graph_mean
        >>> graph_mean(torch.sum, torch.tensor([0, 2, 0]), torch.ones(3))
        tensor(1.5000)
    """
    parts = [part for part in split_graphs(batch, *values) if len(part[0])] or [values]
    return torch.stack([f(*part) for part in parts]).mean(0)


def check_weights(**weights: float) -> None:
    """Raise unless every number is finite and not negative.

    Args:
        **weights: The numbers, under their names in the caller's signature.

    Raises:
        ValueError: If one is not.
    """
    for name, value in weights.items():
        check_number(value, name)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and >= 0, got {value}")
