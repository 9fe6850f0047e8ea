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
    PLaplacePropagation,
    PoissonPropagation,
    RandomWalkPropagation,
    laplace_propagation,
    p_eikonal,
    p_laplace_propagation,
    poisson_mbo,
    poisson_propagation,
    random_walk_propagation,
    volume_mbo,
)

__all__ = [
    "BaseSampler",
    "EdgeConsistency",
    "FeatureCapture",
    "GraphConsistencyLoss",
    "GraphLearningLayer",
    "LaplacePropagation",
    "PLaplacePropagation",
    "PoissonPropagation",
    "RandomWalkPropagation",
    "graph_consistency_loss",
    "laplace_propagation",
    "p_eikonal",
    "p_laplace_propagation",
    "poisson_mbo",
    "poisson_propagation",
    "random_walk_propagation",
    "volume_mbo",
]
