"""Modularity losses against literal sparse and dense forms, pruning against its paper's pipeline."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch_geometric.nn.dense import DMoNPooling

from benchmarks.machine import DATASETS
from benchmarks.speed.case import Case, off
from pyg_relational import datasets
from pyg_relational.metrics import clustering_accuracy
from pyg_relational.nn import ModularityLoss, ModularityPruning, SoftModularityPruning, SparseDMoN
from pyg_relational.ops import both_directions, modularity, unit_rows
from pyg_relational.transforms import knn_graph

Array = NDArray[Any]
NEIGHBOURS = 10


class Assigned(NamedTuple):
    """A random graph of equal blocks, and a soft assignment of its nodes to them."""

    edge_index: Tensor
    edge_weight: Tensor
    c: Tensor


def _random_graph(n: int, pairs: int, k: int) -> Assigned:
    torch.manual_seed(0)
    i, j = torch.randint(n, (2, pairs))
    j[::2] = (i + k * j)[::2] % n  # half of the pairs are in a block
    i, j = torch.minimum(i, j), torch.maximum(i, j)
    key = (i * n + j)[i != j].unique()
    edge_index, pair = both_directions(torch.stack([key // n, key % n]), n)
    scores = torch.randn(n, k)
    scores[torch.arange(n), torch.arange(n) % k] += 4
    c = scores.softmax(1).requires_grad_()
    return Assigned(edge_index, torch.rand(len(key))[pair], c)


def _sparse_form(a: Tensor, c: Tensor, collapse: float) -> Tensor:
    """The DMoN loss by products with a sparse matrix: tr(C^T A C) / M - |C^T d|^2 / M^2."""
    n, k = c.shape
    d = (a @ c.detach().new_ones(n, 1))[:, 0]
    total = d.sum()
    q = torch.trace(c.T @ torch.sparse.mm(a, c)) / total - (c.T @ d).square().sum() / total**2
    loss: Tensor = collapse * (math.sqrt(k) / n * c.sum(0).norm() - 1) - q
    return loss


def _edge_form(
    i: Tensor, j: Tensor, weight: Tensor, c: Tensor, d: Tensor, collapse: float
) -> Tensor:
    """The same edge by edge, as it is printed: a sum of w_ij <c_i, c_j>, which a compiler makes one loop."""
    n, k = c.shape
    total = d.sum()
    q = (weight * (c[i] * c[j]).sum(1)).sum() / total - (c.T @ d).square().sum() / total**2
    loss: Tensor = collapse * (math.sqrt(k) / n * c.sum(0).norm() - 1) - q
    return loss


def _matrix(graph: Assigned) -> Tensor:
    n = len(graph.c)
    return torch.sparse_coo_tensor(*graph[:2], (n, n)).coalesce().to_sparse_csr()


def _assigned(collapse: float, n: int, pairs: int, k: int) -> dict[str, Callable[[], Any]]:
    """Value and gradient: of minus the modularity, or with the collapse term, of the DMoN loss."""
    graph = _random_graph(n, pairs, k)
    a, dmon = _matrix(graph), ModularityLoss(collapse=collapse)
    i, j, d = *graph.edge_index, a @ torch.ones(n)
    compiled = torch.compile(_edge_form)

    def ours() -> Any:
        return _differentiated(dmon(*graph) if collapse else -modularity(*graph), graph.c)

    def literal() -> Any:
        return _differentiated(_sparse_form(a, graph.c, collapse), graph.c)

    def fused() -> Any:
        return _differentiated(compiled(i, j, graph.edge_weight, graph.c, d, collapse), graph.c)

    return {"ours": ours, _SPARSE: literal, _FUSED: fused}


def _assigned_error(collapse: float, n: int, pairs: int, k: int) -> str:
    graph = _random_graph(n, pairs, k)
    c = graph.c.detach().double().requires_grad_()
    exact = _differentiated(_sparse_form(_matrix(graph).double(), c, collapse), c)
    found = _assigned(collapse, n, pairs, k)
    words = [f"{name}: {_off(contestant(), exact)}" for name, contestant in found.items()]
    return f"off float64: {'; '.join(words)}"


def _differentiated(loss: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    return loss.detach(), torch.autograd.grad(loss, x)[0]


def _pooling(n: int) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    x = torch.randn(n, 64)
    edge_index, edge_weight = knn_graph(x, NEIGHBOURS)
    a = torch.zeros(n, n).index_put(tuple(edge_index), edge_weight)
    dense = DMoNPooling(64, 16)
    sparse = SparseDMoN(64, 16)
    sparse.load_state_dict(dense.state_dict())

    def ours() -> Any:
        return _gradient(sparse(x, edge_index, edge_weight).losses, sparse)

    def peer() -> Any:
        return _gradient(dense(x, a)[3:], dense)

    return {"ours": ours, "PyG DMoNPooling": peer}


def _gradient(losses: tuple[Tensor, ...], module: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """The losses, and the gradient of their sum."""
    grad = torch.autograd.grad(sum(losses), list(module.parameters()))  # type: ignore[arg-type]
    return torch.stack(losses).detach(), torch.cat([g.flatten() for g in grad])


def _dense_gates(module: SoftModularityPruning, x: Tensor, w: Tensor) -> Tensor:
    """The loss of soft pruning by farthest centroids, every matrix n x n; options are the defaults."""
    n, k = len(x), len(module.centroids)
    c = (-torch.cdist(x, module.centroids).square() / module.temperature).softmax(1)
    mu = (c.T @ x) / c.sum(0)[:, None]
    other = ~torch.eye(k, dtype=torch.bool)
    difference = mu[:, None] - mu[None]
    distance = difference.square().sum(2).where(other, 1).sqrt()
    r = (distance / module.farthest_temperature).masked_fill(~other, -math.inf).softmax(1)
    edges = (w > 0).float()
    gate = (1 - c @ (r + r.T - r * r.T) @ c.T) * edges
    d = w.sum(1)
    q = (gate * w * (c @ c.T)).sum() / d.sum() - (c.T @ d).square().sum() / d.sum() ** 2
    budget = (gate.sum() / edges.sum() - 0.9).square()
    lonely = (edges.sum(1).clamp(max=1) - gate.sum(1)).relu().mean()
    loss: Tensor = 10 * budget + lonely + math.sqrt(k) / n * c.sum(0).norm() - 1 - q
    return loss


def _soft(n: int) -> dict[str, Callable[[], Any]]:
    torch.manual_seed(0)
    x = unit_rows(torch.randn(10, 64)[torch.randint(10, (n,))] + torch.randn(n, 64))
    edge_index, edge_weight = knn_graph(x, NEIGHBOURS)
    w = torch.zeros(n, n).index_put(tuple(edge_index), edge_weight)
    module = SoftModularityPruning(64, 10)
    module.reset_parameters(x)
    x.requires_grad_()

    def ours() -> Any:
        return _differentiated(module(x, edge_index, edge_weight).loss, x)

    def dense() -> Any:
        return _differentiated(_dense_gates(module, x, w), x)

    return {"ours": ours, "dense n x n": dense}


def _off(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> str:
    value, gradient = map(off, found, exact)
    return f"value {value:.0e}, gradient {gradient:.0e}"


def _off_peer(build: Callable[[], dict[str, Callable[[], Any]]]) -> str:
    ours, peer = (function() for function in build().values())
    return f"off the peer: {_off(ours, peer)}"


class Pruned(NamedTuple):
    """The graph that is left, its clusters, and their modularity on the given graph."""

    a: csr_array
    clusters: Array
    modularity: float


def algorithm_1(x: Array, k: int) -> Pruned:
    """The paper's pipeline from scikit-learn and networkx: edges of farthest clusters go while modularity rises."""
    import networkx as nx
    from sklearn.neighbors import kneighbors_graph

    a = kneighbors_graph(x, NEIGHBOURS)
    a = a.maximum(a.T).tocsr()
    given = nx.from_scipy_sparse_array(a)
    best = Pruned(a, np.zeros(len(x), int), -math.inf)
    while True:
        clusters = spectral_labels(a, k)
        members = [set(np.flatnonzero(clusters == c).tolist()) for c in range(k)]
        q = nx.community.modularity(given, members)
        if q <= best.modularity:
            return best
        best = Pruned(a, clusters, q)
        a = _without_farthest(x, a, clusters)


