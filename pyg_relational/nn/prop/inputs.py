"""The one door of label propagation: checks of graph, labels and mask."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.checks import Check, check_count, check_labels, check_number
from pyg_relational.ops.graph.as_edges import read_graph
from pyg_relational.ops.graph.undirected import check_graph_numbers, checked_edges
from pyg_relational.ops.linear import solvers
from pyg_relational.ops.linear.prepared import Prepared
from pyg_relational.ops.linear.solvers import SolveInfo

__all__ = [
    "NO_WORK",
    "Labelled",
    "check_again",
    "check_class_count",
    "check_inputs",
    "check_solving",
    "check_source",
    "check_tau",
    "label_checks",
    "label_mask",
    "label_values",
    "mean_by",
    "node_shift",
    "node_source",
    "value_in",
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
        num_graphs: How many there are.
    """

    edge_index: Tensor
    edge_weight: Tensor
    values: Tensor
    mask: Tensor
    batch: Tensor
    num_graphs: int


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
    mask = label_mask(y, mask, n)
    num_classes = check_class_count(num_classes)
    source = edge_index if edge_weight is None else (edge_index, edge_weight)
    index, weight, _ = read_graph(source, n)
    if weight.dtype in (torch.float16, torch.bfloat16):
        weight = weight.float()
    checks, classes = label_checks(y, mask, num_classes)
    index, weight, _ = checked_edges(index, weight, n, *checks)
    if batch is None:
        batch, num_graphs = torch.zeros(n, dtype=torch.int64, device=y.device), 1
    else:
        check_graph_numbers(batch, index, n)
        num_graphs = int(batch.max()) + 1 if n else 0
    values = label_values(y, mask, classes, weight.dtype)
    return Labelled(index, weight, values, mask, batch, num_graphs)


def check_class_count(num_classes: Any) -> int | None:
    """``num_classes`` as an int, where it is not ``None``.

    Args:
        num_classes: The argument to check.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is below 1.
    """
    return None if num_classes is None else check_count(num_classes, "num_classes")


def label_mask(y: Tensor, mask: Tensor | None, n: int) -> Tensor:
    """Labelled nodes, ``y >= 0`` where nothing is said.

    Args:
        y: Classes or values of the nodes.
        mask: Labelled nodes, or ``None``.
        n: Number of nodes.

    Raises:
        TypeError: If ``mask`` is not a bool Tensor.
        ValueError: If its shape is wrong, or it is missing for values.
    """
    if mask is None:
        if y.is_floating_point():
            raise ValueError("mask must be given where y holds values, got None")
        mask = y >= 0
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask must be a bool Tensor, got {got}")
    if mask.shape != (n,):
        raise ValueError(f"mask must have shape [{n}], got {list(mask.shape)}")
    return mask


def label_checks(
    y: Tensor, mask: Tensor, num_classes: int | None
) -> tuple[list[Check], int | None]:
    """What is asked of the labels, first that there is one, and the number of classes where they are classes.

    Args:
        y: Classes or values of the nodes.
        mask: Labelled nodes.
        num_classes: Number of classes, ``None`` for the largest + 1.
    """
    n = len(mask)

    def refuse_mask() -> None:
        raise ValueError(f"mask must mark at least one labelled node, got none of {n}")

    labelled = Check("mask must mark a labelled node", mask.any, 1, 1, refuse_mask)
    if y.is_floating_point():
        return [labelled, _values_check(y, mask, num_classes)], None
    check_labels(y, n)
    if num_classes is None:
        num_classes = int(y.max()) + 1 if n else 0
    return [labelled, *(_classes_checks(y, mask, num_classes) if n else ())], num_classes


def _values_check(y: Tensor, mask: Tensor, num_classes: int | None) -> Check:
    if y.dim() != 2 or (num_classes is not None and y.shape[1] != num_classes):
        c = "c" if num_classes is None else num_classes
        raise ValueError(f"y must have shape [n, {c}] where it holds values, got {list(y.shape)}")

    def all_finite() -> Tensor:
        return torch.isfinite(y.detach()).where(mask[:, None], True).all()

    def refuse() -> None:
        raise ValueError("y must be finite on labelled nodes")

    return Check("y must be finite", all_finite, 1, 1, refuse)


