"""Find clusters of rows."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pyg_relational.cli.inputs import Graph, add_inputs, new_files, read_graph
from pyg_relational.cli.picture import draw_graph
from pyg_relational.cli.report import count, describe, table, write_csv
from pyg_relational.cluster import leiden, spectral
from pyg_relational.ops import modularity

__all__ = ["add_options", "run"]


def add_options(parser: ArgumentParser) -> None:
    """Options of the command.

    Args:
        parser: Its parser.
    """
    add_inputs(parser, "column of classes to compare with; it is no feature")
    parser.add_argument(
        "--clusters",
        type=int,
        help="number of clusters, by spectral clustering (default: Leiden's choice)",
    )
    parser.add_argument(
        "--prune",
        action="store_true",
        help="drop edges between clusters first, where modularity rises",
    )


def run(
    data: Path,
    label: str | None,
    ignore: Sequence[str],
    k: int,
    seed: int,
    output: Path | None,
    force: bool,
    clusters: int | None,
    prune: bool,
) -> None:
    """Write clusters and a picture, and print their sizes.

    Args:
        data: The table.
        label: Column of classes to compare with.
        ignore: Columns to leave out.
        k: Number of neighbours.
        seed: Seed of all chance.
        output: Folder to write to.
        force: Whether to overwrite.
        clusters: How many to find.
        prune: Whether to prune the graph before.
    """
    if prune and clusters is None:
        raise ValueError("--prune must be given with --clusters")
    folder = output or Path(f"{data.stem}-cluster")
    graph = read_graph(data, label, ignore, k)
    table_file, picture = new_files(folder, ["clusters.csv", "graph.png"], force)
    found, how = _clusters(graph, clusters, prune, seed)
    files = {"file": graph.data.files} if graph.data.files else {}
    write_csv(table_file, {"row": range(len(found)), **files, "cluster": found.tolist()})
    sizes = found.bincount()
    order = sizes.argsort(descending=True, stable=True).tolist()
    print(describe(graph.data, data), how, sep="\n\n", end="\n\n")
    print(table(["cluster", "rows"], [(str(c), int(sizes[c])) for c in order]))
    print(f"\nModularity: {modularity(graph.edge_index, graph.edge_weight, found).item():.3f}")
    _print_agreement(graph.data.y, found)
    names = [f"cluster {c}" for c in range(len(sizes))]
    title = f"{data.name}: rows and their nearest neighbours (k = {k}), coloured by cluster"
    draw_graph(picture, graph, found, names, title, seed=seed)
    print("Wrote", table_file, picture)


def _clusters(graph: Graph, clusters: int | None, prune: bool, seed: int) -> tuple[Tensor, str]:
    """Cluster of every row, and how it was found."""
    edges, n = (graph.edge_index, graph.edge_weight), len(graph.x)
    if clusters is None:
        found = leiden(*edges, n, seed=seed)
        return (
            found,
            f"{count(int(found.max()) + 1, 'cluster')} by Leiden, which maximises modularity",
        )
    if not prune:
        size = max(2, n // (10 * clusters)) if clusters > 0 else 2
        found = spectral(*edges, clusters, min_size=size, num_nodes=n, seed=seed)
        return found, f"{count(clusters, 'cluster')} by spectral clustering"
    from pyg_relational.nn.pool.modularity_pruning import ModularityPruning

    pruned = ModularityPruning(clusters, seed=seed)(graph.x, *edges)
    dropped = (edges[0].shape[1] - pruned.edge_index.shape[1]) // 2
    what = (
        f"without {dropped:,} of {edges[0].shape[1] // 2:,} edges and with others weakened"
        if not torch.equal(pruned.edge_weight, edges[1])
        else "of the whole graph: pruning did not raise modularity"
    )
    return pruned.clusters, f"{count(clusters, 'cluster')} by spectral clustering {what}"


def _print_agreement(y: Tensor, clusters: Tensor) -> None:
    if not bool((y >= 0).any()):
        return
    from pyg_relational.metrics import clustering_accuracy, nmi

    known = int((y >= 0).sum())
    print(
        f"Against the labels of {known:,} rows: accuracy {100 * clustering_accuracy(y, clusters):.1f} % "
        f"(each class matched with one cluster), NMI {nmi(y, clusters):.3f}"
    )
