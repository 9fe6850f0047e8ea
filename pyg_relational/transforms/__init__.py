"""Features to graphs: functions on tensors and PyG transforms around them."""

from pyg_relational.transforms.batch_graph import batch_graph
from pyg_relational.transforms.dense_graph import DenseGraph, dense_graph
from pyg_relational.transforms.knn_graph import KNNGraph, knn_graph

__all__ = ["DenseGraph", "KNNGraph", "batch_graph", "dense_graph", "knn_graph"]
