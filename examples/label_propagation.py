"""Few labels on a whole data set: the equations of the family on one graph."""

from pathlib import Path

import torch

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import laplace_propagation, p_laplace_propagation, poisson_propagation
from pyg_relational.transforms import knn_graph

x, y = PenDigits(Path(__file__).parents[1] / "datasets").split("train")
edge_index, edge_weight = knn_graph(x, k=10)

order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
labelled = torch.cat([order[y[order] == c][:3] for c in range(10)])  # 3 a class
mask = torch.zeros(len(y), dtype=torch.bool).index_fill(0, labelled, True)
graph = edge_index, edge_weight, y, mask  # y is only looked at where mask is set


def report(name: str, u: torch.Tensor) -> None:
    """Accuracy of the rows that were not labelled."""
    accuracy = (u.argmax(1) == y)[~mask].float().mean()
    print(f"{name:22s} {accuracy.item():.3f}")


# Some rows hang together with no labelled one: give them the mean of the labels.
report("Laplace", laplace_propagation(*graph, on_unreachable="prior"))
report("Laplace, tau = 0.05", laplace_propagation(*graph, tau=0.05))
report(
    "Laplace, WNLL weights", laplace_propagation(*graph, reweighting="wnll", on_unreachable="prior")
)
report("Poisson", poisson_propagation(*graph, on_unreachable="prior"))
report("p-Laplace, p = 3", p_laplace_propagation(*graph, p=3, on_unreachable="prior"))
