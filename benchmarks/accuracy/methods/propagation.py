"""Propagation over the graph of the inputs, without training."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.accuracy.methods import Method, Samples, register
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import laplace_propagation, poisson_propagation
from pyg_relational.transforms import knn_graph

EPS = 1e-8


@register("propagation")
def propagation(
    model: Backbone, train: Samples, *, kind: str = "laplace", k: int = 10, tau: float = 0.0
) -> Method:
    """Known labels spread to all training and test samples: ``"laplace"`` or ``"poisson"``."""
    if kind not in ("laplace", "poisson"):
        raise ValueError(f"kind must be 'laplace' or 'poisson', got {kind!r}")

    def classifier() -> Callable[[Tensor], Tensor]:
        def classify(features: Tensor) -> Tensor:
            x = torch.cat([train.x.flatten(1), features])
            y = torch.cat([train.y, train.y.new_full((len(features),), -1)])
            return spread(x, y, model.num_classes, kind=kind, k=k, tau=tau)[len(train.y) :]

        return classify

    return Method(model, lambda x: x.flatten(1), classifier, None)


def spread(
    x: Tensor, y: Tensor, num_classes: int, *, kind: str = "laplace", k: int = 10, tau: float = 0.0
) -> Tensor:
    """Logits of all rows from the labels ``y >= 0``."""
    edges = knn_graph(x, k)
    if kind == "poisson":
        return poisson_propagation(*edges, y, num_classes=num_classes, on_unreachable="prior")
    u = laplace_propagation(*edges, y, num_classes=num_classes, tau=tau, on_unreachable="prior")
    return (u.clamp_min(0) + EPS).log()
