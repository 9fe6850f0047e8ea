"""GCR, CNN2Graph, soft pruning and a graph learning layer in one training step, on pen strokes."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import (
    BaseSampler,
    CNN2Graph,
    CNN2GraphLoss,
    FeatureCapture,
    GraphConsistencyLoss,
    SoftModularityPruning,
    laplace_propagation,
)
from pyg_relational.transforms import knn_graph

data = PenDigits(Path(__file__).parents[1] / "datasets")
(x, y), (x_test, y_test) = data.split("train"), data.split("test")
x, y = x[:2000], y[:2000]

torch.manual_seed(0)
backbone = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
model = CNN2Graph(backbone, 32, num_classes=10)  # samples attend to proxies of every class
model.sets.choose(x, y)
pruning = SoftModularityPruning(32, num_clusters=10)  # gates on the edges between samples
consistency, proxies = GraphConsistencyLoss(), CNN2GraphLoss(weight=0.1)
optimizer = torch.optim.AdamW([*model.parameters(), *pruning.parameters()], lr=0.01)
sampler = BaseSampler(y, per_class=10)  # whose labels the graph spreads


def propagate(embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Labels spread over the pruned graph of the embeddings, and the loss of the pruning."""
    pruned = pruning(embedding, *knn_graph(embedding, 10))
    edges = pruned.edge_index, pruned.edge_weight
    u = laplace_propagation(*edges, labels, num_classes=10, tau=0.05)
    return u, pruned.loss


def with_base(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The rows behind those whose labels are spread, and labels: -1 for none."""
    base = sampler()
    return torch.cat([x[base], rows]), torch.cat([y[base], y.new_full((len(rows),), -1)])


for epoch in range(3):
    model.train()
    pruning.train()
    for batch in torch.randperm(len(y)).split(250):
        rows, labels = with_base(x[batch])
        truth, spread = torch.cat([labels[labels >= 0], y[batch]]), labels < 0
        with FeatureCapture(model, ["backbone.2"]) as capture:
            out = model(rows)
        u, cut = propagate(out.embedding, labels)
        hidden = capture.features[0][: len(rows)]  # behind them are the anchors
        loss = (
            proxies(out, truth)
            + 0.3 * consistency([hidden], out.logits, truth)
            + nll_loss((u[spread] + 1e-8).log(), y[batch])
            + 0.1 * cut
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    pruning.eval()
    with torch.no_grad():
        rows, labels = with_base(x_test)
        out = model(rows)
        u, _ = propagate(out.embedding, labels)
        right = [
            (scores[labels < 0].argmax(1) == y_test).float().mean() for scores in (out.logits, u)
        ]
    print(
        f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy of the classifier {right[0]:.3f}, "
        f"of the labels that spread {right[1]:.3f}"
    )
