"""Partitions of graphs; not differentiable."""

from pyg_relational.cluster.absorb import absorb_small
from pyg_relational.cluster.consensus import edge_consensus, leiden_partitions
from pyg_relational.cluster.leiden import leiden
from pyg_relational.cluster.match_labels import match_labels
from pyg_relational.cluster.outliers import Outliers, join_nearest, outliers
from pyg_relational.cluster.peer_pressure import peer_pressure
from pyg_relational.cluster.spectral import spectral

__all__ = [
    "Outliers",
    "absorb_small",
    "edge_consensus",
    "join_nearest",
    "leiden",
    "leiden_partitions",
    "match_labels",
    "outliers",
    "peer_pressure",
    "spectral",
]
