"""Clusters of nodes as the nodes of a coarser graph, and edges between clusters dropped."""

from typing import TYPE_CHECKING

from pyg_relational.nn.pool.cluster_pool import cluster_pool
from pyg_relational.nn.pool.modularity_pruning import ModularityPruning, PrunedGraph
from pyg_relational.nn.pool.prune_by_consensus import prune_by_consensus
from pyg_relational.nn.pool.soft_modularity_pruning import SoftModularityPruning, SoftPrunedGraph
from pyg_relational.on_demand import on_demand

if TYPE_CHECKING:
    from pyg_relational.nn.pool.sparse_dmon import DMoNLosses, SparseDMoN, SparseDMoNOutput

__all__ = [
    "DMoNLosses",
    "ModularityPruning",
    "PrunedGraph",
    "SoftModularityPruning",
    "SoftPrunedGraph",
    "SparseDMoN",
    "SparseDMoNOutput",
    "cluster_pool",
    "prune_by_consensus",
]

__getattr__, __dir__ = on_demand(
    __name__, dict.fromkeys(("DMoNLosses", "SparseDMoN", "SparseDMoNOutput"), "sparse_dmon")
)
