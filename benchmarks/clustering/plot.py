"""The picture of the clustering study: accuracy before and after pruning."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.clustering.names import clustering_name, graph_name
from benchmarks.clustering.table import BASELINE, with_test
from benchmarks.drawing import legend, style
from benchmarks.store import Row
from benchmarks.suite import Pictures
from benchmarks.tables import half_interval
from pyg_relational.visualize import new_figure

SLOT = 0.13  # inches of a line


def pictures(rows: Sequence[Row], folders: Sequence[Path]) -> Pictures:
    """``accuracy`` alone."""
    return {"accuracy": lambda: accuracy(pd.DataFrame(with_test(rows)))}


def accuracy(runs: pd.DataFrame) -> Figure:
    """Mean and interval of every graph by data set and clustering, one below the other; the kNN graph's as a line."""
    sets, graphs = (list(runs[name].unique()) for name in ("data", "graph"))
    across = min(len(sets), 3)
    rows = [sets[start : start + across] for start in range(0, len(sets), across)]
    high = [max(_slots(runs[runs["data"] == data]) for data in row) for row in rows]
    figure = new_figure(4.4 * across, 1.2 + sum(0.6 + SLOT * slots for slots in high))
    grid = {"height_ratios": [0.6 + SLOT * slots for slots in high]}
    axes = figure.subplots(len(rows), across, squeeze=False, gridspec_kw=grid)
    for ax, data in zip(axes.ravel(), sets, strict=False):
        _panel(ax, runs[runs["data"] == data], graphs)
        ax.set_title(data, fontsize=10)
    for ax in axes.ravel()[len(sets) :]:
        ax.axis("off")
    legend(figure, axes[0, 0], "clustering accuracy, %")
    return figure


def _slots(runs: pd.DataFrame) -> int:
    """Lines of a panel: one a graph and clustering, and one between clusterings."""
    return len(runs.groupby(["clustering", "graph"])) + runs["clustering"].nunique()


def _panel(ax: Axes, runs: pd.DataFrame, graphs: Sequence[str]) -> None:
    at, middles = 0, []
    for clustering, of_clustering in runs.groupby("clustering", sort=False):
        groups = dict(list(of_clustering.groupby("graph", sort=False)["accuracy"]))
        for line, (graph, values) in enumerate(groups.items(), start=at):
            mean, half = 100 * values.mean(), half_interval((100 * values).tolist())
            ends = [[min(half, mean)], [min(half, 100 - mean)]]
            look = style(graphs.index(graph))
            ax.errorbar(mean, line, xerr=ends, capsize=2, label=graph_name(graph), **look)
            if graph == BASELINE:
                ax.plot([mean] * 2, [at - 0.6, at + len(groups) - 0.4], color="0.5", linewidth=0.8)
        middles.append((at + (len(groups) - 1) / 2, clustering_name(str(clustering))))
        at += len(groups) + 1
    ax.set_yticks(*zip(*middles, strict=True))
    ax.tick_params("y", length=0)
    ax.set_ylim(at - 1, -1)
    ax.grid(axis="x", alpha=0.3)
