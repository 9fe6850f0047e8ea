"""Batches and graphs that span processes, by the process group that is there."""

from typing import TYPE_CHECKING

from pyg_relational.distributed.approximate import approximate_knn
from pyg_relational.distributed.gather import gather
from pyg_relational.distributed.knn import knn
from pyg_relational.distributed.knn_graph import knn_graph
from pyg_relational.distributed.laplace import laplace_propagation
from pyg_relational.distributed.modularity import modularity_loss
from pyg_relational.distributed.sharded_graph import ShardedGraph
from pyg_relational.distributed.to_data import to_data
from pyg_relational.on_demand import on_demand

if TYPE_CHECKING:
    from pyg_relational.distributed.loss import (
        LatentClusterCorrection,
        dgcluster_loss,
        graph_consistency_loss,
        grapix_loss,
    )

__all__ = [
    "LatentClusterCorrection",
    "ShardedGraph",
    "approximate_knn",
    "dgcluster_loss",
    "gather",
    "graph_consistency_loss",
    "grapix_loss",
    "knn",
    "knn_graph",
    "laplace_propagation",
    "modularity_loss",
    "to_data",
]

# What needs nn.loss, which needs gather.
_LOSSES = ("LatentClusterCorrection", "dgcluster_loss", "graph_consistency_loss", "grapix_loss")
__getattr__, __dir__ = on_demand(__name__, {"loss": None, **dict.fromkeys(_LOSSES, "loss")})
