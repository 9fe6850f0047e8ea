"""Graph consistency regularisation: feature graphs that agree with the masked prediction graph."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyg_relational.interop import as_edges
from pyg_relational.nn.loss.edge_consistency import complement_pairs, edge_consistency
from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import check_choice, check_features, check_labels
from pyg_relational.ops.pair_consistency import PairWeights, pair_consistency

_DENSE_UP_TO = 256  # rows; above, tiles are faster

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
    weights: str | Sequence[float] = "adaptive",
    temperature: float = 1.0,
    detach_weights: bool = True,
    detach_target: bool = True,
    target: str = "soft",
    relu: bool = True,
    center: bool = False,
    balance: bool = False,
    reduction: str = "mean",
    method: str = "auto",
    edge_index: object = None,
    num_samples: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Graph consistency regularisation, from `"Graph Your Own Prompt" <https://arxiv.org/abs/2509.23373>`_.

    Aligns each layer's feature graph with the prediction graph, masked to pairs of one class:

    .. math::
        \mathcal{L} = \sum_l w_l \sum_{i < j} \left(\max(\cos(x_i^{(l)}, x_j^{(l)}), 0)
        - [y_i = y_j] \cos(p_i, p_j)\right)^2, \qquad p = \mathrm{softmax}(z)

    Args:
        features: One layer's features or several, from shallow to deep.
        logits: :math:`z`.
        y: Classes; rows with -1 (unlabelled) take no part.
        stage: Which third of the layers takes part: ``"all"``, ``"early"``, ``"middle"``, ``"late"``, or two
            joined by ``+``.
        weights: With :math:`t = l / K` the depth of layer :math:`l` of :math:`K`: ``"adaptive"``
            (:math:`\mathrm{softmax}(-L / T)`), ``"equal"`` (one over the number of layers that take part),
            ``"linear"`` (:math:`t`), ``"squared"``, ``"sqrt"``, ``"arccos"`` (:math:`\arccos(1 - 2t) / \pi`),
            ``"cosine"`` (:math:`(1 + \cos \pi t) / 2`, which falls with depth), or a number for every layer.
        temperature: :math:`T` of the adaptive weights, in units of the loss.
        detach_weights: No gradient through the adaptive weights; with it, a layer can be rewarded for becoming worse.
        detach_target: No gradient through the prediction graph.
        target: ``"soft"``, or ``"label"``: 1 for every pair of one class.
        relu: Cut negative cosines at 0.
        center: Subtract the batch mean of each feature first.
        balance: Weigh the pairs of one class, as a whole, like those of two.
        reduction: ``"mean"`` over the :math:`n (n - 1) / 2` pairs, or ``"sum"``.
        method: ``"dense"``, ``"tiled"`` (:math:`O(n d)` memory), ``"sparse"`` (over ``edge_index`` only) or
            ``"auto"``: sparse with ``edge_index``, else dense up to 256 rows, else tiled.
        edge_index: The graph of the sparse method, anything that :func:`~pyg_relational.interop.as_edges` takes;
            its weights and directions are ignored.
        num_samples: Sparse: draw so many pairs to estimate, without bias, the loss over all the pairs that are
            not edges.
        generator: Of the drawn pairs.

    Shapes:
        ``features``: :math:`[n, *]` each, ``logits``: :math:`[n, c]`, ``y``: :math:`[n]`, output: scalar.

    Returns:
        The loss; 0 where there is no pair.

    Raises:
        ValueError: If shapes disagree, a value is not finite, or an option is unknown.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import graph_consistency_loss
        >>> x, logits = torch.eye(3)[[0, 0, 1]], torch.tensor([[9.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
        >>> round(graph_consistency_loss(x, logits, torch.tensor([0, 0, 1])).item(), 4)
        0.0
    """
    layers = [features] if isinstance(features, Tensor) else list(features)
    check_choice(target, ("soft", "label"), "target")
    check_choice(reduction, ("mean", "sum"), "reduction")
    check_choice(method, ("auto", "dense", "tiled", "sparse"), "method")
    if temperature <= 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if edge_index is not None and method in ("dense", "tiled"):
        raise ValueError(f"edge_index must be None with method={method!r}, got a graph")
    _check_inputs(layers, logits, y)
    chosen = _stage(len(layers), stage)
    factors = _layer_weights(len(layers), chosen, weights)
    if not torch.compiler.is_compiling() and bool((y < 0).any()):
        labelled = y >= 0
        if edge_index is not None:
            raise ValueError(
                "y must hold no -1 with edge_index, got unlabelled rows: take the subgraph"
            )
        layers, logits, y = [x[labelled] for x in layers], logits[labelled], y[labelled]
    with torch.autocast(logits.device.type, enabled=False):
        q = _predictions(logits.detach() if detach_target else logits, target)
        units = [unit_rows(_full(layers[i].flatten(1), center)) for i in chosen]
        if edge_index is not None:
            pairs = _pairs(edge_index, y.shape[0])
            extra = complement_pairs(pairs, y.shape[0], num_samples, generator)
            scale = _edge_weights(y, pairs, num_samples, reduction, balance)
            losses = [edge_consistency(u, q, y, pairs, extra, scale, relu) for u in units]
        elif method == "sparse" or num_samples is not None:
            raise ValueError(
                "edge_index must be given with method='sparse' or num_samples, got None"
            )
        else:
            scale = _pair_weights(y, reduction, balance)
            dense = method == "dense" or (method == "auto" and y.shape[0] <= _DENSE_UP_TO)
            f = _dense if dense else pair_consistency
            losses = [f(u, q, y, scale, relu=relu) for u in units]
        loss = torch.stack(losses)
        if factors is None:
            factors = torch.softmax(-(loss.detach() if detach_weights else loss) / temperature, 0)
        return (factors.to(loss) * loss).sum()


