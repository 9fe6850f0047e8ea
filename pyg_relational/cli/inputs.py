"""What the commands share at their start: options, the table, its graph, and names of files that may be written."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_count
from pyg_relational.own_data import OwnData, read_own_data
from pyg_relational.transforms.knn_graph import knn_graph

__all__ = ["Graph", "add_inputs", "new_files", "read_graph"]


_LABELS = ("class", "label", "labels", "target", "y")  # usual names of their column


class Graph(NamedTuple):
    """A table, its standardised features ``[n, d]``, and the kNN graph of its rows: edges of a positive weight."""

    data: OwnData
    x: Tensor
    edge_index: Tensor
    edge_weight: Tensor


def add_inputs(parser: ArgumentParser, label: str) -> None:
    """Options of every command.

    Args:
        parser: Parser of the command.
        label: What labels are for.
    """
    parser.add_argument("data", type=Path, help="file.csv, .parquet or .npz, or a folder of images")
    parser.add_argument("--label", metavar="COLUMN", help=label)
    parser.add_argument(
        "--ignore",
        metavar="COLUMN",
        action="append",
        default=[],
        help="column that is no feature, such as an identifier; may be given again",
    )
    parser.add_argument("--k", type=int, default=10, help="neighbours of a row (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="of all chance (default: 0)")
    parser.add_argument("--output", type=Path, help="folder (default: <data>-<command>)")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")


def new_files(folder: Path, names: Sequence[str], force: bool) -> list[Path]:
    """Paths of files to write, in a folder that is made.

    Args:
        folder: Where.
        names: Names of the files.
        force: Whether they may be there.

    Raises:
        FileExistsError: If one is there and may not be.
        ImportError: If matplotlib, which some are drawn with, is not installed.
    """
    from pyg_relational.visualize import new_figure

    new_figure()
    paths = [folder / name for name in names]
    for path in paths:
        if path.exists() and not force:
            raise FileExistsError(
                f"{path} is there: --force overwrites it, --output takes another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    return paths


def read_graph(data: Path, label: str | None, ignore: Sequence[str], k: int) -> Graph:
    """Read a table and join its rows with their nearest neighbours.

    Args:
        data: As :func:`~pyg_relational.own_data.read_own_data` takes it.
        label: Column of the labels.
        ignore: Columns to leave out.
        k: Number of neighbours.
    """
    from sklearn.preprocessing import StandardScaler

    own = read_own_data(data, label, ignore=ignore)
    n = len(own.y)
    if not check_count(k, "k") < n:
        raise ValueError(f"k must be less than the number of rows, got {k} and {n} rows")
    _warn_of_row_numbers(own)
    if label is None:
        _warn_of_labels(own)
    scaled = StandardScaler().fit_transform(own.x.flatten(1).numpy())
    x = torch.from_numpy(scaled).float()
    edge_index, weight = knn_graph(x, k)
    return Graph(own, x, edge_index[:, weight > 0], weight[weight > 0])


def _warn_of_row_numbers(data: OwnData) -> None:
    """Names of columns that count the rows: as features they are next to never meant."""
    for name, column in zip(data.columns, data.x.T if data.columns else (), strict=True):
        if torch.equal(column - column[0], torch.arange(len(column)).to(column)):
            print(
                f"note: column {name!r} counts the rows; --ignore {name!r} leaves it out",
                file=sys.stderr,
            )


def _warn_of_labels(data: OwnData) -> None:
    """Names of columns that may be labels: text, or a usual name. As features they would show in the graph."""
    texts = {name.partition("=")[0]: None for name in data.columns if "=" in name}
    named = [name for name in data.columns if name.lower() in _LABELS]
    for name in [*texts, *named]:
        print(
            f"note: column {name!r} is a feature; --label {name!r} takes it for the classes, "
            f"--ignore {name!r} leaves it out",
            file=sys.stderr,
        )
