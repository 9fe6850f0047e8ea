"""Layers and losses."""

from pyg_relational.nn.loss import (
    EdgeConsistency,
    FeatureCapture,
    GraphConsistencyLoss,
    graph_consistency_loss,
)
from pyg_relational.nn.prop import (
    BaseSampler,
    GraphLearningLayer,
    LaplacePropagation,
    laplace_propagation,
)

__all__ = [
    "BaseSampler",
    "EdgeConsistency",
    "FeatureCapture",
    "GraphConsistencyLoss",
    "GraphLearningLayer",
    "LaplacePropagation",
    "graph_consistency_loss",
    "laplace_propagation",
]
