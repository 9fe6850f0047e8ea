"""Graph consistency over the edges of a graph, with a sample of all other pairs."""

import torch
from torch import Tensor

from pyg_relational.nn.loss.edge_consistency import complement_pairs, edge_consistency
from pyg_relational.nn.loss.graph_consistency_options import GraphConsistencyOptions
from pyg_relational.ops.pairs.consistency import PairWeights

__all__ = ["all_pairs_weights", "class_pairs_weights", "sparse_consistency", "undirected_pairs"]


def undirected_pairs(edge_index: Tensor, n: int) -> Tensor:
    """Each undirected edge once, without loops, sorted.

    Args:
        edge_index: Edges.
        n: Number of nodes.

    Shapes:
        ``edge_index``: :math:`[2, E]`, output: :math:`[2, P]`.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.sparse_consistency import undirected_pairs
        >>> undirected_pairs(torch.tensor([[2, 0, 1], [0, 2, 1]]), 3).tolist()
        [[0], [2]]
    """
    row, col = edge_index
    key = (torch.minimum(row, col) * n + torch.maximum(row, col)).where(row != col, n * n)
    key = key.sort().values
    key = key[(key < n * n) & (key.diff(prepend=key.new_full((1,), -1)) > 0)]
    return torch.stack([key // max(n, 1), key % max(n, 1)])


def all_pairs_weights(y: Tensor, options: GraphConsistencyOptions) -> PairWeights:
    """Weights of the loss over all pairs.

    Args:
        y: Classes.
        options: Options of the loss; ``reduction`` and ``balance`` are read.

    Shapes:
        ``y``: :math:`[n]`.
    """
    counts = y.unique(return_counts=True)[1].tolist() if options.balance else [len(y)]
    return class_pairs_weights(counts, options)


def class_pairs_weights(counts: list[int], options: GraphConsistencyOptions) -> PairWeights:
    """:func:`all_pairs_weights` of classes of known sizes.

    Args:
        counts: Number of rows of every class; without ``balance`` they only need the right sum.
        options: Options of the loss; ``reduction`` and ``balance`` are read.

    Example:
        >>> from pyg_relational.nn.loss.graph_consistency_options import GraphConsistencyOptions
        >>> from pyg_relational.nn.loss.sparse_consistency import class_pairs_weights
        >>> class_pairs_weights([2, 1], GraphConsistencyOptions(balance=True))
        PairWeights(same=0.5, different=0.25)
    """
    pairs = sum(counts) * (sum(counts) - 1) // 2
    if not options.balance:
        return _equal(pairs, options)
    return _balanced(sum(m * (m - 1) // 2 for m in counts), pairs, options)


def _edge_weights(y: Tensor, pairs: Tensor, options: GraphConsistencyOptions) -> PairWeights:
    """Weights of the loss over all pairs, or without samples over the edges alone."""
    if options.num_samples is not None:
        return all_pairs_weights(y, options)
    if not options.balance:
        return _equal(pairs.shape[1], options)
    return _balanced(int((y[pairs[0]] == y[pairs[1]]).sum()), pairs.shape[1], options)


def _equal(pairs: int, options: GraphConsistencyOptions) -> PairWeights:
    weight = 1 / max(pairs, 1) if options.reduction == "mean" else 1.0
    return PairWeights(weight, weight)


def _balanced(same: int, pairs: int, options: GraphConsistencyOptions) -> PairWeights:
    """Half the weight to each kind of pair, all of it to the only kind there is."""
    total = 1.0 if options.reduction == "mean" else float(pairs)
    kinds = (same > 0) + (same < pairs)
    return PairWeights(
        total / (max(kinds, 1) * max(same, 1)), total / (max(kinds, 1) * max(pairs - same, 1))
    )


def sparse_consistency(
    graphs: list[tuple[Tensor, Tensor]],
    y: Tensor,
    pairs: Tensor,
    options: GraphConsistencyOptions,
    generator: torch.Generator | None,
) -> list[Tensor]:
    """Loss of each layer over the same edges and the same drawn pairs.

    Args:
        graphs: For each layer, unit rows of features and of predictions; the rows themselves with ``"rbf"``.
        y: Classes.
        pairs: Result of :func:`undirected_pairs`.
        options: Options of the loss.
        generator: Source of randomness.

    Shapes:
        ``graphs``: :math:`[n, d]` and :math:`[n, c]` each, ``y``: :math:`[n]`, ``pairs``: :math:`[2, P]`.
    """
    extra = complement_pairs(pairs, y.shape[0], options.num_samples, generator)
    scale = _edge_weights(y, pairs, options)
    return [
        edge_consistency(u, q, y, pairs, extra, scale, options.relu, options.similarity)
        for u, q in graphs
    ]
