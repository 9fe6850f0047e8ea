"""Volume-constrained MBO: a partition with classes of given sizes that cuts few edges."""

import math
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from pyg_relational.nn.prop.inputs import Labelled, check_inputs
from pyg_relational.nn.prop.p_eikonal import p_eikonal
from pyg_relational.nn.prop.unreachable import OnUnreachable, fill_unreachable
from pyg_relational.nn.prop.volume import check_priors, graphs_of, volume_bounds, volume_threshold
from pyg_relational.ops.checks import check_choice, check_count, check_labels, check_number
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.graph.spmm import csr_matrix
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["volume_mbo"]

_NEAR = 1e-3  # relative error of distances that only say which class is nearest


@torch.no_grad()
@uncompiled  # one break of the graph, at the solve
def volume_mbo(
    edge_index: Any,
    edge_weight: Tensor | None,
    y: Tensor,
    mask: Tensor | None = None,
    *,
    num_classes: int | None = None,
    class_priors: Tensor | None = None,
    slack: float = 0.0,
    temperature: float = 0.1,
    max_iter: int = 100,
    batch: Tensor | None = None,
    generator: Generator | None = None,
    on_unreachable: OnUnreachable = "error",
) -> Tensor:
    r"""Partition of the nodes by volume-constrained MBO, or auction dynamics.

    Of `Jacobs et al., 2018 <https://doi.org/10.1016/j.jcp.2017.10.036>`_: from the class nearest in the distance of
    :func:`p_eikonal`, repeat

    .. math::
        \psi = S^2 e(\ell) + \text{noise}, \quad S = D^{-1/2} W D^{-1/2}, \qquad
        \ell \leftarrow \arg\max_\ell \sum_i \psi_{i \ell_i}

    over the partitions that keep the labels and have classes of the given sizes
    (:func:`~pyg_relational.nn.prop.volume.volume_threshold`), :math:`e(\ell)` being the partition, one-hot. The
    noise is normal. The partition with the largest :math:`\lVert S\, e(\ell) \rVert^2`, that is the smallest cut of
    :math:`S^2`, is kept. Not differentiable.

    Args:
        edge_index: Edges, in both directions, or a graph that :func:`~pyg_relational.interop.as_edges` reads.
        edge_weight: Weights ``>= 0``, equal in both directions; ``None`` for ones or those of the graph. Self-loops
            have no effect.
        y: Classes (int64). Off the mask only the default of ``num_classes`` looks at them.
        mask: Labelled nodes; ``None`` takes those with ``y >= 0``.
        num_classes: Number of classes; ``None`` for the largest label of any row + 1.
        class_priors: Share of each class among the nodes; ``None`` for that among the labels of each graph.
        slack: Share :math:`t` by which sizes may be smaller or greater than :math:`n` times the priors.
        temperature: Standard deviation of the noise; at 0 the iteration ends where nothing changes.
        max_iter: Most iterations.
        batch: Graph of every node where several are joined. Sizes are those of each graph.
        generator: Generator of the noise.
        on_unreachable: For nodes that no label reaches: ``"error"``, ``"nan"``, or ``"prior"``, the mean of the graph's
            labels. Class sizes do not count them.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``y``, ``mask``, ``batch``: :math:`[n]`,
        ``class_priors``: :math:`[c]`, output: :math:`[n, c]`.

    Returns:
        The partition, one-hot; labelled rows as given.

    Raises:
        TypeError: If a dtype does not fit.
        ValueError: If shapes or values do not fit, the graph is not undirected, no label reaches a node, or a
            class has more labels than its size.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import volume_mbo
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> volume_mbo(path, None, torch.tensor([0, -1, -1, 1]), temperature=0.0)
        tensor([[1., 0.],
                [1., 0.],
                [0., 1.],
                [0., 1.]])
    """
    check_choice(on_unreachable, OnUnreachable, "on_unreachable")
    check_number(temperature, "temperature")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature must be >= 0 and finite, got {temperature}")
    max_iter = check_count(max_iter, "max_iter")
    graph = check_inputs(edge_index, edge_weight, y, mask, num_classes, batch)
    check_labels(y, len(y))
    priors = check_priors(class_priors, graph.values, slack)
    scores = p_eikonal(
        *graph[:2],
        y,
        graph.mask,
        num_classes=graph.values.shape[1],
        tol=_NEAR,
        on_unreachable="nan",
    )
    unreached = scores.isnan().any(1)
    label, last = scores.argmax(1), None
    best, score = label, scores.new_full((graph.num_graphs,), -torch.inf)
    kernel, parts = _kernel(graph), _parts(unreached, graph, priors, slack)
    for iteration in range(max_iter + 1):
        psi = kernel @ (kernel @ one_hot(label, scores.shape[1]).to(scores.dtype))
        if iteration > 0:
            own = psi.gather(1, label[:, None])[:, 0]
            total = torch.zeros_like(score).index_add(0, graph.batch, own)
            best = label.where((total > score)[graph.batch], best)
            score = torch.maximum(score, total)
        if iteration == max_iter or (temperature == 0 and last is not None and label.equal(last)):
            break
        noise = torch.randn(psi.shape, generator=generator, dtype=psi.dtype, device=psi.device)
        last, label = label, _partition(psi + temperature * noise, graph, parts)
    return fill_unreachable(
        one_hot(best, scores.shape[1]).to(scores.dtype), unreached, graph, on_unreachable
    )


def _kernel(graph: Labelled) -> Tensor:
    (row, col), weight, _, mask, *_ = graph
    n = len(mask)
    weight = weight * (row != col)
    d = degree(graph.edge_index, weight, n)
    root = d.where(d > 0, torch.inf).rsqrt()
    return csr_matrix(row, col, weight * root[row] * root[col], (n, n))


def _parts(
    unreached: Tensor, graph: Labelled, priors: Tensor | None, slack: float
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Rows of each graph that are free, and how many of them each class takes at least and at most."""
    parts = []
    for rows in graphs_of(~unreached, graph.batch, graph.num_graphs):
        held = graph.values[rows].sum(0)
        share = held / held.sum() if priors is None else priors
        low, high = (size - held.long() for size in volume_bounds(len(rows), share, slack))
        if bool((high < 0).any()):
            k = int(high.argmin())
            raise ValueError(
                f"class_priors and slack must leave room for the labels, got {int(held[k])} labels of class {k} "
                f"and at most {int(held[k] + high[k])} nodes"
            )
        parts.append((rows[~graph.mask[rows]], low.clamp(min=0), high))
    return parts


def _partition(psi: Tensor, graph: Labelled, parts: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    label = graph.values.argmax(1)
    for free, low, high in parts:
        label[free] = volume_threshold(psi[free], low, high)
    return label
