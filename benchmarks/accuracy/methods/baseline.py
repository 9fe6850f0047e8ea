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

    def classify(features: Tensor) -> Tensor:
        logits: Tensor = model.head(features)
        return logits.log_softmax(1)

    return Method(model, model.embed, lambda: classify, loss)
