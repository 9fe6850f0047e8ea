"""The door of what works on undirected graphs: edges checked, sorted and weighted."""

import math

import torch
from torch import Tensor

from pyg_relational.ops.checks import Check, check_labels, judge, may_read, read, settle
from pyg_relational.ops.graph.as_edges import edge_checks, read_graph, sorted_edges

__all__ = [
    "check_graph_numbers",
    "check_undirected",
    "checked_edges",
    "edges_to_sum",
    "undirected_edges",
]


def undirected_edges(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    num_nodes: int | None = None,
    *also: Check,
) -> tuple[Tensor, Tensor, int]:
    """Edges in both directions, sorted and without duplicates, their weights, ones if ``None``, and number of nodes.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_nodes: Number of nodes, ``None`` for the largest index plus one.
        *also: What the caller asks of other arguments, which comes first and waits for the device together with it.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong, an index out of range, a weight not finite, negative, or other than that of the
            opposite direction.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.undirected import undirected_edges
        >>> undirected_edges(torch.tensor([[1, 0], [0, 1]]), None, 3)
        (tensor([[0, 1],
                [1, 0]]), tensor([1., 1.]), 3)
    """
    index, weight, n = read_graph((edge_index, edge_weight), num_nodes)
    return checked_edges(index, weight, n, *also)


def edges_to_sum(
    edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, *also: Check
) -> tuple[Tensor, Tensor]:
    """:func:`undirected_edges` for sums over edges, as they come, in any order and number, where none may be read.

    Args:
        edge_index: As there.
        edge_weight: As there.
        num_nodes: Number of nodes.
        *also: As there.

    Shapes:
        As there.

    Raises:
        TypeError: As there.
        ValueError: As there.
        RuntimeError: In place of that, compiled or in a CUDA graph, if a value is wrong.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.graph.undirected import edges_to_sum
        >>> edges_to_sum(torch.tensor([[1, 0], [0, 1]]), None, 2)[0].tolist()
        [[0, 1], [1, 0]]
    """
    if may_read():
        return undirected_edges(edge_index, edge_weight, num_nodes, *also)[:2]
    index, weight, _ = read_graph((edge_index, edge_weight), num_nodes)
    inside = index.clamp(0, max(num_nodes - 1, 0))
    of_edges = edge_checks(index, weight, num_nodes)[:-1]
    settle(*also, *of_edges, *_undirected_checks(inside, weight, num_nodes))
    return index, weight


def checked_edges(
    index: Tensor, weight: Tensor, num_nodes: int | None, *also: Check
) -> tuple[Tensor, Tensor, int]:
    """:func:`undirected_edges` of a graph that is read.

    Args:
        index: Edges.
        weight: Their weights.
        num_nodes: Number of nodes, ``None`` where it is not known.
        *also: As there.

    Shapes:
        ``index``: :math:`[2, E]`, ``weight``: :math:`[E]`.
    """
    first = [*also, *edge_checks(index, weight, num_nodes)]
    together: list[Check] = []
    if num_nodes and not weight.is_cpu:  # on the CPU indices are looked at before they are used
        together = _undirected_checks(index.clamp(0, num_nodes - 1), weight, num_nodes)
    numbers = read(*first, *together)
    judge(first, numbers)
    of_edges, of_both = numbers[len(also) : len(first)], numbers[len(first) :]
    edge_index, edge_weight, n = sorted_edges(index, weight, num_nodes, of_edges)
    if of_both and edge_index is index:
        judge(together, of_both)
    else:
        check_undirected(edge_index, edge_weight, n)
    return edge_index, edge_weight, n


def check_undirected(edge_index: Tensor, edge_weight: Tensor, num_nodes: int) -> None:
    """Raise unless weights are not negative and equal in both directions of every edge.

    Args:
        edge_index: Edges.
        edge_weight: Their weights.
        num_nodes: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`.

    Raises:
        ValueError: Otherwise.
    """
    checks = _undirected_checks(edge_index, edge_weight, num_nodes)
    judge(checks, read(*checks))


def _undirected_checks(edge_index: Tensor, edge_weight: Tensor, num_nodes: int) -> list[Check]:
    if edge_weight.numel() == 0:
        return []
    weight = edge_weight.detach()

    def refuse_weight() -> None:
        low, edge = weight.min(0)
        raise ValueError(
            f"edge_weight must be >= 0, got min {low.item():.3g} at edge {edge.item()}"
        )

    def refuse_direction() -> None:
        raise ValueError(
            "edge_weight must be equal in both directions of every edge, got a graph that is not undirected; "
            "see torch_geometric.utils.to_undirected"
        )

    def symmetric() -> Tensor:
        return _is_symmetric(edge_index, weight, num_nodes)

    return [
        Check("edge_weight must be >= 0", weight.amin, 0, math.inf, refuse_weight),
        Check("edge_weight must be equal in both directions", symmetric, 1, 1, refuse_direction),
    ]


def _is_symmetric(edge_index: Tensor, weight: Tensor, n: int) -> Tensor:
    r"""Whether :math:`a^T W b = b^T W a` for two arbitrary vectors."""
    number = torch.arange(2 * n, dtype=torch.float64, device=weight.device)
    a_b = (number.square() * 0.6180339887498949).sin().view(n, 2)
    (a, b), (of_a, of_b) = (a_b.index_select(0, ends).unbind(1) for ends in edge_index)
    apart = torch.dot(weight.double(), torch.addcmul(a * of_b, b, of_a, value=-1)).abs()
    norm = torch.linalg.vector_norm(weight)
    near: Tensor = apart <= torch.add(1e-6 * norm, weight.sum(), alpha=1e-12)
    return near


def check_graph_numbers(batch: Tensor, edge_index: Tensor, num_nodes: int) -> None:
    """Raise unless ``batch`` numbers the graphs from 0 and no edge leaves its graph.

    Args:
        batch: Graph of every node.
        edge_index: Edges.
        num_nodes: Number of nodes.

    Shapes:
        ``batch``: :math:`[n]`, ``edge_index``: :math:`[2, E]`.

    Raises:
        TypeError: If ``batch`` is not an int64 Tensor.
        ValueError: If it has another shape, a negative entry, or differs along an edge.
    """
    check_labels(batch, num_nodes, "batch")
    if num_nodes and int(batch.min()) < 0:
        raise ValueError(f"batch must be >= 0, got {int(batch.min())}")
    row, col = edge_index
    across = batch.index_select(0, row) != batch.index_select(0, col)
    if bool(across.any()):
        edge = int(across.nonzero()[0])
        raise ValueError(
            f"batch must be the same at both ends of an edge, got {batch[row[edge]].item()} and "
            f"{batch[col[edge]].item()} at edge {edge}"
        )
