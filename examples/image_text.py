"""Digits as graphs of pen points, matched while training with graphs of the words that describe them."""

from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import ImageTextMatching

TEXTS = (
    *("round closed loop empty", "straight line down", "hook then line below"),
    *("two open bows right", "open corner with cross line", "line above then bow below"),
    *("bow with loop below", "line above then slope down", "two loop one above", "loop above tail"),
)
words = sorted({word for text in TEXTS for word in text.split()})
described = [torch.tensor([words.index(word) for word in text.split()]) for text in TEXTS]

x, y = PenDigits(Path(__file__).parents[1] / "datasets").split("train")
x_test, y_test = PenDigits(Path(__file__).parents[1] / "datasets").split("test")
x, y = x[:500], y[:500]


def points(
    x: torch.Tensor,
) -> torch.Tensor:  # eight points of a pen, each with its time and the others
    time = torch.linspace(-1, 1, 8).expand(len(x), 8)
    return torch.cat([x.view(-1, 8, 2), time[..., None], x[:, None].expand(-1, 8, -1)], 2)


for weight in (0.0, 1.0):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(19, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
    classifier, embedding = nn.Linear(64, 10), nn.Embedding(len(words), 16)
    matching = ImageTextMatching((64, 16), 32, num_classes=10)
    modules = nn.ModuleList([encoder, classifier, embedding, matching])
    optimizer = torch.optim.Adam(modules.parameters(), 3e-3)
    for _ in range(200):
        rows = torch.randperm(len(x))[:50]
        local = encoder(points(x[rows]))  # [50, 8, 64]
        pooled, batch = local.mean(1), torch.arange(50).repeat_interleave(8)
        text = [described[k] for k in y[rows].tolist()]
        owner = torch.arange(50).repeat_interleave(torch.tensor([len(t) for t in text]))
        losses = matching(
            pooled, local.flatten(0, 1), batch, embedding(torch.cat(text)), owner, y[rows]
        )
        loss = cross_entropy(classifier(pooled), y[rows]) + weight * sum(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = (classifier(encoder(points(x_test)).mean(1)).argmax(1) == y_test).float().mean()
    terms = ", ".join(f"{name} {value.item():.3f}" for name, value in losses._asdict().items())
    print(f"weight {weight}: accuracy {accuracy:.3f}; last {terms}")
