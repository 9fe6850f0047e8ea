"""Label propagation against scikit-learn + SciPy, graphlearning and pyamg."""

from collections.abc import Callable
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import splu
from torch import Tensor

from benchmarks.machine import DATASETS, peak_memory
from benchmarks.speed.case import Case
from benchmarks.speed.graphs import GRAPHS, cached
from pyg_relational import datasets
from pyg_relational.nn import (
    GraphLearningLayer,
    laplace_propagation,
    poisson_propagation,
    volume_mbo,
)
from pyg_relational.ops import CG, Prepared
from pyg_relational.transforms import knn_graph

K = 24


def _blobs(n: int, spread: float = 0.3) -> tuple[Tensor, Tensor, Tensor]:
    """Ten blobs in 32 dimensions, overlapping or (spread 1) hardly, a tenth of the points labelled."""
    torch.manual_seed(0)
    y = torch.randint(10, (n,))
    x = spread * torch.randn(10, 32)[y] + torch.randn(n, 32)
    return x.requires_grad_(), y, torch.arange(n) < n // 10


def _ours(x: Tensor, y: Tensor, mask: Tensor, **options: Any) -> tuple[Tensor, Tensor]:
    layer = GraphLearningLayer(K, 0.0, "self_tuning", unit=False, **options)
    u = layer(x, y, mask, 10)
    loss = -(u[~mask].gather(1, y[~mask, None]) + 1e-8).log().mean()
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def _scipy(x: Tensor, y: Tensor, mask: Tensor) -> tuple[float, np.ndarray]:
    """Value and gradient of the same loss: neighbours by scikit-learn, one sparse LU for both solves."""
    from sklearn.neighbors import NearestNeighbors

    points, n = x.detach().numpy().astype(float), len(x)
    distance, index = NearestNeighbors(n_neighbors=K).fit(points).kneighbors()
    eps, last = distance[:, -1], index[:, -1]
    pattern = scipy.sparse.coo_array(
        (np.ones(n * K), (np.repeat(np.arange(n), K), index.ravel())), shape=(n, n)
    ).tocsr()
    i, j = (pattern + pattern.T).nonzero()
    diff = points[i] - points[j]
    square = (diff**2).sum(1)
    w = np.exp(-4 * square / (eps[i] * eps[j]))
    weights = scipy.sparse.coo_array((w, (i, j)), shape=(n, n)).tocsr()
    laplacian = (scipy.sparse.diags_array(weights.sum(1)) - weights).tocsr()
    free, held = np.flatnonzero(~mask), np.flatnonzero(mask)
    matrix = laplacian[free][:, free].tocsc()
    u = np.zeros((n, 10))
    u[held, y[held]] = 1
    factors = splu(matrix, "MMD_AT_PLUS_A", options={"SymmetricMode": True})
    u[free] = factors.solve(-laplacian[free][:, held] @ u[held])
    truth = u[free, y[free]] + 1e-8
    slope = np.zeros((n, 10))
    slope[free, y[free]] = -1 / (truth * len(free))
    adjoint = np.zeros((n, 10))
    adjoint[free] = factors.solve(slope[free])
    by_weight = -((adjoint[i] - adjoint[j]) * (u[i] - u[j])).sum(1) / 2
    common = by_weight * w * -4 / (eps[i] * eps[j])
    grad = np.zeros_like(points)
    np.add.at(grad, i, 2 * common[:, None] * diff)
    np.add.at(grad, j, -2 * common[:, None] * diff)
    by_eps = np.zeros(n)
    np.add.at(by_eps, i, -common * square / eps[i])
    np.add.at(by_eps, j, -common * square / eps[j])
    reach = by_eps[:, None] * (points - points[last]) / eps[:, None]
    np.add.at(grad, np.arange(n), reach)
    np.add.at(grad, last, -reach)
    return -np.log(truth).mean(), grad


def _layer(n: int, spread: float) -> dict[str, Callable[[], object]]:
    x, y, mask = _blobs(n, spread)
    return {"ours": lambda: _ours(x, y, mask), _LAYER[1]: lambda: _scipy(x, y, mask)}


