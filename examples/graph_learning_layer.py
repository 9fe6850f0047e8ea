"""A classifier without a head: labels spread from base samples over the kNN graph of the features."""

from pathlib import Path

import torch
from torch import nn

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import BaseSampler, GraphLearningLayer

data = PenDigits(Path(__file__).parents[1] / "datasets")
(x, y), (x_test, y_test) = data.split("train"), data.split("test")

torch.manual_seed(0)
encoder = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32))
optimizer = torch.optim.AdamW(encoder.parameters(), lr=0.003)
layer = GraphLearningLayer(k=15, tau=0.07)  # no parameters
sampler = BaseSampler(y, per_class=15)


def propagate(base: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Labels of the base samples, spread to the rows."""
    features = encoder(torch.cat([x[base], rows]))
    labels = torch.cat([y[base], y.new_full((len(rows),), -1)])  # -1: not labelled
    return layer(features, labels, num_classes=10)[len(base) :]


for epoch in range(3):
    base = sampler()
    rest = torch.ones(len(y), dtype=torch.bool).index_fill(0, base, False).nonzero()[:, 0]
    for batch in rest[torch.randperm(len(rest))].split(256):
        u = propagate(base, x[batch])
        loss = -(u.gather(1, y[batch, None]) + 1e-8).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        predicted = torch.cat([propagate(base, some) for some in x_test.split(500)]).argmax(1)
    accuracy = (predicted == y_test).float().mean()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {accuracy.item():.3f}")
