"""Layers and losses."""

from typing import TYPE_CHECKING

from pyg_relational.nn.base_sampler import BaseSampler
from pyg_relational.nn.feature_capture import FeatureCapture
from pyg_relational.nn.loss import (
    ClusterMatching,
    DGClusterLoss,
    GraphConsistencyLoss,
    GraPixLoss,
    GroupContrastiveLoss,
    LatentClusterCorrection,
    LatentClusterInfo,
    LatentClusterTargets,
    ModularityLoss,
    ProxyContrastiveLoss,
    asymmetric_loss,
    cluster_matching_loss,
    dgcluster_loss,
    dissimilarity_loss,
    global_alignment_loss,
    graph_consistency_loss,
    grapix_loss,
    group_contrastive_loss,
    instance_contrastive_loss,
    latent_cluster_loss,
    latent_cluster_targets,
    match_clusters,
    modularity_loss,
    neighbor_consistency_loss,
    proxy_contrastive_loss,
    self_label_loss,
)
from pyg_relational.nn.pool import (
    ModularityPruning,
    PrunedGraph,
    SoftModularityPruning,
    SoftPrunedGraph,
    cluster_pool,
    prune_by_consensus,
)
from pyg_relational.nn.prop import (
    GraphLearningLayer,
    LaplacePropagation,
    PLaplacePropagation,
    PoissonPropagation,
    RandomWalkPropagation,
    hypergraph_propagation,
    laplace_propagation,
    p_eikonal,
    p_laplace_propagation,
    poisson_mbo,
    poisson_propagation,
    propagation,
    random_walk_propagation,
    volume_mbo,
)
from pyg_relational.on_demand import on_demand

if TYPE_CHECKING:
    from pyg_relational.nn.conv import (
        ProxyAttentionConv,
        ProxyGATv2Conv,
        ProxyPoolConv,
        ProxySet,
        prototype_scores,
    )
    from pyg_relational.nn.loss import EdgeConsistency
    from pyg_relational.nn.models import (
        CNN2Graph,
        CNN2GraphLoss,
        CNN2GraphOutput,
        CoOccurrenceGCN,
        GATEmbedding,
        ImageTextLosses,
        ImageTextMatching,
    )
    from pyg_relational.nn.pool import DMoNLosses, SparseDMoN, SparseDMoNOutput

__all__ = [
    "BaseSampler",
    "CNN2Graph",
    "CNN2GraphLoss",
    "CNN2GraphOutput",
    "ClusterMatching",
    "CoOccurrenceGCN",
    "DGClusterLoss",
    "DMoNLosses",
    "EdgeConsistency",
    "FeatureCapture",
    "GATEmbedding",
    "GraPixLoss",
    "GraphConsistencyLoss",
    "GraphLearningLayer",
    "GroupContrastiveLoss",
    "ImageTextLosses",
    "ImageTextMatching",
    "LaplacePropagation",
    "LatentClusterCorrection",
    "LatentClusterInfo",
    "LatentClusterTargets",
    "ModularityLoss",
    "ModularityPruning",
    "PLaplacePropagation",
    "PoissonPropagation",
    "ProxyAttentionConv",
    "ProxyContrastiveLoss",
    "ProxyGATv2Conv",
    "ProxyPoolConv",
    "ProxySet",
    "PrunedGraph",
    "RandomWalkPropagation",
    "SoftModularityPruning",
    "SoftPrunedGraph",
    "SparseDMoN",
    "SparseDMoNOutput",
    "asymmetric_loss",
    "cluster_matching_loss",
    "cluster_pool",
    "dgcluster_loss",
    "dissimilarity_loss",
    "global_alignment_loss",
    "graph_consistency_loss",
    "grapix_loss",
    "group_contrastive_loss",
    "hypergraph_propagation",
    "instance_contrastive_loss",
    "laplace_propagation",
    "latent_cluster_loss",
    "latent_cluster_targets",
    "match_clusters",
    "modularity_loss",
    "neighbor_consistency_loss",
    "p_eikonal",
    "p_laplace_propagation",
    "poisson_mbo",
    "poisson_propagation",
    "propagation",
    "prototype_scores",
    "proxy_contrastive_loss",
    "prune_by_consensus",
    "random_walk_propagation",
    "self_label_loss",
    "volume_mbo",
]

_CONV = (
    "ProxyAttentionConv",
    "ProxyGATv2Conv",
    "ProxyPoolConv",
    "ProxySet",
    "prototype_scores",
)
_MODELS = (
    "CNN2Graph",
    "CNN2GraphLoss",
    "CNN2GraphOutput",
    "CoOccurrenceGCN",
    "GATEmbedding",
    "ImageTextLosses",
    "ImageTextMatching",
)
_POOL = ("DMoNLosses", "SparseDMoN", "SparseDMoNOutput")

__getattr__, __dir__ = on_demand(
    __name__,
    dict.fromkeys(("conv", "models"))
    | dict.fromkeys(_CONV, "conv")
    | dict.fromkeys(_MODELS, "models")
    | dict.fromkeys(_POOL, "pool")
    | {"EdgeConsistency": "loss"},
)
