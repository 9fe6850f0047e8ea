"""The picture of a graph in the plane."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_relational.cli.inputs import Graph
from pyg_relational.visualize import new_figure
from pyg_relational.visualize.graph_map import graph_places

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_graph", "plain"]

_Array = NDArray[Any]

_COLOURS = (  # tab10 and tab20 without their greys
    *(
        "tab:blue",
        "tab:orange",
        "tab:green",
        "tab:red",
        "tab:purple",
        "tab:brown",
        "tab:pink",
        "tab:olive",
        "tab:cyan",
    ),
    *(
        "#20205f",
        "#aec7e8",
        "#ffbb78",
        "#98df8a",
        "#ff9896",
        "#c5b0d5",
        "#c49c94",
        "#f7b6d2",
        "#dbdb8d",
        "#9edae5",
    ),
)
_LONGEST = 24  # letters of a name in the legend


def draw_graph(
    path: Path,
    graph: Graph,
    groups: Tensor,
    names: Sequence[str],
    title: str,
    *,
    given: bool = False,
    none: str = "none",
    seed: int = 0,
) -> None:
    """Draw the rows as points, coloured by group, joined by their edges.

    Args:
        path: Path of the PNG file.
        graph: Rows and edges.
        groups: Group of every row ``[n]``, -1 for none.
        names: Names of the groups.
        title: Above it.
        given: Whether to draw rows with a given label large, where there are others.
        none: Name of the rows without a group.
        seed: Seed of the layout.
    """
    at = graph_places(graph.x, graph.edge_index, graph.edge_weight, seed=seed)
    figure = new_figure(9, 6.5)
    axes = figure.add_subplot()
    _draw_edges(axes, at, graph)
    size = float(np.clip(30_000 / len(at), 3, 40))
    large = (graph.data.y >= 0) & given
    large &= not bool(large.all())
    own, smaller = _shown(groups)
    parts = [
        (plain(_short(names[number])), groups == number, colour)
        for number, colour in zip(own.tolist(), _COLOURS, strict=False)
    ]
    parts += [(f"{len(smaller):,} others", torch.isin(groups, smaller), "dimgrey")]
    parts += [(none, groups < 0, "lightgrey")]
    for _, rows, colour in reversed(parts):
        _points(axes, at, rows & ~large, s=size, color=colour, linewidths=0, zorder=2)
        _points(axes, at, rows & large, s=60, color=colour, edgecolors="black", zorder=3)
    for name, rows, colour in parts:
        if count := int(rows.sum()):
            axes.scatter([], [], s=40, color=colour, label=f"{name} ({count:,})")
    if bool(large.any()):
        axes.scatter([], [], s=60, c="white", edgecolors="black", label="label was given")
    axes.set_title(plain(title))
    axes.set_axis_off()
    axes.set_aspect("equal", "datalim")
    figure.legend(loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)


def plain(text: str) -> str:
    r"""Text that matplotlib shows as it is: dollars are no formula, and a name with a line before it is in the legend.

    Args:
        text: Any.

    Example:
        >>> plain("$5"), plain("_other")
        ('\\$5', ' _other')
    """
    return " " * text.startswith("_") + text.replace("$", r"\$")


def _draw_edges(axes: "Axes", at: _Array, graph: Graph) -> None:
    from matplotlib.collections import LineCollection

    once = graph.edge_index[0] < graph.edge_index[1]
    lines = at[graph.edge_index[:, once].T.numpy()]
    alpha = float(np.clip(3000 / max(len(lines), 1), 0.06, 0.5))
    axes.add_collection(LineCollection(list(lines), colors="0.5", linewidths=0.4, alpha=alpha))


def _points(axes: "Axes", at: _Array, rows: Tensor, **style: Any) -> None:
    x, y = at[rows.numpy()].T
    axes.scatter(x, y, **style)


def _shown(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Groups with a colour of their own, the largest in the order of their numbers, and the others."""
    found, counts = groups[groups >= 0].unique(return_counts=True)
    order = found[counts.argsort(descending=True, stable=True)]
    most = len(_COLOURS) if len(order) <= len(_COLOURS) else len(_COLOURS) - 1
    return order[:most].sort().values, order[most:]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"
