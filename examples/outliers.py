"""Outliers are taken out of a kNN graph before it is clustered, and get the cluster of their nearest point."""

from pathlib import Path

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from pyg_relational.cluster import join_nearest, spectral
from pyg_relational.datasets import PenDigits
from pyg_relational.metrics import clustering_accuracy
from pyg_relational.transforms import KNNGraph, RemoveOutliers

x, y = PenDigits(Path(__file__).parents[1] / "datasets").split("test")
for name, steps in {"all": [], "without outliers": [RemoveOutliers(k=10)]}.items():
    data = Compose([*steps, KNNGraph(k=10)])(Data(x=x, n_id=torch.arange(len(x))))
    clusters = torch.full((len(x),), -1)
    clusters[data.n_id] = spectral(data.edge_index, data.edge_weight, 10, min_size=35)
    clusters = join_nearest(x, clusters)
    print(f"{name:>16}: {data.num_nodes} nodes, accuracy {clustering_accuracy(y, clusters):.3f}")
