"""Accuracy and CPU seconds of the tables in docs/estimators.md.

``python docs/measure_estimators.py`` for PenDigits, ``python docs/measure_estimators.py ROOT`` for all 70,000 digits
of MNIST, read from or downloaded to ``ROOT``, ``python docs/measure_estimators.py --solvers`` for CG() against Auto(),
``python docs/measure_estimators.py --clusters ROOT`` for the clusterings; ``ROOT`` is for USPS.
"""

import sys
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.cluster import HDBSCAN, KMeans, SpectralClustering
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.semi_supervised import LabelPropagation, LabelSpreading
from torch import Tensor

from pyg_relational.datasets import MNIST, USPS, PenDigits
from pyg_relational.estimators import (
    LaplaceClassifier,
    ModularityClustering,
    PoissonClassifier,
    SpectralGraphClustering,
)
from pyg_relational.metrics import clustering_accuracy, nmi
from pyg_relational.nn import (
    laplace_propagation,
    p_eikonal,
    poisson_mbo,
    poisson_propagation,
    volume_mbo,
)
from pyg_relational.ops import CG, Auto
from pyg_relational.transforms import knn_graph

DATASETS = Path(__file__).parents[1] / "datasets"
Fit = Callable[[np.ndarray], np.ndarray]


def draw(y: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Labels of ``per_class`` random rows a class, -1 elsewhere."""
    generator = np.random.default_rng(seed)
    partial = np.full(len(y), -1)
    for k in np.unique(y):
        partial[generator.choice(np.flatnonzero(y == k), per_class, replace=False)] = k
    return partial


def predictor(f: Any, graph: tuple[Tensor, Tensor]) -> Fit:
    """A function of ``pyg_relational.nn`` as one from labels to classes."""

    def fit(partial: np.ndarray) -> np.ndarray:
        u = f(*graph, torch.from_numpy(partial), on_unreachable="prior")
        return u.argmax(1).numpy()

    return fit


def table(y: np.ndarray, methods: dict[str, Fit], draws: int, per_class: Sequence[int]) -> None:
    """Print accuracy on the rows without a label and CPU seconds a fit, mean over the draws."""
    for name, fit in methods.items():
        cells = []
        for labels in per_class:
            scores, start = [], time.process_time()
            for seed in range(draws):
                partial = draw(y, labels, seed)
                scores.append(100 * (fit(partial) == y)[partial < 0].mean())
            seconds = (time.process_time() - start) / draws
            cells.append(f"{np.mean(scores):.1f} ± {np.std(scores):.1f} | {seconds:.2f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def pendigits() -> None:
    """From features, 10,992 rows."""
    data = PenDigits(DATASETS)[0]
    x, y = data.x.numpy(), data.y.numpy()
    graph = knn_graph(data.x, 10)
    warnings.simplefilter("ignore")  # LabelPropagation reaches max_iter
    estimators = {
        "LaplaceClassifier()": LaplaceClassifier(),
        'LaplaceClassifier(reweighting="poisson")': LaplaceClassifier(reweighting="poisson"),
        "PoissonClassifier()": PoissonClassifier(),
        'LabelSpreading("knn", n_neighbors=10)': LabelSpreading(kernel="knn", n_neighbors=10),
        'LabelPropagation("knn", n_neighbors=10)': LabelPropagation(kernel="knn", n_neighbors=10),
    }
    fits: dict[str, Fit] = {
        name: lambda partial, model=model: model.fit(x, partial).transduction_
        for name, model in estimators.items()
    }
    table(y, fits, 10, (1, 5))
    fits = {f.__name__: predictor(f, graph) for f in (poisson_mbo, volume_mbo, p_eikonal)}
    table(y, fits, 3, (1, 5))


def mnist(root: Path) -> None:
    """On a given graph of the raw pixels, 70,000 rows."""
    data = MNIST(root)[0]
    start = time.process_time()
    graph = knn_graph(data.x.flatten(1), 10)
    print(f"graph: {time.process_time() - start:.0f} s, {graph[0].shape[1] // 2} edges", flush=True)
    given = {"affinity": "precomputed"}
    models = {
        "LaplaceClassifier": LaplaceClassifier(**given),
        'LaplaceClassifier(reweighting="poisson")': LaplaceClassifier(
            reweighting="poisson", **given
        ),
        "PoissonClassifier": PoissonClassifier(**given),
    }
    fits: dict[str, Fit] = {
        name: lambda partial, model=model: model.fit_predict(graph, partial)
        for name, model in models.items()
    }
    fits["poisson_mbo"] = predictor(poisson_mbo, graph)
    fits["volume_mbo"] = predictor(volume_mbo, graph)
    table(data.y.numpy(), fits, 3, (1, 5))


def solvers() -> None:
    """CPU seconds of the solve by CG() and by Auto(), least of three, and how far apart the solutions are."""
    plane = np.random.default_rng(0).standard_normal((20_000, 2))
    data = PenDigits(DATASETS)[0]
    cases = {
        "20,000 points in 2-d": (plane, np.arange(20_000) % 10),
        "PenDigits": (data.x.numpy(), data.y.numpy()),
    }
    for (name, (x, y)), f in product(cases.items(), (laplace_propagation, poisson_propagation)):
        graph = *knn_graph(torch.from_numpy(x), 10), torch.from_numpy(draw(y, 5, seed=0))
        cells, found = [], []
        for solver in (CG(tol=1e-6), Auto(tol=1e-6)):
            seconds = []
            for _ in range(3):
                start = time.process_time()
                u, info = f(*graph, solver=solver, on_unreachable="prior", return_info=True)
                seconds.append(time.process_time() - start)
            cells.append(f"{info.solver} {min(seconds):.2f} ({info.iterations})")
            found.append(u)
        off = float((found[0] - found[1]).abs().max() / found[0].abs().max())
        print(f"| {name}, {f.__name__} | {' | '.join(cells)} | {off:.0e} |", flush=True)


def clusters(root: Path) -> None:
    """Accuracy, NMI and CPU seconds of clusterings, mean over five seeds, methods in turns."""
    pendigits, usps = PenDigits(DATASETS)[0], USPS(root)[0]
    sets = {
        "scikit-learn's digits": load_digits(return_X_y=True),
        "PenDigits": (pendigits.x.numpy(), pendigits.y.numpy()),
        "USPS": (usps.x.flatten(1).numpy(), usps.y.numpy()),
    }
    warnings.simplefilter("ignore")  # SpectralClustering: the graph is not fully connected
    for name, (x, y) in sets.items():
        print(f"{name}, {len(x):,} rows")
        truth = torch.from_numpy(y).long()
        runs = [
            {name: scored(model, x, truth) for name, model in clusterings(*x.shape, seed).items()}
            for seed in range(5)
        ]
        for model in runs[0]:
            rows = [run[model] for run in runs]
            (accuracy, agreement, count, seconds), off = np.mean(rows, 0), np.std(rows, 0)[0]
            cells = f"{accuracy:.1f} ± {off:.1f} | {agreement:.3f} | {count:.0f} | {seconds:.2f}"
            print(f"| {model} | {cells} |", flush=True)


def scored(model: Any, x: np.ndarray, y: Tensor) -> tuple[float, float, float, float]:
    """Accuracy, NMI, number of clusters, CPU seconds; what HDBSCAN leaves out as noise is one more cluster."""
    start = time.process_time()
    found = torch.from_numpy(model.fit_predict(x)).long()
    seconds = time.process_time() - start
    found = found.where(found >= 0, found.max() + 1)
    return 100 * clustering_accuracy(y, found), nmi(y, found), len(found.unique()), seconds


def clusterings(n: int, width: int, seed: int) -> dict[str, Any]:
    """Those of this package, and scikit-learn's on as many neighbours, of which a row is one there."""
    spectral = {"affinity": "nearest_neighbors", "n_neighbors": 11, "random_state": seed}
    hdbscan = HDBSCAN(min_cluster_size=n // 100, copy=True)
    return {
        "ModularityClustering()": ModularityClustering(random_state=seed),
        "ModularityClustering(10)": ModularityClustering(10, random_state=seed),
        "SpectralGraphClustering(10)": SpectralGraphClustering(10, random_state=seed),
        'SpectralClustering(10, "nearest_neighbors")': SpectralClustering(10, **spectral),
        "KMeans(10, n_init=10)": KMeans(10, n_init=10, random_state=seed),
        "HDBSCAN, up to 20 principal components": make_pipeline(PCA(min(20, width)), hdbscan),
    }


def main(arguments: Sequence[str]) -> None:
    """What the arguments ask for."""
    torch.manual_seed(0)
    if not arguments:
        pendigits()
    elif arguments[0] == "--solvers":
        solvers()
    elif arguments[0] == "--clusters":
        clusters(Path(arguments[1]))
    else:
        mnist(Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
