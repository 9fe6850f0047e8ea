"""CNN2Graph (WACV 2023): attention of the features to anchors and proxies, in place of the linear head."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.accuracy.methods import Attention, Batch, Method, Relations, Samples, register
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import (
    CNN2Graph,
    CNN2GraphLoss,
    FeatureCapture,
    GraphConsistencyLoss,
    ProxyAttentionConv,
    ProxyContrastiveLoss,
    ProxyGATv2Conv,
    ProxyPoolConv,
)

_TERMS, _ENTROPIES = ("at", "pt", "ap", "p"), ("anchors", "proxies")


@register("cnn2graph")
def cnn2graph(
    model: Backbone,
    train: Samples,
    *,
    layer: str = "gatv2",
    heads: int = 4,
    self_loop: str = "residual",
    combine: str = "sum",
    softmax: str = "per_set",
    proxies_per_class: int = 1,
    anchors_per_class: int = 1,
    anchor_grad: bool = True,
    contrastive_weight: float = 1.0,
    without: str = "",
    margin: float = 0.2,
    mining: str = "all",
    redraw: bool = False,
    gcr_weight: float = 0.0,
) -> Method:
    """``layer`` is ``"gatv2"`` (CNN2GNN), ``"attention"`` (CNN2Transformer), ``"mean"``, ``"max"`` or ``"sym"``.

    Anchors are drawn from the training samples by the seed, anew in each epoch with ``redraw``. ``gcr_weight`` adds
    graph consistency of the late layers. ``without`` leaves out terms of the loss: ``"at"``, ``"pt"``,
    ``"ap"``, ``"p"``, and the cross-entropies ``"anchors"`` and ``"proxies"``, several with spaces between.
    """
    graph = CNN2Graph(
        model.blocks,
        model.channels,
        model.num_classes,
        _conv(layer, model.channels, heads, self_loop, softmax, combine),
        proxies_per_class=proxies_per_class,
        anchors_per_class=anchors_per_class,
        anchor_grad=anchor_grad,
    ).to(train.x.device)
    generator = torch.Generator().manual_seed(torch.initial_seed())
    graph.sets.choose(train.x, train.y, generator)
    terms, entropies = _kept(_TERMS, without), _kept(_ENTROPIES, without)
    contrastive = ProxyContrastiveLoss(margin, mining=mining, term_weights=terms)
    objective = CNN2GraphLoss(contrastive, contrastive_weight, (1, *entropies))
    consistency = GraphConsistencyLoss(stage="late")

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        if not gcr_weight:
            output = graph(batch.x)
            return objective(output, batch.y), output.logits
        with FeatureCapture(model, model.layers) as capture:
            output = graph(batch.x)
        features = [rows[: len(batch.y)] for rows in capture.features]  # anchors come after them
        alignment = consistency(features, output.logits, batch.y)
        return objective(output, batch.y) + gcr_weight * alignment, output.logits

    def draw(epoch: int, epochs: int) -> None:
        if redraw and epoch:
            graph.sets.choose(train.x, train.y, generator)

    def classifier() -> Callable[[Tensor], Tensor]:
        graph.sets.refresh(graph.backbone)
        groups = tuple(group.x for group in _groups(graph).values())
        return lambda features: graph.classifier(graph.conv(features, groups)).log_softmax(1)

    def relate(features: Tensor) -> Relations:
        graph.sets.refresh(graph.backbone)
        groups = _groups(graph)
        return Relations(groups, _attention(graph.conv, features, groups))

    return Method(graph, graph.backbone, classifier, loss, draw, relate)


def _kept(terms: tuple[str, ...], without: str) -> list[int]:
    """1 for each term, 0 for those left out."""
    out = without.split()
    if unknown := set(out) - {*_TERMS, *_ENTROPIES}:
        raise ValueError(f"without must be of {(*_TERMS, *_ENTROPIES)}, got {sorted(unknown)}")
    return [int(term not in out) for term in terms]


def _conv(
    layer: str, channels: int, heads: int, self_loop: str, softmax: str, combine: str
) -> nn.Module:
    if layer in ("mean", "max", "sym"):
        return ProxyPoolConv(channels, channels, layer, self_loop=self_loop)
    if layer not in ("gatv2", "attention"):
        raise ValueError(
            f"layer must be 'gatv2', 'attention', 'mean', 'max' or 'sym', got {layer!r}"
        )
    if channels % heads:
        raise ValueError(f"heads must divide the {channels} channels of the model, got {heads}")
    conv = ProxyGATv2Conv if layer == "gatv2" else ProxyAttentionConv
    options = {"softmax": softmax, "self_loop": self_loop, "combine": combine}
    return conv(channels, channels // heads, heads, **options)


def _groups(graph: CNN2Graph) -> dict[str, Samples]:
    sets = graph.sets
    both = {
        "anchors": Samples(sets.anchors, sets.anchor_y),
        "proxies": Samples(sets.proxies, sets.proxy_y),
    }
    return {name: group for name, group in both.items() if len(group.y)}


def _attention(
    conv: nn.Module, features: Tensor, groups: dict[str, Samples]
) -> dict[str, Attention]:
    if isinstance(conv, ProxyPoolConv):
        return {}
    sets = tuple(group.x for group in groups.values())
    _, weights = conv(features, sets, return_attention_weights=True)
    y = {name: group.y for name, group in groups.items()}
    if len(weights) < len(groups):
        y = {"joint": torch.cat(list(y.values()))}
    own = features.new_full((int(conv.self_loop == "per_set"),), -1, dtype=torch.int64)
    return {
        name: Attention(weight, torch.cat([y[name], own]))
        for name, weight in zip(y, weights, strict=True)
    }
