"""Graph consistency regularisation: feature graphs that agree with the masked prediction graph."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pyg_relational.interop import as_edges
from pyg_relational.nn.loss.edge_consistency import (
    Similarity,
    complement_pairs,
    edge_consistency,
    rbf,
)
from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import check_choice, check_classes, check_count, check_features
from pyg_relational.ops.options import show_options
from pyg_relational.ops.pairs.consistency import PairWeights, pair_consistency

__all__ = ["GraphConsistencyLoss", "Method", "Reduction", "Target", "graph_consistency_loss"]

_DENSE_UP_TO = 256  # rows; above, tiles are faster

Target = Literal["soft", "label"]
Reduction = Literal["mean", "sum"]
Method = Literal["auto", "dense", "tiled", "sparse"]

_STAGES = ("all", "early", "middle", "late")
_LAYER_WEIGHTS: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "squared": lambda x: x**2,
    "sqrt": math.sqrt,
    "arccos": lambda x: math.acos(1 - 2 * x) / math.pi,
    "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
}


def graph_consistency_loss(
    features: Tensor | Sequence[Tensor],
    logits: Tensor,
    y: Tensor,
    *,
    stage: str = "all",
    weights: str | Sequence[float] | Tensor = "adaptive",
    temperature: float = 1.0,
    detach_weights: bool = True,
    detach_target: bool = True,
    target: Target = "soft",
    similarity: Similarity = "cosine",
    relu: bool = True,
    center: bool = False,
    balance: bool = False,
    reduction: Reduction = "mean",
    method: Method = "auto",
    edge_index: object = None,
    num_samples: int | None = None,
    generator: torch.Generator | None = None,
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
        stage: Which of the layers take part: ``"all"``, ``"early"``, ``"middle"``, ``"late"``, or two or three
            joined by ``+``.
        weights: With :math:`t = l / K` the depth of layer :math:`l` of :math:`K`: ``"adaptive"``
            (:math:`\mathrm{softmax}(-L / T)`), ``"equal"`` (one over the number of layers that take part),
            ``"linear"`` (:math:`t`), ``"squared"``, ``"sqrt"``, ``"arccos"`` (:math:`\arccos(1 - 2t) / \pi`),
            ``"cosine"`` (:math:`(1 + \cos \pi t) / 2`, which falls with depth), or a number for every layer: a
            Tensor of them can be learned.
        temperature: :math:`T` of the adaptive weights, in units of the loss.
        detach_weights: No gradient through the adaptive weights; with it, a layer can be rewarded for becoming worse.
        detach_target: No gradient through the prediction graph.
        target: ``"soft"``, or ``"label"``: 1 for every pair of one class.
        similarity: ``"cosine"``, or ``"rbf"``, which takes :math:`\exp(-\min(\lVert a - b \rVert^2, 100) / d)` of
            :math:`d` columns in place of both cosines.
        relu: Cut negative cosines at 0.
        center: Subtract the batch mean of each feature first.
        balance: Weigh the pairs of one class, as a whole, like those of two.
        reduction: ``"mean"`` over the :math:`n (n - 1) / 2` pairs, or ``"sum"``.
        method: ``"dense"``, ``"tiled"`` (:math:`O(n d)` memory), ``"sparse"`` (over ``edge_index`` only) or
            ``"auto"``: sparse with ``edge_index``, else dense up to 256 rows or with ``"rbf"``, else tiled.
        edge_index: The graph of the sparse method, anything that :func:`~pyg_relational.interop.as_edges` takes;
            its weights and directions are ignored.
        num_samples: Sparse: draw so many pairs to estimate, without bias, the loss over all the pairs that are
            not edges.
        generator: Of the drawn pairs.

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
    layers = [features] if isinstance(features, Tensor) else list(features)
    _check_options(stage, weights, temperature, target, similarity, reduction, method, num_samples)
    if edge_index is not None and method in ("dense", "tiled"):
        raise ValueError(f"edge_index must be None with method={method!r}, got a graph")
    if edge_index is None and (method == "sparse" or num_samples is not None):
        raise ValueError("edge_index must be given with method='sparse' or num_samples, got None")
    _check_inputs(layers, logits, y)
    chosen = _stage(len(layers), stage)
    factors = _layer_weights(len(layers), chosen, weights)
    small = y.shape[0] <= _DENSE_UP_TO or similarity == "rbf"
    dense = method == "dense" or (method == "auto" and small and edge_index is None)
    pairs = None if edge_index is None else _pairs(edge_index, y.shape[0])
    labelled = y >= 0
    if not dense and not bool(labelled.all()):
        if pairs is not None:
            pairs = (labelled.cumsum(0) - 1)[pairs[:, labelled[pairs].all(0)]]
        layers, logits, y = [x[labelled] for x in layers], logits[labelled], y[labelled]
    with torch.autocast(logits.device.type, enabled=False):
        z = _full(logits.detach() if detach_target else logits)
        p = torch.ones_like(z[:, :1]) if target == "label" else z.softmax(1)
        rows = [_full(layers[i].flatten(1)) for i in chosen]
        if center:
            rows = [_centred(x, y) for x in rows]
        if similarity == "cosine":
            p, rows = unit_rows(p), [unit_rows(x) for x in rows]
        graphs = [_one_dtype(x, p) for x in rows]
        if pairs is not None:
            extra = complement_pairs(pairs, y.shape[0], num_samples, generator)
            scale = _edge_weights(y, pairs, num_samples, reduction, balance)
            losses = [
                edge_consistency(u, q, y, pairs, extra, scale, relu, similarity) for u, q in graphs
            ]
        elif dense:
            losses = [_dense(u, q, y, reduction, balance, relu, similarity) for u, q in graphs]
        else:
            scale = _pair_weights(y, reduction, balance)
            losses = [pair_consistency(u, q, y, scale, relu=relu) for u, q in graphs]
        loss = torch.stack(losses)
        if factors is None:
            factors = torch.softmax(-(loss.detach() if detach_weights else loss) / temperature, 0)
        return (factors.to(loss) * loss).sum()


def _check_options(
    stage: Any,
    weights: Any,
    temperature: Any,
    target: Any,
    similarity: Any,
    reduction: Any,
    method: Any,
    num_samples: Any,
) -> None:
    """Of the function and the module, as far as nothing is known of the batch."""
    for part in [stage] if stage in _STAGES else str(stage).split("+"):
        check_choice(part, _STAGES, "stage")
    if isinstance(weights, str):
        check_choice(weights, ("adaptive", "equal", *_LAYER_WEIGHTS), "weights")
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"temperature must be > 0 and finite, got {temperature}")
    check_choice(target, Target, "target")
    check_choice(similarity, Similarity, "similarity")
    check_choice(reduction, Reduction, "reduction")
    check_choice(method, Method, "method")
    if similarity == "rbf" and method == "tiled":
        raise ValueError("method must not be 'tiled' with similarity='rbf', got 'tiled'")
    if num_samples is None:
        return
    check_count(num_samples, "num_samples")
    if method in ("dense", "tiled"):
        raise ValueError(f"num_samples must be None with method={method!r}, got {num_samples}")


def _check_inputs(layers: list[Tensor], logits: Tensor, y: Tensor) -> None:
    if not layers:
        raise ValueError("features must hold at least one layer, got none")
    check_features(logits, "logits")
    for i, x in enumerate(layers):
        check_features(x.flatten(1) if x.dim() > 1 else x, f"features[{i}]")
        if x.shape[0] != logits.shape[0]:
            raise ValueError(
                f"features[{i}] must have the {logits.shape[0]} rows of logits, got {x.shape[0]}"
            )
    check_classes(y, logits.shape[0])


def _stage(layers: int, stage: str) -> list[int]:
    """Layers of the named stages."""
    third = layers // 3
    early, middle, late = (
        (range(third), range(third, 2 * third), range(2 * third, layers))
        if third
        else [range(layers)] * 3
    )
    stages = {"early": early, "middle": middle, "late": late}
    parts = stage.split("+")
    if "all" in parts:
        return list(range(layers))
    return sorted({i for part in parts for i in stages[part]})


def _layer_weights(
    layers: int, chosen: list[int], weights: str | Sequence[float] | Tensor
) -> Tensor | None:
    """Weights of the chosen layers; ``None`` for the adaptive ones, which need the losses."""
    if not isinstance(weights, str):
        if len(weights) != layers:
            raise ValueError(
                f"weights must have one number for each of {layers} layers, got {len(weights)}"
            )
        given = torch.stack([torch.as_tensor(weights[i], dtype=torch.float64) for i in chosen])
        check_features(given[None], "weights")
        return given
    if weights == "adaptive":
        return None
    if weights == "equal":
        return torch.full((len(chosen),), 1 / len(chosen), dtype=torch.float64)
    depths = [(i + 1) / layers for i in chosen]
    return torch.tensor([_LAYER_WEIGHTS[weights](t) for t in depths], dtype=torch.float64)


def _full(x: Tensor) -> Tensor:
    """At least float32."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _centred(x: Tensor, y: Tensor) -> Tensor:
    """Without the mean of the labelled rows."""
    known = (y >= 0).to(x.dtype)
    return x - known @ x / known.sum().clamp(min=1)


