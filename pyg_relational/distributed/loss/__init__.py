"""Losses of :mod:`pyg_relational.nn` over the rows of all ranks."""

from pyg_relational.distributed.loss.dgcluster import dgcluster_loss
from pyg_relational.distributed.loss.graph_consistency import graph_consistency_loss
from pyg_relational.distributed.loss.grapix import grapix_loss
from pyg_relational.distributed.loss.latent_cluster_correction import LatentClusterCorrection

__all__ = ["LatentClusterCorrection", "dgcluster_loss", "graph_consistency_loss", "grapix_loss"]
