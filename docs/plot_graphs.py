"""Draws docs/images/graphs.png: ``python docs/plot_graphs.py``."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from sklearn.datasets import make_moons
from torch import Tensor

from pyg_relational.transforms import dense_graph, knn_graph
from pyg_relational.visualize import new_figure, save_figure

IMAGE = Path(__file__).parent / "images" / "graphs"


def draw(ax: Axes, x: Tensor, y: np.ndarray, graph: tuple[Tensor, Tensor], title: str) -> None:
    """Edges as lines, the darker the heavier."""
    edge_index, weight = graph
    lines = x[edge_index.T].numpy()
    strength = (weight / weight.max()).numpy()
    ax.add_collection(LineCollection(list(lines), colors="0.2", linewidths=1.2, alpha=strength))
    ax.scatter(*x.T.numpy(), c=np.where(y, "#D55E00", "#0072B2"), s=14, zorder=2)
    ax.set_title(f"{title}\n{edge_index.shape[1] // 2} edges", fontsize=10)
    ax.set_aspect("equal")
    ax.set_axis_off()


def main() -> None:
    """Two moons, four graphs."""
    points, y = make_moons(200, noise=0.09, random_state=0)
    x = torch.from_numpy(points)
    figure = new_figure(11, 6)
    axes = figure.subplots(2, 2).flat
    draw(next(axes), x, y, knn_graph(x, 8), "knn_graph(x, 8): union, self-tuning")
    draw(
        next(axes),
        x,
        y,
        knn_graph(x, 8, symmetrize="mutual"),
        'knn_graph(x, 8, symmetrize="mutual")',
    )
    draw(next(axes), x, y, knn_graph(x, 8, bandwidth=0.2), "knn_graph(x, 8, bandwidth=0.2)")
    rbf = dense_graph(x, lambda a, b: torch.exp(-20 * torch.cdist(a, b) ** 2), threshold=0.3)
    draw(next(axes), x, y, rbf, "dense_graph(x, rbf, threshold=0.3)")
    save_figure(figure, IMAGE)


if __name__ == "__main__":
    main()
