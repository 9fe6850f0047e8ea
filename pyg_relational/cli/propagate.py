"""Spread the labels of a few rows to all others."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import torch

from pyg_relational.cli.inputs import Graph, add_inputs, new_files, read_graph
from pyg_relational.cli.label_rate import draw_label_rates
from pyg_relational.cli.picture import draw_graph
from pyg_relational.cli.report import describe, share, table, write_csv
from pyg_relational.cli.spread import Method, Predicted, cross_validate, label_rates, spread

__all__ = ["add_options", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Options of the command.

    Args:
        parser: Its parser.
    """
    add_inputs(parser, "column of the labels; empty, NA or -1 where there is none")
    parser.add_argument(
        "--method",
        choices=("laplace", "poisson"),
        default="laplace",
        help="poisson for one or two labels a class (default: laplace)",
    )


def run(
    data: Path,
    label: str | None,
    ignore: Sequence[str],
    k: int,
    seed: int,
    output: Path | None,
    force: bool,
    method: Method,
) -> None:
    """Write predictions and pictures, and print a table.

    Args:
        data: The table.
        label: Column of the labels.
        ignore: Columns to leave out.
        k: Number of neighbours.
        seed: Seed of all chance.
        output: Folder to write to.
        force: Whether to overwrite.
        method: How labels spread.
    """
    if label is None and not data.is_dir():
        raise ValueError("--label must name the column of the labels")
    folder = output or Path(f"{data.stem}-propagate")
    graph = read_graph(data, label, ignore, k)
    y, classes = graph.data.y, graph.data.classes
    if len(classes) < 2:
        raise ValueError(f"labels must be of two classes or more, got {classes[0]!r} alone")
    names = ["predictions.csv", "graph.png", "label_rate.png"]
    predictions, picture, curve = new_files(folder, names, force)
    found = spread(graph, y, method, k)
    _write(predictions, graph, found)
    print(describe(graph.data, data), _table(graph, found), sep="\n\n", end="\n\n")
    print(_validated(graph, method, k, seed))
    lost = int((found.y < 0).sum())
    print(f"Rows that no label reaches: {lost:,}{'; a larger --k joins more' if lost else ''}")
    draw_graph(
        picture,
        graph,
        found.y,
        classes,
        f"{data.name}: rows and their nearest neighbours (k = {k}), coloured by predicted class",
        given=True,
        none="no label reaches it",
        seed=seed,
    )
    written = [predictions, picture]
    rates = label_rates(graph, method, k, seed)
    if rates:
        draw_label_rates(curve, rates, data.name)
        written.append(curve)
    else:
        curve.unlink(missing_ok=True)
        print("No curve of accuracy against labels: it takes four labels in every class")
    print("Wrote", *written)


def _write(path: Path, graph: Graph, found: Predicted) -> None:
    files = {"file": graph.data.files} if graph.data.files else {}
    names = [*graph.data.classes, ""]
    probability = ["" if p != p else f"{p:.4f}" for p in found.probability.tolist()]
    write_csv(
        path,
        {
            "row": range(len(found.y)),
            **files,
            "class": [names[c] for c in found.y.tolist()],
            "probability": probability,
            "given": ["yes" if c >= 0 else "no" for c in graph.data.y.tolist()],
        },
    )


def _table(graph: Graph, found: Predicted) -> str:
    y, classes = graph.data.y, graph.data.classes
    given = torch.bincount(y[y >= 0], minlength=len(classes)).tolist()
    spread_to = torch.bincount(found.y[(y < 0) & (found.y >= 0)], minlength=len(classes)).tolist()
    lines = [*zip(classes, given, spread_to, strict=True), ("all", sum(given), sum(spread_to))]
    return table(["class", "given", "predicted"], lines)


def _validated(graph: Graph, method: Method, k: int, seed: int) -> str:
    measured = cross_validate(graph, method, k, seed)
    if measured is None:
        return "Accuracy is not known: no class has two labels, of which one could be held out"
    return f"Cross-validated accuracy on the {measured[1]:,} labelled rows: {share(*measured)} (95 % interval)"
