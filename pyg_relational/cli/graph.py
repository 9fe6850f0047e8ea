"""Write the graph of nearest neighbours."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import torch

from pyg_relational.cli.inputs import Graph, add_inputs, new_files, read_graph
from pyg_relational.cli.picture import draw_graph
from pyg_relational.cli.report import describe, write_csv
from pyg_relational.ops import connected_components

__all__ = ["add_options", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Options of the command.

    Args:
        parser: Its parser.
    """
    add_inputs(parser, "column of classes, for homophily and colours; it is no feature")


def run(
    data: Path,
    label: str | None,
    ignore: Sequence[str],
    k: int,
    seed: int,
    output: Path | None,
    force: bool,
) -> None:
    """Write edges and a picture, and print a summary.

    Args:
        data: The table.
        label: Column of classes.
        ignore: Columns to leave out.
        k: Number of neighbours.
        seed: Seed of the layout.
        output: Folder to write to.
        force: Whether to overwrite.
    """
    folder = output or Path(f"{data.stem}-graph")
    graph = read_graph(data, label, ignore, k)
    edges, picture = new_files(folder, ["edges.csv", "graph.png"], force)
    once = graph.edge_index[0] < graph.edge_index[1]
    row, neighbour = graph.edge_index[:, once].tolist()
    weight = [f"{w:.6g}" for w in graph.edge_weight[once].tolist()]
    write_csv(edges, {"row": row, "neighbour": neighbour, "weight": weight})
    component = connected_components(graph.edge_index, len(graph.x))
    print(describe(graph.data, data), _summary(graph, component), sep="\n\n")
    groups, names, by = component, [f"component {c}" for c in range(len(component))], "component"
    if graph.data.classes:
        groups, names, by = graph.data.y, graph.data.classes, "given class"
    title = f"{data.name}: rows and their nearest neighbours (k = {k}), coloured by {by}"
    draw_graph(picture, graph, groups, names, title, given=True, none="no label", seed=seed)
    print("\nWrote", edges, picture)


def _summary(graph: Graph, component: torch.Tensor) -> str:
    degree = torch.bincount(graph.edge_index[0], minlength=len(graph.x))
    sizes = component.bincount().sort(descending=True).values
    lines = [
        ("edges", f"{graph.edge_index.shape[1] // 2:,}"),
        ("neighbours", f"{degree.min()} to {degree.max()}, median {degree.median()}"),
        ("rows without a neighbour", f"{int((degree == 0).sum()):,}"),
        ("components", f"{len(sizes):,}, the largest of {sizes[0]:,} rows"),
    ]
    y = graph.data.y
    if bool((y[graph.edge_index] >= 0).all(0).any()):
        from pyg_relational.metrics import homophily

        share = 100 * homophily(graph.edge_index, graph.edge_weight, y).item()
        lines.append(("homophily", f"{share:.1f} % of the weight between labels"))
    return "\n".join(f"{name:<26}{value}" for name, value in lines)
