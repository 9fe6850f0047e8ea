"""Number of directions that features use."""

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_features

__all__ = ["effective_rank"]


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
        TypeError: If a dtype is wrong.
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
    entropy: Tensor = torch.special.entr(values / values.sum()).sum()
    return entropy.exp().to(x.dtype)
