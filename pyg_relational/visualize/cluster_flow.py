"""Which classes are in which clusters."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_relational.ops.checks import check_classes
from pyg_relational.visualize.figure import axes_of, class_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["cluster_flow"]

_GAP = 0.25  # between bars, of all that is high
_WIDTH = 0.06  # of a bar
_SMALL = 0.012  # shares below it have no name


def cluster_flow(y: Tensor, clusters: Tensor, ax: "Axes | None" = None) -> "Axes":
    """Draw how the rows of each class flow into clusters: classes at the left, clusters at the right.

    A bar is as high as it has rows, a band as wide as a class and a cluster share. Clusters are sorted by the classes
    they hold. Names of bars below 1.2 % of the rows are left out.

    Args:
        y: Class of each row, or -1 for none.
        clusters: Cluster of each row, or -1 for none.
        ax: Where to draw. Default: the axes of a new figure.

    Shapes:
        - **y, clusters:** :math:`(n)`, int64
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, no rows, or a number below -1.

    Example:
        >>> import torch
        >>> ax = cluster_flow(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 1]))
        >>> [text.get_text() for text in ax.texts]
        ['0', '1', '0', '1']
    """
    check_classes(y, len(y))
    check_classes(clusters, len(y), "clusters")
    if not len(y):
        raise ValueError("y must have rows, got none")
    left, number = y.cpu().unique(return_inverse=True)
    right, other = clusters.cpu().unique(return_inverse=True)
    shared = torch.zeros(len(left), len(right), dtype=torch.float64)
    shared.index_put_((number, other), torch.ones(len(y), dtype=torch.float64), accumulate=True)
    shares = (shared / len(y)).numpy()
    order = np.argsort(np.arange(len(left)) @ shares / shares.sum(0), kind="stable")
    shares, right = shares[:, order], right[torch.from_numpy(order)]
    known = int((left >= 0).sum())
    colours = class_colours(known)(left.ge(0).cumsum(0).sub(1).where(left >= 0, -1).numpy())
    axes = axes_of(ax)
    starts, ends = _bottoms(shares.sum(1)), _bottoms(shares.sum(0))
    _bands(axes, shares, starts, ends, colours)
    _bars(axes, 0, starts, shares.sum(1), _names(left), colours)
    _bars(axes, 1, ends, shares.sum(0), _names(right), ["0.45"] * len(right))
    axes.set(xlim=(-0.15, 1.15), ylim=(1 + _GAP + 0.01, -0.01), yticks=[])
    axes.set_xticks([0, 1], ["class", "cluster"])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return axes


def _names(numbers: Tensor) -> list[str]:
    return ["none" if number < 0 else str(number) for number in numbers.tolist()]


def _bottoms(sizes: NDArray[Any]) -> NDArray[Any]:
    """Where each bar begins."""
    gap = _GAP / max(len(sizes) - 1, 1)
    bottoms: NDArray[Any] = np.cumsum(sizes) - sizes + gap * np.arange(len(sizes))
    return bottoms if len(sizes) > 1 else bottoms + _GAP / 2


def _bands(
    axes: "Axes", shares: NDArray[Any], starts: NDArray[Any], ends: NDArray[Any], colours: Any
) -> None:
    t = np.linspace(0, 1, 40)
    ease = t * t * (3 - 2 * t)
    x = _WIDTH / 2 + (1 - _WIDTH) * t
    starts, ends = starts.copy(), ends.copy()
    for row, col in zip(*np.nonzero(shares), strict=True):
        top = starts[row] + (ends[col] - starts[row]) * ease
        axes.fill_between(x, top, top + shares[row, col], color=colours[row], alpha=0.55, lw=0)
        starts[row] += shares[row, col]
        ends[col] += shares[row, col]


def _bars(
    axes: "Axes",
    x: float,
    bottoms: NDArray[Any],
    sizes: NDArray[Any],
    names: list[str],
    colours: Any,
) -> None:
    axes.bar([x] * len(sizes), sizes, _WIDTH, bottoms, color=list(colours), zorder=2)
    place: dict[str, Any] = {"va": "center", "ha": "left" if x else "right", "fontsize": 8}
    for bottom, size, name in zip(bottoms, sizes, names, strict=True):
        if size >= _SMALL:
            axes.text(x + (_WIDTH if x else -_WIDTH), bottom + size / 2, name, **place)
