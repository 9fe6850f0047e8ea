"""LCC in a training loop of your own: misclustered samples are pulled to their class, from the second epoch on."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import FeatureCapture, LatentClusterCorrection

data = PenDigits(Path(__file__).parents[1] / "datasets")
(x, y), (x_test, y_test) = data.split("train"), data.split("test")
x, y = x[:3000], y[:3000]

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
correction = LatentClusterCorrection(y, k=10)  # classes of all samples, by index

for epoch in range(5):
    for index in torch.randperm(len(x)).split(128):
        with FeatureCapture(model, ["3"]) as capture:
            logits = model(x[index])
        loss = cross_entropy(logits, y[index]) + 0.01 * correction(capture.features, index)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    correction.step()  # clusters the latents that passed by, and takes new targets
    accuracy = (model(x_test).argmax(1) == y_test).float().mean()
    info = correction.info[0]
    assert info
    print(
        f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {accuracy.item():.3f}, "
        f"{info.num_clusters} clusters, modularity {info.modularity:.3f}, {info.num_misclustered} misclustered"
    )
