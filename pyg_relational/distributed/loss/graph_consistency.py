"""Graph consistency regularisation over the pairs of all ranks' rows."""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.agree import agree, described
from pyg_relational.distributed.collectives import all_sum
from pyg_relational.distributed.gather import gather
from pyg_relational.distributed.loss.ring_consistency import ring_consistency
from pyg_relational.nn.loss.consistency_layers import layer_weights, layers_of
from pyg_relational.nn.loss.graph_consistency import _checks, _full, _weighted
from pyg_relational.nn.loss.graph_consistency_options import GraphConsistencyOptions
from pyg_relational.nn.loss.sparse_consistency import class_pairs_weights
from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import settle
from pyg_relational.ops.options import with_options

__all__ = ["graph_consistency_loss"]


@with_options(GraphConsistencyOptions)
def graph_consistency_loss(
    features: Tensor | Sequence[Tensor],
    logits: Tensor,
    y: Tensor,
    *,
    group: Any = None,
    **options: Any,
) -> Tensor:
    r"""Graph consistency over all pairs of the rows of all ranks, the same number on every rank.

    Value and gradient are those of :func:`pyg_relational.nn.graph_consistency_loss` on the rows of all ranks. Blocks of
    unit rows of all layers, predictions and classes go once round the ranks; each rank computes the tiles of its own
    rows with every block, which takes :math:`O(n_r \sum_l d_l)` memory. With
    :func:`~pyg_relational.distributed.gather`, all rows are on every rank, and each computes all tiles.

    The gradient is that of the sum of the ranks' losses, as with ``gather``: as many times that of one process as there
    are ranks, which the averaging of ``DistributedDataParallel`` takes out again. It is not differentiable again.

    All ranks call it together, and each takes part in the backward pass, one without rows too. Not over ranks:
    ``similarity="rbf"``, ``method="dense"`` and ``"sparse"``, ``num_samples``.

    Args:
        features: One layer's features or several, from shallow to deep, of the local rows.
        logits: :math:`z` of the local rows.
        y: Their classes; rows with -1 (unlabelled) take no part.
        group: Processes that hold rows. (default: all)
        **options: Options of the loss.

    Shapes:
        ``features``: :math:`[n_r, *]` each, ``logits``: :math:`[n_r, c]`, ``y``: :math:`[n_r]`, output: scalar.

    Returns:
        The loss, of the widest dtype of features and logits, float32 at least; 0 where there is no pair.

    Raises:
        TypeError: If a type does not fit or an option is unknown, on any rank.
        ValueError: If a shape, value or option does not fit on any rank, or types or options differ between ranks.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import graph_consistency_loss
        >>> x, logits = torch.eye(3)[[0, 0, 1]], torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
        >>> round(graph_consistency_loss(x, logits, torch.tensor([0, 0, 1])).item(), 4)
        0.0
    """
    sizes = [known for (known,) in agree(lambda: _facts(features, logits, y, options), group)]
    given = GraphConsistencyOptions.of(options)
    layers = [features] if isinstance(features, Tensor) else list(features)
    chosen = layers_of(given.stage, len(layers))
    factors = layer_weights(given.weights, len(layers), chosen)
    known = y >= 0
    y = y[known]
    counts = _class_sizes(y, group) if given.balance else [sum(sizes)]
    with torch.autocast(logits.device.type, enabled=False):
        *us, q = _unit_rows([layers[i] for i in chosen], logits, known, given, sum(sizes), group)
        weights = class_pairs_weights(counts, given)
        losses = ring_consistency(us, q, y, weights, sizes, relu=given.relu, group=group)
        return _weighted(list(losses.to(q.dtype)), factors, given)


def _facts(
    features: Any, logits: Any, y: Any, options: dict[str, Any]
) -> tuple[dict[str, object], list[int]]:
    """What ranks must agree on, and the number of labelled rows here."""
    given = GraphConsistencyOptions.of(options)
    _check_separable(given)
    if not isinstance(features, Tensor | Sequence):
        got = type(features).__name__
        raise TypeError(f"features must be a Tensor or a sequence of them, got {got}")
    layers = [features] if isinstance(features, Tensor) else list(features)
    settle(*_checks(layers, logits, y))
    layer_weights(given.weights, len(layers), layers_of(given.stage, len(layers)))
    rows = {f"features[{i}]": described(x) for i, x in enumerate(layers)}
    alike = {"call": "graph_consistency_loss", "logits": described(logits), **rows, **vars(given)}
    return alike, [int((y >= 0).sum())]


def _check_separable(options: GraphConsistencyOptions) -> None:
    if options.similarity != "cosine":
        raise ValueError(f"similarity must be 'cosine' over ranks, got {options.similarity!r}")
    if options.method not in ("auto", "tiled"):
        raise ValueError(f"method must be 'auto' or 'tiled' over ranks, got {options.method!r}")
    if options.num_samples is not None:
        raise ValueError(f"num_samples must be None over ranks, got {options.num_samples}")


def _class_sizes(y: Tensor, group: Any) -> list[int]:
    """Number of rows of every class, of all ranks."""
    classes, counts = gather(torch.stack(y.unique(return_counts=True), 1), group).unbind(1)
    number = classes.unique(return_inverse=True)[1]
    sizes: list[int] = torch.zeros_like(counts).index_add(0, number, counts).tolist()
    return sizes


def _unit_rows(
    layers: list[Tensor],
    logits: Tensor,
    known: Tensor,
    options: GraphConsistencyOptions,
    n: int,
    group: Any,
) -> list[Tensor]:
    """Labelled unit rows of features of every layer, and of predictions behind them, of one dtype."""
    z = _full(logits.detach() if options.detach_target else logits)[known]
    p = torch.ones_like(z[:, :1]) if options.target == "label" else z.softmax(1)
    rows = [_full(x.flatten(1))[known] for x in layers]
    dtype = reduce(torch.promote_types, (x.dtype for x in rows), p.dtype)
    rows = [x.to(dtype) for x in rows]
    if options.center:
        means = all_sum(torch.cat([x.sum(0) for x in rows]), group) / max(n, 1)
        widths = [x.shape[1] for x in rows]
        rows = [x - mean for x, mean in zip(rows, means.split(widths), strict=True)]
    return [unit_rows(x) for x in (*rows, p.to(dtype))]
