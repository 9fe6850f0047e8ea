"""Laplace learning on a graph over ranks."""

from typing import Any, Literal, overload

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree, described
from pyg_relational.distributed.collectives import all_reduce
from pyg_relational.distributed.product import ShardedLaplacian, laplacian_product
from pyg_relational.distributed.reach import unreached
from pyg_relational.distributed.sharded_graph import (
    ShardedGraph,
    check_graph,
    group_of,
    weight_facts,
)
from pyg_relational.distributed.solve import ShardedSystem, solve
from pyg_relational.nn.prop.inputs import (
    NO_WORK,
    check_tau,
    label_checks,
    label_mask,
    label_values,
    node_shift,
)
from pyg_relational.ops.checks import check_count, settle
from pyg_relational.ops.linear.held import HeldEquation
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.solvers import CG, SolveInfo

__all__ = ["laplace_propagation"]


@overload
def laplace_propagation(
    graph: ShardedGraph,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    tau: float | Tensor = 0.0,
    solver: CG | None = None,
    return_info: Literal[False] = False,
) -> Tensor: ...


@overload
def laplace_propagation(
    graph: ShardedGraph,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    tau: float | Tensor = 0.0,
    solver: CG | None = None,
    return_info: Literal[True],
) -> tuple[Tensor, SolveInfo]: ...


def laplace_propagation(
    graph: ShardedGraph,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    tau: float | Tensor = 0.0,
    solver: CG | None = None,
    return_info: bool = False,
) -> Tensor | tuple[Tensor, SolveInfo]:
    r"""Local rows of label propagation by the graph Laplace equation.

    Those of :func:`pyg_relational.nn.laplace_propagation` with the combinatorial Laplacian,

    .. math::
        (L + \tau I) u = 0 \text{ off the labels}, \qquad u = y \text{ on them},

    to the tolerance of the solver, and so is the gradient in weights, ``y`` and ``tau``: that of the sum of the ranks'
    losses, at the cost of one more solve on all ranks. Conjugate gradients with the diagonal as preconditioner
    exchange the columns of other ranks and one small sum an iteration.

    All ranks call it together, and each takes part in the backward pass: its loss depends on its rows of the result,
    also where none of them counts.

    Args:
        graph: The graph; its weights may need a gradient.
        y: Classes (int64) or values (floating point, one column a class) of the local rows.
        mask: Labelled rows; ``None`` takes those with ``y >= 0``. A rank may have none.
        num_classes: Number of classes; ``None`` for the largest label of any row of any rank + 1.
        tau: Decay :math:`\tau \ge 0`. A number, a scalar Tensor or one value a row.
        solver: Tolerance and most iterations. ``None`` for ``CG()``.
        return_info: Return :class:`~pyg_relational.ops.SolveInfo` as well, the same on all ranks.

    Shapes:
        ``y``: :math:`[n_r]` or :math:`[n_r, c]`, ``mask``: :math:`[n_r]`, output: :math:`[n_r, c]`.

    Returns:
        :math:`u`, labelled rows as given.

    Raises:
        TypeError: If a type does not fit, on any rank.
        ValueError: If shapes or values do not fit on any rank, types or options differ between ranks, the graph is not
            undirected, or no label reaches a node.
        ConvergenceError: If the solver is strict and does not converge; else that is a warning.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import ShardedGraph, laplace_propagation
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> graph = ShardedGraph.from_rows(path, None, num_rows=4)
        >>> laplace_propagation(graph, torch.tensor([0, -1, -1, 1]))
        tensor([[1.0000, 0.0000],
                [0.6667, 0.3333],
                [0.3333, 0.6667],
                [0.0000, 1.0000]])
    """
    group = group_of(graph)
    stated = agree(lambda: _facts(graph, y, mask, num_classes, tau, solver), group)
    if not sum(labelled for labelled, _ in stated):
        n = graph.num_nodes
        raise ValueError(f"mask must mark at least one labelled node, got none of {n}")
    check_graph(graph)
    marked = label_mask(y, mask, graph.num_rows)
    classes = None if y.is_floating_point() else max(most for _, most in stated)
    weight = graph.edge_weight
    with torch.autocast(weight.device.type, enabled=False):
        weight = weight.float() if weight.dtype in (torch.float16, torch.bfloat16) else weight
        values = label_values(y, marked, classes, weight.dtype)
        shift = node_shift(tau, values)
        equation = _Equation(graph, weight, shift, marked, solver or CG())
        u = implicit_solve(equation, values, weight, shift)
        u = values.where(marked[:, None], u)
    return (u, equation.info or NO_WORK) if return_info else u


