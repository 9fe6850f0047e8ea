"""Poisson learning: labels as sources and sinks of a graph Poisson equation, for very few labels."""

from typing import Any, Literal, overload

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import NO_WORK, Labelled, check_inputs, check_solving, mean_by
from pyg_relational.nn.prop.propagation import Propagation
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.ops.checks import check_choice
from pyg_relational.ops.graph.components import connected_components, edges_where
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.prepared import Prepared
from pyg_relational.ops.linear.solvers import SolveInfo, Solver
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["PoissonPropagation", "check_poisson", "poisson_propagation"]


@overload
def poisson_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[False] = False,
) -> Tensor: ...


@overload
def poisson_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[True],
) -> tuple[Tensor, SolveInfo]: ...


@uncompiled  # one break of the graph, at the solve
def poisson_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: bool = False,
) -> Tensor | tuple[Tensor, SolveInfo]:
    r"""Label propagation by the graph Poisson equation.

    Of `Calder et al., 2020 <https://proceedings.mlr.press/v119/calder20a.html>`_, in each connected component:

    .. math::
        L u = \sum_{j \text{ labelled}} \delta_j (y_j - \bar{y})^T, \qquad \sum_i d_i u_i = 0

    :math:`L = D - W`, :math:`\bar{y}` is the mean of the component's labels. Where a graph has several components, the
    component's mean less the graph's is added to :math:`u`, so that a component with labels of one class takes that
    class. Where all labels of the graph are of one class, the mean over the classes is subtracted instead of the
    graph's. :math:`u` are scores: their rows sum to 0 where those of :math:`y` sum to 1, and labelled rows do not hold
    their labels. Differentiable any number of times in ``edge_weight`` and ``y``.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64) or values (floating point, one column a class). Off the mask only the default of
            ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        batch: Graph of every node where several are joined.
        solver: Solver of the linear systems. ``None`` is :class:`~pyg_relational.ops.Auto`, which chooses
            :class:`~pyg_relational.ops.CG`, :class:`~pyg_relational.ops.Direct` or
            :class:`~pyg_relational.ops.Multigrid`.
        initial: Where the iteration starts, such as the last solution.
        prepared: A :class:`~pyg_relational.ops.Prepared`, which keeps what is made for the matrix. For calls with other
            labels.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the graph's
            labels.
        return_info: Return :class:`~pyg_relational.ops.SolveInfo` as well.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``: :math:`[n]` or :math:`[n, c]`,
        ``mask``, ``batch``: :math:`[n]`, output: :math:`[n, c]`.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, or no label reaches a node.
        ConvergenceError: If the solver is strict and does not converge; else that is a warning.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import poisson_propagation
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> poisson_propagation(path, None, torch.tensor([0, -1, -1, 1]))
        tensor([[ 0.7500, -0.7500],
                [ 0.2500, -0.2500],
                [-0.2500,  0.2500],
                [-0.7500,  0.7500]])
    """
    check_poisson(solver=solver, prepared=prepared, initial=initial, on_unreachable=on_unreachable)
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes, batch)
    edge_index, weight, values, mask, *_ = graph
    with torch.autocast(values.device.type, enabled=False):
        shift = torch.zeros_like(values[:, 0])
        nothing = torch.zeros_like(mask)
        equation = GroundedLaplacian(
            edge_index, weight, shift, nothing, solver=solver, initial=initial, prepared=prepared
        )
        component = connected_components(edges_where(edge_index, weight > 0), len(mask))
        labelled = mask.to(values.dtype)[:, None]
        share = mean_by(labelled, component, len(mask))
        mean = mean_by(values, component, len(mask)) / share.where(share > 0, 1.0)
        u = implicit_solve(equation, values - labelled * mean, weight, shift)
        d = degree(edge_index, weight * (edge_index[0] != edge_index[1]), len(mask))[:, None]
        size = mean_by(d, component, len(mask))
        u = u - mean_by(d * u, component, len(mask)) / size.where(size > 0, 1.0)
        u = u + mean - _graph_mean(graph)
        u = fill_unreachable(u, share[:, 0] == 0, graph, on_unreachable)
    return (u, equation.info or NO_WORK) if return_info else u


def check_poisson(
    *, solver: Any, prepared: Any, initial: Any, on_unreachable: Any, **_: Any
) -> None:
    """Raise unless the options of :func:`poisson_propagation` are in range, as far as can be told without a graph.

    Args:
        solver: As there.
        prepared: As there.
        initial: As there.
        on_unreachable: As there.

    Raises:
        TypeError: If the solver is none.
        ValueError: If ``on_unreachable`` is unknown.
    """
    check_solving(solver, prepared, initial)
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")


def _graph_mean(graph: Labelled) -> Tensor:
    """Mean of each graph's labels; where they do not differ, of all classes."""
    values, mask, batch, size = graph.values, graph.mask, graph.batch, graph.num_graphs
    share = mean_by(mask.to(values.dtype)[:, None], batch, size)
    mean: Tensor = mean_by(values, batch, size) / share.where(share > 0, 1.0)
    off = ((values - mean).abs().amax(1, keepdim=True) > 1e-6) & mask[:, None]
    differ = mean_by(off.to(values.dtype), batch, size) > 0
    return mean.where(differ, mean.mean(1, keepdim=True))


class PoissonPropagation(Propagation):
    """Module of :func:`poisson_propagation`.

    Args:
        **options: Its keyword arguments.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import PoissonPropagation
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> PoissonPropagation()(path, None, torch.tensor([0, -1, 1]))
        tensor([[ 0.5000, -0.5000],
                [ 0.0000,  0.0000],
                [-0.5000,  0.5000]])
    """

    propagate = staticmethod(poisson_propagation)
    check = staticmethod(check_poisson)