def _check_inputs(layers: list[Tensor], logits: Tensor, y: Tensor) -> None:
    if not layers:
        raise ValueError("features must hold at least one layer, got none")
    check_features(logits, "logits")
    check_labels(y, logits.shape[0])
    for i, x in enumerate(layers):
        check_features(x.flatten(1) if x.dim() > 1 else x, f"features[{i}]")
        if x.shape[0] != logits.shape[0]:
            raise ValueError(
                f"features[{i}] must have the {logits.shape[0]} rows of logits, got {x.shape[0]}"
            )


def _stage(layers: int, stage: str) -> list[int]:
    """Layers of the named thirds; a third is never empty."""
    size = max(1, round(layers / 3))
    start = {"early": 0, "middle": (layers - size) // 2, "late": layers - size}
    if stage == "all":
        return list(range(layers))
    parts = stage.split("+")
    for part in parts:
        check_choice(part, ("all", *start), "stage")
    return sorted({start[part] + i for part in parts for i in range(size)})


def _layer_weights(layers: int, chosen: list[int], weights: str | Sequence[float]) -> Tensor | None:
    """Weights of the chosen layers; ``None`` for the adaptive ones, which need the losses."""
    if not isinstance(weights, str):
        if len(weights) != layers:
            raise ValueError(
                f"weights must have one number for each of {layers} layers, got {len(weights)}"
            )
        return torch.tensor([float(weights[i]) for i in chosen], dtype=torch.float64)
    check_choice(weights, ("adaptive", "equal", *_LAYER_WEIGHTS), "weights")
    if weights == "adaptive":
        return None
    if weights == "equal":
        return torch.full((len(chosen),), 1 / len(chosen), dtype=torch.float64)
    depths = [(i + 1) / layers for i in chosen]
    return torch.tensor([_LAYER_WEIGHTS[weights](t) for t in depths], dtype=torch.float64)


def _full(x: Tensor, center: bool) -> Tensor:
    """At least float32, centred on request."""
    x = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return x - x.mean(0) if center else x


def _predictions(logits: Tensor, target: str) -> Tensor:
    """Unit rows whose products are the prediction graph."""
    logits = _full(logits, False)
    return torch.ones_like(logits[:, :1]) if target == "label" else unit_rows(logits.softmax(1))


def _pair_weights(y: Tensor, reduction: str, balance: bool) -> PairWeights:
    n = y.shape[0]
    pairs = n * (n - 1) // 2
    if not balance:
        weight = 1 / max(pairs, 1) if reduction == "mean" else 1.0
        return PairWeights(weight, weight)
    counts = y.bincount()
    return _balanced(int((counts * (counts - 1)).sum()) // 2, pairs, reduction)


def _balanced(same: int, pairs: int, reduction: str) -> PairWeights:
    """Half the weight to each kind of pair, all of it to the only kind there is."""
    total = 1.0 if reduction == "mean" else float(pairs)
    kinds = (same > 0) + (same < pairs)
    return PairWeights(
        total / (max(kinds, 1) * max(same, 1)), total / (max(kinds, 1) * max(pairs - same, 1))
    )


def _edge_weights(
    y: Tensor, pairs: Tensor, num_samples: int | None, reduction: str, balance: bool
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


def _dense(u: Tensor, q: Tensor, y: Tensor, weights: PairWeights, *, relu: bool) -> Tensor:
    same = y[:, None] == y
    f = (u @ u.T).relu() if relu else u @ u.T
    square = (f - same * (q @ q.T)).square()
    if weights.same == weights.different:
        return square.triu(1).sum() * weights.same
    return (square * weights.at(same, f.dtype)).triu(1).sum()


class GraphConsistencyLoss(nn.Module):
    """Module form of :func:`graph_consistency_loss`; arguments and defaults are the same.

    Args:
        stage: Which third of the layers takes part.
        weights: Weights of the layers.
        temperature: Of the adaptive weights.
        detach_weights: No gradient through the adaptive weights.
        detach_target: No gradient through the prediction graph.
        target: ``"soft"`` or ``"label"``.
        relu: Cut negative cosines at 0.
        center: Subtract the batch mean of each feature first.
        balance: Weigh both kinds of pair equally.
        reduction: ``"mean"`` or ``"sum"``.
        method: ``"dense"``, ``"tiled"``, ``"sparse"`` or ``"auto"``.
        num_samples: Sparse: pairs drawn to estimate the loss over the pairs that are not edges.

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
        weights: str | Sequence[float] = "adaptive",
        temperature: float = 1.0,
        detach_weights: bool = True,
        detach_target: bool = True,
        target: str = "soft",
        relu: bool = True,
        center: bool = False,
        balance: bool = False,
        reduction: str = "mean",
        method: str = "auto",
        num_samples: int | None = None,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "stage": stage,
            "weights": weights,
            "temperature": temperature,
            "detach_weights": detach_weights,
            "detach_target": detach_target,
            "target": target,
            "relu": relu,
            "center": center,
            "balance": balance,
            "reduction": reduction,
            "method": method,
            "num_samples": num_samples,
        }

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
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())
