"""Distances to the labelled nodes of each class, by the p-eikonal equation."""

import itertools
from typing import Any

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import check_inputs
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.ops.checks import check_choice, check_labels, check_number
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["distances", "p_eikonal"]

_EVERY = 16  # rounds between looks at whether a device is done; not measured
_NUMBERS = 2**24  # values of edges that are on a device at a time; not measured
_TILE = 4096  # nodes at a time, so that what belongs to their edges stays in the cache


@torch.no_grad()
@uncompiled  # one break of the graph, at the solve
def p_eikonal(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    p: float = 1.0,
    f: float | Tensor = 1.0,
    tol: float = 1e-8,
    batch: Tensor | None = None,
    on_unreachable: OnUnreachable = "error",
) -> Tensor:
    r"""Scores of the classes: minus the distances of the graph p-eikonal equation, one class against the rest.

    Of `Calder and Ettehad, 2022 <https://jmlr.org/papers/v23/22-0293.html>`_: for each class, :math:`d = 0` on its
    labelled nodes and

    .. math::
        \sum_j w_{ij} (d_i - d_j)_+^p = f_i

    on all others. There is one solution with values in :math:`[0, \infty]`. Newton steps reach it from above, each at
    the nodes whose neighbours have changed. Not differentiable.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64). Off the mask only the default of ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        p: Exponent :math:`p`. :math:`p \ge 1`.
        f: Right side :math:`f` of the equation, a number or one a node. It is > 0 and says what it costs to pass the
            node. Distances follow the clusters where it is smaller in dense regions.
        tol: Relative tolerance. A distance is done when it changes by no more.
        batch: Graph of every node where several are joined. Only ``on_unreachable="prior"`` asks for it.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the graph's
            labels.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``, ``mask``, ``batch``: :math:`[n]`,
        ``f``: :math:`[n]`, output: :math:`[n, c]`.

    Returns:
        :math:`-d \le 0`, ``-inf`` in classes whose labels do not reach a node: the largest is the prediction.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, or no label reaches a node.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import p_eikonal
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> p_eikonal(path, None, torch.tensor([0, -1, -1, 1]))
        tensor([[ 0., -3.],
                [-1., -2.],
                [-2., -1.],
                [-3.,  0.]])
    """
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")
    check_number(p, "p")
    check_number(tol, "tol")
    if not (1 <= p < float("inf") and tol > 0):
        raise ValueError(f"p must be >= 1 and tol > 0, got {p} and {tol}")
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes, batch)
    check_labels(y, len(y))
    cost = _cost(f, y)
    d = distances(graph.edge_index, graph.edge_weight.double(), graph.values > 0, cost, p, tol)
    unreached = torch.isinf(d).all(1)
    return fill_unreachable((0 - d).to(graph.values.dtype), unreached, graph, on_unreachable)


def _cost(f: float | Tensor, y: Tensor) -> Tensor:
    if not isinstance(f, Tensor):
        if not 0 < f < float("inf"):
            raise ValueError(f"f must be > 0 and finite, got {f:.3g}")
        return y.new_full((), f, dtype=torch.float64).expand(len(y))
    cost = f.to(y.device, torch.float64)
    if cost.dim() and cost.shape != y.shape:
        raise ValueError(
            f"f must be a number or have shape {list(y.shape)}, got {list(cost.shape)}"
        )
    if not bool((cost > 0).all() & torch.isfinite(cost).all()):
        raise ValueError(f"f must be > 0 and finite, got min {cost.min().item():.3g}")
    return cost.expand(len(y))


