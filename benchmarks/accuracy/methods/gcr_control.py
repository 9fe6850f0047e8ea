"""Controls of GCR: the same penalty on the same features, without the relation to the classes."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import FeatureCapture, GraphConsistencyLoss


@register("gcr_control")
def gcr_control(
    model: Backbone,
    train: Samples,
    beside: Method | None = None,
    *,
    target: str = "shuffled",
    loss_weight: float = 1.0,
    stage: str = "late",
    pool: bool = False,
    center: bool = False,
) -> Method:
    """GCR towards another graph.

    ``"shuffled"``: the prediction graph with its nodes permuted; ``"apart"``: the graph without edges.
    """
    if target not in ("shuffled", "apart"):
        raise ValueError(f"target must be 'shuffled' or 'apart', got {target!r}")
    beside = beside or baseline(model, train)
    assert beside.loss is not None
    inner = beside.loss
    consistency = GraphConsistencyLoss(stage=stage, center=center)
    generator = torch.Generator().manual_seed(0)

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        with FeatureCapture(model, model.layers, pool=pool) as capture:
            value, logits = inner(batch)
        n = len(batch.y)
        features = [rows[:n] for rows in capture.features]
        if target == "apart":
            alignment = consistency(features, logits, torch.arange(n, device=logits.device))
        else:
            order = torch.randperm(n, generator=generator).to(logits.device)
            alignment = consistency(features, logits[order], batch.y[order])
        return value + loss_weight * alignment, logits

    return replace(beside, loss=loss)
