"""Draws docs/images/moons_embeddings.png, Figures 3 and 4 of the paper: ``python docs/plot_embeddings.py``."""

from collections.abc import Callable
from pathlib import Path

import torch
from sklearn.datasets import make_moons
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyg_relational.nn import GraphLearningLayer
from pyg_relational.visualize import new_figure, save_figure

IMAGES = Path(__file__).parent / "images"
TAUS = (0.0, 0.01, 0.1, 1.0)
EPOCHS = (0, 10, 50, 150)
BASE = 10  # labelled points a class, the same in every epoch
COLOURS = ("#4477aa", "#cc3311")


def encoder() -> nn.Sequential:
    """From two features to two; the same start for every head."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
    )


def embeddings(
    net: nn.Module, x: Tensor, head: nn.Module, loss: Callable[[Tensor], Tensor]
) -> dict[int, Tensor]:
    """Embedding of every row at each of the epochs, full-batch Adam."""
    optimizer = torch.optim.Adam([*net.parameters(), *head.parameters()], lr=0.003)
    kept = {}
    for epoch in range(EPOCHS[-1] + 1):
        z = net(x)
        if epoch in EPOCHS:
            kept[epoch] = z.detach()
        optimizer.zero_grad()
        loss(z).backward()
        optimizer.step()
    return kept


def softmax(x: Tensor, y: Tensor) -> dict[int, Tensor]:
    """A linear softmax head on the embedding, all labels."""
    net, head = encoder(), nn.Linear(2, 2)
    return embeddings(net, x, head, lambda z: cross_entropy(head(z), y))


def graph(x: Tensor, y: Tensor, base: Tensor, tau: float) -> dict[int, Tensor]:
    """The layer on the embedding, labels of the base in, loss on the others."""
    layer = GraphLearningLayer(10, tau, "self_tuning", False, on_unreachable="prior")

    def loss(z: Tensor) -> Tensor:
        u = layer(z, y, base, 2)[~base]
        return -(u.gather(1, y[~base, None]) + 1e-8).log().mean()

    return embeddings(encoder(), x, layer, loss)


def main() -> None:
    """A row for each head, a column for each epoch."""
    points, labels = make_moons(300, noise=0.1, random_state=0)
    x, y = torch.from_numpy(points).float(), torch.from_numpy(labels)
    base = torch.zeros(len(y), dtype=torch.bool)
    for c in range(2):
        base[(y == c).nonzero()[:BASE, 0]] = True
    rows = {"softmax head": softmax(x, y)}
    rows |= {f"GLL, tau = {tau:g}": graph(x, y, base, tau) for tau in TAUS}
    figure = new_figure(2.4 * len(EPOCHS), 2.2 * len(rows))
    axes = figure.subplots(len(rows), len(EPOCHS))
    for ax, epoch in zip(axes[0], EPOCHS, strict=True):
        ax.set_title(f"epoch {epoch}", fontsize=10)
    for line, (name, kept) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for ax, z in zip(line, kept.values(), strict=True):
            for c, colour in enumerate(COLOURS):
                ax.scatter(*z[(y == c) & ~base].T, c=colour, s=5)
                ax.scatter(*z[(y == c) & base].T, c=colour, s=60, marker="*", edgecolors="k")
            ax.tick_params(labelsize=6)
    save_figure(figure, IMAGES / "moons_embeddings")


if __name__ == "__main__":
    main()
