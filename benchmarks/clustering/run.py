"""Data set x graph x clustering x seed, to rows, a table and pictures."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple, TypeVar

import torch
from jsonargparse import ArgumentParser
from torch import Tensor
from tqdm import tqdm

from benchmarks.accuracy import machine
from benchmarks.accuracy.store import Row, Store
from benchmarks.clustering.graphs import GRAPHS, WITHOUT_CHANCE, Graph, Recipe
from benchmarks.clustering.partitions import CLUSTERINGS
from benchmarks.clustering.plots import write
from benchmarks.clustering.table import report
from pyg_relational import datasets
from pyg_relational.metrics import ari, clustering_accuracy, homophily, nmi
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph

ROOT = Path(__file__).parents[2] / "datasets"
TRAINING_ROWS = {"PenDigits"}  # all rows of the others
BINARY = ", binary"
T = TypeVar("T")


@dataclass(frozen=True)
class Study:
    """What to run; kNN is the graph that the others are paired with.

    Its weights are those of ``kernels``; rows of the binary graph say so behind the name of the data set.
    """

    data: list[str] = field(default_factory=lambda: ["COIL20", "PenDigits", "USPS"])
    graphs: list[str] = field(default_factory=lambda: list(GRAPHS))
    clusterings: list[str] = field(default_factory=lambda: list(CLUSTERINGS))
    seeds: list[int] = field(default_factory=lambda: list(range(10)))
    neighbours: int = 10
    kernels: list[str] = field(default_factory=lambda: ["gaussian"])

    def __post_init__(self) -> None:
        for name, known in (
            ("data", datasets.__all__),
            ("graphs", GRAPHS),
            ("clusterings", CLUSTERINGS),
            ("kernels", ("gaussian", "binary")),
        ):
            if unknown := set(getattr(self, name)) - set(known):
                raise ValueError(f"{name} must be of {list(known)}, got {sorted(unknown)}")


class Problem(NamedTuple):
    """Samples, their classes, and the kNN graph, with the CPU seconds it took."""

    x: Tensor
    y: Tensor
    clusters: int
    given: Graph
    seconds: float


def main(argv: list[str] | None = None) -> None:
    """Run what is not in ``runs.jsonl`` yet, and write the table and the pictures of all that is."""
    parser = ArgumentParser(prog="python -m benchmarks cluster", description=__doc__)
    parser.add_argument("--config", action="config", help="YAML file of the options below")
    parser.add_argument("--output", type=Path, default=Path("results/clustering"))
    parser.add_class_arguments(Study)
    given = parser.instantiate_classes(parser.parse_args(argv)).as_dict()
    given.pop("config")
    output = given.pop("output")
    torch.set_num_threads(1)
    store = Store(output / "runs.jsonl")
    run(Study(**given), store)
    text = report(list(store.rows.values()))
    (output / "table.md").write_text(text)
    write(list(store.rows.values()), output)
    print(text)


def run(study: Study, store: Store) -> None:
    """Add the rows that are missing."""
    each = len(study.graphs) * len(study.seeds) * len(study.clusterings)
    kinds = [
        name + BINARY * (kernel == "binary") for name in study.data for kernel in study.kernels
    ]
    with tqdm(total=len(kinds) * each, unit="clustering") as bar:
        for data in kinds:
            for graph in study.graphs:
                bar.set_description(f"{data}: {graph}")
                _run_graph(study, data, graph, store, bar)


def _run_graph(study: Study, data: str, name: str, store: Store, bar: Any) -> None:
    problem = made = None
    for seed in study.seeds:
        missing = []
        for clustering in study.clusterings:
            config = {"data": data, "graph": name, "clustering": clustering, "seed": seed}
            config["neighbours"] = study.neighbours
            if identity(config) not in store.rows:
                missing.append(config)
        bar.update(len(study.clusterings) - len(missing))
        if not missing:
            continue
        problem = problem or load(data, study.neighbours)
        if made is None or name not in WITHOUT_CHANCE:
            recipe = Recipe(study.neighbours, problem.clusters, seed, problem.given)
            graph, seconds = timed(GRAPHS[name], problem.x, recipe)
            made = graph, problem.seconds + seconds
        for config in missing:
            store.append(_row(config, problem, *made))
            bar.update()


def identity(config: dict[str, Any]) -> str:
    """A hash of all that a row depends on."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def load(data: str, neighbours: int) -> Problem:
    """A data set as published, in [0, 1], images flattened, and its kNN graph, binary if the name says so."""
    name, kernel = data.removesuffix(BINARY), "binary" if data.endswith(BINARY) else "gaussian"
    dataset = getattr(datasets, name)(root=ROOT)
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
