"""Where attention goes."""

import math
from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_labels

__all__ = ["attention_entropy", "class_attention"]


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
        TypeError: If a dtype is wrong.
        ValueError: On a wrong shape, ``P < 2``, or rows that are not distributions.

    Example:
        >>> attention_entropy(torch.full((1, 4), 0.25)).item(), attention_entropy(torch.eye(4)).item()
        (1.0, 0.0)
    """
    _check_attention(weights)
    if weights.shape[1] < 2:
        raise ValueError(f"weights must be of two proxies or more, got shape {list(weights.shape)}")
    entropy: Tensor = torch.special.entr(weights.double()).sum(1).mean()
    return (entropy / math.log(weights.shape[1])).clamp(0, 1).to(weights.dtype)


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
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, a class out of range, or rows that are not distributions.

    Example:
        >>> class_attention(torch.eye(2)[[0, 1, 0]], torch.tensor([0, 0, 1]), torch.arange(2), 2).tolist()
        [[0.5, 0.5], [1.0, 0.0]]
    """
    _check_attention(weights)
    check_labels(y, weights.shape[0], "y")
    check_labels(proxy_y, weights.shape[1], "proxy_y")
    for name, classes in (("y", y), ("proxy_y", proxy_y)):
        low, high = torch.stack(classes.aminmax()).tolist() if len(classes) else (-1, -1)
        if not -1 <= low <= high < num_classes:
            raise ValueError(f"{name} must be in [-1, {num_classes}), got {low} to {high}")
    mean = (weights.mean(2) if weights.dim() == 3 else weights).double()
    total = mean.new_zeros(num_classes + 1, num_classes + 1)  # the last row and column are class -1
    total.index_put_((y[:, None], proxy_y), mean, accumulate=True)
    count = total.new_zeros(num_classes + 1)
    count = count.index_add(0, y % (num_classes + 1), torch.ones_like(mean[:, 0]))[:-1]
    return (total[:-1, :-1] / count[:, None]).to(weights.dtype)


def _check_attention(weights: Any) -> None:
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        got = weights.dtype if isinstance(weights, Tensor) else type(weights).__name__
        raise TypeError(f"weights must be a floating-point Tensor, got {got}")
    if weights.dim() not in (2, 3) or not weights.numel():
        raise ValueError(f"weights must have shape [n, P] or [n, P, H], got {list(weights.shape)}")
    ends = weights.detach().min(), (weights.detach().sum(1) - 1).abs().max()
    low, off = torch.stack(ends).tolist()
    if low < 0 or not off < 0.02:
        raise ValueError(
            f"weights must be >= 0 and sum to 1, got min {low:.3g} and sums off by {off:.3g}"
        )
