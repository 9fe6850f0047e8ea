"""Clusters of a kNN graph, before and after the edges between clusters are pruned."""

from pathlib import Path

from pyg_relational.cluster import leiden, spectral
from pyg_relational.datasets import PenDigits
from pyg_relational.metrics import clustering_accuracy, homophily, nmi
from pyg_relational.nn import ModularityPruning
from pyg_relational.transforms import knn_graph

x, y = PenDigits(Path(__file__).parents[1] / "datasets").split("test")
graph = knn_graph(x, 10)
pruned = ModularityPruning(num_clusters=10)(x, *graph)

for name, (edge_index, edge_weight) in {"kNN": graph, "pruned": pruned[:2]}.items():
    clusters = spectral(
        edge_index, edge_weight, 10, row_normalize=False, min_size=35, num_nodes=len(x)
    )
    communities = leiden(edge_index, edge_weight, len(x), resolution=0.1)
    print(
        f"{name:>6}: {edge_index.shape[1]} edges, homophily {homophily(edge_index, edge_weight, y):.3f}, "
        f"spectral accuracy {clustering_accuracy(y, clusters):.3f}, Leiden NMI {nmi(y, communities):.3f}"
    )
