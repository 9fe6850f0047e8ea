"""Given labels spread over the graph of a table, and how well held-out ones are met."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from tqdm import tqdm

from pyg_relational.cli.inputs import Graph
from pyg_relational.ops.graph.components import connected_components

__all__ = [
    "FOLDS",
    "RATES",
    "SEEDS",
    "Method",
    "Predicted",
    "cross_validate",
    "label_rates",
    "spread",
]

Method = Literal["laplace", "poisson"]
_Predict = Callable[[Tensor], Tensor]

FOLDS = 10
SEEDS = 5
RATES = (1, 2, 5, 10, 20, 50, 100)  # labels a class


class Predicted(NamedTuple):
    """Class of every row ``[n]``, -1 where no label reaches it, and its probability ``[n]``."""

    y: Tensor
    probability: Tensor


def spread(graph: Graph, y: Tensor, method: Method, k: int) -> Predicted:
    """Labels of all rows by Laplace or Poisson learning; given ones stay.

    Args:
        graph: Rows and edges.
        y: Given labels ``[n]``, -1 for none.
        method: ``"laplace"`` or ``"poisson"``.
        k: Neighbours that the graph was made with.
    """
    from pyg_relational.estimators import LaplaceClassifier, PoissonClassifier

    kind = LaplaceClassifier if method == "laplace" else PoissonClassifier
    n = len(y)
    ends = tuple(graph.edge_index.numpy())
    adjacency = scipy.sparse.csr_array((graph.edge_weight.numpy(), ends), shape=(n, n))
    with _many_classes():
        model = kind(k=k, affinity="precomputed").fit(adjacency, y.numpy())
    best = model.label_distributions_.argmax(1)
    found = torch.from_numpy(model.classes_[best])
    probability = torch.from_numpy(model.label_distributions_[np.arange(n), best]).double()
    component = connected_components(graph.edge_index, n)
    reached = torch.isin(component, component[y >= 0])
    return Predicted(
        found.where(reached, -1).where(y < 0, y),
        probability.where(reached, torch.nan).where(y < 0, 1.0),
    )


def cross_validate(graph: Graph, method: Method, k: int, seed: int) -> tuple[int, int] | None:
    """How many labels are met when each is held out once, and their number; rows stay in the graph.

    Args:
        graph: Rows and edges.
        method: As in :func:`spread`.
        k: As in :func:`spread`.
        seed: Seed of the folds, at most ten, stratified.

    Returns:
        The two numbers, or ``None`` where no class has two labels.
    """
    from sklearn.model_selection import StratifiedKFold

    y = graph.data.y
    known = (y >= 0).nonzero().flatten()
    folds = min(FOLDS, int(y[known].bincount().max()))
    if folds < 2:
        return None
    hits = 0
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")
        parts = list(splitter.split(known, y[known]))
    for _, held in tqdm(parts, "cross-validation", disable=None, leave=False):
        rows = known[torch.from_numpy(held)]
        hits += int((spread(graph, y.index_fill(0, rows, -1), method, k).y[rows] == y[rows]).sum())
    return hits, len(known)


def label_rates(
    graph: Graph, method: Method, k: int, seed: int
) -> dict[str, dict[int, list[float]]]:
    """Accuracy on held-out labels by labels a class, of the propagation and of logistic regression, one for each seed.

    For each seed half of the labels are held out, stratified; training labels are drawn from the others.

    Args:
        graph: Rows and edges.
        method: As in :func:`spread`.
        k: As in :func:`spread`.
        seed: First of five.

    Returns:
        By contestant and labels a class; empty where a class has fewer than four labels.
    """
    y = graph.data.y
    least = int(y[y >= 0].bincount().min())
    rates = [rate for rate in RATES if rate <= least // 2]
    if len(rates) < 2:
        return {}
    contestants: dict[str, _Predict] = {
        f"{method.title()} learning": lambda given: spread(graph, given, method, k).y,
        "logistic regression": lambda given: _logistic(graph.x, given),
    }
    found: dict[str, dict[int, list[float]]] = {
        name: {rate: [] for rate in rates} for name in contestants
    }
    with tqdm(total=SEEDS * len(rates), desc="label rates", disable=None, leave=False) as bar:
        for draw in range(seed, seed + SEEDS):
            place, half = _places(y, draw)
            held = (y >= 0) & (place >= half)
            for rate in rates:
                given = y.where(place < rate, -1)
                for name, predict in contestants.items():
                    hit = predict(given)[held] == y[held]
                    found[name][rate].append(hit.double().mean().item())
                bar.update()
    return found


def _places(y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Place of every row among those of its class in a random order, and the larger half of that class."""
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(y)))
    by_class = order[y[order].argsort(stable=True)]
    counts = torch.bincount(y + 1)
    place = torch.empty_like(y)
    place[by_class] = torch.arange(len(y)) - (counts.cumsum(0) - counts)[y[by_class] + 1]
    return place, ((counts + 1) // 2)[y + 1]


@contextmanager
def _many_classes() -> Iterator[None]:
    """One label a class is no mistake here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The number of unique classes")
        yield


def _logistic(x: Tensor, y: Tensor) -> Tensor:
    from sklearn.linear_model import LogisticRegression

    given = y >= 0
    with _many_classes():
        fitted = LogisticRegression(max_iter=1000).fit(x[given].numpy(), y[given].numpy())
    return torch.from_numpy(fitted.predict(x.numpy()))
