"""What the commands print and write as text."""

import csv
from collections.abc import Iterable, Sequence
from math import sqrt
from pathlib import Path

from pyg_relational.own_data import OwnData

__all__ = ["describe", "share", "table", "write_csv"]

_MOST_LINES = 30
_Z = 1.959963984540054  # of a two-sided 95 % interval


def describe(data: OwnData, path: Path) -> str:
    """How many rows, features and labels.

    Args:
        data: What was read.
        path: From where.
    """
    n, width = len(data.y), data.x[0].numel()
    known = int((data.y >= 0).sum())
    labels = f"; {known:,} with a label of {len(data.classes)} classes" if data.classes else ""
    return f"{path.name}: {n:,} rows, {width:,} features{labels}"


def share(hits: int, count: int) -> str:
    """A share in percent with its 95 % interval by `Wilson <https://doi.org/10.2307/2276774>`_ (1927).

    Args:
        hits: How many of them.
        count: Number of independent trials, at least 1.

    Example:
        >>> share(9, 10)
        '90.0 % [59.6, 98.2]'
    """
    p, z = hits / count, _Z**2 / count
    middle = (p + z / 2) / (1 + z)
    half = sqrt(p * (1 - p) * z + z**2 / 4) / (1 + z)
    return f"{100 * p:.1f} % [{100 * (middle - half):.1f}, {100 * (middle + half):.1f}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str | int]]) -> str:
    """Columns of text, the first to the left and numbers to the right; of a long one the first lines.

    Args:
        header: Names of the columns.
        rows: Their cells.

    Example:
        >>> print(table(["class", "rows"], [["cat", 12], ["mouse", 3]]))
        class  rows
        cat      12
        mouse     3
    """
    cells = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
    left_out = len(cells) - _MOST_LINES
    cells = [list(header), *(cells if left_out <= 0 else cells[:_MOST_LINES])]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(w) if i else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([*lines, *([f"... and {left_out:,} more"] if left_out > 0 else [])])


def write_csv(path: Path, columns: dict[str, Iterable[object]]) -> None:
    """Write columns of one length as a CSV file.

    Args:
        path: Of the file.
        columns: By name.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