def _layer_check(n: int, spread: float) -> str:
    x, y, mask = _blobs(n, spread)
    loss, grad = _ours(x, y, mask)
    resident = peak_memory("cpu")
    value, exact = _scipy(x, y, mask)
    error = np.linalg.norm(grad.numpy() - exact) / np.linalg.norm(exact)
    return (
        f"off the peer: value {abs(loss.item() / value - 1):.0e}, gradient {error:.0e}; "
        f"peak resident of the process {resident:.0f} MiB"
    )


@lru_cache(maxsize=1)
def _digits(name: str, k: int = 10) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The graph of all digits of a data set, cached beside the data, and 10 labels a class."""
    dataset = getattr(datasets, name)(root=DATASETS)
    x, y = (torch.cat(parts) for parts in zip(*map(dataset.split, ("train", "test")), strict=True))
    path = f"{name.lower()}_knn{k}"
    edge_index, edge_weight = cached(path, lambda: knn_graph(x.flatten(1), k))
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(y), generator=generator)
    rows = torch.cat([order[y[order] == c][:10] for c in range(10)])
    return (
        edge_index,
        edge_weight,
        y,
        torch.zeros(len(y), dtype=torch.bool).index_fill(0, rows, True),
    )


def _matrix(edge_index: Tensor, edge_weight: Tensor, n: int) -> scipy.sparse.csr_array:
    entries = edge_weight.double().numpy(), tuple(edge_index.numpy())
    return scipy.sparse.coo_array(entries, shape=(n, n)).tocsr()


CURVE = "Laplace forward and backward, graph given,"
PEER_TOL = 1e-5  # graphlearning's default
OURS_TOL = 1e-6  # gives about the same residual, as the check prints


def _solve_mnist() -> dict[str, Callable[[], object]]:
    edge_index, edge_weight, y, mask = _digits("MNIST")
    rows = mask.nonzero()[:, 0].numpy()
    weights = scipy.sparse.csr_matrix(_matrix(edge_index, edge_weight, len(y)))

    def ours() -> Tensor:
        u: Tensor = laplace_propagation(
            edge_index, edge_weight, y, mask, num_classes=10, solver=CG(OURS_TOL)
        )
        return u

    def peer() -> object:
        import graphlearning

        return graphlearning.ssl.laplace(weights, tol=PEER_TOL).fit(rows, y.numpy()[rows])

    return {"ours": ours, "graphlearning laplace": peer}


def _solve_mnist_check() -> str:
    edge_index, edge_weight, y, mask = _digits("MNIST")
    weights = _matrix(edge_index, edge_weight, len(y))
    degree = weights.sum(1)[:, None]
    free = (~mask).numpy()[:, None]
    words, accuracy = [], []
    contestants = _solve_mnist()
    if not find_spec("graphlearning"):
        contestants.popitem()
    for name, solve in contestants.items():
        u = np.asarray(solve(), dtype=float)
        residual = (degree * u - weights @ u) / np.sqrt(degree) * free
        words.append(f"{name} {np.linalg.norm(residual):.1e}")
        accuracy.append((u.argmax(1) == y.numpy())[~mask].mean())
    return (
        f"residual: {', '.join(words)}; accuracy {100 * accuracy[0]:.2f}, {100 * accuracy[1]:.2f} %"
    )


def _partition_usps() -> dict[str, Callable[[], object]]:
    """Sizes of the classes given; graphlearning allows half to one and a half times these."""
    edge_index, edge_weight, y, mask = _digits("USPS", 7)
    rows = mask.nonzero()[:, 0].numpy()
    weights = scipy.sparse.csr_matrix(_matrix(edge_index, edge_weight, len(y)))
    priors = y.bincount() / len(y)

    def ours() -> Tensor:
        generator = torch.Generator().manual_seed(0)
        return volume_mbo(
            edge_index, edge_weight, y, mask, class_priors=priors, generator=generator
        ).argmax(1)

    def peer() -> object:
        import graphlearning

        model = graphlearning.ssl.volume_mbo(weights, class_priors=priors.double().numpy())
        return torch.from_numpy(model.fit_predict(rows, y.numpy()[rows]))

    return {"ours": ours, _VOLUME[1]: peer}


def _partition_usps_check() -> str:
    *_, y, mask = _digits("USPS", 7)
    contestants = _partition_usps()
    if not find_spec("graphlearning"):
        contestants.popitem()
    found = {name: torch.as_tensor(fit())[~mask] for name, fit in contestants.items()}
    words = [f"{name} {100 * (c == y[~mask]).double().mean():.2f} %" for name, c in found.items()]
    return f"accuracy: {', '.join(words)}"


def _grown(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, y, mask = _blobs(n, 0.6)
    edge_index, edge_weight = cached(f"blobs_{n}", lambda: knn_graph(x.detach(), K))
    return edge_index, edge_weight.requires_grad_(), y, mask


def _curve(n: int) -> dict[str, Callable[[], object]]:
    edge_index, edge_weight, y, mask = _grown(n)

    def ours() -> object:
        u = laplace_propagation(edge_index, edge_weight, y, mask, num_classes=10)
        return torch.autograd.grad(u.square().sum(), edge_weight)

    return {"ours": ours}


def _curve_check(n: int) -> str:
    edge_index, edge_weight, y, mask = _grown(n)
    _, info = laplace_propagation(
        edge_index, edge_weight, y, mask, num_classes=10, return_info=True
    )
    return f"{edge_index.shape[1]} edges, {info.iterations} iterations"


@lru_cache(maxsize=1)
def _far(graph: str, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Edges, weights and 20 labels of 10 classes, of two clusters in the first."""
    edge_index, edge_weight = GRAPHS[graph](n)
    nodes = int(edge_index.max()) + 1
    y = torch.full((nodes,), -1)
    within = nodes // 2 if graph == "bridge" else nodes
    y[torch.randperm(within, generator=torch.Generator().manual_seed(0))[:20]] = (
        torch.arange(20) % 10
    )
    return edge_index, edge_weight, y


