"""Graph consistency over the edges of a given graph, as message passing."""

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from pyg_relational.ops import edge_dot, unit_rows
from pyg_relational.ops.checks import check_classes, check_features
from pyg_relational.ops.options import show_options
from pyg_relational.ops.pairs.consistency import PairWeights

__all__ = [
    "EdgeConsistency",
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


class EdgeConsistency(MessagePassing):  # type: ignore[misc]
    r"""Graph consistency of every node with its neighbours, as a message passing layer.

    Node :math:`j` receives :math:`\ell_{ij}` of :func:`pair_losses` from each neighbour :math:`i`. The sum over the
    nodes of an undirected graph is twice the loss of its edges. Being message passing, it works with
    PyG's loaders and explainers.

    Args:
        aggr: How a node combines its edges' losses.
        relu: Cut negative cosines at 0.

    Shapes:
        ``x``: :math:`[n, d]`, ``logits``: :math:`[n, c]`, ``y``: :math:`[n]`, -1 for a node whose edges have loss 0,
        ``edge_index``: :math:`[2, E]`, output: :math:`[n]`.

    Raises:
        ValueError: If shapes disagree, a value is not finite or a class is below -1.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import EdgeConsistency
        >>> layer = EdgeConsistency()
        >>> layer(torch.eye(2), torch.zeros(2, 3), torch.tensor([1, 1]), torch.tensor([[0, 1], [1, 0]]))
        tensor([1.0000, 1.0000])
    """

    def __init__(self, aggr: str = "add", relu: bool = True) -> None:
        super().__init__(aggr=aggr)
        self._aggr = aggr
        self.relu = relu

    def forward(self, x: Tensor, logits: Tensor, y: Tensor, edge_index: Tensor) -> Tensor:
        """Return the loss at every node."""
        check_features(x)
        check_features(logits, "logits")
        if len(logits) != len(x):
            raise ValueError(f"logits must have the {len(x)} rows of x, got {len(logits)}")
        check_classes(y, len(x))
        u, q = unit_rows(x), unit_rows(logits.softmax(1))
        known = (y >= 0)[edge_index].all(0)
        loss = pair_losses(u, q, y, edge_index, self.relu) * known
        out: Tensor = self.propagate(edge_index, loss=loss[:, None], size=(x.shape[0], x.shape[0]))
        return out.squeeze(1)

    def message(self, loss: Tensor) -> Tensor:
        """Send every edge its loss."""
        return loss

    def __repr__(self) -> str:
        options = {"aggr": self._aggr, "relu": self.relu}
        return f"{type(self).__name__}({show_options(options)})"
