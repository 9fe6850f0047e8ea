"""Similarity of features inside classes and between them."""

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pyg_relational.ops.checks import Check, check_labels, check_matrix, finite, settle

__all__ = ["class_similarity", "inter_class_similarity"]


def class_similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    r"""Mean cosine similarity inside classes and between them.

    With :math:`u_i = x_i / \lVert x_i \rVert` (a zero row stays zero), class sums
    :math:`s_c = \sum_{y_i = c} u_i` and class sizes :math:`n_c`, the means over all pairs
    :math:`i \neq j` are

    .. math::
        \text{intra} = \frac{\sum_c \lVert s_c \rVert^2 - \sum_i \lVert u_i \rVert^2}
                            {\sum_c n_c (n_c - 1)}, \qquad
        \text{inter} = \frac{\lVert \sum_c s_c \rVert^2 - \sum_c \lVert s_c \rVert^2}
                            {n^2 - \sum_c n_c^2}

    in O(n d) time and memory: no pair is ever formed. Sums run in float64. Rows with a label of
    -1 are unlabelled and left out.

    Args:
        x: Features.
        y: Class of each row, -1 where it is unknown.

    Shapes:
        - **x:** :math:`(n, d)`, floating point
        - **y:** :math:`(n)`, int64
        - **returns:** intra and inter, both scalars of the type of ``x``, in [-1, 1]

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, features that are not finite, or labels for which no pair of
            one of the two kinds exists.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> intra, inter = class_similarity(x, torch.tensor([0, 0, 1]))
        >>> intra.item(), inter.item()
        (1.0, 0.0)
    """
    u, class_sum, size, same = _class_sums(x, y, "two classes and two samples of some class", 1)
    intra = (class_sum.square().sum() - u.square().sum()) / same
    return intra.to(x.dtype), _between(class_sum, size).to(x.dtype)


def inter_class_similarity(x: Tensor, y: Tensor) -> Tensor:
    r"""Mean cosine similarity between rows of different classes.

    The second result of :func:`class_similarity`, where one row of each class is enough, as of proxies: near 1 they
    have collapsed, at :math:`-1 / (c - 1)` :math:`c` of them are as far apart as they can be.

    Args:
        x: Features.
        y: Class of each row, -1 where it is unknown.

    Shapes:
        - **x:** :math:`(n, d)`, floating point
        - **y:** :math:`(n)`, int64
        - **returns:** scalar of the type of ``x``, in [-1, 1]

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, features that are not finite, or fewer than two classes.

    Example:
        >>> inter_class_similarity(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.arange(2)).item()
        0.6000000238418579
    """
    _, class_sum, size, _ = _class_sums(x, y, "two classes", 0)
    return _between(class_sum, size).to(x.dtype)


def _class_sums(
    x: Tensor, y: Tensor, what: str, least: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit rows, 0 where not labelled, their sums in the classes, sizes of these, and pairs inside them; in float64.

    One wait for a device checks all: there must be two classes and ``least`` pairs of one class.
    """
    check_matrix(x)
    check_labels(y, len(x))
    labelled = y >= 0
    ordered, order = y.sort()
    step = (ordered[1:] != ordered[:-1]).cumsum(0)
    group = torch.zeros_like(y).scatter_(0, order[1:], step)  # rows without a label, first, add 0
    size = torch.zeros_like(y).index_add_(0, group, labelled.long())
    same = size.square().sum() - size.sum()

    def refuse() -> None:
        raise ValueError(f"y must hold {what}, got class sizes {size[size > 0].tolist()}")

    classes = Check("y must hold two classes", lambda: (size > 0).sum(), 2, math.inf, refuse)
    pairs = Check(f"y must hold {what}", lambda: same, least, math.inf, refuse)
    settle(finite(x, "x"), classes, pairs)
    u = normalize((x * labelled[:, None]).double(), dim=1)
    return u, torch.zeros_like(u).index_add(0, group, u), size, same


def _between(class_sum: Tensor, size: Tensor) -> Tensor:
    pairs = size.sum().square() - size.square().sum()
    return (class_sum.sum(0).square().sum() - class_sum.square().sum()) / pairs
