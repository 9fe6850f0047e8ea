"""Full similarity of features, sparsified by rows."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pyg_relational.ops import both_directions, edge_diff_dot, edge_dot, unit_rows
from pyg_relational.ops.checks import (
    Check,
    check_choice,
    check_count,
    check_labels,
    check_matrix,
    check_number,
    finite,
    settle,
)
from pyg_relational.ops.uncompiled import uncompiled

__all__ = ["Function", "Similarity", "check_dense_graph", "dense_graph"]

Function = Callable[[Tensor, Tensor], Tensor]
Similarity = Literal["cosine", "rbf"] | Function
_TILE = 2**23  # similarities held at once


def dense_graph(
    x: Tensor,
    similarity: Similarity = "cosine",
    threshold: float = 0.0,
    top_k: int | None = None,
    *,
    batch: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Graph of all pairs whose similarity exceeds a threshold, in row tiles.

    The edges are constant, the weights differentiable in ``x``. Autocast is off inside. Similarities:

    .. math::
        s_{ij} = \cos(x_i, x_j), \qquad s_{ij} = \exp(-\lVert x_i - x_j \rVert^2 / d), \qquad s_{ij} = f(x_i, x_j)

    Args:
        x: Features. Half precision is computed in float32.
        similarity: ``"cosine"``, ``"rbf"`` (:math:`\gamma = 1 / d`, as in scikit-learn) or a symmetric function of
            (``[t, d]``, ``[n, d]``) that gives ``[t, n]``.
        threshold: Keep :math:`s_{ij} >` threshold.
        top_k: Keep, of the pairs left, those in which either end is among the other's ``top_k`` most similar;
            ``None`` keeps all.
        batch: Graph number of every row; edges stay inside a graph.

    Shapes:
        ``x``: :math:`[n, d]`, ``batch``: :math:`[n]`,
        output: ``edge_index`` :math:`[2, E]`, ``edge_weight`` :math:`[E]`.

    Returns:
        Both directions of every edge, sorted by (row, column), without loops, and the similarities.

    Raises:
        ValueError: If an argument is out of range or a similarity is NaN.

    Example:
        >>> import torch
        >>> from pyg_relational.transforms import dense_graph
        >>> dense_graph(torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]))
        (tensor([[0, 1],
                [1, 0]]), tensor([1., 1.]))
    """
    check_dense_graph(similarity, threshold, top_k)
    check_matrix(x)  # values are looked at with the similarities
    if batch is not None:
        check_labels(batch, x.shape[0], "batch")
    dtype = x.dtype
    x = x.float() if dtype in (torch.float16, torch.bfloat16) else x
    f = similarity if callable(similarity) else (_cosine if similarity == "cosine" else _rbf)
    with torch.autocast(x.device.type, enabled=False):
        pairs = _pairs(x.detach(), f, threshold, top_k, batch)
        weight = _weights(x, pairs, similarity)
    # The matrix product may have rounded up to the threshold.
    above = (weight.detach() > threshold).nonzero()[:, 0]
    edge_index, pair = both_directions(pairs.index_select(1, above), x.shape[0])
    return edge_index, weight.index_select(0, above.index_select(0, pair)).to(dtype)


def check_dense_graph(similarity: Any, threshold: Any, top_k: Any) -> None:
    """Raise at options that :func:`dense_graph` cannot take."""
    if not callable(similarity):
        check_choice(similarity, ("cosine", "rbf"), "similarity")
    check_number(threshold, "threshold")
    if threshold != threshold:
        raise ValueError("threshold must be a number, got nan")
    if top_k is not None:
        check_count(top_k, "top_k")


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return unit_rows(a) @ unit_rows(b).T


def _rbf(a: Tensor, b: Tensor) -> Tensor:
    centre = b.mean(0)  # an offset would cost cdist its digits
    return torch.exp(-torch.cdist(a - centre, b - centre).square() / a.shape[1])


@torch.no_grad()
@uncompiled  # sizes depend on the data
def _pairs(
    x: Tensor, f: Function, threshold: float, top_k: int | None, batch: Tensor | None
) -> Tensor:
    """Kept pairs ``i < j``, sorted."""
    n = x.shape[0]
    most = top_k if top_k is not None and top_k < n else None
    keys = [torch.empty(0, dtype=torch.int64, device=x.device)]
    for start, rows in _row_tiles(x):
        s = f(rows, x)
        settle(*([] if start else [finite(x, "x")]), _similarity_check(s, rows.shape[0], n))
        keep = s > threshold
        if batch is not None:
            keep &= batch[start : start + rows.shape[0], None] == batch
        if most is None:  # each pair once
            keep.triu_(start + 1)
        else:
            keep.diagonal(start).fill_(False)
            best = s.masked_fill(~keep, -torch.inf).topk(most, dim=1).indices
            keep &= torch.zeros_like(keep).scatter_(1, best, True)
        i, j = keep.nonzero().unbind(1)
        i = i + start
        keys.append(torch.minimum(i, j) * n + torch.maximum(i, j))
    key = torch.cat(keys) if most is None else torch.cat(keys).unique()
    return torch.stack([key // max(n, 1), key % max(n, 1)])


def _row_tiles(x: Tensor) -> list[tuple[int, Tensor]]:
    step = max(1, _TILE // max(1, x.shape[0]))
    return [(start, x[start : start + step]) for start in range(0, x.shape[0], step)]


def _similarity_check(s: Tensor, rows: int, n: int) -> Check:
    if s.shape != (rows, n):
        raise ValueError(f"similarity must give shape [{rows}, {n}], got {list(s.shape)}")

    def refuse() -> None:
        raise ValueError("similarity must not be NaN")

    return Check("similarity must not be NaN", s.isnan().any, 0, 0, refuse)


def _weights(x: Tensor, pairs: Tensor, similarity: Similarity) -> Tensor:
    if similarity == "cosine":
        unit = unit_rows(x)
        return edge_dot(unit, unit, pairs)
    if similarity == "rbf":
        return torch.exp(-edge_diff_dot(x, x, pairs) / x.shape[1])
    parts = [x.new_empty(0)]
    for start, rows in _row_tiles(x):
        i, j = pairs[:, (pairs[0] >= start) & (pairs[0] < start + rows.shape[0])]
        parts.append(checkpoint(_picked, similarity, rows, x, i - start, j, use_reentrant=False))
    return torch.cat(parts)


def _picked(f: Function, rows: Tensor, x: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return f(rows, x)[i, j]
