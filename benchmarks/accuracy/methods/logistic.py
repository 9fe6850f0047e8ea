"""Logistic regression on the inputs, fitted to the end."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.accuracy.methods import Method, Samples, register
from benchmarks.accuracy.models import Backbone


@register("logistic")
def logistic(model: Backbone, train: Samples, *, c: float = 0.01) -> Method:
    """Scikit-learn's, on the labelled samples; ``c`` is its inverse strength of regularisation."""

    def classifier() -> Callable[[Tensor], Tensor]:
        from sklearn.linear_model import LogisticRegression

        known = train.y >= 0
        x, y = train.x[known].flatten(1), train.y[known]
        fitted = LogisticRegression(C=c, max_iter=1000).fit(x.cpu().numpy(), y.cpu().numpy())

        def classify(features: Tensor) -> Tensor:
            scores = fitted.predict_log_proba(features.cpu().numpy())
            return torch.from_numpy(scores).to(features)

        return classify

    return Method(model, lambda x: x.flatten(1), classifier, None)
