"""Relations between the samples of a batch as a PyG graph, and the methods that learn with them."""

__version__ = "0.1.0"
