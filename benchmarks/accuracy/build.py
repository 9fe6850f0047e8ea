"""A run's method, not trained yet."""

import torch

from benchmarks.accuracy import config, data, methods, models
from benchmarks.accuracy.config import Run
from benchmarks.accuracy.methods import Method
from benchmarks.accuracy.models import Backbone


def build(run: Run, problem: data.Problem, device: str) -> Method:
    """The method on a network that depends on the seed alone."""
    torch.manual_seed(run.seed)
    shape = list(problem.train.x.shape[1:])
    of_model, of_method = (run.config[part]["options"] for part in ("model", "method"))
    model = models.register[run.task.model.name](shape, problem.num_classes, **of_model)
    model = model.to(device)
    other = run.method.beside
    beside = [_trained(model, problem, other)] if other else []
    method = methods.register[run.method.name](model, problem.train, *beside, **of_method)
    if not isinstance(method, Method):
        raise ValueError(f"{run.method.name} must return a Method, got {type(method).__name__}")
    torch.manual_seed(run.seed)
    return method


def _trained(model: Backbone, problem: data.Problem, other: config.Other) -> Method:
    """A method to add to."""
    method = methods.register[other.name](model, problem.train, **other.options)
    if method.loss is None:
        raise ValueError(f"beside must be a method that is trained, got {other.name!r}")
    return method