def distances(
    edge_index: Tensor, weight: Tensor, zero: Tensor, cost: Tensor, p: float, tol: float
) -> Tensor:
    """Solution of the p-eikonal equation for several sets of nodes at distance 0.

    Args:
        edge_index: Sorted edges, in both directions.
        weight: Their weights.
        zero: Nodes of each set.
        cost: Right-hand side.
        p: Exponent.
        tol: Relative change at which a value is done.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``weight``: :math:`[E]`, ``zero``: :math:`[n, c]`, ``cost``: :math:`[n]`,
        output: :math:`[n, c]`, ``inf`` where a set is not reached.
    """
    keep = (weight > 0) & (edge_index[0] != edge_index[1])
    if not weight.is_cpu:
        return _in_rounds(edge_index, weight * keep, zero, cost[:, None], p, tol)
    (row, col), weight = edge_index[:, keep], weight[keep]
    d = torch.full_like(zero, torch.inf, dtype=torch.float64).masked_fill(zero, 0.0)
    tiles = row.new_tensor(range(0, len(d) + _TILE, _TILE))
    ends = torch.searchsorted(row, tiles).tolist()
    changed = zero.any(1)
    while bool(changed.any()):
        near = changed.clone()
        near[row[changed[col]]] = True
        changed = torch.zeros_like(changed)
        for start, first, last in zip(tiles.tolist(), ends, ends[1:], strict=False):
            rows = near[start : start + _TILE].nonzero()[:, 0] + start
            edges = near[row[first:last]].nonzero()[:, 0] + first
            place = torch.searchsorted(rows, row[edges])
            new_here = bool(torch.isinf(d[rows]).any())
            new = _step(d, rows, place, col[edges], weight[edges], cost[rows, None], p, new_here)
            new = new.where(~zero[rows], 0.0)
            changed[rows] = (d[rows] - new > tol * new).any(1)
            d[rows] = new
    return d


def _in_rounds(
    edge_index: Tensor, weight: Tensor, zero: Tensor, cost: Tensor, p: float, tol: float
) -> Tensor:
    """The same by steps at all nodes, of which no size depends on data; a device is waited for every 16 of them."""
    d = torch.full_like(zero, torch.inf, dtype=torch.float64).masked_fill(zero, 0.0)
    row, col = edge_index
    parts = [
        (rows, row[edges] - rows[0], col[edges], weight[edges], cost[rows])
        for rows, edges in _tiles(row, *d.shape)
    ]
    for count in itertools.count(1):
        look = count % _EVERY == 0
        before = d.clone() if look else d
        for rows, place, others, of_edges, of_rows in parts:
            d[rows] = _step(d, rows, place, others, of_edges, of_rows, p, True)
        d.masked_fill_(zero, 0.0)
        if look and not bool((before - d > tol * d).any()):
            break
    return d


def _tiles(row: Tensor, n: int, c: int) -> list[tuple[Tensor, slice]]:
    """Nodes and edges of parts of the graph whose edges' values fit."""
    size = max(1, n * _NUMBERS // max(1, len(row) * c))
    if n <= size:
        return [(torch.arange(n, device=row.device), slice(None))] if n else []
    starts = torch.arange(0, n, size, device=row.device)
    ends = [*torch.searchsorted(row, starts).tolist(), len(row)]
    nodes = torch.arange(n, device=row.device).split(size)
    return list(zip(nodes, map(slice, ends[:-1], ends[1:]), strict=True))


def _step(
    d: Tensor,
    rows: Tensor,
    row: Tensor,
    col: Tensor,
    weight: Tensor,
    cost: Tensor,
    p: float,
    first: bool,
) -> Tensor:
    """One Newton step from above: the sum is convex in a node's value, so none goes below the solution.

    ``first`` where a value may be infinite.
    """
    here, there, weight = d[rows], d[col], weight[:, None]
    nothing = torch.zeros_like(here)
    if first:
        reached = weight * torch.isfinite(there)
        total = nothing.index_add(0, row, reached)
        mean = nothing.index_add(0, row, reached * there.nan_to_num(posinf=0.0)) / total
        here = torch.minimum(here, (mean + (cost / total) ** (1 / p)).nan_to_num(nan=torch.inf))
    gap = here[row].sub_(there).clamp_(min=0)
    if first:
        gap.nan_to_num_(nan=0.0)
    slope = (gap > 0) * weight if p == 1 else gap.pow(p - 1).mul_(weight)
    excess = nothing.index_add(0, row, gap.mul_(slope)) - cost
    slope = nothing.index_add(0, row, slope).mul_(p)
    return (here - excess.clamp(min=0) / slope.where(slope > 0, torch.inf)).where(slope > 0, here)
