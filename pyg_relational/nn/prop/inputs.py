"""The one door of label propagation: checks of graph, labels and mask."""

import math
from numbers import Real
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyg_relational.interop import as_edges
from pyg_relational.ops.checks import check_labels
from pyg_relational.ops.graph.undirected import check_batch, check_undirected
from pyg_relational.ops.linear.prepared import Prepared
from pyg_relational.ops.linear.solvers import SolveInfo, Solver

__all__ = [
    "NO_WORK",
    "Labelled",
    "check_inputs",
    "check_number",
    "check_solver",
    "check_source",
    "check_tau",
    "mean_by",
    "node_shift",
    "node_source",
    "read_edges",
]

NO_WORK = SolveInfo(0, torch.zeros(0), True)


class Labelled(NamedTuple):
    """A checked graph and its labels.

    Args:
        edge_index: Sorted edges, in both directions, ``[2, E]``.
        edge_weight: Weights ``>= 0``, ``[E]``.
        values: Values of labelled nodes, 0 elsewhere, ``[n, c]``.
        mask: Labelled nodes, ``[n]``.
        batch: Graph of every node, ``[n]``.
    """

    edge_index: Tensor
    edge_weight: Tensor
    values: Tensor
    mask: Tensor
    batch: Tensor


def read_edges(graph: Any, edge_weight: Tensor | None, num_nodes: int) -> tuple[Tensor, Tensor]:
    """Edges and weights of a graph, or of an ``edge_index`` and its weights.

    Args:
        graph: ``edge_index``, or what else :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights of ``edge_index``; ``None`` for ones or those of the graph.
        num_nodes: Number of nodes.
    """
    source = graph if edge_weight is None else (graph, edge_weight)
    edge_index, weight, _ = as_edges(source, num_nodes)
    return edge_index, weight


