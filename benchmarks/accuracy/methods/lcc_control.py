"""Control of latent cluster correction: as many samples pulled, as hard, but others."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.accuracy.methods import Method, Samples, register
from benchmarks.accuracy.methods.lcc import corrected, count
from benchmarks.accuracy.models import Backbone
from pyg_relational.cluster import leiden
from pyg_relational.nn import LatentClusterCorrection


@register("lcc_control")
def lcc_control(
    model: Backbone,
    train: Samples,
    *,
    layer: str = "features",
    k: int = 50,
    loss_weight: float = 1e-2,
    warmup: int = 10,
    interval: int = 1,
) -> Method:
    """LCC with each class's Leiden clusters dealt to its samples at random.

    Clusters keep their sizes and labels, and each class its number of misclustered samples. These are random ones of
    the class, pulled as LCC pulls its own. All samples must be labelled, and be seen before the warm-up ends.
    """
    if (hidden := int((train.y < 0).sum())) > 0:
        raise ValueError(f"train must be labelled, got {hidden} samples without a label")
    seed = torch.initial_seed()
    correction = LatentClusterCorrection(
        train.y,
        k=k,
        clustering=_dealt(train.y, seed),
        layers=count(model, layer),
        warmup=warmup,
        interval=interval,
        seed=seed,
    )
    return corrected(model, train, correction, layer, loss_weight)


def _dealt(y: Tensor, seed: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def cluster(edge_index: Tensor, edge_weight: Tensor, z: Tensor) -> Tensor:
        n = len(z)
        if n != len(y):
            raise ValueError(f"warmup must last until all {len(y)} samples were seen, got {n}")
        clusters = leiden(edge_index, edge_weight, n, seed=seed)
        order = torch.randperm(n, generator=generator).to(y.device)
        dealt = torch.empty_like(clusters)
        dealt[order[y[order].argsort(stable=True)]] = clusters[y.argsort(stable=True)]
        return dealt

    return cluster
