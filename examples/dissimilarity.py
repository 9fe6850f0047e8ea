"""Rings and paths of coloured nodes: edit distances to training graphs, learned so that new graphs need no matching."""

import torch
from torch_geometric.data import Batch, Data

from pyg_relational.metrics import edit_distance
from pyg_relational.nn import GATEmbedding, dissimilarity_loss

torch.manual_seed(0)


def graph(ring: bool, n: int) -> Data:
    i = torch.arange(n if ring else n - 1)
    edges = torch.stack([i, (i + 1) % n])
    colour = torch.eye(3)[torch.randint(3, (n,))]
    return Data(x=colour, edge_index=torch.cat([edges, edges.flip(0)], 1))


graphs = [graph(i % 2 == 1, 4 + i % 5) for i in range(40)]
train, test = graphs[:30], graphs[30:]
distances = torch.tensor([[edit_distance(g, p) for p in train] for g in graphs])

model = GATEmbedding(3, 16, num_prototypes=30)
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
batch, new = Batch.from_data_list(train), Batch.from_data_list(test)
for _ in range(100):
    found = model(batch.x, batch.edge_index, batch.batch)
    loss = dissimilarity_loss(found, distances[:30])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

with torch.no_grad():
    error = model(new.x, new.edge_index, new.batch) - distances[30:]
print(
    f"loss {loss:.2f}; mean distance {distances[30:].mean():.2f}, mean error {error.abs().mean():.2f}"
)
