"""Label propagation by the Laplacian of a hypergraph, alone or mixed with that of a graph."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.nn.prop.inputs import (
    Labelled,
    check_inputs,
    check_tau,
    value_in,
)
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.ops.checks import check_choice, check_number
from pyg_relational.ops.graph.components import connected_components, edges_where, joined
from pyg_relational.ops.graph.hypergraph import check_hypergraph
from pyg_relational.ops.linear.implicit import implicit_solve
from pyg_relational.ops.linear.mixed import MixedEquation
from pyg_relational.ops.linear.solvers import CG
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["check_mix", "hypergraph_propagation"]


@uncompiled  # one break of the graph, at the solve
def hypergraph_propagation(
    hyperedge_index: Tensor,
    hyperedge_weight: Tensor,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    edge_index: Tensor | None = None,
    edge_weight: Tensor | None = None,
    mix: float | Tensor = 0.0,
    tau: float | Tensor = 0.0,
    num_classes: int | None = None,
    solver: CG | None = None,
    on_unreachable: OnUnreachable = "error",
) -> Tensor:
    r"""Label propagation by a hypergraph, and a graph.

    With the improved hypergraph Laplacian of `Rastogi and Nirwal, "Improved Hypergraph Laplacian Based Semi-supervised
    Support Vector Machine" <https://doi.org/10.1007/978-3-031-78192-6>`_ (ICPR 2024, p. 242, eq. 10), :math:`L = D - W`
    and :math:`H` of :func:`~pyg_relational.ops.hypergraph_laplacian_product`:

    .. math::
        (\lambda L + (1 - \lambda) H + \tau I) u = 0 \text{ off the labels}, \qquad u = y \text{ on them}

    Differentiable any number of times in ``hyperedge_weight``, ``edge_weight``, ``y``, ``mix`` and ``tau``, at the cost
    of one more solve.

    Two things of the text to know: :math:`L` is not normalised and :math:`H` is, so that :math:`\lambda` means another
    share for every scale of the weights; and :math:`H 1 \ne 0`, so that rows of :math:`u` do not sum to 1.

    Args:
        hyperedge_index: Nodes and the hyperedges they are in, as of :class:`torch_geometric.nn.HypergraphConv`.
        hyperedge_weight: Weights ``>= 0`` of the hyperedges.
        y: Classes (int64) or values (floating point, one column a class). Off the mask only the default of
            ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        edge_index: Edges of the graph, in both directions; ``None`` of none.
        edge_weight: Their weights ``>= 0``, equal in both directions; ``None`` for ones.
        mix: :math:`\lambda` in [0, 1]: 0 is the hypergraph alone, 1 the graph alone.
        tau: Decay :math:`\tau \ge 0`, a number or a scalar Tensor.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        solver: :class:`~pyg_relational.ops.CG`, its tolerance and strictness.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the labels.
            There are none where :math:`\tau > 0`.

    Shapes:
        ``hyperedge_index``: :math:`[2, \text{nnz}]`, ``hyperedge_weight``: :math:`[m]`, ``y``: :math:`[n]` or
        :math:`[n, c]`, ``mask``: :math:`[n]`, ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output:
        :math:`[n, c]`.

    Returns:
        :math:`u`, labelled rows as given.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, or no label reaches a node.
        ConvergenceError: If the solver is strict and does not converge; else that is a warning.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import hypergraph_propagation
        >>> triples = torch.tensor([[0, 1, 2, 2, 3, 4], [0, 0, 0, 1, 1, 1]])  # {0, 1, 2} and {2, 3, 4}
        >>> hypergraph_propagation(triples, torch.ones(2), torch.tensor([0, -1, -1, -1, 1])).argmax(1)
        tensor([0, 0, 0, 1, 1])
    """
    check_mix(mix)
    check_tau(tau)
    _check_scalar(tau, "tau")
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")
    if not isinstance(solver, CG | None):
        raise TypeError(f"solver must be CG(...) or None, got {solver!r}")
    check_hypergraph(hyperedge_index, hyperedge_weight, len(y) if isinstance(y, Tensor) else 0)
    if hyperedge_weight.dtype in (torch.float16, torch.bfloat16):
        hyperedge_weight = hyperedge_weight.float()
    graph = _graph(edge_index, edge_weight, hyperedge_weight, y, mask, num_classes)
    numbers = [value_in(number, graph.values) for number in (mix, tau)]
    with torch.autocast(graph.values.device.type, enabled=False):
        reached = _reached(graph, hyperedge_index, hyperedge_weight, *numbers)
        equation = MixedEquation(
            graph.edge_index, hyperedge_index, graph.mask, reached, solver or CG()
        )
        u = implicit_solve(equation, graph.values, graph.edge_weight, hyperedge_weight, *numbers)
        u = graph.values.where(graph.mask[:, None], u)
        return fill_unreachable(u, ~reached, graph, on_unreachable)


def check_mix(mix: Any) -> None:
    """Raise unless ``mix`` is a number or a scalar Tensor in [0, 1].

    Args:
        mix: The argument to check.

    Raises:
        TypeError: If it is neither a number nor a Tensor.
        ValueError: If it is no scalar, or out of range.
    """
    check_number(mix, "mix")
    _check_scalar(mix, "mix")
    value = float(mix.detach()) if isinstance(mix, Tensor) else float(mix)
    if not 0 <= value <= 1:
        raise ValueError(f"mix must be in [0, 1], got {value}")


def _check_scalar(value: Any, name: str) -> None:
    if isinstance(value, Tensor) and value.dim():
        raise ValueError(f"{name} must be a number or a scalar, got {list(value.shape)}")


def _graph(
    edge_index: Tensor | None,
    edge_weight: Tensor | None,
    hyperedge_weight: Tensor,
    y: Tensor,
    mask: Tensor | None,
    num_classes: int | None,
) -> Labelled:
    if edge_index is None:
        if edge_weight is not None:
            raise ValueError("edge_weight must be None without edge_index, got a Tensor")
        edge_index = torch.empty(2, 0, dtype=torch.int64, device=hyperedge_weight.device)
    if edge_weight is None:
        edge_weight = hyperedge_weight.new_ones(edge_index.shape[1])
    return check_inputs(edge_index, edge_weight.to(hyperedge_weight.dtype), y, mask, num_classes)


def _reached(
    graph: Labelled, hyperedge_index: Tensor, hyperedge_weight: Tensor, mix: Tensor, tau: Tensor
) -> Tensor:
    """Nodes in a component with a label, hyperedges being nodes of it, too."""
    n = len(graph.mask)
    edges = edges_where(graph.edge_index, (graph.edge_weight > 0) & (mix > 0))
    heavy = (hyperedge_weight > 0)[hyperedge_index[1]] & (mix < 1)
    member = hyperedge_index + torch.arange(2, device=edges.device)[:, None] * n
    both = torch.cat([edges, edges_where(member, heavy)], 1)
    component = connected_components(both, n + len(hyperedge_weight))
    marked = torch.cat([graph.mask, graph.mask.new_zeros(len(hyperedge_weight))])
    return joined(component, marked)[:n] | (tau > 0)
