"""Losses of a batch of graphs: each graph as if it were alone, then their mean."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_labels


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
        >>> from pyg_relational.nn.loss.per_graph import split_graphs
        >>> split_graphs(torch.tensor([0, 2, 0]), torch.arange(3))
        [(tensor([0, 2]),), (tensor([], dtype=torch.int64),), (tensor([1]),)]
    """
    if batch is None:
        return [values]
    check_labels(batch, len(values[0]), "batch")
    if not len(batch):
        return [values]
    if int(batch.min()) < 0:
        raise ValueError(f"batch must be >= 0, got {int(batch.min())}")
    order = batch.argsort(stable=True)
    sizes = batch.bincount().tolist()
    return list(zip(*(x.index_select(0, order).split(sizes) for x in values), strict=True))


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
        >>> from pyg_relational.nn.loss.per_graph import graph_mean
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
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and >= 0, got {value}")
