"""How much of a cluster's edges leave it."""

import torch
from torch import Tensor

from pyg_relational.ops.checks import at_least, check_labels
from pyg_relational.ops.graph.undirected import undirected_edges

__all__ = ["conductance"]


def conductance(
    edge_index: Tensor, edge_weight: Tensor | None, clusters: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Conductance of every cluster of an undirected graph, and that of the partition.

    .. math::
        \varphi_c = \frac{\text{cut}_c}{\min(\text{vol}_c, 2m - \text{vol}_c)}, \qquad
        \Phi = \frac{\sum_c \text{vol}_c \, \varphi_c}{\sum_c \text{vol}_c}

    with the weight :math:`\text{cut}_c` of the edges that leave a cluster, the sum :math:`\text{vol}_c` of its degrees
    and :math:`2m = \sum_c \text{vol}_c`. 1 where the denominator is 0: a cluster without edges, or with all of them. A
    self-loop adds twice its weight to the volume, as in networkx. Low is good.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        clusters: Cluster of every node, numbered from 0.

    Shapes:
        - **edge_index:** :math:`(2, E)`, **edge_weight:** :math:`(E)`, **clusters:** :math:`(n)`, int64
        - **returns:** :math:`\varphi` :math:`(k)` and :math:`\Phi`, a scalar, in [0, 1]; sums run in float64

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, negative clusters, or a graph that is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import conductance
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> phi, mean = conductance(path, None, torch.tensor([0, 0, 1, 1]))
        >>> phi.tolist(), round(mean.item(), 4)
        ([0.3333333432674408, 0.3333333432674408], 0.3333)
    """
    check_labels(clusters, len(clusters) if isinstance(clusters, Tensor) else 0, "clusters")
    rule = at_least(clusters, 0, "clusters")
    edge_index, weight, _ = undirected_edges(edge_index, edge_weight, len(clusters), rule)
    (row, col), w = edge_index, weight.double()
    a, b = clusters[row], clusters[col]
    zero = w.new_zeros(int(clusters.max()) + 1 if len(clusters) else 0)
    volume = zero.index_add(0, a, w.where(row != col, 2 * w))
    cut = zero.index_add(0, a, w.where(a != b, 0))
    total = volume.sum()
    smaller = torch.minimum(volume, total - volume)
    phi = torch.where(smaller > 0, cut / smaller, 1).clamp(max=1)
    mean = ((volume * phi).sum() / total.where(total > 0, 1.0)).where(total > 0, 1.0)
    return phi.to(weight.dtype), mean.to(weight.dtype)
