"""Pictures of the clustering study: accuracy and homophily, before and after pruning."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.accuracy.drawing import legend, style
from benchmarks.accuracy.store import Row
from benchmarks.accuracy.tables import half_interval
from benchmarks.clustering.table import BASELINE, with_test
from pyg_relational.visualize import new_figure, save_figure


def write(rows: Sequence[Row], output: Path) -> list[Path]:
    """``accuracy.png`` and ``homophily.png``, each with an SVG beside it."""
    runs = pd.DataFrame(rows)
    tested = pd.DataFrame(with_test(rows))
    figures = {"accuracy": accuracy(tested), "homophily": homophily(runs)}
    return [save_figure(figure, output / name)[0] for name, figure in figures.items()]


def accuracy(runs: pd.DataFrame) -> Figure:
    """Mean and interval of every graph by clustering; the kNN graph's mean as a line."""
    figure, axes = _panels(runs)
    graphs, clusterings = list(runs["graph"].unique()), list(runs["clustering"].unique())
    for data, ax in axes.items():
        for row, clustering in enumerate(clusterings):
            same = runs[(runs["data"] == data) & (runs["clustering"] == clustering)]
            at = [row + 0.7 * (i / max(len(graphs) - 1, 1) - 0.5) for i in range(len(graphs))]
            _marks(ax, same, "accuracy", graphs, at, (row - 0.4, row + 0.4), labelled=row == 0)
        ax.set_yticks(range(len(clusterings)), clusterings)
    legend(figure, next(iter(axes.values())), "clustering accuracy, %")
    return figure


def homophily(runs: pd.DataFrame) -> Figure:
    """Share of weight inside of classes, of every graph; the kNN graph's as a line."""
    figure, axes = _panels(runs)
    once = runs.drop_duplicates(["data", "graph", "seed"])
    graphs = list(runs["graph"].unique())
    for data, ax in axes.items():
        at, span = list(range(len(graphs))), (-0.5, len(graphs) - 0.5)
        _marks(ax, once[once["data"] == data], "homophily", graphs, at, span, labelled=False)
        ax.set_yticks(at, graphs)
    figure.suptitle("homophily: weight of edges inside of classes, %")
    return figure


def _panels(runs: pd.DataFrame) -> tuple[Figure, dict[str, Axes]]:
    """A panel a data set, its first row on top."""
    sets = list(runs["data"].unique())
    across = min(len(sets), 3)
    down = -(-len(sets) // across)
    figure = new_figure(4 * across, 0.6 + 2.6 * down)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for ax, data in zip(axes, sets, strict=False):
        ax.set_title(data, fontsize=10)
        ax.grid(axis="x", alpha=0.3)
        ax.invert_yaxis()
    for ax in axes[len(sets) :]:
        ax.axis("off")
    return figure, dict(zip(sets, axes, strict=False))


def _marks(
    ax: Axes,
    runs: pd.DataFrame,
    measure: str,
    graphs: Sequence[str],
    at: Sequence[float],
    span: tuple[float, float],
    labelled: bool,
) -> None:
    values = {graph: 100 * runs.loc[runs["graph"] == graph, measure] for graph in graphs}
    ax.plot([values[BASELINE].mean()] * 2, span, color="k", linewidth=1)
    for number, (graph, y) in enumerate(zip(graphs, at, strict=True)):
        label = graph if labelled else ""
        half = half_interval(values[graph].tolist())
        ax.errorbar(values[graph].mean(), y, xerr=half, capsize=2, label=label, **style(number))
