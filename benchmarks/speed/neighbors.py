"""Exact neighbours against faiss's flat index and SciPy's k-d tree, over sizes, dimensions and kinds of data."""

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from benchmarks.speed.case import Build, Case
from pyg_relational.ops import approximate_knn, knn
from pyg_relational.transforms import knn_graph

K = 10
SIZES = (1_000, 10_000, 50_000, 200_000)
DIMENSIONS = (2, 3, 16, 64, 512)
KINDS = ("Gaussian", "uniform", "clustered")
OURS, FLAT, TREE = "ours", "faiss flat", "SciPy k-d tree"
_MOST = (
    1e13  # n^2 d beyond which a round of a product takes a quarter of an hour, and nothing is timed
)
_LONG = (
    1e10  # n^2 beyond which faiss takes minutes in few dimensions, too, where trees take a second
)
_DEEP = 8  # dimensions beyond which the tree is hopeless on data without clusters, and not timed


def points(kind: str, n: int, d: int) -> Tensor:
    """``n`` points: normal, uniform, or 20 and more tight normal clusters."""
    generator = torch.Generator().manual_seed(0)
    if kind == "uniform":
        return torch.rand(n, d, generator=generator)
    x = torch.randn(n, d, generator=generator)
    if kind == "Gaussian":
        return x
    centres = 3 * torch.randn(max(20, n // 500), d, generator=generator)
    return centres[torch.randint(len(centres), (n,), generator=generator)] + 0.3 * x


def case_name(n: int, d: int, kind: str) -> str:
    """Name of a case of the grid."""
    return f"neighbours n={n} d={d} {kind}"


def _build(n: int, d: int, kind: str) -> Build:
    def build() -> dict[str, Callable[[], object]]:
        x = points(kind, n, d)
        array = x.numpy()

        def flat() -> object:
            import faiss

            return faiss.knn(array, array, K + 1)

        def tree() -> object:
            from scipy.spatial import cKDTree

            return cKDTree(array).query(array, K + 1)

        return {OURS: lambda: knn(x, K), FLAT: flat, TREE: tree}

    return build


def _contestants(n: int, d: int, kind: str) -> tuple[str, ...]:
    if d <= _DEEP:
        return (OURS, TREE) if n * n > _LONG else (OURS, FLAT, TREE)
    worth = kind == "clustered" and d <= 64
    return (OURS, FLAT, TREE) if worth else (OURS, FLAT)


def _approximate() -> dict[str, Callable[[], object]]:
    from pynndescent import NNDescent

    x = points("clustered", 100_000, 32)

    def descent() -> object:
        return NNDescent(x.numpy(), n_neighbors=25, n_jobs=1, random_state=0).neighbor_graph

    return {"ours, recall .95": lambda: approximate_knn(x, K), "pynndescent, 25 kept": descent}


def _million() -> dict[str, Callable[[], object]]:
    x = points("clustered", 1_000_000, 32)
    return {"ours, recall .9": lambda: knn_graph(x, K, recall=0.9)}


NEIGHBORS = {
    case_name(n, d, kind): Case(
        _build(n, d, kind),
        _contestants(n, d, kind),
        "at most the time of the fastest peer",
        rounds=3 if n < 50_000 or d <= _DEEP else 1,  # the first pays for imports
        needs={FLAT: "faiss"},
    )
    for n, d, kind in product(SIZES, DIMENSIONS, KINDS)
    if n * n * d <= _MOST
}
NEIGHBORS["approximate neighbours n=100000 d=32 clustered"] = Case(
    _approximate,
    ("ours, recall .95", "pynndescent, 25 kept"),
    "recall said, distances exact",
    rounds=2,
    needs={"ours, recall .95": "pynndescent", "pynndescent, 25 kept": "pynndescent"},
)
NEIGHBORS["graph of approximate neighbours n=1000000 d=32 clustered"] = Case(
    _million,
    ("ours, recall .9",),
    "3 minutes, 6 GB",
    rounds=1,
    needs={"ours, recall .9": "pynndescent"},
)
