"""Models put together from the layers."""

from pyg_relational.nn.models.cnn2graph import CNN2Graph, CNN2GraphOutput

__all__ = ["CNN2Graph", "CNN2GraphOutput"]
