"""Graph consistency regularisation: feature graphs that agree with the masked prediction graph."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyg_relational.nn.loss.consistency_layers import layer_weights, layers_of
from pyg_relational.nn.loss.dense_consistency import cosine_consistency, dense_consistency
from pyg_relational.nn.loss.graph_consistency_options import GraphConsistencyOptions
from pyg_relational.nn.loss.sparse_consistency import (
    all_pairs_weights,
    sparse_consistency,
    undirected_pairs,
)
from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import Check, batch_checks, may_read, settle
from pyg_relational.ops.graph.as_edges import edge_checks, read_graph
from pyg_relational.ops.options import show_options, with_options
from pyg_relational.ops.pairs.consistency import PairWeights, pair_consistency

__all__ = ["GraphConsistencyLoss", "graph_consistency_loss"]

_Rows = list[tuple[Tensor, Tensor]]


@with_options(GraphConsistencyOptions)
def graph_consistency_loss(
    features: Tensor | Sequence[Tensor],
    logits: Tensor,
    y: Tensor,
    edge_index: object = None,
    *,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Tensor:
    r"""Graph consistency regularisation, from `"Graph Your Own Prompt" <https://arxiv.org/abs/2509.23373>`_.

    Aligns each layer's feature graph with the prediction graph, masked to pairs of one class:

    .. math::
        \mathcal{L} = \sum_l w_l \sum_{i < j} \left(\max(\cos(x_i^{(l)}, x_j^{(l)}), 0)
        - [y_i = y_j] \cos(p_i, p_j)\right)^2, \qquad p = \mathrm{softmax}(z)

    Stages part the :math:`K` layers as in the `authors' program <https://github.com/Darcyddx/graph-prompt>`_:
    :math:`\lfloor K / 3 \rfloor` early ones, as many in the middle, the rest late. With fewer than three layers, where
    that would leave early and middle without a layer, every stage is all of them.

    ======  =====  ======  ==========
    layers  early  middle  late
    ======  =====  ======  ==========
    1       1      1       1
    2       1, 2   1, 2    1, 2
    3       1      2       3
    4       1      2       3, 4
    5       1      2       3, 4, 5
    6       1, 2   3, 4    5, 6
    8       1, 2   3, 4    5, 6, 7, 8
    ======  =====  ======  ==========

    The formula is the paper's, the weights of layers and ``"rbf"`` are the program's; that divides by the number of
    pairs, too, so that its factor of the loss means the same here. Its own defaults are ``weights="linear"`` and
    ``detach_target=False``, and its ``"rbf"`` keeps the first layer's :math:`d` for all. Beyond both are
    ``temperature``, ``center``, ``balance``, ``target="label"``, unlabelled rows and the sparse method.

    Args:
        features: One layer's features or several, from shallow to deep.
        logits: :math:`z`.
        y: Classes; rows with -1 (unlabelled) take no part.
        edge_index: The graph of the sparse method, anything that :func:`~pyg_relational.interop.as_edges` takes;
            its weights and directions are ignored.
        generator: Source of randomness of the pairs that ``num_samples`` draws.
        **options: Options of the loss.

    Shapes:
        ``features``: :math:`[n, *]` each, ``logits``: :math:`[n, c]`, ``y``: :math:`[n]`, output: scalar.

    Returns:
        The loss, of the wider dtype of features and logits, float32 at least; 0 where there is no pair.

    Raises:
        ValueError: If shapes disagree, a value is not finite, a class is below -1, or an option is unknown.
        RuntimeError: Compiled, in place of that, if a value is not finite or a class is below -1.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import graph_consistency_loss
        >>> x, logits = torch.eye(3)[[0, 0, 1]], torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
        >>> round(graph_consistency_loss(x, logits, torch.tensor([0, 0, 1])).item(), 4)
        0.0
    """
    given = GraphConsistencyOptions.of(options)
    return _consistency(features, logits, y, edge_index, generator, given)


def _consistency(
    features: Tensor | Sequence[Tensor],
    logits: Tensor,
    y: Tensor,
    edge_index: object,
    generator: torch.Generator | None,
    options: GraphConsistencyOptions,
) -> Tensor:
    layers = [features] if isinstance(features, Tensor) else list(features)
    options.check_graph(edge_index)
    checks = _checks(layers, logits, y)
    edges = None if edge_index is None else read_graph(edge_index, y.shape[0])[:2]
    asked = [] if edges is None else edge_checks(*edges, y.shape[0])
    numbers = settle(*checks, *asked)
    whole = bool(numbers) and numbers[len(checks) - 1] >= 0
    chosen = layers_of(options.stage, len(layers))
    factors = layer_weights(options.weights, len(layers), chosen)
    layers = [layers[i] for i in chosen]
    dense = edge_index is None and options.is_dense(y.shape[0])
    pairs = None if edges is None else undirected_pairs(edges[0], y.shape[0])
    in_place = dense or (pairs is None and not (options.balance or may_read()))
    if not (in_place or whole):
        known = y >= 0
        if pairs is not None:
            pairs = (known.cumsum(0) - 1)[pairs[:, known[pairs].all(0)]]
        layers, logits, y = [x[known] for x in layers], logits[known], y[known]
    with torch.autocast(logits.device.type, enabled=False):
        rows = _rows(layers, logits, y, options)
        if dense and whole and options.similarity == "cosine" and not options.balance:
            weight = all_pairs_weights(y, options).same
            losses = [cosine_consistency(x, p, y, weight, options.relu) for x, p in rows]
        else:
            losses = _pair_losses(rows, y, pairs, dense, generator, options)
        return _weighted(losses, factors, options)


def _checks(layers: list[Tensor], logits: Tensor, y: Tensor) -> list[Check]:
    """What is asked of values, the lowest class last; dtypes and shapes are checked at once."""
    if not layers:
        raise ValueError("features must hold at least one layer, got none")
    rows = {f"features[{i}]": x.flatten(1) if _has_rows(x) else x for i, x in enumerate(layers)}
    checks = batch_checks({"logits": logits, **rows}, {"y": y})
    for name, x in rows.items():
        if x.shape[0] != logits.shape[0]:
            raise ValueError(
                f"{name} must have the {logits.shape[0]} rows of logits, got {x.shape[0]}"
            )
    return checks


def _has_rows(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dim() > 2


def _rows(
    layers: list[Tensor], logits: Tensor, y: Tensor, options: GraphConsistencyOptions
) -> _Rows:
    """Features of every layer and predictions, of one dtype."""
    z = _full(logits.detach() if options.detach_target else logits)
    p = torch.ones_like(z[:, :1]) if options.target == "label" else z.softmax(1)
    rows = [_full(x.flatten(1)) for x in layers]
    if options.center:
        rows = [_centred(x, y) for x in rows]
    return [_one_dtype(x, p) for x in rows]


def _full(x: Tensor) -> Tensor:
    """The matrix in at least float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _centred(x: Tensor, y: Tensor) -> Tensor:
    """Without the mean of the labelled rows."""
    known = (y >= 0).to(x.dtype)
    return x - known @ x / known.sum().clamp(min=1)


