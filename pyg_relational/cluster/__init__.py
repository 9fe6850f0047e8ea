"""Partitions of graphs; not differentiable."""

from pyg_relational.cluster.leiden import leiden
from pyg_relational.cluster.spectral import spectral

__all__ = ["leiden", "spectral"]
