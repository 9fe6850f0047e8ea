"""A mini-batch becomes a graph, a PyG layer runs on it, and gradients come back to the encoder."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch_geometric.nn import GCNConv

from pyg_relational.datasets import PenDigits
from pyg_relational.transforms import KNNGraph, batch_graph

x, y = PenDigits(Path(__file__).parents[1] / "datasets").split("train")
torch.manual_seed(0)
encoder, layer = nn.Linear(16, 32), GCNConv(32, 10)

batch = torch.randperm(len(x))[:256]
data = batch_graph(encoder(x[batch]), y[batch], KNNGraph(k=10))
print(data)

logits = layer(data.x, data.edge_index, data.edge_weight)
(gradient,) = torch.autograd.grad(cross_entropy(logits, data.y), encoder.weight)
print(f"gradient of the encoder: {gradient.norm():.3f}")