def _classes_checks(y: Tensor, mask: Tensor, c: int) -> list[Check]:
    """That labelled nodes have classes below ``c``."""
    rule = f"y must be in [0, {c}) on labelled nodes"
    least, most = (y * mask).aminmax()

    def refuse() -> None:
        raise ValueError(f"{rule}, got {int(least if least < 0 else most)}")

    lowest = Check(rule, lambda: least, 0, math.inf, refuse)
    highest = Check(rule, lambda: most, -math.inf, c - 1, refuse)
    return [lowest, highest]


def label_values(y: Tensor, mask: Tensor, num_classes: int | None, dtype: torch.dtype) -> Tensor:
    """Values of labelled nodes, 0 of the others.

    Args:
        y: Classes or values of the nodes.
        mask: Labelled nodes.
        num_classes: Number of classes, ``None`` where ``y`` holds values.
        dtype: Number type of the result.
    """
    if num_classes is None:
        return y.to(dtype).where(mask[:, None], 0.0)
    number = torch.arange(num_classes, device=y.device)
    return ((y[:, None] == number) & mask[:, None]).to(dtype)


def mean_by(x: Tensor, group: Tensor, size: int) -> Tensor:
    """Mean of the rows of each group, given to each of its rows.

    Args:
        x: Rows.
        group: Number of the group of every row.
        size: Least number that is above them all.

    Shapes:
        ``x``: :math:`[n, c]`, ``group``: :math:`[n]`, output: :math:`[n, c]`.
    """
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
        raise ValueError(f"tau must be >= 0 and finite, got {high if low >= 0 else low}")


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
    if not value.numel():
        return 0.0, 0.0
    low, high = torch.stack(value.detach().aminmax()).tolist()
    return low, high


def check_solving(solver: Any, prepared: Any = None, initial: Any = None) -> None:
    """Raise ``TypeError`` unless these are a solver, a ``Prepared`` and a Tensor, or ``None``.

    Args:
        solver: The argument to check.
        prepared: The argument to check.
        initial: The argument to check.
    """
    solvers.check_solver(solver)
    if not isinstance(prepared, Prepared | None):
        raise TypeError(f"prepared must be Prepared() or None, got {prepared!r}")
    if not isinstance(initial, Tensor | None):
        raise TypeError(f"initial must be a Tensor or None, got {type(initial).__name__}")


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
    shift = value_in(tau, values)
    if shift.dim() > 1 or (shift.dim() == 1 and shift.shape[0] != n):
        raise ValueError(f"tau must be a scalar or have shape [{n}], got {list(shift.shape)}")
    check_again(check_tau, tau, shift)
    return shift.expand(n)


def value_in(value: Any, like: Tensor) -> Tensor:
    """A number or a Tensor in the dtype of another and where that is; a number by a fill, not a copy.

    Args:
        value: The number or Tensor.
        like: The other.
    """
    return value.to(like) if isinstance(value, Tensor) else like.new_full((), value)


def check_again(check: Callable[[Any], None], value: Any, given: Tensor) -> None:
    """Check again in a dtype that may not hold the number.

    Args:
        check: The check.
        value: What it has passed.
        given: The same by :func:`value_in`.
    """
    if not isinstance(value, Tensor):
        check(torch.tensor(value, dtype=given.dtype, device="cpu").item())
    elif value.dtype != given.dtype:
        check(given)


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
    source = value_in(f, values)
    if source.shape not in ((), values.shape[:1], values.shape):
        n, c = values.shape
        raise ValueError(
            f"f must be a number or have shape [{n}] or [{n}, {c}], got {list(source.shape)}"
        )
    check_again(check_source, f, source)
    return (source[:, None] if source.dim() == 1 else source).expand_as(values)
