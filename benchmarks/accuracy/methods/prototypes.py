"""Cosines with prototypes that are weighted for each sample (ICPR 2024, p. 16), without training."""

from collections.abc import Callable

from torch import Tensor

from benchmarks.accuracy.methods import Method, Samples, register
from benchmarks.accuracy.models import Backbone
from pyg_relational.nn import prototype_scores

SCALE = 10.0  # from cosines to logits, of all settings


@register("prototypes")
def prototypes(
    model: Backbone, train: Samples, *, temperature: float = 0.1, center: bool = True
) -> Method:
    """Labelled samples are the prototypes. A large ``temperature``, the control, gives the mean of each class."""

    def classifier() -> Callable[[Tensor], Tensor]:
        known = train.y >= 0
        of = train.x[known].flatten(1), train.y[known]
        options = {"num_classes": model.num_classes, "temperature": temperature, "center": center}
        return lambda features: SCALE * prototype_scores(features, *of, **options)

    return Method(model, lambda x: x.flatten(1), classifier, None)
