"""Latent cluster correction against its literal form from faiss and networkx."""

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


def _blobs(n: int, d: int = D) -> tuple[Tensor, Tensor]:
    """Ten overlapping blobs."""
    torch.manual_seed(0)
    y = torch.randint(10, (n,))
    return (0.415 * torch.randn(10, d)[y] + torch.randn(n, d)).requires_grad_(), y


def _ours(z: Tensor, y: Tensor, k: int = K) -> Step:
    clusters = leiden(*knn_graph(z.detach(), k, kernel="binary"), len(z))
    loss = latent_cluster_loss(z, y, clusters, k=k)
    return Step(clusters, loss.detach(), torch.autograd.grad(loss, z)[0])


def _literal(z: Tensor, y: Tensor, k: int = K) -> Step:
    clusters = _louvain(z.detach().numpy(), k)
    loss = _loss(z, y, clusters, k)
    return Step(clusters, loss.detach(), torch.autograd.grad(loss, z)[0])


def _louvain(z: Array, k: int) -> Tensor:
    import networkx as nx

    communities = nx.community.louvain_communities(_graph(z, k), seed=0)
    clusters = torch.empty(len(z), dtype=torch.int64)
    for number, members in enumerate(communities):
        clusters[list(members)] = number
    return clusters


def _graph(z: Array, k: int) -> Any:
    """The kNN graph: an edge where either is the other's neighbour."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(len(z)))
    for i, neighbours in enumerate(_nearest(z, z, k + 1).tolist()):
        graph.add_edges_from((i, j) for j in neighbours if j != i)
    return graph


def _nearest(points: Array, queries: Array, k: int) -> Array:
    import faiss

    index = faiss.IndexFlatL2(points.shape[1])
    index.add(np.ascontiguousarray(points))
    found: Array = index.search(np.ascontiguousarray(queries), k)[1]
    return found


def _matching(clusters: Tensor, y: Tensor) -> dict[int, int]:
    """Label of every cluster, by the maximum flow of least cost: one unit out of each cluster."""
    import networkx as nx

    graph = nx.DiGraph()
    for c in clusters.unique().tolist():
        graph.add_edge("source", ("cluster", c), capacity=1)
        for label, count in zip(*y[clusters == c].unique(return_counts=True), strict=True):
            pair = ("cluster", c), ("label", int(label))
            graph.add_edge(*pair, capacity=1, weight=-int(count))
            graph.add_edge(pair[1], "sink")
    flow = nx.max_flow_min_cost(graph, "source", "sink")
    return {
        node[1]: next(label for (_, label), units in flow[node].items() if units)
        for node in graph["source"]
    }


def _loss(z: Tensor, y: Tensor, clusters: Tensor, k: int) -> Tensor:
    """Misclustered samples to the mean of the k nearest correctly clustered ones of their class."""
    label = _matching(clusters, y)
    right = torch.tensor([label[c] for c in clusters.tolist()]) == y
    points, lengths = z.detach().numpy(), []
    for c in y.unique():
        members, wrong = ((y == c) & right).nonzero()[:, 0], ((y == c) & ~right).nonzero()[:, 0]
        if len(members) >= k and len(wrong):
            index = torch.from_numpy(_nearest(points[members], points[wrong], k))
            target = z.detach()[members[index]].mean(1)
            lengths.append((z[wrong] - target).norm(dim=1))
    loss: Tensor = torch.cat(lengths).mean() / z.shape[1] ** 0.5
    return loss


def _correction(n: int) -> dict[str, Callable[[], Any]]:
    z, y = _blobs(n)
    return {"ours": lambda: _ours(z, y), _FAISS: lambda: _literal(z, y)}


def _correction_check(n: int, *contestants: str) -> str:
    graph = knn_graph(_blobs(n)[0].detach(), K, kernel="binary")
    steps = [_correction(n)[name]() for name in contestants]
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


_FAISS = "faiss + networkx, literal"
_SCIPY = "SciPy CSC, literal"

LATENT = {
    "LCC step with its kNN graph, n=5000 d=64 k=50": Case(
        partial(_correction, 5_000),
        ("ours", _FAISS),
        ">= 8 x faster at the same modularity",
        partial(_correction_check, 5_000, "ours", _FAISS),
        needs={_FAISS: "faiss"},
    ),
    "LCC step with its kNN graph, n=70000 d=64 k=50": Case(
        partial(_correction, 70_000),
        ("ours",),
        "< 60 s, memory O(n k + n d)",
        partial(_correction_check, 70_000, "ours"),
        rounds=1,
    ),
    "peer_pressure, graph given, n=5000 k=50": Case(
        partial(_pressure, 5_000),
        ("ours", _SCIPY),
        "",
        partial(_pressure_check, 5_000),
    ),
}
