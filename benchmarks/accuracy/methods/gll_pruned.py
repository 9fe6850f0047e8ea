"""Graph learning layer (arXiv 2412.08016) on a graph that is pruned between neighbours and propagation."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.methods.gll import EPS
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import BaseSampler, SoftModularityPruning, laplace_propagation
from pyg_relational.ops import both_directions, unit_rows
from pyg_relational.transforms import knn_graph

RATE = 0.03  # of the gates, which Adam moves by as much a step


@register("gll_pruned")
def gll_pruned(
    model: Backbone,
    train: Samples,
    *,
    prune: str = "soft",
    keep: float = 0.8,
    loss_weight: float = 0.1,
    k: int = 24,
    tau: float = 0.07,
    bandwidth: float | str = 1.0,
    base: int = 10,
    test_base: int = 100,
    softmax: float = 0.0,
) -> Method:
    """As ``gll``, with gates on the edges that learn from both losses, noisy in training and hard at test.

    ``prune="random"`` deals the gates to other edges: as many are closed, and no others are.
    """
    if prune not in ("soft", "random"):
        raise ValueError(f"prune must be 'soft' or 'random', got {prune!r}")
    generator, noise = (torch.Generator().manual_seed(torch.initial_seed()) for _ in range(2))
    fewest = int(train.y[train.y >= 0].bincount(minlength=model.num_classes).min())
    sampler = BaseSampler(train.y, min(base, max(1, fewest // 2)), generator=generator)
    fixed = BaseSampler(train.y, test_base, generator=generator)()
    with torch.no_grad():
        start = unit_rows(model.embed(train.x[fixed]))
    pruning = SoftModularityPruning(
        start.shape[1], model.num_classes, "hard_concrete", keep=keep
    ).to(start.device)
    pruning.reset_parameters(start)
    gates = torch.optim.Adam(pruning.parameters(), RATE)
    headed = baseline(model, train).loss
    assert headed is not None
    drawn, warm = fixed, False

    def draw(epoch: int, epochs: int) -> None:
        nonlocal drawn, warm
        drawn, warm = sampler(), epoch < softmax * epochs

    def relate(known: Tensor, y: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        x = unit_rows(torch.cat([known, features]))
        edge_index, weight = knn_graph(x, min(k, len(x) - 1), bandwidth=bandwidth)
        pruned = pruning.train(model.training)(x, edge_index, weight, generator=noise)
        gate = pruned.gate if prune == "soft" else _dealt(pruned.gate, edge_index, len(x), noise)
        u = laplace_propagation(
            edge_index,
            weight * gate,
            torch.cat([y, y.new_full((len(features),), -1)]),
            num_classes=model.num_classes,
            tau=tau,
            on_unreachable="prior",
        )
        return (u[len(known) :].clamp_min(0) + EPS).log(), pruned.loss

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        if warm:
            return headed(batch)
        gates.step()  # by the gradients of the batch before
        gates.zero_grad()
        features = model.embed(torch.cat([batch.x, train.x[drawn]]))
        features, known = features[: len(batch.y)], features[len(batch.y) :]
        scores, pruning_loss = relate(known, train.y[drawn], features)
        rows = torch.isin(batch.index, drawn, invert=True)
        rows = rows if rows.any() else ~rows
        return nll_loss(scores[rows], batch.y[rows]) + loss_weight * pruning_loss, scores

    def classifier() -> Callable[[Tensor], Tensor]:
        with torch.no_grad():
            known = torch.cat([model.embed(part) for part in train.x[fixed].split(1000)])
        return lambda features: relate(known, train.y[fixed], features)[0]

    return Method(model, model.embed, classifier, loss, draw)


def _dealt(gate: Tensor, edge_index: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """The gates, each at a random other edge."""
    once = edge_index[0] < edge_index[1]
    order = torch.randperm(int(once.sum()), generator=generator)
    return gate[once][order.to(gate.device)][both_directions(edge_index[:, once], n)[1]]
