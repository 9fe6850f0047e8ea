"""Draws docs/images/moons.png and docs/images/label_spread.png: ``python docs/plot_label_propagation.py``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.nn import GraphLearningLayer, laplace_propagation, poisson_propagation
from pyg_relational.transforms import knn_graph
from pyg_relational.visualize import new_figure, save_figure

IMAGES = Path(__file__).parent / "images"
TAUS = (0.0, 0.01, 0.07, 0.3)
STEPS, BASE = 300, 20
SPAN = (-1.7, 2.7), (-1.2, 1.7)


def encoder(width: int) -> nn.Sequential:
    """Three layers; the same start for every head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, width)
    )


def train(parameters: list[Tensor], loss: Callable[[int], Tensor]) -> None:
    """Full-batch Adam."""
    optimizer = torch.optim.Adam(parameters, lr=0.003)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss(step).backward()
        optimizer.step()


def softmax_head(x: Tensor, y: Tensor, grid: Tensor) -> Tensor:
    """Probability of class 1 on the grid."""
    net = nn.Sequential(encoder(8), nn.Linear(8, 2))
    train(list(net.parameters()), lambda step: cross_entropy(net(x), y))
    return net(grid).softmax(1)[:, 1].detach()


def graph_head(x: Tensor, y: Tensor, grid: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Share of class 1 on the grid, and how much of a label is left there."""
    net, layer = (
        encoder(8),
        GraphLearningLayer(10, tau, "self_tuning", False, on_unreachable="prior"),
    )
    generator = torch.Generator().manual_seed(0)

    def loss(step: int) -> Tensor:
        base = torch.zeros(len(x), dtype=torch.bool)
        base[torch.randperm(len(x), generator=generator)[:BASE]] = True
        u = layer(net(x), y, base, 2)[~base]
        return -(u.gather(1, y[~base, None]) + 1e-8).log().mean()

    train(list(net.parameters()), loss)
    u, stride = torch.empty(len(grid), 2), 450  # few grid points at once, far from each other
    with torch.no_grad():
        for first in range(stride):
            some = grid[first::stride]
            both = torch.cat([y, y.new_full((len(some),), -1)])
            u[first::stride] = layer(net(torch.cat([x, some])), both, None, 2)[len(x) :]
    total = u.sum(1)
    return u[:, 1] / total.clamp(min=1e-12), total


def panel(ax: Axes, share: Tensor, side: int, x: Tensor, y: Tensor, title: str) -> None:
    """Probability as colour, its level 1/2 as a line."""
    field = share.view(side, side).numpy()
    ax.imshow(
        field, extent=(*SPAN[0], *SPAN[1]), origin="lower", cmap="RdBu_r", vmin=0, vmax=1, alpha=0.8
    )
    ax.contour(np.linspace(*SPAN[0], side), np.linspace(*SPAN[1], side), field, [0.5], colors="k")
    ax.scatter(*x.T.numpy(), c=np.where(y == 1, "#8b0000", "#00008b"), s=5)
    ax.set_title(title, fontsize=10)
    ax.set_axis_off()


def moons() -> None:
    """Two moons under a softmax head and under the layer at several tau."""
    points, labels = make_moons(300, noise=0.12, random_state=0)
    x, y = torch.from_numpy(points).float(), torch.from_numpy(labels)
    side = 60
    across, up = (torch.linspace(*span, side) for span in SPAN)
    grid = torch.cartesian_prod(up, across).flip(1)
    figure = new_figure(13, 4.2)
    axes = figure.subplots(2, len(TAUS) + 1)
    panel(axes[0, 0], softmax_head(x, y, grid), side, x, y, "softmax head")
    axes[1, 0].set_axis_off()
    for column, tau in enumerate(TAUS, 1):
        share, total = graph_head(x, y, grid, tau)
        panel(axes[0, column], share, side, x, y, f"GLL, tau = {tau:g}")
        image = axes[1, column].imshow(
            total.view(side, side).numpy(),
            extent=(*SPAN[0], *SPAN[1]),
            origin="lower",
            vmin=0,
            vmax=1,
            cmap="Greys_r",
        )
        axes[1, column].set_xticks([])
        axes[1, column].set_yticks([])
    figure.colorbar(image, ax=list(axes[1]), location="right", label="sum of the labels")
    save_figure(figure, IMAGES / "moons")


def label_spread() -> None:
    """Two labels on two moons: what each equation makes of them."""
    points, labels = make_moons(400, noise=0.14, random_state=1)
    x, y = torch.from_numpy(points), torch.from_numpy(labels)
    edge_index, weight = knn_graph(x, 10)
    mask = torch.zeros(len(y), dtype=torch.bool)
    mask[[int((y == 0).nonzero()[0]), int((y == 1).nonzero()[0])]] = True
    graph = edge_index, weight, y, mask
    panels = {
        "Laplace": laplace_propagation(*graph),
        "Laplace, tau = 0.01": laplace_propagation(*graph, tau=0.01),
        "Laplace, Poisson weights": laplace_propagation(*graph, reweighting="poisson"),
        "Poisson": poisson_propagation(*graph),
    }
    figure = new_figure(13, 3)
    for ax, (name, u) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        right = (u.argmax(1) == y)[~mask].double().mean()
        margin = (u[:, 1] - u[:, 0]).numpy()
        limit = np.abs(margin[~mask.numpy()]).max()
        ax.scatter(*points.T, c=margin, cmap="RdBu_r", vmin=-limit, vmax=limit, s=10)
        ax.scatter(*points[mask.numpy()].T, c="k", marker="*", s=120)
        ax.set_title(f"{name}\n{100 * right:.1f} % right, |margin| up to {limit:.2g}", fontsize=10)
        ax.set_axis_off()
    save_figure(figure, IMAGES / "label_spread")


if __name__ == "__main__":
    moons()
    label_spread()
