"""Graph learning layer (arXiv 2412.08016) in place of the linear head."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.methods.propagation import spread
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import BaseSampler, GraphLearningLayer

EPS = 1e-8  # of the paper's loss, -log(u + 1e-8)


@register("gll")
def gll(
    model: Backbone,
    train: Samples,
    *,
    k: int = 24,
    tau: float = 0.07,
    bandwidth: float | str = 1.0,
    base: int = 10,
    test_base: int = 100,
    unlabelled: int = 0,
    softmax: float = 0.0,
) -> Method:
    """Labels of base samples spread to the batch over the graph of their features (unit rows).

    The first share ``softmax`` of the epochs trains a linear head in its place: .5 is the paper's GLL-50.

    Each epoch draws ``base`` labelled samples a class, at most half of a class; the rows of a batch that
    are not among them are learnt from, or all, where each label is needed in the base (one a class).
    ``unlabelled`` samples of hidden label join each batch, with labels that propagation over the
    graph of the inputs gives them. At test, ``test_base`` labelled samples a class and all samples
    of hidden label are in the graph.
    """
    generator = torch.Generator().manual_seed(torch.initial_seed())
    hidden = (train.y < 0).nonzero().flatten()
    fewest = int(train.y[train.y >= 0].bincount(minlength=model.num_classes).min())
    sampler = BaseSampler(train.y, min(base, max(1, fewest // 2)), generator=generator)
    fixed = BaseSampler(train.y, test_base, generator=generator)()
    layer = GraphLearningLayer(k, tau, bandwidth, on_unreachable="prior")
    guess = train.y
    if unlabelled:
        guess = spread(train.x.flatten(1), train.y, model.num_classes, tau=tau).argmax(1)
    drawn, warm = fixed, False

    def draw(epoch: int, epochs: int) -> None:
        nonlocal drawn, warm
        drawn, warm = sampler(), epoch < softmax * epochs

    headed = baseline(model, train).loss
    assert headed is not None

    def logits(known: Tensor, y: Tensor, features: Tensor) -> Tensor:
        y = torch.cat([y, y.new_full((len(features),), -1)])
        u = layer(torch.cat([known, features]), y, num_classes=model.num_classes)
        return (u[len(known) :].clamp_min(0) + EPS).log()

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        if warm:
            return headed(batch)
        n = len(batch.y)
        more = hidden[
            torch.randperm(len(hidden), generator=generator)[:unlabelled].to(hidden.device)
        ]
        features = model.embed(torch.cat([batch.x, train.x[more], train.x[drawn]]))
        features, known = features[: -len(drawn)], features[-len(drawn) :]
        scores = logits(known, train.y[drawn], features)
        rows = torch.isin(torch.cat([batch.index, more]), drawn, invert=True)
        rows = rows if rows.any() else ~rows
        y = torch.cat([batch.y, guess[more]])
        return nll_loss(scores[rows], y[rows]), scores[:n]

    def classifier() -> Callable[[Tensor], Tensor]:
        others = torch.cat([fixed, hidden])
        with torch.no_grad():
            known = torch.cat([model.embed(part) for part in train.x[others].split(1000)])
        return lambda features: logits(known, train.y[others], features)

    return Method(model, model.embed, classifier, loss, draw)
