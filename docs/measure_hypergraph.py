"""Hypergraph Laplacians against graph Laplacians, with few labels, on sets that ship with scikit-learn.

``python docs/measure_hypergraph.py``: minutes, most of them for all of Digits; with names of sets, of these alone.
Each method has four settings; the one of the highest mean accuracy over three draws of labels, seeds 100 to 102, is run
on ten others, seeds 0 to 9, the same draws for all methods.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from pyg_relational.estimators import HypergraphSVC
from pyg_relational.nn import hypergraph_propagation, laplace_propagation
from pyg_relational.transforms import knn_graph, knn_hypergraph

SETS = {
    "Iris": datasets.load_iris,
    "Wine": datasets.load_wine,
    "Breast Cancer": datasets.load_breast_cancer,
    "Digits, 0 to 4": functools.partial(datasets.load_digits, n_class=5),
    "Digits": datasets.load_digits,
}
LABELS = (2, 10)  # a class
TUNED, SCORED = range(100, 103), range(10)
Fit = Callable[[np.ndarray, np.ndarray, Any], np.ndarray]


def draw(y: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """Labels of ``per_class`` random rows a class, -1 elsewhere."""
    generator = np.random.default_rng(seed)
    partial = np.full(len(y), -1)
    for k in np.unique(y):
        partial[generator.choice(np.flatnonzero(y == k), per_class, replace=False)] = k
    return partial


def laplace(x: np.ndarray, partial: np.ndarray, k: int, **options: Any) -> np.ndarray:
    """Laplace learning on the kNN graph."""
    graph = knn_graph(torch.from_numpy(x), k)
    u = laplace_propagation(*graph, torch.from_numpy(partial), on_unreachable="prior", **options)
    return u.argmax(1).numpy()


def normalized(x: np.ndarray, partial: np.ndarray, k: int) -> np.ndarray:
    """The same by the normalised Laplacian, as the hypergraph's is: the control."""
    return laplace(x, partial, k, normalization="normalized")


def hypergraph(mix: float) -> Fit:
    """Propagation on the kNN hypergraph, mixed with the graph."""

    def fit(x: np.ndarray, partial: np.ndarray, k: int) -> np.ndarray:
        rows = torch.from_numpy(x)
        edge_index, edge_weight = knn_graph(rows, k)
        u = hypergraph_propagation(
            *knn_hypergraph(rows, k),
            torch.from_numpy(partial),
            edge_index=edge_index,
            edge_weight=edge_weight,
            mix=mix,
            on_unreachable="prior",
        )
        return u.argmax(1).numpy()

    return fit


def machine(mix: float) -> Fit:
    """Squared-hinge machine, by the weight of the Laplacians."""
    return lambda x, partial, weight: HypergraphSVC(mix=mix, intrinsic=weight).fit_predict(
        x, partial
    )


def supervised(x: np.ndarray, partial: np.ndarray, weight: float) -> np.ndarray:
    """The same without any Laplacian, by the weight of the kernel's norm."""
    return HypergraphSVC(intrinsic=0.0, ambient=weight).fit_predict(x, partial)


NEIGHBOURS, WEIGHTS = (5, 10, 15, 20), (0.01, 0.1, 1.0, 10.0)
METHODS: dict[str, tuple[Fit, Sequence[Any], str]] = {  # settings, and what it is compared with
    "Laplace learning": (laplace, NEIGHBOURS, ""),
    "Laplace, normalised": (normalized, NEIGHBOURS, "Laplace learning"),
    "hypergraph": (hypergraph(0.0), NEIGHBOURS, "Laplace, normalised"),
    "hypergraph and graph": (hypergraph(0.5), NEIGHBOURS, "Laplace, normalised"),
    "SVM, supervised": (supervised, (0.001, 0.01, 0.1, 1.0), "LapSVM"),
    "LapSVM": (machine(1.0), WEIGHTS, ""),
    "HGSVM": (machine(0.0), WEIGHTS, "LapSVM"),
    "IHLSVM": (machine(0.5), WEIGHTS, "LapSVM"),
}


def scores(
    fit: Fit, setting: Any, x: np.ndarray, y: np.ndarray, labels: int, seeds: Sequence[int]
) -> np.ndarray:
    """Accuracy in % on the rows without a label, draw by draw."""
    found = []
    for seed in seeds:
        partial = draw(y, labels, seed)
        found.append(100 * (fit(x, partial, setting) == y)[partial < 0].mean())
    return np.array(found)


def difference(a: np.ndarray, b: np.ndarray) -> str:
    """Mean of the paired differences and its 95 % Student-t interval."""
    gap = a - b
    half = stats.t.ppf(0.975, len(gap) - 1) * stats.sem(gap)
    low, high = gap.mean() - half, gap.mean() + half
    text = f"{gap.mean():+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def row(x: np.ndarray, y: np.ndarray, labels: int) -> Mapping[str, str]:
    """Cells by method."""
    found: dict[str, np.ndarray] = {}
    cells = {}
    for name, (fit, settings, _) in METHODS.items():
        tuned = [scores(fit, setting, x, y, labels, TUNED).mean() for setting in settings]
        best = settings[int(np.argmax(tuned))]
        found[name] = scores(fit, best, x, y, labels, SCORED)
    for name, (_, _, base) in METHODS.items():
        cells[name] = f"{found[name].mean():.1f}"
        if base:
            cells[name] += f", {difference(found[name], found[base])}"
    return cells


def main() -> None:
    """The table."""
    torch.set_num_threads(1)
    print("| labels a class |", " | ".join(METHODS), "|")
    print("| --- |" + " ---: |" * len(METHODS))
    for name in sys.argv[1:] or SETS:
        raw = SETS[name]()
        x, y = StandardScaler().fit_transform(raw.data), raw.target
        for labels in LABELS:
            print(f"| {name}, {labels} |", " | ".join(row(x, y, labels).values()), "|", flush=True)


if __name__ == "__main__":
    main()
