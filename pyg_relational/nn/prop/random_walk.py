"""Learning with local and global consistency: labels spread by a lazy random walk."""

from typing import Any, Literal, overload

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import (
    NO_WORK,
    check_again,
    check_inputs,
    check_solving,
    value_in,
)
from pyg_relational.nn.prop.propagation import Propagation
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.ops.checks import check_choice, check_number
from pyg_relational.ops.graph.components import connected_components, edges_where, joined
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.linear.components import in_reach
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.prepared import Prepared
from pyg_relational.ops.linear.solvers import SolveInfo, Solver
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["RandomWalkPropagation", "check_random_walk", "random_walk_propagation"]


@overload
def random_walk_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    alpha: float | Tensor = 0.95,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[False] = False,
) -> Tensor: ...


@overload
def random_walk_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    alpha: float | Tensor = 0.95,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: Literal[True],
) -> tuple[Tensor, SolveInfo]: ...


@uncompiled  # one break of the graph, at the solve
def random_walk_propagation(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    alpha: float | Tensor = 0.95,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    initial: Tensor | None = None,
    prepared: Prepared | None = None,
    on_unreachable: OnUnreachable = "error",
    return_info: bool = False,
) -> Tensor | tuple[Tensor, SolveInfo]:
    r"""Label propagation by a lazy random walk, or learning with local and global consistency (LLGC).

    Of `Zhou et al., 2004 <https://papers.nips.cc/paper_files/paper/2003/hash/87682805257e619d49b8e0dfdc14affa-Abstract.html>`_:

    .. math::
        (I - \alpha S) u = y, \qquad S = D^{-1/2} W D^{-1/2}

    :math:`y` is 0 off the labels. :math:`u` are scores: labelled rows need not hold their labels. With
    :math:`v = D^{-1/2} u` it is solved as :math:`((1 - \alpha) D + \alpha L) v = D^{1/2} y`. Differentiable any number
    of times in ``edge_weight``, ``y`` and ``alpha``.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64) or values (floating point, one column a class). Off the mask only the default of
            ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        alpha: Share :math:`\alpha` of a node's score that comes from its neighbours, in :math:`[0, 1)`.
        batch: Graph of every node where several are joined. Only ``on_unreachable="prior"`` asks for it.
        solver: Solver of the linear systems. ``None`` is :class:`~pyg_relational.ops.Auto`, which chooses
            :class:`~pyg_relational.ops.CG`, :class:`~pyg_relational.ops.Direct` or
            :class:`~pyg_relational.ops.Multigrid`.
        initial: Where the iteration starts, such as the last solution.
        prepared: A :class:`~pyg_relational.ops.Prepared`, which keeps what is made for the matrix. For calls with other
            labels.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the graph's
            labels. The equation has 0 there.
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
        >>> from pyg_relational.nn import random_walk_propagation
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> random_walk_propagation(path, None, torch.tensor([0, -1, -1, 1]), alpha=0.5)
        tensor([[1.1556, 0.0444],
                [0.4400, 0.1257],
                [0.1257, 0.4400],
                [0.0444, 1.1556]])
    """
    check_random_walk(
        alpha=alpha,
        solver=solver,
        prepared=prepared,
        initial=initial,
        on_unreachable=on_unreachable,
    )
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes, batch)
    edge_index, weight, values, mask, *_ = graph
    number, alpha = alpha, value_in(alpha, values)
    check_again(_check_alpha, number, alpha)
    with torch.autocast(values.device.type, enabled=False):
        d = degree(edge_index, weight * (edge_index[0] != edge_index[1]), len(mask))
        root = d.where(d > 0, 1.0).sqrt()[:, None]
        shift = ((1 - alpha) * d).where(d > 0, 1.0)
        nothing = torch.zeros_like(mask)
        positive, weight = weight > 0, alpha * weight
        if initial is not None:
            initial = initial.detach() / root.detach()
        equation = GroundedLaplacian(
            edge_index, weight, shift, nothing, solver=solver, initial=initial, prepared=prepared
        )
        u = root * implicit_solve(equation, root * values, weight, shift)
        if not in_reach(equation.set_up.operator, mask):
            component = connected_components(edges_where(edge_index, positive), len(mask))
            u = fill_unreachable(u, ~joined(component, mask), graph, on_unreachable)
    return (u, equation.info or NO_WORK) if return_info else u


def check_random_walk(
    *, alpha: Any, solver: Any, prepared: Any, initial: Any, on_unreachable: Any, **_: Any
) -> None:
    """Raise unless the options of :func:`random_walk_propagation` are in range, as far as can be told without a graph.

    Args:
        alpha: As there.
        solver: As there.
        prepared: As there.
        initial: As there.
        on_unreachable: As there.

    Raises:
        TypeError: If one is of a wrong type.
        ValueError: If one is out of range.
    """
    _check_alpha(alpha)
    check_solving(solver, prepared, initial)
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")


def _check_alpha(alpha: Any) -> None:
    check_number(alpha, "alpha")
    value = alpha if isinstance(alpha, Tensor) else torch.tensor(alpha, device="cpu")
    if value.dim() or not bool((value >= 0) & (value < 1)):
        got = list(value.shape) if value.dim() else value.item()
        raise ValueError(f"alpha must be a number in [0, 1), got {got}")


class RandomWalkPropagation(Propagation):
    """Module of :func:`random_walk_propagation`.

    Args:
        **options: Its keyword arguments. ``alpha`` may be a :class:`torch.nn.Parameter`: learned in its
            range from there.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import RandomWalkPropagation
        >>> edge = torch.tensor([[0, 1], [1, 0]])
        >>> RandomWalkPropagation(alpha=0.5)(edge, None, torch.tensor([0, -1]))
        tensor([[1.3333],
                [0.6667]])
    """

    propagate = staticmethod(random_walk_propagation)
    check = staticmethod(check_random_walk)
