"""Control of GLL at test: its labelled samples vote, each for its neighbours, without a graph between the others."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.accuracy.methods import Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.methods.gll import EPS
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import BaseSampler


@register("knn_control")
def knn_control(model: Backbone, train: Samples, *, k: int = 24, test_base: int = 100) -> Method:
    """Trained as the baseline is; at test, scikit-learn's vote of ``k`` neighbours, weighted by inverse distance.

    Voters are the ``test_base`` labelled samples a class that ``gll_control`` draws.
    """
    generator = torch.Generator().manual_seed(torch.initial_seed())
    fixed = BaseSampler(train.y, test_base, generator=generator)()

    def classifier() -> Callable[[Tensor], Tensor]:
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.preprocessing import normalize

        with torch.no_grad():
            known = torch.cat([model.embed(part) for part in train.x[fixed].split(1000)])
        vote = KNeighborsClassifier(min(k, len(fixed)), weights="distance")
        vote.fit(normalize(known.cpu().numpy()), train.y[fixed].cpu().numpy())

        def classify(features: Tensor) -> Tensor:
            scores = vote.predict_proba(normalize(features.cpu().numpy()))
            return (torch.from_numpy(scores) + EPS).log().to(features)

        return classify

    return replace(baseline(model, train), classifier=classifier)
