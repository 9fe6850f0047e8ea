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
from benchmarks.accuracy import pretrained
from benchmarks.clustering.graphs import GRAPHS, WITHOUT_CHANCE, Graph, Recipe, nearest
from benchmarks.clustering.partitions import CLUSTERINGS, POINTS
from benchmarks.clustering.plot import pictures
from benchmarks.clustering.table import report
from benchmarks.store import Row, Store, identity
from benchmarks.suite import Suite
from pyg_relational import datasets
from pyg_relational.metrics import ari, clustering_accuracy, homophily, nmi
from pyg_relational.ops import modularity, unit_rows
from pyg_relational.transforms import knn_graph

PARTS = {"PenDigits": "train", "CIFAR10": "test"}  # all rows of the others
BINARY, ENCODED = ", binary", f", {pretrained.NAME}"
NO_GRAPH = "none"  # of clusterings of the features
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
        ("points", POINTS, []),
    ):
        usual = "all" if default == list(known) else ", ".join(default) or "none"
        text = f"of {', '.join(known)}; by default {usual}"
        parser.add_argument(
            f"--{name}", nargs="+", choices=known, default=default, metavar="NAME", help=text
        )
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)), help="0 to 9")
    parser.add_argument("--neighbours", type=int, default=10, help="of the kNN graph; 10")
    parser.add_argument("--encoder", choices=[pretrained.NAME], help="whose features to cluster")


def run(
    output: Path,
    data: Sequence[str],
    graphs: Sequence[str],
    clusterings: Sequence[str],
    kernels: Sequence[str],
    seeds: Sequence[int],
    neighbours: int,
    points: Sequence[str] = (),
    encoder: str | None = None,
) -> tuple[list[Row], dict[str, str]]:
    """Cluster graphs of data sets, as they are and pruned, and score the clusters against the classes.

    Rows of the kNN graph of the binary kernel and of an encoder's features say so behind the name of the data set.
    ``points`` cluster the features, without a graph.
    """
    torch.set_num_threads(1)
    store = Store(output / "runs.jsonl")
    behind = ENCODED if encoder else ""
    kinds = [name + behind + BINARY * (kernel == "binary") for name in data for kernel in kernels]
    runs = {graph: list(product(seeds, clusterings)) for graph in graphs}
    if points:
        runs[NO_GRAPH] = [(s, p) for s in seeds for p in points if p != "hdbscan" or s == seeds[0]]
    with tqdm(total=len(kinds) * sum(map(len, runs.values())), unit="clustering") as bar:
        for kind, graph in product(kinds, runs):
            bar.set_description(f"{kind}: {graph}")
            _run_graph(kind, graph, neighbours, runs[graph], store, bar)
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
        made, seconds = timed(GRAPHS.get(name, nearest), problem().x, recipe)
        return made, problem().seconds + seconds

    for seed, clustering in runs:
        config = {"data": data, "graph": name, "clustering": clustering, "seed": seed}
        config["neighbours"] = neighbours
        if identity(config) not in store.rows:
            made = graph(0 if name in (*WITHOUT_CHANCE, NO_GRAPH) else seed)
            store.append(_row(config, problem(), *made))
        bar.update()


def load(data: str, neighbours: int) -> Problem:
    """A data set as published, in [0, 1], images flattened, and its kNN graph, binary if the name says so.

    Of an encoder named behind it, the pooled features, scaled to length 1.
    """
    name, kernel = data.split(",")[0], "binary" if data.endswith(BINARY) else "gaussian"
    partial = {"allow_partial": True} if name == "CIFAR10" else {}
    dataset = getattr(datasets, name)(root=machine.DATASETS, **partial)
    x, y = dataset.split(PARTS[name]) if name in PARTS else (dataset[0].x, dataset[0].y)
    if ENCODED in data:
        x = unit_rows(pretrained.encode(x, image_size=96, trained=0))
    x, k = x.flatten(1), dataset.num_classes
    given, seconds = timed(lambda: Graph(*knn_graph(x, neighbours, kernel=kernel)))
    return Problem(x, y, k, given, seconds)


def _row(config: dict[str, Any], problem: Problem, graph: Graph, seconds: float) -> Row:
    n, k = len(problem.y), problem.clusters
    name, seed = config["clustering"], config["seed"]
    if name in POINTS:
        found, cluster_seconds = timed(POINTS[name], problem.x, k, seed)
    else:
        found, cluster_seconds = timed(CLUSTERINGS[name], graph, n, k, seed)
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