def _one_dtype(x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(x.dtype, p.dtype)
    return x.to(dtype), p.to(dtype)


def _pair_losses(
    rows: _Rows,
    y: Tensor,
    pairs: Tensor | None,
    dense: bool,
    generator: torch.Generator | None,
    options: GraphConsistencyOptions,
) -> list[Tensor]:
    """Loss of every layer."""
    if options.similarity == "cosine":
        rows = [(unit_rows(x), unit_rows(p)) for x, p in rows]
    if pairs is not None:
        return sparse_consistency(rows, y, pairs, options, generator)
    if dense:
        return [dense_consistency(u, q, y, options) for u, q in rows]
    if not (options.balance or may_read()):
        return _tiled_losses(rows, y, options)
    scale = all_pairs_weights(y, options)
    return [pair_consistency(u, q, y, scale, relu=options.relu) for u, q in rows]


def _tiled_losses(rows: _Rows, y: Tensor, options: GraphConsistencyOptions) -> list[Tensor]:
    """Without a look at which rows are labelled: the others are 0, and so is what they add."""
    known = (y >= 0)[:, None]
    ones, count = PairWeights(1.0, 1.0), known.sum()
    pairs = (count * (count - 1) // 2).clamp(min=1) if options.reduction == "mean" else 1
    return [
        pair_consistency(u * known, q * known, y, ones, relu=options.relu) / pairs for u, q in rows
    ]


def _weighted(
    losses: list[Tensor], factors: Tensor | None, options: GraphConsistencyOptions
) -> Tensor:
    """Sum of the layers' losses times their weights."""
    if factors is None and len(losses) == 1:
        return losses[0]  # the softmax of one number is 1
    loss = torch.stack(losses)
    if factors is None:
        scores = loss.detach() if options.detach_weights else loss
        factors = torch.softmax(-scores / options.temperature, 0)
    return (factors.to(loss) * loss).sum()


@with_options(GraphConsistencyOptions)
class GraphConsistencyLoss(nn.Module):
    """Module form of :func:`graph_consistency_loss`, with the same options.

    Args:
        **options: Options of the loss.

    Raises:
        TypeError: If an option is of a wrong type.
        ValueError: If one is unknown or out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import GraphConsistencyLoss
        >>> loss = GraphConsistencyLoss(stage="late")
        >>> x = torch.randn(8, 5, requires_grad=True)
        >>> loss([x, x.tanh()], torch.randn(8, 3), torch.arange(8) % 3).backward()
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = GraphConsistencyOptions.of(options)
        if isinstance(self.options.weights, nn.Parameter):
            self.weights = self.options.weights

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        logits: Tensor,
        y: Tensor,
        edge_index: object = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of a batch."""
        return _consistency(features, logits, y, edge_index, generator, self.options)

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        return show_options(vars(self.options))