def _solved(
    edge_index: Tensor, edge_weight: Tensor, y: Tensor, solve: Callable[[Any, Any], Any]
) -> np.ndarray:
    """Laplace learning where ``solve`` takes the matrix of the unlabelled nodes and ten right sides."""
    matrix = _matrix(edge_index, edge_weight, len(y))
    laplacian = (scipy.sparse.diags_array(matrix.sum(1)) - matrix).tocsr()
    free, held = (part.nonzero()[:, 0].numpy() for part in (y < 0, y >= 0))
    u = np.eye(10)[y.clamp(min=0).numpy()]
    inner = scipy.sparse.csr_matrix(laplacian[free][:, free])
    inner.indices, inner.indptr = inner.indices.astype(np.int32), inner.indptr.astype(np.int32)
    u[free] = solve(inner, -(laplacian[free][:, held] @ u[held]))
    return u


def _aggregation(matrix: Any, rhs: Any) -> np.ndarray:
    """Smoothed aggregation and conjugate gradients, column by column."""
    import pyamg

    hierarchy = pyamg.smoothed_aggregation_solver(matrix)
    columns = [hierarchy.solve(b, tol=OURS_TOL, accel="cg", maxiter=300) for b in rhs.T]
    return np.stack(columns, 1)


def _elimination(matrix: Any, rhs: Any) -> np.ndarray:
    solution: np.ndarray = splu(matrix.astype(np.float64).tocsc()).solve(rhs)
    return solution


def _solve_far(graph: str, n: int) -> dict[str, Callable[[], object]]:
    edge_index, edge_weight, y = _far(graph, n)

    def ours(solver: CG | None = None) -> Tensor:
        u: Tensor = laplace_propagation(edge_index, edge_weight, y, num_classes=10, solver=solver)
        return u

    return {
        "ours": ours,
        "pyamg": lambda: _solved(edge_index, edge_weight, y, _aggregation),
        "CG()": lambda: ours(CG()),
    }


