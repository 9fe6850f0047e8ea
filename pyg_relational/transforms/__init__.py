"""Features to graphs: functions on tensors and PyG transforms around them."""

from typing import TYPE_CHECKING

from pyg_relational.on_demand import on_demand
from pyg_relational.transforms.batch_graph import batch_graph
from pyg_relational.transforms.dense_graph import dense_graph
from pyg_relational.transforms.dissimilarity_graph import dissimilarity_graph
from pyg_relational.transforms.knn_graph import knn_graph
from pyg_relational.transforms.knn_hypergraph import knn_hypergraph
from pyg_relational.transforms.label_graph import label_graph

if TYPE_CHECKING:
    from pyg_relational.transforms.pyg import DenseGraph, KNNGraph, KNNHypergraph
    from pyg_relational.transforms.remove_outliers import RemoveOutliers

__all__ = [
    "DenseGraph",
    "KNNGraph",
    "KNNHypergraph",
    "RemoveOutliers",
    "batch_graph",
    "dense_graph",
    "dissimilarity_graph",
    "knn_graph",
    "knn_hypergraph",
    "label_graph",
]

__getattr__, __dir__ = on_demand(
    __name__,
    {
        "DenseGraph": "pyg",
        "KNNGraph": "pyg",
        "KNNHypergraph": "pyg",
        "RemoveOutliers": "remove_outliers",
    },
)
