"""Cross-entropy on known labels and on those that propagation gives the rest."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.methods.propagation import spread
from benchmarks.accuracy.models import Backbone


@register("pseudo_label")
def pseudo_label(
    model: Backbone, train: Samples, *, unlabelled: int = 128, tau: float = 0.07
) -> Method:
    """Cross-entropy; ``unlabelled`` samples of hidden label join each batch as GLL's do."""
    generator = torch.Generator().manual_seed(torch.initial_seed())
    hidden = (train.y < 0).nonzero().flatten()
    guess = spread(train.x.flatten(1), train.y, model.num_classes, tau=tau).argmax(1)

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        more = hidden[
            torch.randperm(len(hidden), generator=generator)[:unlabelled].to(hidden.device)
        ]
        logits = model(torch.cat([batch.x, train.x[more]]))
        y = torch.cat([batch.y, guess[more]])
        return cross_entropy(logits, y), logits[: len(batch.y)]

    return replace(baseline(model, train), loss=loss)
