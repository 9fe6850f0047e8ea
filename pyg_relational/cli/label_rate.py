"""The picture of accuracy against labels a class."""

from pathlib import Path

from pyg_relational.cli.picture import plain
from pyg_relational.visualize import new_figure
from pyg_relational.visualize.label_rate_curve import draw_rates

__all__ = ["draw_label_rates"]


def draw_label_rates(path: Path, rates: dict[str, dict[int, list[float]]], title: str) -> None:
    """Draw means over seeds with their 95 % Student-t intervals.

    Args:
        path: Path of the PNG file.
        rates: As :func:`~pyg_relational.cli.spread.label_rates` gives them.
        title: Above it.
    """
    figure = new_figure(7, 4.5)
    axes = figure.add_subplot()
    draw_rates(axes, rates)
    axes.set_ylabel("accuracy on held-out labels, %")
    draws = len(next(iter(next(iter(rates.values())).values())))
    axes.set_title(f"{plain(title)}: means of {draws} draws, 95 % intervals", fontsize=11)
    figure.savefig(path, dpi=150)
