"""Losses on the relations of a batch."""

from typing import TYPE_CHECKING

from pyg_relational.nn.loss.asymmetric import asymmetric_loss
from pyg_relational.nn.loss.cluster_matching import (
    ClusterMatching,
    cluster_matching_loss,
    match_clusters,
)
from pyg_relational.nn.loss.dgcluster import DGClusterLoss, dgcluster_loss
from pyg_relational.nn.loss.dissimilarity import dissimilarity_loss
from pyg_relational.nn.loss.global_alignment import global_alignment_loss
from pyg_relational.nn.loss.graph_consistency import GraphConsistencyLoss, graph_consistency_loss
from pyg_relational.nn.loss.grapix import GraPixLoss, grapix_loss
from pyg_relational.nn.loss.group_contrastive import (
    GroupContrastiveLoss,
    group_contrastive_loss,
    instance_contrastive_loss,
)
from pyg_relational.nn.loss.latent_cluster import (
    LatentClusterTargets,
    latent_cluster_loss,
    latent_cluster_targets,
)
from pyg_relational.nn.loss.latent_cluster_correction import LatentClusterCorrection
from pyg_relational.nn.loss.latent_layer import LatentClusterInfo
from pyg_relational.nn.loss.modularity import ModularityLoss, modularity_loss
from pyg_relational.nn.loss.proxy_contrastive import ProxyContrastiveLoss, proxy_contrastive_loss
from pyg_relational.nn.loss.scan import neighbor_consistency_loss, self_label_loss
from pyg_relational.on_demand import on_demand

if TYPE_CHECKING:
    from pyg_relational.nn.loss.edge_consistency_module import EdgeConsistency

__all__ = [
    "ClusterMatching",
    "DGClusterLoss",
    "EdgeConsistency",
    "GraPixLoss",
    "GraphConsistencyLoss",
    "GroupContrastiveLoss",
    "LatentClusterCorrection",
    "LatentClusterInfo",
    "LatentClusterTargets",
    "ModularityLoss",
    "ProxyContrastiveLoss",
    "asymmetric_loss",
    "cluster_matching_loss",
    "dgcluster_loss",
    "dissimilarity_loss",
    "global_alignment_loss",
    "graph_consistency_loss",
    "grapix_loss",
    "group_contrastive_loss",
    "instance_contrastive_loss",
    "latent_cluster_loss",
    "latent_cluster_targets",
    "match_clusters",
    "modularity_loss",
    "neighbor_consistency_loss",
    "proxy_contrastive_loss",
    "self_label_loss",
]

__getattr__, __dir__ = on_demand(__name__, {"EdgeConsistency": "edge_consistency_module"})
