"""Batches and graphs that span processes, by the process group that is there."""

from pyg_relational.distributed.gather import gather
from pyg_relational.distributed.knn import knn
from pyg_relational.distributed.knn_graph import knn_graph
from pyg_relational.distributed.laplace import laplace_propagation
from pyg_relational.distributed.modularity import modularity_loss
from pyg_relational.distributed.sharded_graph import ShardedGraph

__all__ = ["ShardedGraph", "gather", "knn", "knn_graph", "laplace_propagation", "modularity_loss"]
