"""Latent cluster correction against the same from faiss, igraph and NumPy."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array
from torch import Tensor

from benchmarks.speed.case import Case
from pyg_relational.cluster import leiden, peer_pressure
from pyg_relational.metrics import conductance
from pyg_relational.nn import latent_cluster_loss
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph

Array = NDArray[Any]
K = 50
D = 64


class Step(NamedTuple):
    """One correction step."""

    clusters: Tensor
    loss: Tensor
    gradient: Tensor


SPREAD = {"overlapping": 0.415, "separable": 1.5}  # of the blobs' centres


def _blobs(n: int, d: int = D, spread: float = SPREAD["overlapping"]) -> tuple[Tensor, Tensor]:
    """Ten blobs, one label in fifty drawn anew."""
    torch.manual_seed(0)
    y = torch.randint(10, (n,))
    z = spread * torch.randn(10, d)[y] + torch.randn(n, d)
    return z.requires_grad_(), torch.where(torch.rand(n) < 0.02, torch.randint(10, (n,)), y)


def _ours(z: Tensor, y: Tensor, k: int = K) -> Step:
    clusters = leiden(*knn_graph(z.detach(), k, kernel="binary"), len(z))
    loss = latent_cluster_loss(z, y, clusters, k=k)
    return Step(clusters, loss.detach(), torch.autograd.grad(loss, z)[0])


def _literal(z: Tensor, y: Tensor, k: int = K) -> Step:
    clusters = _leiden(z.detach().numpy(), k)
    loss = _loss(z, y, clusters, k)
    return Step(clusters, loss.detach(), torch.autograd.grad(loss, z)[0])


def _leiden(z: Array, k: int) -> Tensor:
    found = _graph(z, k).community_leiden("modularity", n_iterations=2)
    return torch.tensor(found.membership)


def _graph(z: Array, k: int) -> Any:
    """The kNN graph: an edge where either is the other's neighbour."""
    import igraph

    neighbours = _nearest(z, z, k + 1)
    point = np.repeat(np.arange(len(z)), k + 1)
    pairs = np.sort(np.stack([point, neighbours.ravel()], 1), axis=1)
    pairs = pairs[pairs[:, 0] < pairs[:, 1]]
    key = np.unique(pairs[:, 0] * len(z) + pairs[:, 1])
    return igraph.Graph(len(z), np.stack([key // len(z), key % len(z)], 1))


def _nearest(points: Array, queries: Array, k: int) -> Array:
    import faiss

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(np.ascontiguousarray(points))
    found: Array = index.search(np.ascontiguousarray(queries), k)[1]
    return found


def _matching(clusters: Tensor, y: Tensor) -> Tensor:
    """Label of every cluster: that of most of its samples, which is what the maximum flow gives."""
    table = np.zeros((int(clusters.max()) + 1, int(y.max()) + 1), dtype=np.int64)
    np.add.at(table, (clusters.numpy(), y.numpy()), 1)
    return torch.from_numpy(table.argmax(1))


def _loss(z: Tensor, y: Tensor, clusters: Tensor, k: int) -> Tensor:
    """Misclustered samples to the mean of the k nearest correctly clustered ones of their class."""
    right = _matching(clusters, y)[clusters] == y
    points, lengths = z.detach().numpy(), []
    for c in y.unique():
        members, wrong = (torch.nonzero((y == c) & which)[:, 0] for which in (right, ~right))
        if len(members) >= k and len(wrong):
            index = torch.from_numpy(_nearest(points[members.numpy()], points[wrong.numpy()], k))
            target = z.detach()[members[index]].mean(1)
            lengths.append((z[wrong] - target).norm(dim=1))
    loss: Tensor = torch.cat(lengths).mean() / z.shape[1] ** 0.5
    return loss


def _correction(n: int, data: str) -> dict[str, Callable[[], Any]]:
    z, y = _blobs(n, spread=SPREAD[data])
    return {"ours": lambda: _ours(z, y), _FAISS: lambda: _literal(z, y)}


def _correction_check(n: int, data: str, *contestants: str) -> str:
    graph = knn_graph(_blobs(n, spread=SPREAD[data])[0].detach(), K, kernel="binary")
    steps = [_correction(n, data)[name]() for name in contestants]
    qs = ", ".join(f"{modularity(*graph, step.clusters).item():.4f}" for step in steps)
    losses = ", ".join(f"{step.loss:.4f}" for step in steps)
    return f"modularity {qs}; loss {losses}"


def _pressure_literal(a: csc_array, steps: int = 100) -> Array:
    """All nodes move to the cluster that most neighbours are in, until conductance no longer falls."""
    n = a.shape[0]
    degree = a.sum(0)
    ballots = csc_array(a / degree)
    clusters, phi = np.arange(n), np.inf
    for _ in range(steps):
        b = csc_array((np.ones(n), (np.arange(n), clusters)), shape=(n, n))
        moved = np.asarray((ballots @ b).argmax(axis=1)).ravel()
        found = _mean_conductance(a, degree, moved)
        if found >= phi:
            break
        clusters, phi = moved, found
    return clusters


def _mean_conductance(a: csc_array, degree: Array, clusters: Array) -> float:
    n = len(clusters)
    b = csc_array((np.ones(n), (np.arange(n), clusters)), shape=(n, n))
    volume = b.T @ degree
    cut = volume - (b.T @ a @ b).diagonal()
    smaller = np.minimum(volume, volume.sum() - volume)
    phi = np.divide(cut, smaller, out=np.ones(n), where=smaller > 0)
    return float(volume @ phi / volume.sum())


def _pressure(n: int) -> dict[str, Callable[[], Any]]:
    edge_index, edge_weight = knn_graph(_blobs(n)[0].detach(), K, kernel="binary")
    entries = edge_weight.double().numpy(), tuple(edge_index.numpy())
    a = csc_array(entries, shape=(n, n))
    return {
        "ours": lambda: peer_pressure(edge_index, edge_weight, n),
        _SCIPY: lambda: torch.from_numpy(_pressure_literal(a)),
    }


def _pressure_check(n: int) -> str:
    graph = knn_graph(_blobs(n)[0].detach(), K, kernel="binary")
    words = []
    for name, run in _pressure(n).items():
        clusters = run()
        q, phi = modularity(*graph, clusters).item(), conductance(*graph, clusters)[1].item()
        words.append(
            f"{name}: {len(clusters.unique())} clusters, modularity {q:.4f}, conductance {phi:.4f}"
        )
    return "; ".join(words)


_FAISS = "faiss + igraph"
_SCIPY = "SciPy CSC, literal"


def _correction_case(n: int, data: str) -> Case:
    return Case(
        partial(_correction, n, data),
        ("ours", _FAISS),
        "faster at the same modularity",
        partial(_correction_check, n, data, "ours", _FAISS),
        needs={_FAISS: "faiss"},
    )


LATENT = {
    **{
        f"LCC step with its kNN graph, {data} blobs, n={n} d=64 k=50": _correction_case(n, data)
        for data in SPREAD
        for n in (1_000, 5_000, 20_000)
    },
    "LCC step with its kNN graph, n=70000 d=64 k=50": Case(
        partial(_correction, 70_000, "overlapping"),
        ("ours",),
        "< 60 s, memory O(n k + n d)",
        partial(_correction_check, 70_000, "overlapping", "ours"),
        rounds=1,
    ),
    "peer_pressure, graph given, n=5000 k=50": Case(
        partial(_pressure, 5_000),
        ("ours", _SCIPY),
        "",
        partial(_pressure_check, 5_000),
    ),
}