def _facts(
    graph: Any, y: Any, mask: Any, num_classes: Any, tau: Any, solver: Any
) -> tuple[dict[str, object], list[int]]:
    """What ranks must agree on; numbers of labelled rows and of classes here."""
    if not isinstance(graph, ShardedGraph):
        raise TypeError(f"graph must be a ShardedGraph, got {type(graph).__name__}")
    if not isinstance(solver, CG | None):
        raise TypeError(f"solver must be CG(...) or None, got {solver!r}")
    if not isinstance(y, Tensor):
        raise TypeError(f"y must be a Tensor, got {type(y).__name__}")
    if y.dim() == 0 or len(y) != graph.num_rows:
        raise ValueError(f"y must have the graph's {graph.num_rows} rows, got {list(y.shape)}")
    check_tau(tau)
    if isinstance(tau, Tensor) and tau.shape not in ((), (graph.num_rows,)):
        raise ValueError(
            f"tau must be a scalar or have shape [{graph.num_rows}], got {list(tau.shape)}"
        )
    marked = label_mask(y, mask, graph.num_rows)
    if num_classes is not None and check_count(num_classes, "num_classes") >= 2**62:
        raise ValueError(f"num_classes must be < 2**62, got {num_classes}")
    most = num_classes
    if most is None and not y.is_floating_point():
        most = max(1, int(y.max()) + 1) if len(y) else 0
    settle(*label_checks(y, marked, most)[0][1:])
    alike = {
        "call": "laplace_propagation",
        **weight_facts(graph),
        "y": described(y),
        "num_classes": num_classes,
        "tau": _tau(tau),
        "solver": solver,
    }
    return alike, [int(marked.sum()), most or 0]


def _tau(tau: float | Tensor) -> object:
    if not isinstance(tau, Tensor):
        return float(tau)
    return described(tau) if tau.dim() else (float(tau.detach()), tau.requires_grad)


class _Equation(HeldEquation):
    r"""The equation :math:`u = y` on fixed nodes and :math:`(L + \operatorname{diag}(\delta)) u = 0` on the others."""

    def __init__(
        self, graph: ShardedGraph, weight: Tensor, shift: Tensor, fixed: Tensor, solver: CG
    ) -> None:
        super().__init__(fixed)
        self.graph, self.solver = graph, solver
        self.info: SolveInfo | None = None
        with torch.no_grad():
            loops = graph.edge_index[0] == graph.edge_index[1]
            weight = weight.double().masked_fill(loops, 0.0)
            self.operator = ShardedLaplacian(graph, weight, shift.double())
            _check_reached(graph, unreached(self.operator, fixed))
            self.system = ShardedSystem(self.operator, fixed, solver.max_iter)

    def solve(self, rhs: Tensor, *theta: Tensor) -> Tensor:
        """Solution for ``rhs``, which holds values at fixed nodes and sources at the others."""
        fixed = self.fixed[:, None]
        at_fixed = rhs.double().where(fixed, 0.0)
        source = (rhs.double() - self.operator.apply(at_fixed)).where(~fixed, 0.0)
        size = self.system.largest(at_fixed)
        u, info = solve(self.system, source, size, self.solver, rhs.dtype)
        self.info = self.info or info
        return (u + at_fixed).to(rhs.dtype)

    def product(self, u: Tensor, *theta: Tensor) -> Tensor:
        """Product with the matrix, differentiable any number of times."""
        weight, shift = theta
        return laplacian_product(self.graph, weight, u) + shift[:, None] * u


def _check_reached(graph: ShardedGraph, missed: Tensor) -> None:
    node = graph.halo.start + missed.nonzero()[:, 0]
    first = torch.cat([node, node.new_full((1,), graph.num_nodes)]).amin()
    first = all_reduce(first, graph.group, "MIN")
    count = int(all_reduce(missed.sum(), graph.group))
    if count:
        raise ValueError(
            f"mask must label a node of every component, got {count} nodes that no label reaches, "
            f"the first is node {int(first)}; set tau > 0"
        )
