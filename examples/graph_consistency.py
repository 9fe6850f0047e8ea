"""GCR in a training loop of your own: three more lines."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import FeatureCapture, GraphConsistencyLoss

data = PenDigits(Path(__file__).parents[1] / "datasets")
(x, y), (x_test, y_test) = data.split("train"), data.split("test")

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
consistency = GraphConsistencyLoss()

for epoch in range(5):
    for batch in torch.randperm(len(x)).split(128):
        with FeatureCapture(model, ["1", "3"]) as capture:
            logits = model(x[batch])
        loss = cross_entropy(logits, y[batch]) + consistency(capture.features, logits, y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (model(x_test).argmax(1) == y_test).float().mean()
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {accuracy.item():.3f}")
