"""Graph consistency regularisation (arXiv 2509.23373) beside the cross-entropy."""

from dataclasses import replace

from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import FeatureCapture, GraphConsistencyLoss


@register("gcr")
def gcr(
    model: Backbone,
    train: Samples,
    *,
    loss_weight: float = 1.0,
    weights: str = "adaptive",
    stage: str = "late",
    temperature: float = 1.0,
    detach_target: bool = True,
    target: str = "soft",
    center: bool = False,
    balance: bool = False,
    pool: bool = False,
) -> Method:
    """Cross-entropy + ``loss_weight`` * graph consistency of the features of each layer."""
    consistency = GraphConsistencyLoss(
        weights=weights,
        stage=stage,
        temperature=temperature,
        detach_target=detach_target,
        target=target,
        center=center,
        balance=balance,
    )

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        with FeatureCapture(model, model.layers, pool=pool) as capture:
            logits = model(batch.x)
        alignment = consistency(capture.features, logits, batch.y)
        return cross_entropy(logits, batch.y) + loss_weight * alignment, logits

    return replace(baseline(model, train), loss=loss)
