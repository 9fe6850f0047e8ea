"""The picture of accuracy against labels a class."""

from pathlib import Path

import numpy as np

from pyg_relational.cli.picture import plain
from pyg_relational.visualize import new_figure

__all__ = ["draw_label_rates"]

_STYLES = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"))


def draw_label_rates(path: Path, rates: dict[str, dict[int, list[float]]], title: str) -> None:
    """Draw means over seeds with their 95 % Student-t intervals.

    Args:
        path: Of the PNG file.
        rates: As :func:`~pyg_relational.cli.spread.label_rates` gives them.
        title: Above it.
    """
    from matplotlib.ticker import NullLocator

    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    for i, (name, by_rate) in enumerate(rates.items()):
        means, halves = np.array([_mean(100 * np.array(values)) for values in by_rate.values()]).T
        at = np.array(list(by_rate)) * (0.985, 1.015)[i]  # so that intervals lie beside each other
        ends = np.minimum([halves, halves], [means, 100 - means])
        colour, marker, line = _STYLES[i]
        axes.errorbar(at, means, ends, capsize=3, label=name, color=colour, marker=marker, ls=line)
    places = list(next(iter(rates.values())))
    axes.set_xscale("log")
    axes.set_xticks(places, [str(place) for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="labels a class", ylabel="accuracy on held-out labels, %")
    axes.set_title(
        f"{plain(title)}: means of {len(next(iter(by_rate.values())))} draws, 95 % intervals",
        fontsize=11,
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def _mean(values: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> tuple[float, float]:
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)
