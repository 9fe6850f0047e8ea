"""Few labels spread over a hypergraph of neighbours, a graph, and both; and the support vector machine of both."""

import numpy as np
import torch
from sklearn.datasets import load_wine
from sklearn.preprocessing import StandardScaler
from torch_geometric.data import Data

from pyg_relational.estimators import HypergraphSVC
from pyg_relational.nn import hypergraph_propagation
from pyg_relational.transforms import KNNGraph, KNNHypergraph

raw = load_wine()
x, y = StandardScaler().fit_transform(raw.data), raw.target
partial = np.full(len(y), -1)
for k in range(3):
    partial[np.flatnonzero(y == k)[:2]] = k

data = KNNHypergraph(k=10)(KNNGraph(k=10)(Data(x=torch.from_numpy(x))))
for mix in (0.0, 0.5, 1.0):
    u = hypergraph_propagation(
        data.hyperedge_index,
        data.hyperedge_weight,
        torch.from_numpy(partial),
        edge_index=data.edge_index,
        edge_weight=data.edge_weight,
        mix=mix,
    )
    found = u.argmax(1).numpy()
    print(f"propagation, mix {mix}: {(found == y)[partial < 0].mean():.3f}")
    found = HypergraphSVC(k=10, mix=mix).fit_predict(x, partial)
    print(f"   machine, mix {mix}: {(found == y)[partial < 0].mean():.3f}")
