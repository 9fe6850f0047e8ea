"""Figures that no window or global state knows of, and their files."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["CLASS_LABELS", "axes_of", "class_colours", "name_colours", "new_figure", "save_figure"]

CLASS_LABELS = 14  # that fit beside a small picture


def new_figure(width: float = 5, height: float = 4) -> "Figure":
    """An empty figure that no window or global state knows of.

    Args:
        width: Width in inches.
        height: Height in inches.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> new_figure().get_axes()
        []
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> list[Path]:
    """Write a figure as PNG (150 dots per inch) and as SVG; each file appears whole.

    Args:
        figure: What to write.
        path: File name without its ending; folders are made.

    Returns:
        The two files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file.name for file in save_figure(new_figure(), f"{folder}/empty")]
        ['empty.png', 'empty.svg']
    """
    base = Path(path)
    base.parent.mkdir(parents=True, exist_ok=True)
    files = []
    for ending, metadata in (("png", {}), ("svg", {"Date": None})):
        target = base.with_name(f"{base.name}.{ending}")
        part = base.with_name(f".{base.name}.{os.getpid()}.part")
        figure.savefig(part, format=ending, dpi=150, metadata=metadata)
        os.replace(part, target)
        files.append(target)
    return files


def axes_of(ax: "Axes | None") -> "Axes":
    """The given axes, or those of a new figure.

    Args:
        ax: Axes.
    """
    axes: Axes = new_figure().add_subplot() if ax is None else ax
    return axes


def class_colours(known: int) -> Any:
    """Colour map of the numbers of classes; grey below 0.

    Args:
        known: Number of classes.
    """
    from matplotlib import colormaps

    count = max(known, 1)
    colours = colormaps["tab10" if count <= 10 else "turbo"].resampled(count)
    return colours.with_extremes(under="lightgrey")


def name_colours(axes: "Axes", colours: Mapping[str, Any], title: str = "class") -> None:
    """What each colour is, right of the picture.

    Args:
        axes: Axes of the picture.
        colours: Colours by name.
        title: Above the names.
    """
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 5}
    handles = [
        Line2D([], [], color=colour, label=name, **style) for name, colour in colours.items()
    ]
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
    axes.legend(handles=handles, title=title, fontsize=8, **place)
