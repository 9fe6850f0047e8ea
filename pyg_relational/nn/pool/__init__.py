"""Clusters of nodes as the nodes of a coarser graph, and edges between clusters dropped."""

from pyg_relational.nn.pool.modularity_pruning import ModularityPruning, PrunedGraph
from pyg_relational.nn.pool.prune_by_consensus import prune_by_consensus
from pyg_relational.nn.pool.soft_modularity_pruning import SoftModularityPruning, SoftPrunedGraph
from pyg_relational.nn.pool.sparse_dmon import DMoNLosses, SparseDMoN, SparseDMoNOutput

__all__ = [
    "DMoNLosses",
    "ModularityPruning",
    "PrunedGraph",
    "SoftModularityPruning",
    "SoftPrunedGraph",
    "SparseDMoN",
    "SparseDMoNOutput",
    "prune_by_consensus",
]
