"""Data set x graph x clustering x seed, to rows, a table and pictures."""

from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks import machine
from benchmarks.clustering.graphs import GRAPHS, WITHOUT_CHANCE, Graph, Recipe
from benchmarks.clustering.partitions import CLUSTERINGS
from benchmarks.clustering.plot import pictures
from benchmarks.clustering.table import report
from benchmarks.store import Row, Store, identity
from benchmarks.suite import Suite
from pyg_relational import datasets
from pyg_relational.metrics import ari, clustering_accuracy, homophily, nmi
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph

TRAINING_ROWS = {"PenDigits"}  # all rows of the others
BINARY = ", binary"
T = TypeVar("T")


class Problem(NamedTuple):
    """Samples, their classes, and the kNN graph, with the CPU seconds it took."""

    x: Tensor
    y: Tensor
    clusters: int
    given: Graph
    seconds: float


def options(parser: ArgumentParser) -> None:
    """Those of ``run``."""
    for name, known, default in (
        ("data", datasets.__all__, ["COIL20", "PenDigits", "USPS"]),
        ("graphs", GRAPHS, list(GRAPHS)),
        ("clusterings", CLUSTERINGS, list(CLUSTERINGS)),
        ("kernels", ("gaussian", "binary"), ["gaussian"]),
    ):
        text = f"of {', '.join(known)}; by default {', '.join(default) if default != list(known) else 'all'}"
        parser.add_argument(
            f"--{name}", nargs="+", choices=known, default=default, metavar="NAME", help=text
        )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="0 to 9")
    parser.add_argument("--neighbours", type=int, default=10, help="of the kNN graph; 10")


def run(
    output: Path,
    data: Sequence[str],
    graphs: Sequence[str],
    clusterings: Sequence[str],
    kernels: Sequence[str],
    seeds: Sequence[int],
    neighbours: int,
) -> tuple[list[Row], dict[str, str]]:
    """Cluster graphs of data sets, as they are and pruned, and score the clusters against the classes.

    Rows of the kNN graph of the binary kernel say so behind the name of the data set.
    """
    torch.set_num_threads(1)
    store = Store(output / "runs.jsonl")
    kinds = [name + BINARY * (kernel == "binary") for name in data for kernel in kernels]
    runs = list(product(seeds, clusterings))
    with tqdm(total=len(kinds) * len(graphs) * len(runs), unit="clustering") as bar:
        for kind, graph in product(kinds, graphs):
            bar.set_description(f"{kind}: {graph}")
            _run_graph(kind, graph, neighbours, runs, store, bar)
    return list(store.rows.values()), {}


def _run_graph(
    data: str, name: str, neighbours: int, runs: Sequence[tuple[int, str]], store: Store, bar: Any
) -> None:
    """One graph by all clusterings and seeds; made once for all, where no chance is in it."""

    @lru_cache(maxsize=1)
    def problem() -> Problem:
        return load(data, neighbours)

    @lru_cache(maxsize=1)
    def graph(seed: int) -> tuple[Graph, float]:
        recipe = Recipe(neighbours, problem().clusters, seed, problem().given)
        made, seconds = timed(GRAPHS[name], problem().x, recipe)
        return made, problem().seconds + seconds

    for seed, clustering in runs:
        config = {"data": data, "graph": name, "clustering": clustering, "seed": seed}
        config["neighbours"] = neighbours
        if identity(config) not in store.rows:
            made = graph(0 if name in WITHOUT_CHANCE else seed)
            store.append(_row(config, problem(), *made))
        bar.update()


def load(data: str, neighbours: int) -> Problem:
    """A data set as published, in [0, 1], images flattened, and its kNN graph, binary if the name says so."""
    name, kernel = data.removesuffix(BINARY), "binary" if data.endswith(BINARY) else "gaussian"
    dataset = getattr(datasets, name)(root=machine.DATASETS)
    x, y = dataset.split("train") if name in TRAINING_ROWS else (dataset[0].x, dataset[0].y)
    x, k = x.flatten(1), dataset.num_classes
    given, seconds = timed(lambda: Graph(*knn_graph(x, neighbours, kernel=kernel)))
    return Problem(x, y, k, given, seconds)


def _row(config: dict[str, Any], problem: Problem, graph: Graph, seconds: float) -> Row:
    n, k = len(problem.y), problem.clusters
    clustering = CLUSTERINGS[config["clustering"]]
    found, cluster_seconds = timed(clustering, graph, n, k, config["seed"])
    return {
        "id": identity(config),
        **config,
        "accuracy": clustering_accuracy(problem.y, found),
        "nmi": nmi(problem.y, found),
        "ari": ari(problem.y, found),
        "clusters": int(found.max()) + 1,
        "modularity": modularity(*problem.given, found).item(),
        "homophily": homophily(*graph, problem.y).item(),
        "edges_kept": graph.edge_index.shape[1] / problem.given.edge_index.shape[1],
        "graph_seconds": seconds,
        "cluster_seconds": cluster_seconds,
        **machine.describe("cpu"),
    }


def timed(function: Callable[..., T], *args: Any) -> tuple[T, float]:
    """What it returns, and its CPU seconds."""
    start = process_time()
    result = function(*args)
    return result, process_time() - start


SUITE = Suite(
    verb="cluster",
    mark="clustering",
    folder=lambda **_: "clustering",
    options=options,
    run=run,
    report=report,
    pictures=pictures,
)
