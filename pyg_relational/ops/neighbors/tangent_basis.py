"""Tangent spaces of the manifold that points lie on, by local principal components."""

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_features
from pyg_relational.ops.neighbors.knn import knn

__all__ = ["tangent_basis"]

_CHUNK = 2**22  # numbers in neighbours that are looked at together


@torch.no_grad()
def tangent_basis(x: Tensor, k: int, dim: int, rows: Tensor | None = None) -> Tensor:
    r"""Principal directions of each point's ``k`` nearest neighbours: a basis of the tangent space there.

    The basis at point :math:`i` is made of the right singular vectors of its centred neighbours
    :math:`X_i = (x_j - \bar x)_{j \in N_k(i)}` for the ``dim`` largest singular values. It has no gradient. Section V.C
    of `Ho Thanh, "Improving Fine-Tuning with Latent Cluster Correction" <https://arxiv.org/abs/2501.11919>`_. Columns
    beyond the rank of :math:`X_i` are 0. Columns have no certain sign.

    Takes :math:`O(m k d \min(k, d))` time for :math:`m` rows.

    Args:
        x: Points. Half precision is computed in float32.
        k: Number of neighbours, the point itself not counted, ``1 <= k < n``.
        dim: Dimension of the tangent space, at least 1 and at most ``min(k, d)``.
        rows: Points whose basis is wanted, ``None`` for all.

    Shapes:
        ``x``: :math:`[n, d]`, ``rows``: :math:`[m]`, output: :math:`[m, d, \text{dim}]`, at least float32.

    Raises:
        TypeError: If ``x`` is not floating point.
        ValueError: If ``k`` or ``dim`` is out of range, or ``x`` is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import tangent_basis
        >>> line = torch.arange(5.0)[:, None] * torch.tensor([[3.0, 4.0]])
        >>> tangent_basis(line, k=2, dim=1)[0].abs().flatten()
        tensor([0.6000, 0.8000])
    """
    check_features(x)
    if not 1 <= dim <= min(k, x.shape[1]):
        raise ValueError(f"dim must be in 1..min(k, d) = {min(k, x.shape[1])}, got {dim}")
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    index = _neighbours(x, k, torch.arange(len(x), device=x.device) if rows is None else rows)
    parts = index.split(max(1, _CHUNK // (k * x.shape[1])))
    return torch.cat(
        [_principal(x[part], dim) for part in parts] or [x.new_zeros(0, x.shape[1], dim)]
    )


def _neighbours(x: Tensor, k: int, rows: Tensor) -> Tensor:
    if not 1 <= k < len(x):
        raise ValueError(f"k must be in 1..n - 1 = {len(x) - 1}, got {k}")
    index = knn(x, k + 1, y=x[rows]).index
    itself_last = (index == rows[:, None]).byte().argsort(dim=1, stable=True)
    return index.gather(1, itself_last)[:, :k]


def _principal(points: Tensor, dim: int) -> Tensor:
    centred = points - points.mean(1, keepdim=True)
    _, size, direction = torch.linalg.svd(centred, full_matrices=False)
    rounding = torch.finfo(points.dtype).eps * max(points.shape[1:]) * points.abs().amax((1, 2))
    there = size[:, :dim] > rounding[:, None]
    basis: Tensor = (direction[:, :dim] * there[..., None]).mT
    return basis
