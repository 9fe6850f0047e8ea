"""How many edges stay inside a class."""

import torch
from torch import Tensor

from pyg_relational.interop import as_edges
from pyg_relational.ops.checks import check_labels

__all__ = ["homophily"]


def homophily(edge_index: Tensor, edge_weight: Tensor | None, y: Tensor) -> Tensor:
    r"""Weighted share of the edges whose two ends are of the same class.

    .. math::
        h = \frac{\sum_{(i, j) \in E} w_{ij} [y_i = y_j]}{\sum_{(i, j) \in E} w_{ij}}

    as the edge homophily of `Zhu et al. <https://arxiv.org/abs/2006.11468>`_ (2020). Edges with an unlabelled end
    are left out.

    Args:
        edge_index: Edges.
        edge_weight: Their weights, ``None`` for ones.
        y: Class of every node, -1 where it is unknown.

    Shapes:
        - **edge_index:** :math:`(2, E)`, **edge_weight:** :math:`(E)`, **y:** :math:`(n)`, int64
        - **returns:** scalar, in [0, 1]; sums run in float64

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, a negative weight, or if no edge of positive weight has labels at both ends.

    Example:
        >>> import torch
        >>> from pyg_relational.metrics import homophily
        >>> homophily(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), None, torch.tensor([0, 0, 1])).item()
        0.5
    """
    check_labels(y, len(y) if isinstance(y, Tensor) else 0)
    (row, col), weight, _ = as_edges((edge_index, edge_weight), len(y))
    w = weight.double().where((y[row] >= 0) & (y[col] >= 0), 0)
    total = w.sum()
    ends = [weight.detach().min().double()] if len(weight) else []
    *low, whole = torch.stack([*ends, total.detach()]).tolist()
    if low and low[0] < 0:
        raise ValueError(f"edge_weight must be >= 0, got min {low[0]:.3g}")
    if whole == 0:
        raise ValueError("edge_index must hold an edge of positive weight between labelled nodes")
    share: Tensor = w.where(y[row] == y[col], 0).sum() / total
    return share.to(weight.dtype)
