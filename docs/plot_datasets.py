"""Draws docs/images/datasets.png: a few training samples of each data set that is at hand.

PYG_RELATIONAL_RAW=<folder of raw files> python docs/plot_datasets.py
"""

import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from pyg_relational import datasets

SAMPLES = 13
PARTIAL = ("CIFAR10", "EMNISTLetters")
NAMES = (
    "PenDigits",
    "OptDigits",
    "Letter",
    "Satimage",
    "USPS",
    "COIL20",
    "MNIST",
    "FashionMNIST",
    "EMNISTLetters",
    "CIFAR10",
)


def choose(y: Tensor) -> list[int]:
    """The first row of each class, of as many classes as there is room for."""
    return [int((y == label).nonzero()[0]) for label in y.unique()[:SAMPLES]]


def pen(ax: Axes, x: Tensor) -> None:
    """The eight points of a PenDigits sample, joined; the pen starts at the dot."""
    horizontal, vertical = x.reshape(8, 2).T.numpy()
    ax.plot(horizontal, vertical, color="black", linewidth=1)
    ax.plot(horizontal[0], vertical[0], "o", color="tab:red", markersize=2.5)
    ax.set(xlim=(-0.2, 1.2), ylim=(-0.2, 1.2), aspect="equal")


def bars(ax: Axes, x: Tensor) -> None:
    """The sixteen features of a Letter sample."""
    ax.bar(np.arange(len(x)), x.numpy(), color="black")
    ax.set(ylim=(0, 1.05))


def image(x: Tensor) -> Tensor:
    """A sample as h x w x c or h x w; Satimage's first three bands as colours."""
    if x.dim() == 3:
        return x.permute(1, 2, 0).squeeze(2)
    if x.numel() == 64:
        return x.reshape(8, 8)
    return x.reshape(3, 3, 4)[..., :3]


def draw(ax: Axes, name: str, x: Tensor) -> None:
    """One sample of the data set ``name``."""
    ax.set(xticks=[], yticks=[])
    if name == "PenDigits":
        pen(ax, x)
    elif name == "Letter":
        bars(ax, x)
    else:
        cmap = "gray" if name == "COIL20" else "gray_r"
        ax.imshow(image(x), cmap=cmap, vmin=0, vmax=1, interpolation="nearest")


def main(target: Path) -> None:
    """Draw the page."""
    warnings.simplefilter("ignore")
    figure, rows = plt.subplots(len(NAMES), SAMPLES, figsize=(SAMPLES * 0.75, len(NAMES) * 0.82))
    with tempfile.TemporaryDirectory() as root:
        for name, axes in zip(NAMES, rows, strict=True):
            options = {"allow_partial": True} if name in PARTIAL else {}
            x, y = getattr(datasets, name)(root, **options).split("train")
            axes[0].set_ylabel(name, rotation=0, ha="right", va="center")
            chosen = choose(y)
            for ax, row in zip(axes, chosen, strict=False):
                draw(ax, name, x[row])
                label = chr(65 + int(y[row])) if "Letter" in name else int(y[row])
                ax.set_title(label, fontsize=7, pad=2)
            for ax in axes[len(chosen) :]:
                ax.axis("off")
    figure.savefig(target, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(__file__).parent / "images" / "datasets.png")
