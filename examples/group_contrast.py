"""A few labels, and two noisy views of the rest: agreement of samples and of groups of pseudo-labels."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import BaseSampler, GroupContrastiveLoss

x, y = PenDigits(Path(__file__).parents[1] / "datasets").split("train")
x_test, y_test = PenDigits(Path(__file__).parents[1] / "datasets").split("test")
labelled = BaseSampler(y, 5, generator=torch.Generator().manual_seed(0))()
contrast = GroupContrastiveLoss()

for name, weight in {"labels alone": 0.0, "with two views": 1.0}.items():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
    model.append(nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for step in range(150):
        rows = x[torch.randint(len(x), (200,))]
        loss = cross_entropy(model(x[labelled]), y[labelled])
        if step >= 50:
            a, b = (model(rows + 0.1 * torch.randn_like(rows)) for _ in "ab")
            loss = loss + weight * contrast(a, b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (model(x_test).argmax(1) == y_test).float().mean()
    print(f"{name:>14}: accuracy {accuracy:.3f}")