def _solve_far_check(graph: str, n: int) -> str:
    edge_index, edge_weight, y = _far(graph, n)
    u, info = laplace_propagation(edge_index, edge_weight, y, num_classes=10, return_info=True)
    words = f"{info.solver}, {info.iterations} iterations"
    if not find_spec("pyamg"):
        return words
    amg = _solved(edge_index, edge_weight, y, _aggregation)
    if n > 10_000:
        return f"{words}; largest difference to pyamg {np.abs(u.numpy() - amg).max():.0e}"
    exact = _solved(edge_index, edge_weight, y, _elimination)
    ours, theirs = (np.abs(found - exact).max() for found in (u.numpy(), amg))
    return f"{words}; {ours:.0e} off float64 elimination, pyamg {theirs:.0e}"


SETS = 20  # of labels on one graph, as a study of label rates has


def _again(n: int) -> dict[str, Callable[[], object]]:
    edge_index, edge_weight, y = _far("grid", n)
    seeds = [torch.Generator().manual_seed(seed) for seed in range(SETS)]
    sets = [y[torch.randperm(len(y), generator=seed)] for seed in seeds]

    def solve(prepared: Prepared | None) -> list[Tensor]:
        return [
            poisson_propagation(edge_index, edge_weight, y, num_classes=10, prepared=prepared)
            for y in sets
        ]

    return {"ours": lambda: solve(Prepared()), _AGAIN[1]: lambda: solve(None)}


def _again_check(n: int) -> str:
    u, v = (torch.stack(solve()) for solve in _again(n).values())
    return f"largest difference {(u - v).abs().max() / v.abs().max():.0e} of the largest value"


_AGAIN = ("ours", "ours, not prepared")
_VOLUME = ("ours", "graphlearning volume MBO")
_LAYER = ("ours", "scikit-learn kNN + one SciPy splu")

PROPAGATION = {
    **{
        f"GLL forward and backward n={n} d=32 k=24, {kind} blobs": Case(
            partial(_layer, n, spread),
            _LAYER,
            "faster",
            partial(_layer_check, n, spread),
            rounds=1 if n > 5_000 else 3,
        )
        for n in (500, 2_000, 10_000)
        for kind, spread in (("overlapping", 0.3), ("separable", 1.0))
    },
    "Laplace, MNIST 70000 x 10 classes, graph given": Case(
        _solve_mnist,
        ("ours", "graphlearning laplace"),
        ">= 3 x faster at the same residual",
        _solve_mnist_check,
        needs={"graphlearning laplace": "graphlearning"},
        data="MNIST",
    ),
    "Volume MBO, USPS 9298 x 10 classes, k=7, 10 labels a class, graph given": Case(
        _partition_usps,
        _VOLUME,
        "more accurate",
        _partition_usps_check,
        rounds=3,
        needs={_VOLUME[1]: "graphlearning"},
        data="USPS",
    ),
    **{
        f"Laplace, {graph} n={n}, 20 labels, 10 classes": Case(
            partial(_solve_far, graph, n),
            ("ours", "pyamg", "CG()")[: 3 if n == 10_000 else 2],  # else it takes minutes
            "at most 1.1 x the least of the others' times",
            partial(_solve_far_check, graph, n),
            rounds=1 if n > 200_000 else 3,
            needs={"pyamg": "pyamg"},
        )
        for graph, n in (
            *((graph, 10_000) for graph in GRAPHS),
            *((graph, 100_000) for graph in GRAPHS if graph != "neighbours in 16-d"),
            ("grid", 500_000),
            ("path", 1_000_000),
            ("3-d grid", 1_000_000),
        )
    },
    **{
        f"Poisson, {SETS} sets of labels on one grid n={n}, prepared": Case(
            partial(_again, n), _AGAIN, "faster", partial(_again_check, n), rounds=1
        )
        for n in (1_500, 10_000)
    },
    **{
        f"{CURVE} n={n} k=24": Case(
            partial(_curve, n), ("ours",), "linear", partial(_curve_check, n)
        )
        for n in (1_000, 5_000, 20_000, 50_000, 100_000, 200_000)
    },
}
