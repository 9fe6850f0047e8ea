"""Graph consistency regularisation (arXiv 2509.23373) beside the cross-entropy, or another method's loss."""

from dataclasses import replace

from torch import Tensor

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import FeatureCapture, GraphConsistencyLoss


@register("gcr")
def gcr(
    model: Backbone,
    train: Samples,
    beside: Method | None = None,
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
    """Loss of the method beside it + ``loss_weight`` * graph consistency of the features of each layer."""
    beside = beside or baseline(model, train)
    assert beside.loss is not None
    inner = beside.loss
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
            value, logits = inner(batch)
        features = [rows[: len(batch.y)] for rows in capture.features]
        return value + loss_weight * consistency(features, logits, batch.y), logits

    return replace(beside, loss=loss)
