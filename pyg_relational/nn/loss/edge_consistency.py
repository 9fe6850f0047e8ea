"""Graph consistency over the edges of a given graph."""

from typing import Literal

import torch
from torch import Tensor

from pyg_relational.ops import edge_dot
from pyg_relational.ops.pairs.consistency import PairWeights

__all__ = [
    "Similarity",
    "complement_pairs",
    "edge_consistency",
    "pair_losses",
    "rbf",
]

Similarity = Literal["cosine", "rbf"]


def rbf(a: Tensor, b: Tensor) -> Tensor:
    r"""Similarity :math:`\exp(-\min(\lVert a_i - b_j \rVert^2, 100) / d)` of all rows of ``a`` and ``b``.

    Args:
        a: Features.
        b: Features.

    Shapes:
        ``a``: :math:`[n, d]`, ``b``: :math:`[m, d]`, output: :math:`[n, m]`.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.edge_consistency import rbf
        >>> rbf(torch.zeros(1, 2), torch.zeros(1, 2)).item()
        1.0
    """
    norm_a, norm_b = torch.linalg.vecdot(a, a), torch.linalg.vecdot(b, b)
    square = (norm_a[:, None] + norm_b - 2 * (a @ b.T)).clamp(min=0, max=100)
    return torch.exp(-square / max(a.shape[1], 1))


def pair_losses(
    u: Tensor,
    q: Tensor,
    y: Tensor,
    pairs: Tensor,
    relu: bool = True,
    similarity: Similarity = "cosine",
) -> Tensor:
    r"""Squared difference of feature and masked prediction similarity, pair by pair.

    .. math::
        \ell_{ij} = \left(\max(\langle u_i, u_j \rangle, 0) - [y_i = y_j] \langle q_i, q_j \rangle\right)^2

    Args:
        u: Unit rows of features; features themselves with ``"rbf"``.
        q: Unit rows of predictions; predictions themselves with ``"rbf"``.
        y: Classes.
        pairs: Pairs of rows.
        relu: Cut the feature similarity at 0.
        similarity: ``"cosine"``, or ``"rbf"`` as in :func:`rbf`.

    Shapes:
        ``u``: :math:`[n, d]`, ``q``: :math:`[n, c]`, ``y``: :math:`[n]`, ``pairs``: :math:`[2, P]`,
        output: :math:`[P]`.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.edge_consistency import pair_losses
        >>> pair_losses(torch.eye(2), torch.ones(2, 1), torch.tensor([0, 0]), torch.tensor([[0], [1]])).tolist()
        [1.0]
    """
    f, p = (_edge_similarity(x, pairs, similarity) for x in (u, q))
    same = y[pairs[0]] == y[pairs[1]]
    return ((f.relu() if relu else f) - same * p).square()


def _edge_similarity(x: Tensor, pairs: Tensor, similarity: Similarity) -> Tensor:
    product = edge_dot(x, x, pairs)
    if similarity == "cosine":
        return product
    norm = torch.linalg.vecdot(x, x)
    square = (norm[pairs[0]] + norm[pairs[1]] - 2 * product).clamp(min=0, max=100)
    return torch.exp(-square / max(x.shape[1], 1))


def complement_pairs(
    pairs: Tensor, n: int, num_samples: int | None, generator: torch.Generator | None
) -> tuple[Tensor, float]:
    r"""Uniform random pairs that are not edges, and how many pairs each stands for.

    Args:
        pairs: Edges ``i < j``, sorted.
        n: Number of nodes.
        num_samples: Pairs to draw, ``None`` for none; those that hit an edge are dropped, which keeps the
            estimate unbiased.
        generator: Source of randomness.

    Shapes:
        ``pairs``: :math:`[2, P]`, output: :math:`[2, S]` with :math:`S \le` ``num_samples``.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.edge_consistency import complement_pairs
        >>> complement_pairs(torch.tensor([[0, 0], [1, 2]]), 3, 100, None)[0].unique(dim=1).tolist()
        [[1], [2]]
    """
    if num_samples is None or n < 2:
        return pairs[:, :0], 0.0
    size, device = (num_samples,), pairs.device
    i = torch.randint(n, size, generator=generator, device=device)
    j = torch.randint(n - 1, size, generator=generator, device=device)
    j = j + (j >= i)
    key = torch.minimum(i, j) * n + torch.maximum(i, j)
    key = key[~torch.isin(key, pairs[0] * n + pairs[1])]
    return torch.stack([key // n, key % n]), n * (n - 1) / 2 / num_samples


def edge_consistency(
    u: Tensor,
    q: Tensor,
    y: Tensor,
    pairs: Tensor,
    extra: tuple[Tensor, float],
    weights: PairWeights,
    relu: bool,
    similarity: Similarity = "cosine",
) -> Tensor:
    """Weighted sum of the losses of pairs, and of sampled pairs times what each stands for.

    Args:
        u: Unit rows of features.
        q: Unit rows of predictions.
        y: Classes.
        pairs: Edges.
        extra: Result of :func:`complement_pairs`.
        weights: Weight of a pair of one class and of two.
        relu: Cut the feature similarity at 0.
        similarity: ``"cosine"`` or ``"rbf"``.

    Shapes:
        ``u``: :math:`[n, d]`, ``q``: :math:`[n, c]`, ``y``: :math:`[n]`, ``pairs``: :math:`[2, P]`, output: scalar.
    """
    total = u.new_zeros(())
    for some, factor in ((pairs, 1.0), extra):
        same = y[some[0]] == y[some[1]]
        scale = weights.at(same, u.dtype) * factor
        total = total + (scale * pair_losses(u, q, y, some, relu, similarity)).sum()
    return total
