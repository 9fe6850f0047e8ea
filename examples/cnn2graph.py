"""Samples attend to anchors and learned proxies of every class: CNN2Graph on pen strokes."""

from pathlib import Path

import torch
from torch import nn

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import CNN2Graph, CNN2GraphLoss, ProxyGATv2Conv

data = PenDigits(Path(__file__).parents[1] / "datasets")
(x, y), (x_test, y_test) = data.split("train"), data.split("test")

torch.manual_seed(0)
backbone = nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64))
conv = ProxyGATv2Conv(64, 16, heads=4, self_loop="residual")
model = CNN2Graph(backbone, 64, num_classes=10, conv=conv, proxies_per_class=2)
model.sets.choose(x, y)  # one training sample of each class as its anchor
loss = CNN2GraphLoss(weight=0.1)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)

for epoch in range(3):
    model.train()
    for batch in torch.randperm(len(y)).split(256):
        value = loss(model(x[batch]), y[batch])
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        accuracy = (model(x_test).logits.argmax(1) == y_test).float().mean()
    print(f"epoch {epoch + 1}: loss {value.item():.3f}, test accuracy {accuracy.item():.3f}")

with torch.no_grad():
    out = model(x_test)
    sets = (out.anchors, out.proxies)
    _, (to_anchors, to_proxies) = model.conv(out.embedding, sets, return_attention_weights=True)
own = out.proxy_y == y_test[:, None]
print(f"attention to the proxies of the own class: {(to_proxies.mean(2) * own).sum(1).mean():.2f}")
