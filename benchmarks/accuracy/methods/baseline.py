"""Cross-entropy alone."""

from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks.accuracy.methods import Batch, Method, Samples, register
from benchmarks.accuracy.models import Backbone


@register("baseline")
def baseline(model: Backbone, train: Samples) -> Method:
    """Cross-entropy alone."""

    def loss(batch: Batch) -> tuple[Tensor, Tensor]:
        logits = model(batch.x)
        return cross_entropy(logits, batch.y), logits

    return Method(model, model.embed, lambda: model.head, loss)
