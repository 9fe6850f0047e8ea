"""The growth of cost with the size of the graph, from the rows of the speed suite."""

import re
from pathlib import Path
from statistics import median

from benchmarks.speed.propagation import CURVE
from benchmarks.speed.table import Row
from pyg_relational.visualize import new_figure, save_figure


def curve(rows: list[Row], folder: Path) -> None:
    """Draw CPU seconds and extra memory against edges; needs two sizes."""
    grown = [row for row in rows if row.name.startswith(CURVE)]
    if len(grown) < 2:
        return
    edges = [int(re.match(r"\d+", row.check)[0]) for row in grown]  # type: ignore[index]
    seconds = [median(row.seconds["ours"]) for row in grown]
    memory = [row.memory["ours"] for row in grown]
    figure = new_figure(9, 3.6)
    for axes, values, name in zip(
        figure.subplots(1, 2), (seconds, memory), ("CPU seconds", "extra MiB"), strict=True
    ):
        axes.loglog(edges, values, "o-", color="#0072B2", label="measured")
        slope = [values[-1] * e / edges[-1] for e in edges]
        axes.loglog(edges, slope, "--", color="#999999", label="proportional to edges")
        axes.set_xlabel("directed edges")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    figure.suptitle("Laplace propagation forward and backward, 10 classes, k = 24, one thread")
    save_figure(figure, folder / "linear")
