# %% [markdown]
# # Label propagation as a head (GLL)
#
# [Brown et al. 2024](https://arxiv.org/abs/2412.08016): labels of some rows spread over the graph of the features by Laplace's equation, with exact gradients.
# Here on scikit-learn's 1,797 digits with ten labels a class.

# %%
import torch
from sklearn.datasets import load_digits
from torch import nn

from pyg_relational.nn import GraphLearningLayer, laplace_propagation
from pyg_relational.transforms import knn_graph
from pyg_relational.visualize import embedding_map

x, y = (torch.from_numpy(a) for a in load_digits(return_X_y=True))
x = x.float() / 16
order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
labelled = torch.cat([order[y[order] == c][:10] for c in range(10)])
mask = torch.zeros(len(y), dtype=torch.bool).index_fill(0, labelled, True)

# %% [markdown]
# Without training: the graph of the pixels.

# %%
u = laplace_propagation(*knn_graph(x, 10), y, mask, on_unreachable="prior")
print(f"accuracy of the other rows {(u.argmax(1) == y)[~mask].float().mean():.3f}")

# %% [markdown]
# As the head of a network: half of the labelled rows of each class spread their labels, the loss is of the other half.
# From a hundred labels the trained features are no better than the pixels: take it where there are more, or where features are far from the classes.

# %%
torch.manual_seed(0)
encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))
layer = GraphLearningLayer(k=10, tau=0.1)
optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.001)
for _ in range(40):
    some = labelled.view(10, 10)[:, torch.randperm(10)]
    base, rest = some[:, :5].flatten(), some[:, 5:].flatten()
    labels = torch.cat([y[base], torch.full_like(rest, -1)])  # -1: none
    u = layer(encoder(x[torch.cat([base, rest])]), labels, num_classes=10)[len(base) :]
    loss = -(u.gather(1, y[rest, None]) + 1e-8).log().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {loss.item():.3f}")

# %%
with torch.no_grad():
    z = encoder(x)
u = laplace_propagation(*knn_graph(z, 10), y, mask, on_unreachable="prior")
print(f"accuracy of the other rows {(u.argmax(1) == y)[~mask].float().mean():.3f}")
ax = embedding_map({"digits": (z[order[:500]], y[order[:500]])})
