"""Measures of features, attention, graphs and partitions."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pyg_relational.ops.checks import check_features, check_labels


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
        TypeError: Of a wrong dtype.
        ValueError: On wrong shapes, features that are not finite, or labels for which no pair of
            one of the two kinds exists.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
        >>> intra, inter = class_similarity(x, torch.tensor([0, 0, 1]))
        >>> intra.item(), inter.item()
        (1.0, 0.0)
    """
    u, class_sum, size = _class_sums(x, y)
    same_pairs = size.square().sum() - size.sum()
    if same_pairs == 0 or len(size) < 2:
        raise ValueError(
            "y must hold two classes and two samples of some class, "
            f"got class sizes {size.tolist()}"
        )
    intra = (class_sum.square().sum() - u.square().sum()) / same_pairs
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
        TypeError: Of a wrong dtype.
        ValueError: On wrong shapes, features that are not finite, or fewer than two classes.

    Example:
        >>> inter_class_similarity(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), torch.arange(2)).item()
        0.6000000238418579
    """
    _, class_sum, size = _class_sums(x, y)
    if len(size) < 2:
        raise ValueError(f"y must hold two classes, got class sizes {size.tolist()}")
    return _between(class_sum, size).to(x.dtype)


def effective_rank(x: Tensor) -> Tensor:
    r"""Effective rank of a matrix, the number of directions that its rows use.

    From `Roy and Vetterli, "The effective rank: a measure of effective dimensionality"
    <https://ieeexplore.ieee.org/document/7098875>`_ (EUSIPCO 2007): with singular values :math:`\sigma_i`,

    .. math::
        \text{erank}(x) = \exp \Big( -\sum_i p_i \log p_i \Big), \qquad p_i = \sigma_i / \textstyle\sum_j \sigma_j

    Args:
        x: Features; they are not centred.

    Shapes:
        - **x:** :math:`(n, d)`, floating point
        - **returns:** scalar of the type of ``x``, in [1, min(n, d)]

    Raises:
        TypeError: Of a wrong dtype.
        ValueError: On a wrong shape, features that are not finite, or all zero.

    Example:
        >>> effective_rank(torch.eye(3)).item()
        3.0
        >>> effective_rank(torch.ones(3, 4)).item()
        1.0
    """
    check_features(x)
    values = torch.linalg.svdvals(x.double())
    if not values.any():
        raise ValueError("x must not be zero")
    return _entropy(values / values.sum(), 0).exp().to(x.dtype)


def attention_entropy(weights: Tensor) -> Tensor:
    r"""Entropy of attention as a share of the largest, mean over samples and heads.

    .. math::
        -\frac{1}{n H \log P} \sum_{i, h} \sum_{j=1}^{P} \alpha_{ijh} \log \alpha_{ijh}

    1 is uniform attention, 0 looks at one proxy. Of ``weights.mean(0, keepdim=True)`` it tells whether all samples look
    at the same ones.

    Args:
        weights: Attention :math:`\alpha`, with or without heads.

    Shapes:
        - **weights:** :math:`(n, P)` or :math:`(n, P, H)`, floating point; rows along :math:`P` sum to 1
        - **returns:** scalar of the type of ``weights``, in [0, 1]

    Raises:
        TypeError: Of a wrong dtype.
        ValueError: On a wrong shape, ``P < 2``, or rows that are not distributions.

    Example:
        >>> attention_entropy(torch.full((1, 4), 0.25)).item(), attention_entropy(torch.eye(4)).item()
        (1.0, 0.0)
    """
    _check_attention(weights)
    if weights.shape[1] < 2:
        raise ValueError(f"weights must be of two proxies or more, got shape {list(weights.shape)}")
    entropy = _entropy(weights.double(), 1).mean() / math.log(weights.shape[1])
    return entropy.clamp(0, 1).to(weights.dtype)


def class_attention(weights: Tensor, y: Tensor, proxy_y: Tensor, num_classes: int) -> Tensor:
    r"""Attention that samples of each class pay to the proxies of each class, mean over samples and heads.

    .. math::
        A_{ab} = \frac{1}{n_a H} \sum_{i: y_i = a} \, \sum_{j: y_j = b} \, \sum_h \alpha_{ijh}

    Args:
        weights: Attention :math:`\alpha`, with or without heads.
        y: Class of each sample, -1 where it is unknown.
        proxy_y: Class of each proxy; -1 is of none.
        num_classes: :math:`c`.

    Shapes:
        - **weights:** :math:`(n, P)` or :math:`(n, P, H)`, floating point; rows along :math:`P` sum to 1
        - **y:** :math:`(n)`, int64
        - **proxy_y:** :math:`(P)`, int64
        - **returns:** :math:`(c, c)`, of the type of ``weights``; a row is NaN where a class has no sample

    Raises:
        TypeError: Of a wrong dtype.
        ValueError: On wrong shapes, a class out of range, or rows that are not distributions.

    Example:
        >>> class_attention(torch.eye(2)[[0, 1, 0]], torch.tensor([0, 0, 1]), torch.arange(2), 2).tolist()
        [[0.5, 0.5], [1.0, 0.0]]
    """
    _check_attention(weights)
    check_labels(y, weights.shape[0], "y")
    check_labels(proxy_y, weights.shape[1], "proxy_y")
    for name, classes in (("y", y), ("proxy_y", proxy_y)):
        if len(classes) and not -1 <= int(classes.min()) <= int(classes.max()) < num_classes:
            raise ValueError(
                f"{name} must be in [-1, {num_classes}), got {int(classes.min())} to {int(classes.max())}"
            )
    mean = (weights.mean(2) if weights.dim() == 3 else weights).double()
    total = mean.new_zeros(num_classes + 1, num_classes + 1)  # the last row and column are class -1
    total.index_put_((y[:, None], proxy_y), mean, accumulate=True)
    count = y[y >= 0].bincount(minlength=num_classes)
    return (total[:-1, :-1] / count[:, None]).to(weights.dtype)


def _class_sums(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows, their sum in each class, and the sizes of the classes; in float64."""
    check_features(x)
    check_labels(y, len(x))
    labelled = y >= 0
    u = normalize(x[labelled].double(), dim=1)
    _, group, size = torch.unique(y[labelled], return_inverse=True, return_counts=True)
    return u, u.new_zeros(len(size), x.size(1)).index_add(0, group, u), size


def _between(class_sum: Tensor, size: Tensor) -> Tensor:
    pairs = size.sum().square() - size.square().sum()
    return (class_sum.sum(0).square().sum() - class_sum.square().sum()) / pairs


def _entropy(p: Tensor, dim: int) -> Tensor:
    entropy: Tensor = torch.special.entr(p).sum(dim)
    return entropy


def _check_attention(weights: Any) -> None:
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        got = weights.dtype if isinstance(weights, Tensor) else type(weights).__name__
        raise TypeError(f"weights must be a floating-point Tensor, got {got}")
    if weights.dim() not in (2, 3) or not weights.numel():
        raise ValueError(f"weights must have shape [n, P] or [n, P, H], got {list(weights.shape)}")
    off = (weights.sum(1) - 1).abs().max().item()
    if weights.min() < 0 or not off < 0.02:
        raise ValueError(
            f"weights must be >= 0 and sum to 1, got min {weights.min().item():.3g} and sums off by {off:.3g}"
        )
