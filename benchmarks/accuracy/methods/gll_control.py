"""Control of GLL: its prediction without its training."""

from dataclasses import replace

from benchmarks.accuracy.methods import Method, Samples, register
from benchmarks.accuracy.methods.baseline import baseline
from benchmarks.accuracy.methods.gll import gll
from benchmarks.accuracy.models import Backbone


@register("gll_control")
def gll_control(
    model: Backbone,
    train: Samples,
    *,
    k: int = 24,
    tau: float = 0.07,
    bandwidth: float | str = 1.0,
    test_base: int = 100,
) -> Method:
    """Trained as the baseline is; at test, labels spread over its features as GLL's do."""
    spread = gll(model, train, k=k, tau=tau, bandwidth=bandwidth, test_base=test_base)
    return replace(baseline(model, train), classifier=spread.classifier)
