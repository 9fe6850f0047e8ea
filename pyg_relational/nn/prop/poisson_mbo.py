"""Poisson-MBO: Poisson learning turned into a partition with classes of given sizes."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyg_relational.nn.prop.inputs import Labelled, check_inputs, mean_by
from pyg_relational.nn.prop.poisson import poisson_propagation
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.nn.prop.volume import check_priors, graphs_of, volume_bounds, volume_threshold
from pyg_relational.ops.checks import check_choice, check_count, check_labels, check_number
from pyg_relational.ops.graph.components import connected_components, edges_where
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.graph.spmm import csr_matrix
from pyg_relational.ops.linear.solvers import Solver
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["poisson_mbo"]


@torch.no_grad()
@uncompiled  # one break of the graph, at the solve
def poisson_mbo(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    class_priors: Tensor | None = None,
    mu: float = 1.0,
    max_iter: int = 20,
    steps: int = 40,
    batch: Tensor | None = None,
    solver: Solver | None = None,
    on_unreachable: OnUnreachable = "error",
) -> Tensor:
    r"""Partition of the nodes by Poisson-MBO.

    Of `Calder et al., 2020 <https://proceedings.mlr.press/v119/calder20a.html>`_: the scores of
    :func:`poisson_propagation` are projected onto the partitions with the given class sizes; then, until nothing
    changes, the partition diffuses by steps of

    .. math::
        u \leftarrow u + \delta \left( \mu \sum_{j \text{ labelled}} \delta_j (y_j - \bar{y})^T - L u \right),
        \qquad \delta = 1 / \max_i d_i

    and is projected again. The projection is the nearest partition of these sizes
    (:func:`~pyg_relational.nn.prop.volume.volume_threshold`), where the paper looks for it among
    :math:`\arg\max_k s_k u_{ik}`. Not differentiable. Labelled nodes need not keep their class.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64). Off the mask only the default of ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        class_priors: Share of each class among the nodes; ``None`` for that among the labels of each graph.
        mu: Strength :math:`\mu \ge 0` of the labels.
        max_iter: Most iterations. They are projections after the first.
        steps: Diffusion steps between them.
        batch: Graph of every node where several are joined. Sizes and steps are those of each graph.
        solver: Solver of the linear systems. As in :func:`poisson_propagation`.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the graph's
            labels. Class sizes do not count them.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``, ``mask``, ``batch``: :math:`[n]`,
        ``class_priors``: :math:`[c]`, output: :math:`[n, c]`.

    Returns:
        The partition, one-hot, with :math:`n` times the priors, rounded down or up, nodes in each class.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, or no label reaches a node.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import poisson_mbo
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> poisson_mbo(path, None, torch.tensor([0, -1, -1, 1]))
        tensor([[1., 0.],
                [1., 0.],
                [0., 1.],
                [0., 1.]])
    """
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")
    check_number(mu, "mu")
    if not 0 <= mu < math.inf:
        raise ValueError(f"mu must be >= 0 and finite, got {mu}")
    max_iter = check_count(max_iter, "max_iter", 0)
    steps = check_count(steps, "steps")
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes, batch)
    check_labels(y, len(y))
    priors = check_priors(class_priors, graph.values)
    u = poisson_propagation(*graph[:4], solver=solver, on_unreachable="nan")
    unreached = u.isnan().any(1)
    u = u.nan_to_num(nan=0.0)
    parts = _parts(~unreached, graph, priors)
    label = _partition(u, parts)
    diffusion = _diffusion(graph, mu)
    for _ in range(max_iter):
        u = diffusion.run(one_hot(label, u.shape[1]).to(u.dtype), steps)
        last, label = label, _partition(u, parts)
        if torch.equal(label, last):
            break
    return fill_unreachable(
        one_hot(label, u.shape[1]).to(u.dtype), unreached, graph, on_unreachable
    )


def _parts(
    reached: Tensor, graph: Labelled, priors: Tensor | None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Rows of each graph, and least and greatest sizes of its classes."""
    parts = []
    for rows in graphs_of(reached, graph.batch, graph.num_graphs):
        share = graph.values[rows].sum(0).double()
        bounds = volume_bounds(len(rows), share / share.sum() if priors is None else priors)
        parts.append((rows, *bounds))
    return parts


def _partition(u: Tensor, parts: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    label = u.new_zeros(len(u), dtype=torch.int64)
    for rows, lower, upper in parts:
        label[rows] = volume_threshold(u[rows], lower, upper)
    return label


class _Diffusion(NamedTuple):
    """A step: what stays of a row, what comes from others, and what labels add."""

    stay: Tensor
    neighbours: Tensor
    source: Tensor

    def run(self, u: Tensor, steps: int) -> Tensor:
        for _ in range(steps):
            u = torch.addmm(torch.addcmul(self.source, self.stay, u), self.neighbours, u)
        return u


def _diffusion(graph: Labelled, mu: float) -> _Diffusion:
    (row, col), weight, _, mask, batch, num_graphs = graph
    n = len(mask)
    weight = weight * (row != col)
    d = degree(graph.edge_index, weight, n)
    most = d.new_zeros(num_graphs).scatter_reduce(0, batch, d, "amax")
    step = most.where(most > 0, 1.0).reciprocal()[batch]
    neighbours = csr_matrix(row, col, step[row] * weight, (n, n))
    source = (mu * step)[:, None] * _source(graph)
    return _Diffusion((1 - step * d)[:, None], neighbours, source)


def _source(graph: Labelled) -> Tensor:
    n = len(graph.mask)
    component = connected_components(edges_where(graph.edge_index, graph.edge_weight > 0), n)
    labelled = graph.mask.to(graph.values.dtype)[:, None]
    share = mean_by(labelled, component, n)
    mean = mean_by(graph.values, component, n) / share.where(share > 0, 1.0)
    return graph.values - labelled * mean
