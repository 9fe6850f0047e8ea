"""Layers and losses."""

from pyg_relational.nn.conv import (
    ProxyAttentionConv,
    ProxyGATv2Conv,
    ProxyPoolConv,
    ProxySet,
)
from pyg_relational.nn.loss import (
    CNN2GraphLoss,
    EdgeConsistency,
    FeatureCapture,
    GraphConsistencyLoss,
    ProxyContrastiveLoss,
    graph_consistency_loss,
    proxy_contrastive_loss,
)
from pyg_relational.nn.models import CNN2Graph, CNN2GraphOutput
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
    "CNN2Graph",
    "CNN2GraphLoss",
    "CNN2GraphOutput",
    "EdgeConsistency",
    "FeatureCapture",
    "GraphConsistencyLoss",
    "GraphLearningLayer",
    "LaplacePropagation",
    "PLaplacePropagation",
    "PoissonPropagation",
    "ProxyAttentionConv",
    "ProxyContrastiveLoss",
    "ProxyGATv2Conv",
    "ProxyPoolConv",
    "ProxySet",
    "RandomWalkPropagation",
    "graph_consistency_loss",
    "laplace_propagation",
    "p_eikonal",
    "p_laplace_propagation",
    "poisson_mbo",
    "poisson_propagation",
    "proxy_contrastive_loss",
    "random_walk_propagation",
    "volume_mbo",
]