def _one_dtype(x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(x.dtype, p.dtype)
    return x.to(dtype), p.to(dtype)


def _pair_weights(y: Tensor, reduction: Reduction, balance: bool) -> PairWeights:
    n = y.shape[0]
    pairs = n * (n - 1) // 2
    if not balance:
        weight = 1 / max(pairs, 1) if reduction == "mean" else 1.0
        return PairWeights(weight, weight)
    counts = y.unique(return_counts=True)[1]
    return _balanced(int((counts * (counts - 1)).sum()) // 2, pairs, reduction)


def _balanced(same: int, pairs: int, reduction: Reduction) -> PairWeights:
    """Half the weight to each kind of pair, all of it to the only kind there is."""
    total = 1.0 if reduction == "mean" else float(pairs)
    kinds = (same > 0) + (same < pairs)
    return PairWeights(
        total / (max(kinds, 1) * max(same, 1)), total / (max(kinds, 1) * max(pairs - same, 1))
    )


def _edge_weights(
    y: Tensor, pairs: Tensor, num_samples: int | None, reduction: Reduction, balance: bool
) -> PairWeights:
    """With samples, the weights of the loss over all pairs; without, those over the edges alone."""
    if num_samples is not None:
        return _pair_weights(y, reduction, balance)
    if balance:
        return _balanced(int((y[pairs[0]] == y[pairs[1]]).sum()), pairs.shape[1], reduction)
    weight = 1 / max(pairs.shape[1], 1) if reduction == "mean" else 1.0
    return PairWeights(weight, weight)


def _pairs(edge_index: object, n: int) -> Tensor:
    """Each undirected edge once, without loops, sorted."""
    row, col = as_edges(edge_index, num_nodes=n)[0]
    key = (torch.minimum(row, col) * n + torch.maximum(row, col))[row != col].unique()
    return torch.stack([key // max(n, 1), key % max(n, 1)])


def _dense(
    u: Tensor,
    q: Tensor,
    y: Tensor,
    reduction: Reduction,
    balance: bool,
    relu: bool,
    similarity: Similarity,
) -> Tensor:
    """The formula as printed, over the pairs of labelled rows; no size depends on data."""
    known = y >= 0
    pair = (known[:, None] & known).triu(1)
    same = pair & (y[:, None] == y)
    if similarity == "rbf":
        f, p = rbf(u, u), rbf(q, q)
    else:
        f, p = u @ u.T, q @ q.T
    square = ((f.relu() if relu else f) - same * p).square()
    kinds = (same, pair & ~same) if balance else (pair,)
    counts = torch.stack([kind.sum() for kind in kinds])
    sums = torch.stack([(square * kind).sum() for kind in kinds])
    mean = (sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)
    return mean if reduction == "mean" else mean * pair.sum()


class GraphConsistencyLoss(nn.Module):
    """Module form of :func:`graph_consistency_loss`; arguments and defaults are the same.

    Args:
        stage: Which of the layers take part.
        weights: Weights of the layers; those of a ``Parameter`` are the module's own.
        temperature: Of the adaptive weights.
        detach_weights: No gradient through the adaptive weights.
        detach_target: No gradient through the prediction graph.
        target: ``"soft"`` or ``"label"``.
        similarity: ``"cosine"`` or ``"rbf"``.
        relu: Cut negative cosines at 0.
        center: Subtract the batch mean of each feature first.
        balance: Weigh both kinds of pair equally.
        reduction: ``"mean"`` or ``"sum"``.
        method: ``"dense"``, ``"tiled"``, ``"sparse"`` or ``"auto"``.
        num_samples: Sparse: pairs drawn to estimate the loss over the pairs that are not edges.

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

    def __init__(
        self,
        stage: str = "all",
        weights: str | Sequence[float] | Tensor = "adaptive",
        temperature: float = 1.0,
        detach_weights: bool = True,
        detach_target: bool = True,
        target: Target = "soft",
        similarity: Similarity = "cosine",
        relu: bool = True,
        center: bool = False,
        balance: bool = False,
        reduction: Reduction = "mean",
        method: Method = "auto",
        num_samples: int | None = None,
    ) -> None:
        super().__init__()
        _check_options(
            stage, weights, temperature, target, similarity, reduction, method, num_samples
        )
        self.options: dict[str, Any] = {
            "stage": stage,
            "weights": weights,
            "temperature": temperature,
            "detach_weights": detach_weights,
            "detach_target": detach_target,
            "target": target,
            "similarity": similarity,
            "relu": relu,
            "center": center,
            "balance": balance,
            "reduction": reduction,
            "method": method,
            "num_samples": num_samples,
        }
        if isinstance(weights, nn.Parameter):
            self.weights = weights

    def forward(
        self,
        features: Tensor | Sequence[Tensor],
        logits: Tensor,
        y: Tensor,
        edge_index: object = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of a batch."""
        return graph_consistency_loss(
            features, logits, y, edge_index=edge_index, generator=generator, **self.options
        )

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        return show_options(self.options)
