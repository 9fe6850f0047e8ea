"""Latent cluster correction (arXiv 2501.11919) beside the cross-entropy."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import FeatureCapture, LatentClusterCorrection


@register("lcc")
def lcc(
    model: Backbone,
    train: Samples,
    *,
    layer: str = "features",
    k: int = 50,
    loss_weight: float = 1e-2,
    clustering: str = "leiden",
    kernel: str = "binary",
    targets: str = "class",
    method: str = "exact",
    tangent_dim: int = 0,
    tangent_k: int = 50,
    warmup: int = 10,
    interval: int = 1,
) -> Method:
    """Cross-entropy + ``loss_weight`` * latent cluster correction, after ``warmup`` epochs of cross-entropy alone.

    ``layer`` is ``"features"``, those before the head, ``"head"``, the logits, ``"both"``, or ``"blocks"``, what each
    layer of the model gives, maps averaged. The other options are
    those of :class:`~pyg_relational.nn.LatentClusterCorrection`.
    """
    correction = LatentClusterCorrection(
        train.y,
        layers=count(model, layer),
        k=k,
        clustering=clustering,
        kernel=kernel,
        targets=targets,
        method=method,
        tangent_dim=tangent_dim,
        tangent_k=tangent_k,
        warmup=warmup,
        interval=interval,
        seed=torch.initial_seed(),
    )
    return corrected(model, train, correction, layer, loss_weight)


def count(model: Backbone, layer: str) -> int:
    """Number of layers that are corrected."""
    return {"both": 2, "blocks": len(model.layers)}.get(layer, 1)


def corrected(
    model: Backbone,
    train: Samples,
    correction: LatentClusterCorrection,
    layer: str,
    loss_weight: float,
) -> Method:
    """The method with a correction of one's own."""
    if layer not in ("features", "head", "both", "blocks"):
        raise ValueError(f"layer must be 'features', 'head', 'both' or 'blocks', got {layer!r}")
    inner = model.layers if layer == "blocks" else []

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        with FeatureCapture(
            model.blocks, [n.removeprefix("blocks.") for n in inner], pool=True
        ) as capture:
            features = model.embed(batch.x)
        logits = model.head(features)
        latents = {
            "features": [features],
            "head": [logits],
            "both": [features, logits],
            "blocks": capture.features,
        }[layer]
        pull = correction(latents, batch.index)
        return cross_entropy(logits, batch.y) + loss_weight * pull, logits

    def end_epoch(epoch: int, epochs: int) -> None:
        if epoch:
            correction.step()

    return replace(baseline(model, train), loss=loss, on_epoch=end_epoch)
