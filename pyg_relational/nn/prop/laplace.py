"""Laplace learning: every node without a label holds the mean of its neighbours."""

from typing import Any, Literal, overload

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import (
    NO_WORK,
    Labelled,
    check_inputs,
    check_solving,
    check_source,
    check_tau,
    mean_by,
    node_shift,
    node_source,
)
from pyg_relational.nn.prop.propagation import Propagation
from pyg_relational.nn.prop.reweight import Normalization, Reweighting, reweight
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.ops.checks import check_choice, check_count
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.prepared import Prepared
from pyg_relational.ops.linear.solvers import SolveInfo, Solver
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["LaplacePropagation", "check_laplace", "laplace_propagation"]


@overload
def laplace_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    tau: float | Tensor = 0.0,
    f: float | Tensor = 0.0,
    normalization: Normalization = "combinatorial",
    reweighting: Reweighting = "none",
    x: Tensor | None = None,
    mean_shift: bool = False,
    order: int = 1,
    normalize: bool = False,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[False] = False,
) -> Tensor: ...


@overload
def laplace_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    tau: float | Tensor = 0.0,
    f: float | Tensor = 0.0,
    normalization: Normalization = "combinatorial",
    reweighting: Reweighting = "none",
    x: Tensor | None = None,
    mean_shift: bool = False,
    order: int = 1,
    normalize: bool = False,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[True],
) -> tuple[Tensor, SolveInfo]: ...


@uncompiled  # one break of the graph, at the solve
def laplace_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    tau: float | Tensor = 0.0,
    f: float | Tensor = 0.0,
    normalization: Normalization = "combinatorial",
    reweighting: Reweighting = "none",
    x: Tensor | None = None,
    mean_shift: bool = False,
    order: int = 1,
    normalize: bool = False,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: bool = False,
) -> Tensor | tuple[Tensor, SolveInfo]:
    r"""Label propagation by the graph Laplace equation.

    Of `Zhu et al., 2003 <https://dl.acm.org/doi/10.5555/3041838.3041953>`_; with :math:`\tau` and its exact gradient of
    `Brown et al., 2024 <https://arxiv.org/abs/2412.08016>`_:

    .. math::
        (L + \tau I)^m u = f \text{ off the labels}, \qquad u = y \text{ on them}

    :math:`L` is :math:`D - W`, :math:`I - D^{-1} W` or :math:`I - D^{-1/2} W D^{-1/2}`. Differentiable any number of
    times in ``edge_weight``, ``y``, ``tau``, ``f`` and ``x``, at the cost of one more solve, and without keeping
    anything of the iteration.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64) or values (floating point, one column a class). Off the mask only the default of
            ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        tau: Decay :math:`\tau \ge 0`. A number, a scalar Tensor or one value a node. Rows of :math:`u` sum to 1 at
            :math:`\tau = 0` and to less where :math:`\tau > 0`.
        f: Right side :math:`f` of the equation, a number or one a node. It may be one a node and class, and does not
            count on labels.
        normalization: ``"combinatorial"``, ``"randomwalk"`` or ``"normalized"``.
        reweighting: ``"none"``, or heavier weights near labels, for few labels: ``"poisson"``, ``"wnll"``,
            ``"properly"`` (needs ``x``); see :func:`~pyg_relational.nn.prop.reweight.reweight`.
        x: Features, for ``reweighting="properly"``.
        mean_shift: Take each column's mean over the graph out of it.
        order: :math:`m`.
        normalize: Divide rows by their sum.
        batch: Graph of every node where several are joined.
        solver: Solver of the linear systems. ``None`` is :class:`~pyg_relational.ops.Auto`, which chooses
            :class:`~pyg_relational.ops.CG`, :class:`~pyg_relational.ops.Direct` or
            :class:`~pyg_relational.ops.Multigrid`.
        initial: Where the iteration starts, such as the last solution.
        prepared: A :class:`~pyg_relational.ops.Prepared`, which keeps what is made for the matrix. For calls with other
            labels of the same ``mask``, or another ``f``.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the graph's
            labels. There are none where :math:`\tau > 0`.
        return_info: Return :class:`~pyg_relational.ops.SolveInfo` as well.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``: :math:`[n]` or :math:`[n, c]`,
        ``mask``, ``batch``: :math:`[n]`, ``x``: :math:`[n, d]`, output: :math:`[n, c]`.

    Returns:
        :math:`u`, labelled rows as given.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, or no label reaches a node.
        ConvergenceError: If the solver is strict and does not converge; else that is a warning.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import laplace_propagation
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> laplace_propagation(path, None, torch.tensor([0, -1, -1, 1]))
        tensor([[1.0000, 0.0000],
                [0.6667, 0.3333],
                [0.3333, 0.6667],
                [0.0000, 1.0000]])
    """
    check_laplace(
        tau=tau,
        f=f,
        normalization=normalization,
        reweighting=reweighting,
        order=order,
        solver=solver,
        prepared=prepared,
        initial=initial,
        on_unreachable=on_unreachable,
    )
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes, batch)
    with torch.autocast(graph.values.device.type, enabled=False):
        graph = graph._replace(edge_weight=reweight(graph, reweighting, normalization, x, solver))
        u, equation = _solve(graph, tau, f, normalization, order, solver, initial, prepared)
        u = fill_unreachable(u, equation.floating, graph, on_unreachable)
        if normalize:
            total = u.sum(1, keepdim=True)
            u = u / total.where(total != 0, 1.0)
        if mean_shift:
            u = u - mean_by(u, graph.batch, graph.num_graphs)
    return (u, equation.info or NO_WORK) if return_info else u


