"""Layers and losses."""

from pyg_relational.nn.loss import (
    EdgeConsistency,
    FeatureCapture,
    GraphConsistencyLoss,
    graph_consistency_loss,
)

__all__ = ["EdgeConsistency", "FeatureCapture", "GraphConsistencyLoss", "graph_consistency_loss"]
