"""Two views of samples of hidden label agree, one by one and in groups of pseudo-labels (SITAR, ICPR 2024)."""

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import GroupContrastiveLoss


@register("group_contrast")
def group_contrast(
    model: Backbone,
    train: Samples,
    *,
    unlabelled: int = 128,
    noise: float = 0.2,
    instance_weight: float = 0.6,
    group_weight: float = 1.0,
    temperature: float = 0.5,
    warmup: float = 0.33,
    shuffled: bool = False,
) -> Method:
    """Cross-entropy; ``unlabelled`` samples of hidden label join each batch in two views, with other Gaussian noise.

    The first share ``warmup`` of the epochs trains on labels alone. The views' scores agree by
    :class:`GroupContrastiveLoss`. ``shuffled``, the control, deals the pseudo-labels of each view to other samples.
    """
    generator = torch.Generator().manual_seed(torch.initial_seed())
    hidden = (train.y < 0).nonzero().flatten()
    contrast = GroupContrastiveLoss(instance_weight, group_weight, temperature)
    supervised = baseline(model, train).loss
    assert supervised is not None
    warm = False

    def on_epoch(epoch: int, epochs: int) -> None:
        nonlocal warm
        warm = epoch < warmup * epochs

    def view(x: Tensor) -> Tensor:
        return x + noise * torch.randn(x.shape, generator=generator).to(x)

    def groups(scores: Tensor) -> Tensor:
        found = scores.argmax(1)
        order = torch.randperm(len(found), generator=generator).to(found.device)
        return found[order] if shuffled else found

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        value, logits = supervised(batch)
        if warm:
            return value, logits
        drawn = torch.randperm(len(hidden), generator=generator)[:unlabelled]
        more = train.x[hidden[drawn.to(hidden.device)]]
        a, b = model(torch.cat([view(more), view(more)])).chunk(2)
        return value + contrast(a, b, groups(a), groups(b)), logits

    return replace(baseline(model, train), loss=loss, on_epoch=on_epoch)
