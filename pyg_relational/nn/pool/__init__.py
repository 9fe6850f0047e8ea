"""Clusters of nodes as the nodes of a coarser graph."""

from pyg_relational.nn.pool.sparse_dmon import DMoNLosses, SparseDMoN, SparseDMoNOutput

__all__ = ["DMoNLosses", "SparseDMoN", "SparseDMoNOutput"]