def spectral_labels(a: csr_array, k: int) -> Array:
    """Spectral clustering of a graph, by scikit-learn."""
    from sklearn.cluster import SpectralClustering

    labels: Array = SpectralClustering(k, affinity="precomputed", random_state=0).fit_predict(a)
    return labels


def _without_farthest(x: Array, a: csr_array, clusters: Array) -> csr_array:
    centroids = np.stack([x[clusters == c].mean(0) for c in range(clusters.max() + 1)])
    farthest = np.linalg.norm(centroids[:, None] - centroids, axis=2).argmax(1)
    i, j = a.nonzero()
    keep = (farthest[clusters[i]] != clusters[j]) & (farthest[clusters[j]] != clusters[i])
    return csr_array((a.data[keep], (i[keep], j[keep])), shape=a.shape)


def _samples(name: str) -> tuple[Tensor, Tensor]:
    """PenDigits' training part, or all of a data set; images flattened."""
    dataset = getattr(datasets, name)(root=DATASETS)
    x, y = dataset.split("train") if name == "PenDigits" else (dataset[0].x, dataset[0].y)
    return x.flatten(1), y


def _pruning(name: str) -> dict[str, Callable[[], object]]:
    x = _samples(name)[0]
    return {
        _CONSENSUS: lambda: _pruned(x, "consensus"),
        _FARTHEST: lambda: _pruned(x, "farthest"),
        _PIPELINE: lambda: algorithm_1(x.numpy(), 10),
    }