def check_inputs(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None,
    num_classes: int | None,
    batch: Tensor | None = None,
) -> Labelled:
    """Check and complete what every propagation takes.

    Args:
        edge_index: Edges, in both directions, or a graph.
        edge_weight: Their weights, ``None`` for ones or those of the graph. Half precision becomes float32.
        y: Classes (int64) or values (floating point) of the nodes.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes, ``None`` for the largest label of any row, labelled or not, + 1.
        batch: Graph of every node, ``None`` for one graph.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``: :math:`[n]` or :math:`[n, c]`,
        ``mask``, ``batch``: :math:`[n]`.

    Raises:
        TypeError: If a dtype is not one of these.
        ValueError: If shapes or values do not fit, weights are negative or differ between the directions
            of an edge, or nothing is labelled.
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"y must be a Tensor, got {type(y).__name__}")
    n = y.shape[0] if y.dim() else 0
    mask = _mask(y, mask, n)
    edge_index, edge_weight = read_edges(edge_index, edge_weight, n)
    if edge_weight.dtype in (torch.float16, torch.bfloat16):
        edge_weight = edge_weight.float()
    check_undirected(edge_index, edge_weight, n)
    if batch is None:
        batch = torch.zeros(n, dtype=torch.int64, device=y.device)
    else:
        check_batch(batch, edge_index, n)
    return Labelled(
        edge_index, edge_weight, _values(y, mask, num_classes, edge_weight), mask, batch
    )


def _mask(y: Tensor, mask: Tensor | None, n: int) -> Tensor:
    if mask is None:
        if y.is_floating_point():
            raise ValueError("mask must be given where y holds values, got None")
        mask = y >= 0
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a bool Tensor, got {got}")
    if mask.shape != (n,):
        raise ValueError(f"mask must have shape [{n}], got {list(mask.shape)}")
    if not bool(mask.any()):
        raise ValueError(f"mask must mark at least one labelled node, got none of {n}")
    return mask


def _values(y: Tensor, mask: Tensor, num_classes: int | None, weight: Tensor) -> Tensor:
    if y.is_floating_point():
        if y.dim() != 2 or (num_classes is not None and y.shape[1] != num_classes):
            c = "c" if num_classes is None else num_classes
            raise ValueError(
                f"y must have shape [n, {c}] where it holds values, got {list(y.shape)}"
            )
        values = y.to(weight.dtype).where(mask[:, None], 0.0)
        if not bool(torch.isfinite(values.detach()).all()):
            raise ValueError("y must be finite on labelled nodes")
        return values
    check_labels(y, len(mask))
    low, high, top = torch.stack([y[mask].min(), y[mask].max(), y.max()]).tolist()
    c = top + 1 if num_classes is None else num_classes
    if low < 0 or high >= c:
        raise ValueError(f"y must be in [0, {c}) on labelled nodes, got {low if low < 0 else high}")
    return one_hot(y.where(mask, 0), c).to(weight.dtype) * mask[:, None]


def mean_by(x: Tensor, group: Tensor) -> Tensor:
    """Mean of the rows of each group, given to each of its rows.

    Args:
        x: Rows.
        group: Number of the group of every row.

    Shapes:
        ``x``: :math:`[n, c]`, ``group``: :math:`[n]`, output: :math:`[n, c]`.
    """
    size = int(group.max()) + 1 if group.numel() else 0
    count = x.new_zeros(size).index_add(0, group, x.new_ones(len(x)))
    total = x.new_zeros(size, x.shape[1]).index_add(0, group, x)
    return (total / count.clamp(min=1)[:, None])[group]


def check_tau(tau: Any) -> None:
    """Raise unless ``tau`` is a number or a Tensor of finite values ``>= 0``.

    Args:
        tau: The argument to check.

    Raises:
        TypeError: If it is neither a number nor a Tensor.
        ValueError: If a value is negative or not finite.
    """
    check_number(tau, "tau")
    low, high = _bounds(tau)
    if not 0 <= low <= high < math.inf:
        raise ValueError(f"tau must be >= 0 and finite, got {low}")


def check_source(f: Any) -> None:
    """Raise unless ``f`` is a number or a Tensor of finite values.

    Args:
        f: The argument to check.

    Raises:
        TypeError: If it is neither a number nor a Tensor.
        ValueError: If a value is not finite.
    """
    check_number(f, "f")
    if not all(map(math.isfinite, _bounds(f))):
        raise ValueError("f must be finite, got NaN or infinity")


def _bounds(value: Any) -> tuple[float, float]:
    """Least and largest of a number or a Tensor, NaN where one is."""
    if not isinstance(value, Tensor):
        return float(value), float(value)
    low, high = torch.stack(value.detach().aminmax()).tolist()
    return low, high


def check_solver(solver: Any, prepared: Any = None) -> None:
    """Raise ``TypeError`` unless ``solver`` is a solver and ``prepared`` a ``Prepared``, or ``None``.

    Args:
        solver: The argument to check.
        prepared: The argument to check.
    """
    if not isinstance(solver, Solver | None):
        solvers = ", ".join(f"{kind.__name__}(...)" for kind in get_args(Solver))
        raise TypeError(f"solver must be {solvers} or None, got {solver!r}")
    if not isinstance(prepared, Prepared | None):
        raise TypeError(f"prepared must be Prepared() or None, got {prepared!r}")


def check_number(value: Any, name: str) -> None:
    """Raise ``TypeError`` unless ``value`` is a number or a Tensor.

    Args:
        value: The argument to check.
        name: How the caller's signature names it.
    """
    if isinstance(value, bool) or not isinstance(value, Real | Tensor):
        raise TypeError(f"{name} must be a number or a Tensor, got {type(value).__name__}")


def node_shift(tau: float | Tensor, values: Tensor) -> Tensor:
    """``tau`` as one value a node.

    Args:
        tau: A number ``>= 0``, a scalar or one value a node.
        values: Values of the nodes, for number, dtype and device.

    Shapes:
        ``tau``: scalar or :math:`[n]`, ``values``: :math:`[n, c]`, output: :math:`[n]`.

    Raises:
        TypeError: If it is neither a number nor a Tensor.
        ValueError: If the shape does not fit or a value is negative or not finite.
    """
    n = values.shape[0]
    check_number(tau, "tau")
    shift = torch.as_tensor(tau, dtype=values.dtype, device=values.device)
    if shift.dim() > 1 or (shift.dim() == 1 and shift.shape[0] != n):
        raise ValueError(f"tau must be a scalar or have shape [{n}], got {list(shift.shape)}")
    check_tau(shift)  # in this dtype, which may not hold the number
    return shift.expand(n)


def node_source(f: float | Tensor, values: Tensor) -> Tensor:
    """``f`` as one value a node and class.

    Args:
        f: A number, one a node, or one a node and class.
        values: Values of the nodes, for number, dtype and device.

    Shapes:
        ``f``: scalar, :math:`[n]` or :math:`[n, c]`, ``values``, output: :math:`[n, c]`.

    Raises:
        TypeError: If it is neither a number nor a Tensor.
        ValueError: If the shape does not fit or a value is not finite.
    """
    check_number(f, "f")
    source = torch.as_tensor(f, dtype=values.dtype, device=values.device)
    if source.shape not in ((), values.shape[:1], values.shape):
        n, c = values.shape
        raise ValueError(
            f"f must be a number or have shape [{n}] or [{n}, {c}], got {list(source.shape)}"
        )
    check_source(source)
    return (source[:, None] if source.dim() == 1 else source).expand_as(values)
