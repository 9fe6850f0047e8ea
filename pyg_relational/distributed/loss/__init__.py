"""Losses of :mod:`pyg_relational.nn` over the rows of all ranks."""

from pyg_relational.distributed.loss.graph_consistency import graph_consistency_loss

__all__ = ["graph_consistency_loss"]