def check_laplace(
    *,
    tau: Any,
    f: Any,
    normalization: Any,
    reweighting: Any,
    order: Any,
    solver: Any,
    prepared: Any,
    initial: Any,
    on_unreachable: Any,
    **_: Any,
) -> None:
    """Raise unless the options of :func:`laplace_propagation` are in range, as far as can be told without a graph.

    Args:
        tau: As there.
        f: As there.
        normalization: As there.
        reweighting: As there.
        order: As there.
        solver: As there.
        prepared: As there.
        initial: As there.
        on_unreachable: As there.

    Raises:
        TypeError: If one is of a wrong type.
        ValueError: If one is out of range.
    """
    check_tau(tau)
    check_source(f)
    check_choice(normalization, Normalization, "normalization")
    check_choice(reweighting, Reweighting, "reweighting")
    check_count(order, "order")
    check_solving(solver, prepared, initial)
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")


def _solve(
    graph: Labelled,
    tau: float | Tensor,
    f: float | Tensor,
    normalization: Normalization,
    order: int,
    solver: Solver | None,
    initial: Tensor | None,
    prepared: Prepared | None,
) -> tuple[Tensor, GroundedLaplacian]:
    edge_index, weight, values, mask, *_ = graph
    shift = node_shift(tau, values)
    mass = root = None
    if normalization != "combinatorial":
        mass = degree(edge_index, weight * (edge_index[0] != edge_index[1]), len(mask))
        shift = shift * mass
        if not bool((torch.isfinite(mass) & torch.isfinite(shift)).all()):
            raise ValueError(
                f"edge_weight and tau must give finite degrees in {weight.dtype}, got inf"
            )
        mass = mass.where(mass > 0, 1.0)
        root = mass.sqrt()[:, None] if normalization == "normalized" else None
    source = node_source(f, values)
    if mass is not None:
        source = source * (mass[:, None] if root is None else root)
    mass = mass if order > 1 else None
    if initial is not None:
        initial = initial.detach() if root is None else initial.detach() / root.detach()
    equation = GroundedLaplacian(
        edge_index, weight, shift, mask, mass, order, solver, initial, prepared
    )
    rhs = (values if root is None else values / root).where(mask[:, None], source)
    rest = () if mass is None else (mass,)
    u = implicit_solve(equation, rhs, weight, shift, *rest)
    return values.where(mask[:, None], u if root is None else u * root), equation


class LaplacePropagation(Propagation):
    """Module of :func:`laplace_propagation`.

    Args:
        **options: Its keyword arguments. ``tau`` may be a :class:`torch.nn.Parameter`: learned in its
            range from there.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import LaplacePropagation
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> LaplacePropagation(tau=0.5)(path, None, torch.tensor([0, -1, 1]))
        tensor([[1.0000, 0.0000],
                [0.4000, 0.4000],
                [0.0000, 1.0000]])
    """

    propagate = staticmethod(laplace_propagation)
    check = staticmethod(check_laplace)
