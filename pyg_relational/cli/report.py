"""What the commands print and write as text."""

import csv
from collections.abc import Iterable, Sequence
from math import sqrt
from pathlib import Path

from pyg_relational.own_data import OwnData

__all__ = ["count", "describe", "share", "table", "write_csv"]

_MOST_LINES = 30
_Z = 1.959963984540054  # of a two-sided 95 % interval


def count(number: int, what: str) -> str:
    """A number of things.

    Args:
        number: How many.
        what: One of them.

    Example:
        >>> count(1, "row"), count(2000, "row"), count(2, "class")
        ('1 row', '2,000 rows', '2 classes')
    """
    many = "es" if what.endswith("s") else "s"
    return f"{number:,} {what}{many if number != 1 else ''}"


def describe(data: OwnData, path: Path) -> str:
    """How many rows, features and labels.

    Args:
        data: What was read.
        path: Where it was read from.
    """
    n, width = len(data.y), data.x[0].numel()
    known = int((data.y >= 0).sum())
    labels = f"; {known:,} with a label of {count(len(data.classes), 'class')}"
    what = f"{path.name}: {count(n, 'row')}, {count(width, 'feature')}"
    return what + labels if data.classes else what


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
    """Columns of text, the first to the left and numbers to the right; of a long one the first lines and the last.

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
    if left_out > 0:
        cells = cells[: _MOST_LINES - 1] + cells[-1:]
    cells.insert(0, list(header))
    first, *others = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join([row[0].ljust(first), *map(str.rjust, row[1:], others)]) for row in cells]
    if left_out > 0:
        lines.insert(-1, f"... and {left_out:,} more")
    return "\n".join(lines)


def write_csv(path: Path, columns: dict[str, Iterable[object]]) -> None:
    """Write columns of one length as a CSV file.

    Args:
        path: Path of the file.
        columns: Columns by name.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
