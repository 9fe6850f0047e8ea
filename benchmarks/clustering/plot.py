"""The picture of the clustering study: accuracy before and after pruning."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.clustering.table import BASELINE, with_test
from benchmarks.drawing import legend, style
from benchmarks.store import Row
from benchmarks.suite import Pictures
from benchmarks.tables import half_interval
from pyg_relational.visualize import new_figure


def pictures(rows: Sequence[Row], folders: Sequence[Path]) -> Pictures:
    """``accuracy`` alone."""
    return {"accuracy": lambda: accuracy(pd.DataFrame(with_test(rows)))}


def accuracy(runs: pd.DataFrame) -> Figure:
    """Mean and interval of every graph by data set and clustering; the kNN graph's mean as a line."""
    sets, graphs = (list(runs[name].unique()) for name in ("data", "graph"))
    across = min(len(sets), 3)
    down = -(-len(sets) // across)
    figure = new_figure(4 * across, 0.6 + 2.6 * down)
    axes = figure.subplots(down, across, squeeze=False).ravel()
    for ax, data in zip(axes, sets, strict=False):
        of_data = runs[runs["data"] == data]
        clusterings = list(of_data["clustering"].unique())
        for (clustering, graph), group in of_data.groupby(["clustering", "graph"], sort=False):
            line, number = clusterings.index(clustering), graphs.index(graph)
            at = line + 0.7 * (number / max(len(graphs) - 1, 1) - 0.5)
            values = 100 * group["accuracy"]
            half = half_interval(values.tolist())
            ax.errorbar(values.mean(), at, xerr=half, capsize=2, label=graph, **style(number))
            if graph == BASELINE:
                ax.plot([values.mean()] * 2, [line - 0.4, line + 0.4], color="k", linewidth=1)
        ax.set_title(data, fontsize=10)
        ax.set_yticks(range(len(clusterings)), clusterings)
        ax.set_ylim(len(clusterings) - 0.5, -0.5)
        ax.grid(axis="x", alpha=0.3)
    for ax in axes[len(sets) :]:
        ax.axis("off")
    legend(figure, axes[0], "clustering accuracy, %")
    return figure