def _pruned(x: Tensor, rule: str) -> Any:
    return ModularityPruning(10, rule)(x, *knn_graph(x, NEIGHBOURS))


def _pruning_check(name: str, *peers: str) -> str:
    """Of each its accuracy, and its modularity on the binary graph."""
    x, y = _samples(name)
    graph = knn_graph(x, NEIGHBOURS, kernel="binary")
    words = []
    contestants = _pruning(name)
    for peer in peers:
        clusters = torch.as_tensor(contestants[peer]().clusters, dtype=torch.int64)  # type: ignore[attr-defined]
        accuracy, q = clustering_accuracy(y, clusters), modularity(*graph, clusters).item()
        words.append(f"{peer}: accuracy {100 * accuracy:.2f} %, modularity {q:.4f}")
    return "; ".join(words)


_CONSENSUS = "ours, consensus"
_FARTHEST = "ours, Algorithm 1"
_PIPELINE = "scikit-learn + networkx, Algorithm 1"
_PRUNING = (_CONSENSUS, _FARTHEST, _PIPELINE)
_SPARSE = "torch.sparse, literal"
_FUSED = "edge by edge, compiled"


def _growing(name: str, collapse: float) -> dict[str, Case]:
    cases = {}
    for power in (5, 6):
        size = {"n": 10**power, "pairs": 5 * 10**power, "k": 64}
        goal = "O(E k), extra memory < 4 GiB" if power == 6 else ""
        cases[f"{name} and gradient, graph given, n=10^{power} E=10^{power + 1} k=64"] = Case(
            partial(_assigned, collapse, **size),
            ("ours", _SPARSE, _FUSED),
            goal,
            partial(_assigned_error, collapse, **size),
            rounds=2 if power == 6 else 5,  # the first, not counted, compiles
        )
    return cases


MODULARITY = {
    **_growing("Modularity", 0.0),
    **_growing("DMoN loss", 1.0),
    "SparseDMoN forward and backward n=4096 k=16": Case(
        partial(_pooling, 4096),
        ("ours", "PyG DMoNPooling"),
        "faster, less memory, same losses",
        partial(_off_peer, partial(_pooling, 4096)),
    ),
    "SoftModularityPruning forward and backward n=4096 k=10": Case(
        partial(_soft, 4096),
        ("ours", "dense n x n"),
        "faster, less memory, same loss",
        partial(_off_peer, partial(_soft, 4096)),
    ),
    "ModularityPruning with its kNN graph, PenDigits 7494": Case(
        partial(_pruning, "PenDigits"),
        _PRUNING,
        "<= 1 s",
        partial(_pruning_check, "PenDigits", *_PRUNING),
        rounds=2,
    ),
    "ModularityPruning with its kNN graph, USPS 9298": Case(
        partial(_pruning, "USPS"),
        _PRUNING,
        "<= 1.5 s",
        partial(_pruning_check, "USPS", *_PRUNING),
        rounds=2,
        data="USPS",
    ),
    "ModularityPruning with its kNN graph, MNIST 70000": Case(
        partial(_pruning, "MNIST"),
        (_CONSENSUS,),
        "<= 60 s",
        partial(_pruning_check, "MNIST", _CONSENSUS),
        rounds=1,
        data="MNIST",
    ),
}
