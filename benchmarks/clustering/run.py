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
from benchmarks.clustering.nodes import NODES
from benchmarks.clustering.partitions import CLUSTERINGS, POINTS, WITHOUT_SEED
from benchmarks.clustering.plot import pictures
from benchmarks.clustering.table import report
from benchmarks.store import Row, Store, identity
from benchmarks.suite import Suite
from pyg_relational import datasets
from pyg_relational.cluster import join_nearest
from pyg_relational.metrics import ari, clustering_accuracy, homophily, nmi
from pyg_relational.ops import modularity, unit_rows
from pyg_relational.transforms import knn_graph

PARTS = {"PenDigits": "train", "CIFAR10": "test"}  # all rows of the others
BINARY, ENCODED = ", binary", f", {pretrained.NAME}"
NO_GRAPH = "none"  # of clusterings of the features
WITHOUT = ", without "  # behind the name of a graph, and what is taken out
T = TypeVar("T")


class Problem(NamedTuple):
    """Samples, their classes, and the kNN graph, with the CPU seconds it took, and which rows of all they are."""

    x: Tensor
    y: Tensor
    clusters: int
    given: Graph
    seconds: float
    rows: Tensor | None = None


def options(parser: ArgumentParser) -> None:
    """Those of ``run``."""
    for name, known, default in (
        ("data", datasets.__all__, ["COIL20", "PenDigits", "USPS"]),
        ("graphs", GRAPHS, list(GRAPHS)),
        ("clusterings", CLUSTERINGS, list(CLUSTERINGS)),
        ("kernels", ("gaussian", "binary"), ["gaussian"]),
        ("points", POINTS, []),
        ("nodes", NODES, []),
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
    nodes: Sequence[str] = (),
) -> tuple[list[Row], dict[str, str]]:
    """Cluster graphs of data sets, as they are and pruned, and score the clusters against the classes.

    Rows of the kNN graph of the binary kernel and of an encoder's features say so behind the name of the data set.
    ``points`` cluster the features, without a graph. ``nodes`` say that some samples are taken out before, and get
    the cluster of the nearest of the others.
    """
    torch.set_num_threads(1)
    store = Store(output / "runs.jsonl")
    behind = ENCODED if encoder else ""
    kinds = [name + behind + BINARY * (kernel == "binary") for name in data for kernel in kernels]
    runs = {}
    for less in ("", *(WITHOUT + kind for kind in nodes)):
        runs |= {graph + less: list(product(seeds, clusterings)) for graph in graphs}
        if points:
            once = set() if less == WITHOUT + "random" else WITHOUT_SEED
            runs[NO_GRAPH + less] = [
                (s, p) for s in seeds for p in points if p not in once or s == seeds[0]
            ]
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

    kind, _, less = name.partition(WITHOUT)

    @lru_cache(maxsize=1)
    def made(seed: int) -> tuple[Problem, Graph, float]:
        part = reduced(problem(), data, less, neighbours, seed) if less else problem()
        recipe = Recipe(neighbours, part.clusters, seed, part.given)
        graph, seconds = timed(GRAPHS.get(kind, nearest), part.x, recipe)
        return part, graph, part.seconds + seconds

    same = kind in (*WITHOUT_CHANCE, NO_GRAPH) and less != "random"
    for seed, clustering in runs:
        config = {"data": data, "graph": name, "clustering": clustering, "seed": seed}
        config["neighbours"] = neighbours
        if identity(config) not in store.rows:
            store.append(_row(config, problem(), *made(0 if same else seed)))
        bar.update()


def load(data: str, neighbours: int) -> Problem:
    """A data set as published, in [0, 1], images flattened, and its kNN graph, binary if the name says so.

    Of an encoder named behind it, the pooled features, scaled to length 1.
    """
    name = data.split(",")[0]
    partial = {"allow_partial": True} if name == "CIFAR10" else {}
    dataset = getattr(datasets, name)(root=machine.DATASETS, **partial)
    x, y = dataset.split(PARTS[name]) if name in PARTS else (dataset[0].x, dataset[0].y)
    if ENCODED in data:
        x = unit_rows(pretrained.encode(x, image_size=96, trained=0))
    x, k = x.flatten(1), dataset.num_classes
    given, seconds = timed(_given, x, data, neighbours)
    return Problem(x, y, k, given, seconds)


def reduced(problem: Problem, data: str, less: str, neighbours: int, seed: int) -> Problem:
    """The problem of some rows alone, with a kNN graph of their own."""
    rows, seconds = timed(NODES[less], problem.x, seed)
    given, more = timed(_given, problem.x[rows], data, neighbours)
    return Problem(problem.x[rows], problem.y[rows], problem.clusters, given, seconds + more, rows)


def _given(x: Tensor, data: str, neighbours: int) -> Graph:
    kernel = "binary" if data.endswith(BINARY) else "gaussian"
    return Graph(*knn_graph(x, neighbours, kernel=kernel))


def _row(
    config: dict[str, Any], problem: Problem, part: Problem, graph: Graph, seconds: float
) -> Row:
    n, k = len(part.y), part.clusters
    name, seed = config["clustering"], config["seed"]
    if name in POINTS:
        found, cluster_seconds = timed(POINTS[name], part.x, k, seed)
    else:
        found, cluster_seconds = timed(CLUSTERINGS[name], graph, n, k, seed)
    if part.rows is not None:
        clusters = torch.full_like(problem.y, -1)
        clusters[part.rows] = found
        found = join_nearest(problem.x, clusters)
    return {
        "id": identity(config),
        **config,
        "accuracy": clustering_accuracy(problem.y, found),
        "nmi": nmi(problem.y, found),
        "ari": ari(problem.y, found),
        "clusters": int(found.max()) + 1,
        "modularity": modularity(*problem.given, found).item(),
        "homophily": homophily(*graph, part.y).item(),
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
