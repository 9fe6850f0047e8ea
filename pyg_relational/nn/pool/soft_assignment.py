"""Soft assignment of nodes to centroids."""

import math

import torch
from torch import Tensor

from pyg_relational.ops.checks import (
    Check,
    check_features,
    check_matrix,
    check_number,
    finite,
    settle,
)

__all__ = [
    "assigned",
    "assignment_checks",
    "check_assignment",
    "check_positive",
    "soft_assignment",
]


def soft_assignment(x: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    r"""Soft assignment :math:`c_i = \mathrm{softmax}_a(-\lVert x_i - \mu_a \rVert^2 / \tau)` to centroids.

    Args:
        x: Features.
        centroids: :math:`\mu`, of one partition or of several.
        temperature: :math:`\tau`, a squared distance.

    Shapes:
        ``x``: :math:`[n, d]`, ``centroids``: :math:`[k, d]` or :math:`[P, k, d]`, output: :math:`[n, k]` or
        :math:`[n, P, k]`, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, or the temperature is not positive.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.soft_assignment import soft_assignment
        >>> soft_assignment(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]]), 1.0)
        tensor([[0.9820, 0.0180],
                [0.5000, 0.5000]])
    """
    settle(*assignment_checks(x, centroids))
    check_positive(temperature=temperature)
    return assigned(x, centroids, temperature)


def assignment_checks(x: Tensor, centroids: Tensor) -> list[Check]:
    """What :func:`soft_assignment` asks of values; dtypes and shapes are checked at once.

    Args:
        x: As there.
        centroids: As there.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree.
    """
    check_matrix(x)
    if not isinstance(centroids, Tensor):
        raise TypeError(f"centroids must be a Tensor, got {type(centroids).__name__}")
    if centroids.dim() not in (2, 3):
        raise ValueError(
            f"centroids must have shape [k, d] or [P, k, d], got {list(centroids.shape)}"
        )
    all_centroids = centroids.flatten(0, -2)
    check_matrix(all_centroids, "centroids")
    if centroids.shape[-1] != x.shape[1]:
        raise ValueError(f"x must have {centroids.shape[-1]} columns, got {x.shape[1]}")
    return [finite(x, "x"), finite(all_centroids, "centroids")]


def assigned(x: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    """:func:`soft_assignment` of what is checked.

    Args:
        x: As there.
        centroids: As there.
        temperature: As there.

    Shapes:
        As there.
    """
    all_centroids = centroids.flatten(0, -2)
    dtype = torch.promote_types(torch.promote_types(x.dtype, centroids.dtype), torch.float32)
    origin = all_centroids.detach().to(dtype).mean(0)  # near the data: an offset costs digits
    x, mu = x.to(dtype) - origin, all_centroids.to(dtype) - origin
    # |x|^2 is the same for all centroids, so the softmax does without it
    scores = (2 * x @ mu.mT - mu.square().sum(1)) / temperature
    return scores.view(len(x), *centroids.shape[:-1]).softmax(-1)


def check_assignment(assignment: Tensor, num_nodes: int) -> None:
    """Raise unless every node has shares of clusters that sum to 1, in one partition or in several.

    Args:
        assignment: Soft assignment.
        num_nodes: Number of nodes.

    Shapes:
        ``assignment``: :math:`[n, k]` or :math:`[n, P, k]`.

    Raises:
        TypeError: If it is not a floating Tensor.
        ValueError: Otherwise.
    """
    several = isinstance(assignment, Tensor) and assignment.dim() == 3
    check_features(assignment.flatten(1) if several else assignment, "assignment")
    if len(assignment) != num_nodes or 0 in assignment.shape[1:]:
        raise ValueError(
            f"assignment must have shape [{num_nodes}, k] or [{num_nodes}, P, k], k >= 1, "
            f"got {list(assignment.shape)}"
        )
    c = assignment.detach()
    if num_nodes and bool((c.min() < -1e-3) | ((c.sum(-1) - 1).abs().max() > 1e-3)):
        raise ValueError(
            f"assignment must be >= 0 with rows that sum to 1, got min {c.min().item():.3g} and sums "
            f"{c.sum(-1).min().item():.3g} to {c.sum(-1).max().item():.3g}"
        )


def check_positive(**values: float) -> None:
    """Raise unless every number is finite and positive.

    Args:
        **values: The numbers, under their names in the caller's signature.

    Raises:
        ValueError: If one is not.
    """
    for name, value in values.items():
        check_number(value, name)
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be finite and > 0, got {value}")
