"""p-Laplace learning: between the mean and the mid-range of the neighbours, for few labels."""

from typing import Any, Literal, overload

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import (
    Labelled,
    check_inputs,
    check_solving,
    check_source,
    check_tau,
    node_shift,
    node_source,
)
from pyg_relational.nn.prop.propagation import Propagation
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.ops.checks import check_choice, check_number
from pyg_relational.ops.graph.components import connected_components, joined
from pyg_relational.ops.linear.game_p_laplacian import GamePLaplacian
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.p_laplacian import PLaplacian
from pyg_relational.ops.linear.solvers import CG, Direct, SolveInfo, Solver, report
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["Equation", "PLaplacePropagation", "check_p_laplace", "p_laplace_propagation"]

Equation = Literal["variational", "game"]


@overload
def p_laplace_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    p: float = 3.0,
    equation: Equation = "variational",
    tau: float | Tensor = 0.0,
    f: float | Tensor = 0.0,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[False] = False,
) -> Tensor: ...


@overload
def p_laplace_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    p: float = 3.0,
    equation: Equation = "variational",
    tau: float | Tensor = 0.0,
    f: float | Tensor = 0.0,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[True],
) -> tuple[Tensor, SolveInfo]: ...


@uncompiled  # one break of the graph, at the solve
def p_laplace_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    p: float = 3.0,
    equation: Equation = "variational",
    tau: float | Tensor = 0.0,
    f: float | Tensor = 0.0,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: bool = False,
) -> Tensor | tuple[Tensor, SolveInfo]:
    r"""Label propagation by a graph p-Laplace equation.

    With ``equation="variational"`` (`Slepčev and Thorpe, 2019 <https://arxiv.org/abs/1707.06213>`_), off the labels

    .. math::
        \sum_j w_{ij} |u_i - u_j|^{p - 2} (u_i - u_j) + \tau u_i = f_i

    with :math:`|t|` smoothed to :math:`\sqrt{t^2 + \epsilon^2}`, :math:`\epsilon = 10^{-6}`. With ``equation="game"``
    (`Flores et al., 2022 <https://arxiv.org/abs/1901.05031>`_), over the neighbours :math:`j` with :math:`w_{ij} > 0`

    .. math::
        u_i = \alpha \frac{\sum_j w_{ij} u_j}{\sum_j w_{ij}} + (1 - \alpha) \frac{\min_j u_j + \max_j u_j}{2}, \qquad
        \alpha = \frac{1}{p - 1}

    On the labels :math:`u = y`. At :math:`p = 2` both are
    :func:`~pyg_relational.nn.laplace_propagation`. Each class has its own nonlinear equation, so that rows need not sum
    to 1. Differentiable any number of times in ``edge_weight``, ``y``, ``tau`` and ``f`` at the cost of one linear
    solve a class; in the game the derivatives are those of the neighbours chosen, the first of several equal ones.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64) or values (floating point, one column a class). Off the mask only the default of
            ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        p: Exponent :math:`p`. In :math:`[2, 10]`; in the game, any :math:`p \ge 2`.
        equation: ``"variational"`` or ``"game"``.
        tau: Decay :math:`\tau \ge 0`. A number, a scalar Tensor or one value a node. In the variational equation
            only.
        f: Right side :math:`f` of the equation, a number or one a node. It may be one a node and class, and does not
            count on labels. In the variational equation only.
        batch: Graph of every node where several are joined. Only ``on_unreachable="prior"`` asks for it.
        solver: Solver of the linear systems. In the variational equation :class:`~pyg_relational.ops.CG` (``None``) or
            :class:`~pyg_relational.ops.Direct`. In the game :class:`~pyg_relational.ops.CG`, of which
            :func:`~pyg_relational.ops.linear.bicgstab.bicgstab` takes the numbers.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the graph's
            labels. There are none where :math:`\tau > 0`.
        return_info: Return :class:`~pyg_relational.ops.SolveInfo` as well. Its iterations are Newton steps, its
            residual the largest error of a row over the largest value of each column.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``: :math:`[n]` or :math:`[n, c]`,
        ``mask``, ``batch``: :math:`[n]`, output: :math:`[n, c]`.

    Returns:
        :math:`u`, computed in float64, in the weights' number type; labelled rows as given.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, or no label reaches a node.
        ConvergenceError: If the solver is strict and does not converge; else that is a warning.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import p_laplace_propagation
        >>> star = torch.tensor([[0, 1, 0, 2, 0, 3], [1, 0, 2, 0, 3, 0]])
        >>> y = torch.tensor([-1, 0, 0, 1])
        >>> p_laplace_propagation(star, None, y, p=3.0)[0]
        tensor([0.5858, 0.4142])
        >>> p_laplace_propagation(star, None, y, p=3.0, equation="game")[0]
        tensor([0.5833, 0.4167])
    """
    check_p_laplace(
        p=p, equation=equation, tau=tau, f=f, solver=solver, on_unreachable=on_unreachable
    )
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes, batch)
    with torch.autocast(graph.values.device.type, enabled=False):
        shift = node_shift(tau, graph.values).double()
        source = node_source(f, graph.values).double()
        inner = _connected(graph)
        unreachable = _unreachable(inner, shift)
        rhs = inner.values.where(graph.mask[:, None] | unreachable[:, None], source)
        inner = inner._replace(values=rhs, mask=inner.mask | unreachable)
        solver = solver or CG()
        assert isinstance(solver, CG | Direct)
        tol = (solver if isinstance(solver, CG) else CG()).tolerances(graph.values.dtype)[0]
        if equation == "game":
            u, info = _game(inner, p, solver, tol)
        else:
            u, info = _variational(inner, shift, p, solver, tol)
        report(info, solver, "the p-Laplace equation")
        u = graph.values.where(graph.mask[:, None], u.to(graph.values.dtype))
        u = fill_unreachable(u, unreachable, graph, on_unreachable)
    return (u, info) if return_info else u


