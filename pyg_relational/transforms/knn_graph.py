"""k-nearest-neighbour graph of features, with weights that are differentiable in them."""

from typing import Any, Literal, SupportsFloat

import torch
from torch import Tensor

from pyg_relational.ops import (
    approximate_knn,
    both_directions,
    edge_diff_dot,
    edge_dot,
    gaussian_kernel,
    knn,
    neighbor_pairs,
    safe_sqrt,
    unit_rows,
)
from pyg_relational.ops.checks import check_choice, check_count, check_matrix
from pyg_relational.ops.neighbors.approximate import check_recall

__all__ = [
    "Bandwidth",
    "Kernel",
    "Metric",
    "Symmetrize",
    "check_knn_graph",
    "knn_graph",
    "pair_weights",
]

Metric = Literal["euclidean", "cosine"]
Kernel = Literal["gaussian", "cosine", "binary", None]
Bandwidth = Literal["self_tuning", "unit"] | float
Symmetrize = Literal["union", "mutual", None]


def knn_graph(
    x: Tensor,
    k: int,
    *,
    metric: Metric = "euclidean",
    kernel: Kernel = "gaussian",
    bandwidth: Bandwidth = "self_tuning",
    symmetrize: Symmetrize = "union",
    batch: Tensor | None = None,
    recall: float | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Weighted :math:`k`-nearest-neighbour graph.

    The edges are constant, the weights are differentiable in ``x``, the bandwidths included, in
    :math:`O(E + n d)` memory. Autocast is off inside. With :math:`\varepsilon_i` the distance of :math:`i`
    to its :math:`k`-th neighbour
    (`Zelnik-Manor and Perona, 2004 <https://papers.nips.cc/paper/2619-self-tuning-spectral-clustering>`_):

    .. math::
        w_{ij} = \exp\left(-\frac{4 d_{ij}^2}{\varepsilon_i \varepsilon_j}\right)

    Where a point has more than :math:`k` duplicates, :math:`\varepsilon = 0`: the weight is 1 among them, 0 from
    them to others.

    Args:
        x: Features. Half precision is computed in float32.
        k: Number of neighbours, the point itself not counted, ``1 <= k < n``.
        metric: ``"euclidean"`` or ``"cosine"`` (:math:`d = 1 - \cos`).
        kernel: ``"gaussian"``, ``"cosine"`` (:math:`\max(\cos, 0)`), ``"binary"`` (1) or
            ``None``: the distances themselves.
        bandwidth: Bandwidth of the Gaussian: ``"self_tuning"``, a number :math:`\varepsilon` for
            :math:`\exp(-4 d^2 / \varepsilon^2)`, or ``"unit"`` for :math:`\exp(-d^2)`, which
            vanishes in high dimensions.
        symmetrize: ``"union"`` or ``"mutual"``: an edge where either, or each, is the other's neighbour;
            ``None``: directed edges from neighbour to point, as in PyG.
        batch: Graph number of every row; edges stay inside a graph.
        recall: Share of the neighbours that an approximate search is to find
            (:func:`~pyg_relational.ops.approximate_knn`, which warns where it finds fewer), ``None`` for an exact one.

    Shapes:
        ``x``: :math:`[n, d]`, ``batch``: :math:`[n]`,
        output: ``edge_index`` :math:`[2, E]`, ``edge_weight`` :math:`[E]`.

    Returns:
        Edges sorted by (row, column), without loops or duplicates, and their weights.

    Raises:
        ValueError: If ``k`` or another argument is out of range, or ``x`` is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.transforms import knn_graph
        >>> edge_index, edge_weight = knn_graph(torch.tensor([[0.0], [1.0], [3.0]]), k=1, kernel=None)
        >>> edge_index.tolist(), edge_weight.tolist()
        ([[0, 1, 1, 2], [1, 0, 2, 1]], [1.0, 1.0, 2.0, 2.0])
    """
    check_knn_graph(
        k,
        metric=metric,
        kernel=kernel,
        bandwidth=bandwidth,
        symmetrize=symmetrize,
        recall=recall,
    )
    check_matrix(x)  # values are looked at by the search
    dtype = x.dtype
    x = x.float() if dtype in (torch.float16, torch.bfloat16) else x
    if recall is None:
        index = knn(x, k, metric, batch=batch).index
    elif batch is None:
        index = approximate_knn(x, k, metric, recall=recall).index
    else:
        raise ValueError(
            "recall and batch cannot be given together: graphs of a batch are searched exactly"
        )
    pairs = (
        _neighbor_to_point(index)
        if symmetrize is None
        else neighbor_pairs(index, symmetrize == "mutual")
    )
    with torch.autocast(x.device.type, enabled=False):
        weight = pair_weights(x, pairs, index[:, -1], metric, kernel, bandwidth).to(dtype)
    if symmetrize is None:
        return pairs, weight
    edge_index, pair = both_directions(pairs, x.shape[0])
    return edge_index, weight.index_select(0, pair)


def check_knn_graph(
    k: Any, *, metric: Any, kernel: Any, bandwidth: Any, symmetrize: Any, recall: Any, **_: Any
) -> None:
    """Raise unless the options of :func:`knn_graph` are in range, as far as no rows are asked for.

    Args:
        k: As there.
        metric: As there.
        kernel: As there.
        bandwidth: As there.
        symmetrize: As there.
        recall: As there.

    Raises:
        TypeError: If one is of a wrong type.
        ValueError: If one is out of range.
    """
    check_count(k, "k")
    check_choice(metric, Metric, "metric")
    check_choice(kernel, Kernel, "kernel")
    check_choice(symmetrize, Symmetrize, "symmetrize")
    if recall is not None:
        check_recall(recall)
    if isinstance(bandwidth, str):
        check_choice(bandwidth, ("self_tuning", "unit"), "bandwidth")
    elif isinstance(bandwidth, bool) or not isinstance(bandwidth, SupportsFloat):
        raise TypeError(f"bandwidth must be a str or a number, got {type(bandwidth).__name__}")
    elif not 0 < float(bandwidth) < float("inf"):
        raise ValueError(f"bandwidth must be positive and finite, got {bandwidth}")


def _neighbor_to_point(index: Tensor) -> Tensor:
    n = index.shape[0]
    key = (index * n + torch.arange(n, device=index.device)[:, None]).flatten().sort().values
    return torch.stack([key // n, key % n])


def pair_weights(
    x: Tensor, pairs: Tensor, last: Tensor, metric: Metric, kernel: Kernel, bandwidth: Bandwidth
) -> Tensor:
    """Weights of pairs of rows, differentiable in these.

    Args:
        x: Features.
        pairs: Pairs of rows.
        last: Last neighbour of every row, whose distance is its bandwidth.
        metric: As of :func:`knn_graph`.
        kernel: As there.
        bandwidth: As there.

    Shapes:
        ``x``: :math:`[n, d]`, ``pairs``: :math:`[2, P]`, ``last``: :math:`[n]`, output: :math:`[P]`.
    """
    if kernel == "binary":
        return x.new_ones(pairs.shape[1])
    if kernel == "cosine":
        unit = unit_rows(x)
        return edge_dot(unit, unit, pairs).relu()
    if kernel is None:
        return safe_sqrt(_square_distance(x, pairs, metric))
    if bandwidth == "self_tuning":
        to_last = torch.stack([torch.arange(x.shape[0], device=x.device), last])
        both = _square_distance(x, torch.cat([pairs, to_last], dim=1), metric)
        square, scale = both[: pairs.shape[1]], safe_sqrt(both[pairs.shape[1] :])
        return gaussian_kernel(
            square, scale.index_select(0, pairs[0]) * scale.index_select(0, pairs[1])
        )
    fixed = 4.0 if bandwidth == "unit" else float(bandwidth) ** 2
    return gaussian_kernel(_square_distance(x, pairs, metric), fixed)


def _square_distance(x: Tensor, pairs: Tensor, metric: Metric) -> Tensor:
    if metric == "euclidean":
        return edge_diff_dot(x, x, pairs)
    unit = unit_rows(x)
    zero = (~unit.detach().any(1)).to(x.dtype)
    distance = (edge_diff_dot(unit, unit, pairs) + zero[pairs[0]] + zero[pairs[1]]) / 2
    return distance.square()
