"""Losses on the relations of a batch."""

from pyg_relational.nn.loss.edge_consistency import EdgeConsistency
from pyg_relational.nn.loss.feature_capture import FeatureCapture
from pyg_relational.nn.loss.graph_consistency import GraphConsistencyLoss, graph_consistency_loss

__all__ = ["EdgeConsistency", "FeatureCapture", "GraphConsistencyLoss", "graph_consistency_loss"]