def check_p_laplace(
    *, p: Any, equation: Any, tau: Any, f: Any, solver: Any, on_unreachable: Any, **_: Any
) -> None:
    """Raise unless the options of :func:`p_laplace_propagation` are in range, as far as can be told without a graph.

    Args:
        p: As there.
        equation: As there.
        tau: As there.
        f: As there.
        solver: As there.
        on_unreachable: As there.

    Raises:
        TypeError: If one is of a wrong type.
        ValueError: If one is out of range.
    """
    check_choice(equation, Equation, "equation")
    check_tau(tau)
    check_source(f)
    check_solving(solver)
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")
    most = 10.0 if equation == "variational" else torch.inf
    check_number(p, "p")
    if not 2 <= p <= most:
        raise ValueError(f"p must be in [2, {most}] with equation={equation!r}, got {p}")
    if equation == "variational":
        if not isinstance(solver, CG | Direct | None):
            raise ValueError(f"solver must be CG(...) or Direct(...), got {solver}")
        return
    for name, value in (("tau", tau), ("f", f)):
        if bool((torch.as_tensor(value) != 0).any()):
            raise ValueError(f"{name} must be 0 with equation='game', got another value")
    if not isinstance(solver, CG | None):
        raise ValueError(f"solver must be CG(...) with equation='game', got {solver}")


def _connected(graph: Labelled) -> Labelled:
    """The graph without self-loops and edges of weight 0, in float64."""
    row, col = graph.edge_index
    keep = ((row != col) & (graph.edge_weight > 0)).nonzero()[:, 0]
    return graph._replace(
        edge_index=graph.edge_index[:, keep],
        edge_weight=graph.edge_weight[keep].double(),
        values=graph.values.double(),
    )


def _unreachable(graph: Labelled, shift: Tensor) -> Tensor:
    component = connected_components(graph.edge_index, len(graph.mask))
    return ~joined(component, graph.mask | (shift > 0))


def _game(graph: Labelled, p: float, solver: CG | Direct, tol: float) -> tuple[Tensor, SolveInfo]:
    assert isinstance(solver, CG)
    game = GamePLaplacian(graph.edge_index, graph.mask, 1 / (p - 1), tol, solver)
    u = implicit_solve(game, graph.values, graph.edge_weight)
    return u, game.info._replace(solver="BiCGSTAB")


def _variational(
    graph: Labelled, shift: Tensor, p: float, solver: CG | Direct, tol: float
) -> tuple[Tensor, SolveInfo]:
    columns, infos = [], []
    # One class after the other, which stops where it is done; of a device, which would be waited for, all at once.
    together = 1 if graph.values.is_cpu else max(1, graph.values.shape[1])
    for value in graph.values.split(together, dim=1):
        (n, c), first = value.shape, torch.arange(value.shape[1], device=value.device) * len(value)
        edges = (graph.edge_index[:, None] + first[:, None]).reshape(2, -1)
        equation = PLaplacian(edges, graph.mask.repeat(c), p, solver, tol, c)
        rest = (graph.edge_weight.repeat(c), shift.repeat(c))
        u = implicit_solve(equation, value.T.reshape(-1, 1), *rest)
        columns.append(u.view(c, n).T)
        infos.append(equation.info)
    return torch.cat(columns, 1), SolveInfo(
        sum(i.iterations for i in infos),
        torch.cat([i.residual for i in infos]),
        all(i.converged for i in infos),
        type(solver).__name__,
    )


class PLaplacePropagation(Propagation):
    """Module of :func:`p_laplace_propagation`.

    Args:
        **options: Its keyword arguments. ``tau`` may be a :class:`torch.nn.Parameter`: learned in its
            range from there.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import PLaplacePropagation
        >>> path = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
        >>> PLaplacePropagation(p=4.0)(path, None, torch.tensor([0, -1, 1]))
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000],
                [0.0000, 1.0000]])
    """

    propagate = staticmethod(p_laplace_propagation)
    check = staticmethod(check_p_laplace)
