"""Losses on the relations of a batch."""

from pyg_relational.nn.loss.cnn2graph_loss import CNN2GraphLoss
from pyg_relational.nn.loss.edge_consistency import EdgeConsistency
from pyg_relational.nn.loss.feature_capture import FeatureCapture
from pyg_relational.nn.loss.graph_consistency import GraphConsistencyLoss, graph_consistency_loss
from pyg_relational.nn.loss.proxy_contrastive import ProxyContrastiveLoss, proxy_contrastive_loss

__all__ = [
    "CNN2GraphLoss",
    "EdgeConsistency",
    "FeatureCapture",
    "GraphConsistencyLoss",
    "ProxyContrastiveLoss",
    "graph_consistency_loss",
    "proxy_contrastive_loss",
]
