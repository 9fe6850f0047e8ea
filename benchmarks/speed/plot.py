"""Pictures of the rows of the speed suite: cost over the size of the graph, and neighbours against their peers."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from benchmarks.speed.neighbors import DIMENSIONS, KINDS, SIZES, case_name
from benchmarks.speed.propagation import CURVE
from benchmarks.store import Row
from benchmarks.suite import Pictures
from pyg_relational.visualize import new_figure


def pictures(rows: Sequence[Row], folders: Sequence[Path]) -> Pictures:
    """``linear`` and ``neighbours``."""
    return {"linear": partial(curve, rows), "neighbours": partial(ratios, rows)}


def curve(rows: Sequence[Row]) -> Figure | None:
    """CPU seconds and extra memory against edges; None with fewer than two sizes."""
    grown = [row for row in rows if row["case"].startswith(CURVE)]
    if len(grown) < 2:
        return None
    edges = [int(row["check"].split()[0]) for row in grown]
    seconds = [median(row["seconds"]["ours"]) for row in grown]
    memory = [row["memory"]["ours"] for row in grown]
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
    return figure


def ratios(rows: Sequence[Row]) -> Figure | None:
    """Draw our time over that of the fastest peer, over sizes, dimensions and kinds of data."""
    found = {row["case"]: {peer: median(t) for peer, t in row["seconds"].items()} for row in rows}
    if case_name(SIZES[0], DIMENSIONS[0], KINDS[0]) not in found:
        return None
    figure = new_figure(9, 2.8)
    for axes, kind in zip(figure.subplots(1, len(KINDS), sharey=True), KINDS, strict=True):
        axes.set_title(kind, fontsize=10)
        axes.set_xticks(range(len(DIMENSIONS)), [f"d = {d}" for d in DIMENSIONS], fontsize=7)
        axes.set_yticks(range(len(SIZES)), [f"n = {n:,}" for n in SIZES], fontsize=8)
        axes.set_xlim(-0.5, len(DIMENSIONS) - 0.5)
        axes.set_ylim(-0.5, len(SIZES) - 0.5)
        for (i, n), (j, d) in product(enumerate(SIZES), enumerate(DIMENSIONS)):
            seconds = dict(found.get(case_name(n, d, kind), {}))
            if not seconds:
                continue
            ratio = seconds.pop("ours") / min(seconds.values())
            shade = "#9ecae1" if ratio <= 1 else "#fdd0a2"
            axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, color=shade))
            axes.text(j, i, f"{ratio:.2f}", ha="center", va="center", fontsize=8)
    figure.suptitle(
        "Exact neighbours, k = 10: CPU time over that of the faster of faiss flat and SciPy's k-d tree"
    )
    return figure
