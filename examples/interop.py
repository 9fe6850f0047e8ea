"""One graph from four libraries, read as the same weighted edges."""

import numpy as np
import torch
from sklearn.neighbors import kneighbors_graph
from torch_geometric.data import Data

from pyg_relational.interop import as_edges

points = np.random.default_rng(0).normal(size=(200, 2))
matrix = kneighbors_graph(points, n_neighbors=5, mode="distance")  # scipy.sparse
matrix.data = np.exp(-(matrix.data**2))
edge_index, edge_weight, num_nodes = as_edges(matrix)

edge_weight.requires_grad_()
sources = {
    "scipy.sparse": matrix,
    "tuple": (edge_index, edge_weight),
    "Data": Data(edge_index=edge_index, edge_weight=edge_weight, num_nodes=num_nodes),
    "torch.sparse": torch.sparse_coo_tensor(
        edge_index, edge_weight, (num_nodes, num_nodes), check_invariants=True
    ),
}
for name, graph in sources.items():
    index, weight, n = as_edges(graph)
    volume = weight.sum()
    print(f"{name:13} {n} nodes, {index.size(1)} edges, volume {volume.item():.4f}", end="")
    print(", differentiable" if volume.requires_grad else "")
