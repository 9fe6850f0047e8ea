"""What the pictures share: colours, intervals, legends, where probes lie, files."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.tables import half_interval

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
DASHES = ["-", "--", "-.", ":"]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*", "<"]  # more than colours: pairs differ
DASH = 2.5  # widths of a line
INCHES_A_LETTER, INCHES_A_MARK = 0.085, 0.7  # of legends


def style(number: int) -> dict[str, Any]:
    """Of the marks of a method, by its number."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5,
        "linestyle": "",
    }


def interleaved(number: int, count: int) -> tuple[float, tuple[float, ...]]:
    """Dashes of one of ``count`` lines of the same width; where all coincide, each shows between the others."""
    return DASH * number, (DASH, DASH * max(count - 1, 0))


def interval_line(
    ax: Axes, x: NDArray[np.float64], values: NDArray[np.float64], method: str, number: int
) -> None:
    """Means of ``values`` over each ``x``, with their intervals."""
    at = np.unique(x)
    groups = [values[x == point] for point in at]
    means, halves = np.array([(group.mean(), half_interval(group)) for group in groups]).T
    line = style(number) | {"linestyle": DASHES[number % len(DASHES)]}
    ax.errorbar(at, means, halves, capsize=3, linewidth=1.2, label=method, **line)


def legend(figure: Figure, ax: Axes, title: str) -> None:
    """Title, and a legend of ``ax`` below the figure, in as many lines as its width needs."""
    named = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.suptitle(title)
    columns = len(named) if len(named) <= 4 else math.ceil(len(named) / 2)
    widest = INCHES_A_LETTER * max(map(len, named), default=0) + INCHES_A_MARK
    columns = max(1, min(columns, int(figure.get_figwidth() / widest)))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns)


def probe_path(run: str, folders: Sequence[Path]) -> Path | None:
    """The file of what was kept of a run."""
    paths = (folder / "probes" / f"{run}.npz" for folder in folders)
    return next((path for path in paths if path.is_file()), None)


def save(figures: Mapping[str, Figure | None], output: Path) -> list[Path]:
    """Write figures as PNG files named by their keys, leaving out what is None."""
    drawn = {output / f"{name}.png": figure for name, figure in figures.items() if figure}
    output.mkdir(parents=True, exist_ok=True)
    for path, figure in drawn.items():
        figure.savefig(path, dpi=150)
    return list(drawn)
