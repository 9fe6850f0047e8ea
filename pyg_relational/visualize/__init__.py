"""Pictures of the relations in a batch, of graphs, clusters and attention. Needs matplotlib."""

from pyg_relational.visualize.cluster_flow import cluster_flow
from pyg_relational.visualize.embedding_map import embedding_map
from pyg_relational.visualize.figure import new_figure, save_figure
from pyg_relational.visualize.graph_map import graph_map
from pyg_relational.visualize.label_rate_curve import label_rate_curve
from pyg_relational.visualize.matrices import attention_matrix, prediction_graph, relation_matrix
from pyg_relational.visualize.spectra import spectra

__all__ = [
    "attention_matrix",
    "cluster_flow",
    "embedding_map",
    "graph_map",
    "label_rate_curve",
    "new_figure",
    "prediction_graph",
    "relation_matrix",
    "save_figure",
    "spectra",
]
