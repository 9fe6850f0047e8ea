"""Samples of two classes that come together: scores of a class are refined by those of its partner."""

import torch
from sklearn.metrics import average_precision_score
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pyg_relational.nn import CoOccurrenceGCN, asymmetric_loss
from pyg_relational.transforms import label_graph

torch.manual_seed(0)
centres = torch.randn(10, 16)


def draw(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    first = torch.randint(10, (n,))
    y = torch.zeros(n, 10)
    y[torch.arange(n), first] = y[torch.arange(n), first ^ 1] = 1  # 0 with 1, 2 with 3, ...
    seen = centres[first] + 0.5 * centres[first ^ 1]  # one of them is faint
    return seen + 1.5 * torch.randn(n, 16), y


(x, y), (x_test, y_test) = draw(200), draw(2000)
edge_index, edge_weight = label_graph(y)  # P(n | m) of training labels, 20 of 100 pairs
print(f"{edge_index.shape[1]} edges")


def precision(refined: bool, asymmetric: bool = False) -> float:
    torch.manual_seed(0)
    network, refine = nn.Linear(16, 10), CoOccurrenceGCN()

    def scores(x: torch.Tensor) -> torch.Tensor:
        p: torch.Tensor = network(x)
        if refined:
            p = refine(p, edge_index, edge_weight)
        return p

    optimizer = torch.optim.Adam([*network.parameters(), *refine.parameters()], 1e-2)
    for _ in range(200):
        if asymmetric:  # easy labels count less, rare classes more
            loss = asymmetric_loss(scores(x), y, class_counts=y.long().sum(0))
        else:
            loss = binary_cross_entropy_with_logits(scores(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(average_precision_score(y_test, scores(x_test).detach()))


print(f"  network alone: mean average precision {precision(False):.3f}")
print(f"        refined: mean average precision {precision(True):.3f}")
print(f"asymmetric loss: mean average precision {precision(False, asymmetric=True):.3f}")
