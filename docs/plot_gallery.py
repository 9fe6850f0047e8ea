"""Draws docs/images/gallery_*.png: ``python docs/plot_gallery.py``."""

from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.datasets import PenDigits
from pyg_relational.estimators import LaplaceClassifier, PoissonClassifier
from pyg_relational.metrics import class_attention
from pyg_relational.nn import GraphConsistencyLoss, ModularityPruning
from pyg_relational.ops import unit_rows
from pyg_relational.transforms import knn_graph
from pyg_relational.visualize import (
    attention_matrix,
    cluster_flow,
    embedding_map,
    graph_map,
    label_rate_curve,
    new_figure,
    prediction_graph,
    relation_matrix,
    save_figure,
    spectra,
)

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


def trained(x: Tensor, y: Tensor, weight: float) -> tuple[nn.Sequential, nn.Linear]:
    """A small network, with graph consistency or without."""
    torch.manual_seed(0)
    hidden, head = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 32)), nn.Linear(32, 10)
    optimizer = torch.optim.AdamW([*hidden.parameters(), *head.parameters()], 3e-3)
    consistency = GraphConsistencyLoss()
    for _ in range(5):
        for batch in torch.randperm(len(x)).split(128):
            features = hidden(x[batch])
            logits = head(features)
            gcr = consistency([features], logits, y[batch])
            optimizer.zero_grad()
            (cross_entropy(logits, y[batch]) + weight * gcr).backward()
            optimizer.step()
    return hidden, head


def side_by_side(
    name: str, width: float, *drawn: tuple[str, Callable[[Axes], object]], height: float = 4.4
) -> None:
    """One picture of several axes."""
    figure = new_figure(width, height)
    for axes, (title, draw) in zip(
        figure.subplots(1, len(drawn), squeeze=False)[0], drawn, strict=True
    ):
        draw(axes)
        axes.set_title(title, fontsize=10)
    save_figure(figure, IMAGES / name)


def pruning(x: Tensor, y: Tensor) -> None:
    """A graph before and after pruning, its spectra, and the clusters of both."""
    given = knn_graph(x, 10)
    left = ModularityPruning(10)(x, *given)
    before, after = left.history[0].clusters, left.clusters
    weights = left.edge_index, left.edge_weight
    side_by_side(
        "gallery_graph",
        12,
        ("10 nearest neighbours", lambda ax: graph_map(x, *given, y, ax)),
        ("dropped edges in orange", lambda ax: graph_map(x, *given, y, ax, pruned=weights)),
        height=5.5,
    )
    graphs = {"10 nearest neighbours": given, "pruned": weights}
    side_by_side("gallery_spectra", 6, ("", lambda ax: spectra(graphs, len(x), ax)))
    side_by_side(
        "gallery_flow",
        9,
        ("spectral clusters of the graph", lambda ax: cluster_flow(y, before, ax)),
        ("of the pruned graph", lambda ax: cluster_flow(y, after, ax)),
        height=5.5,
    )


def rates(x: Tensor, y: Tensor) -> None:
    """Accuracy against the number of labels."""
    models = {
        "Laplace learning": LaplaceClassifier(),
        "Poisson learning": PoissonClassifier(),
        "logistic regression": LogisticRegression(max_iter=1000),
    }
    rows, classes = x.numpy(), y.numpy()
    side_by_side(
        "gallery_label_rate", 6, ("", lambda ax: label_rate_curve(models, rows, classes, ax))
    )


def main() -> None:
    """All pictures of the page."""
    data = PenDigits(ROOT / "datasets")
    (x, y), (x_test, y_test) = data.split("train"), data.split("test")
    some = torch.cat([(y_test == c).nonzero()[:12, 0] for c in range(10)])
    (plain, _), (consistent, head) = (trained(x, y, weight) for weight in (0.0, 3.0))
    x_some, y_some = x_test[some], y_test[some]
    with torch.no_grad():
        before, after = plain(x_some), consistent(x_some)
        side_by_side(
            "gallery_relations",
            12,
            ("features: cross-entropy alone", lambda ax: relation_matrix(before, y_some, ax)),
            ("features: with graph consistency", lambda ax: relation_matrix(after, y_some, ax)),
            (
                "masked predictions: what they aim at",
                lambda ax: prediction_graph(head(after), y_some, ax),
            ),
        )
        proxies = torch.stack([consistent(x[y == c]).mean(0) for c in range(10)])
        weights = (unit_rows(after) @ unit_rows(proxies).T * 5).softmax(1)
        attention = class_attention(weights, y_some, torch.arange(10), 10)
        more = torch.cat([(y_test == c).nonzero()[:60, 0] for c in range(10)])
        sets = {"samples": (consistent(x_test[more]), y_test[more])}
        sets["means of classes"] = (proxies, torch.arange(10))
    side_by_side(
        "gallery_attention",
        5.5,
        ("dot-product attention to the classes' means", lambda ax: attention_matrix(attention, ax)),
    )
    axes = embedding_map(sets)
    axes.set_title("features of test digits (dots), means of classes (squares)", fontsize=10)
    save_figure(axes.figure, IMAGES / "gallery_embeddings")
    pruning(x_test[more], y_test[more])
    rates(x_test, y_test)


if __name__ == "__main__":
    main()
