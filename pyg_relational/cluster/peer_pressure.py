"""Peer pressure clustering of a graph."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csgraph, csr_array
from torch import Tensor

from pyg_relational.ops.components import smallest_member
from pyg_relational.ops.undirected import undirected_edges

Array = NDArray[Any]

_TIE = 1e-6  # votes that are equal but for rounding, of float32 weights too


def peer_pressure(
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    num_nodes: int | None = None,
    *,
    normalize: bool = True,
    max_iter: int = 100,
    patience: int = 10,
    seed: int = 0,
) -> Tensor:
    r"""Clusters that form as every node joins the one that most of its neighbours are in, again and again.

    At first every node is a cluster of its own. With :math:`B_{ic} = [c_i = c]`, each step moves all nodes at once:

    .. math::
        c_i \leftarrow \arg\max_c \, (A D^{-1} B)_{ic}

    a sparse product; votes within a 1e-6 of the largest tie, and ties are drawn at random. :math:`D^{-1}` gives every
    node one vote to share among its neighbours, as in `Kepner and Gilbert, "Graph Algorithms in the Language of Linear
    Algebra" <https://doi.org/10.1137/1.9780898719918>`_ (2011, chapter 6); without it (``normalize=False``) nodes of
    high degree have more to say, and pull all of a kNN graph that has hubs into one cluster sooner.

    Of all steps, the partition of lowest mean :func:`~pyg_relational.metrics.conductance` is returned whose modularity
    is no lower than that of those before it. Conductance alone goes on falling while one cluster takes over the graph,
    and is undefined once it has. A component for which no step has a positive modularity, such as a complete graph, or
    one that all of its nodes have come to agree on, is one cluster. The connected components of the graph are apart in
    all this: a union of graphs gives what each of them gives, but for ties. A node that would go straight back to the
    cluster it came from does so only if that has the lower number, and stays a step otherwise: neighbours that exchange
    their clusters for ever, as on a bipartite graph, would never agree.

    Runs on the CPU in :math:`O(E)` time a step, and memory. The same seed gives the same partition. An isolated node is
    a cluster of its own. A self-loop is a vote for the node's own cluster.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_nodes: Number of nodes, ``None`` for the largest index plus one.
        normalize: Whether the votes of every node sum to 1, or are the weights of its edges.
        max_iter: Most steps.
        patience: Steps without a better partition after which a component is done.
        seed: Of the ties.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[n]`, int64.

    Returns:
        Cluster of every node, counted from 0 in the order of their first nodes.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.cluster import peer_pressure
        >>> from pyg_relational.ops import both_directions
        >>> triangles = torch.tensor([[0, 0, 1, 2, 3, 3, 4], [1, 2, 2, 3, 4, 5, 5]])
        >>> peer_pressure(both_directions(triangles, 6)[0]).tolist()
        [0, 0, 0, 1, 1, 1]
    """
    for name, value in (("max_iter", max_iter), ("patience", patience)):
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, num_nodes)
    row, col = edge_index.to("cpu", torch.int32 if n < 2**31 else torch.int64).numpy()
    w = weight.detach().double().cpu().numpy()
    a = csr_array((w, (row, col)), shape=(n, n))
    a.eliminate_zeros()
    cluster = torch.from_numpy(_press(a, normalize, max_iter, patience, seed))
    first = smallest_member(cluster.to(edge_index.device, torch.int64))
    number: Tensor = first.unique(return_inverse=True)[1]
    return number


def _press(a: Any, normalize: bool, max_iter: int, patience: int, seed: int) -> Array:
    """A node of its cluster for every node; each component keeps its best partition, and is done by itself."""
    n = a.shape[0]
    if a.nnz == 0:
        return np.arange(n)
    degree = a.sum(1)
    votes = a.data / degree[a.indices] if normalize else a.data
    ballots = csr_array((votes, a.indices, a.indptr), shape=(n, n))
    volume = degree + a.diagonal()
    component = csgraph.connected_components(a, directed=False)[1]
    rng = np.random.default_rng(seed)
    cluster = before = best = np.arange(n, dtype=a.indices.dtype)
    phi, q = _scores(cluster, a, volume, component)
    stale = np.zeros(len(q), dtype=np.int64)
    for _ in range(max_iter):
        wanted = _vote(ballots, cluster, rng)
        back = (wanted == before) & (wanted > cluster)
        before, cluster = cluster, np.where(back, cluster, wanted)
        new_phi, new_q = _scores(cluster, a, volume, component)
        better = (stale < patience) & (new_phi < phi) & (new_q > q)
        best = np.where(better[component], cluster, best)
        phi, q = np.where(better, new_phi, phi), np.where(better, new_q, q)
        stale = np.where(better, 0, stale + 1)
        if (stale >= patience).all():
            break
    first = np.unique(component, return_index=True)[1]
    return np.where((q > 0)[component], best, first[component])


def _vote(ballots: Any, cluster: Array, rng: np.random.Generator) -> Array:
    """The cluster that most neighbours of each node are in."""
    n = len(cluster)
    votes = ballots @ csr_array((np.ones(n), cluster, np.arange(n + 1)), shape=(n, n))
    count = np.diff(votes.indptr)
    voting = np.flatnonzero(count)
    start = votes.indptr[voting]
    most = np.maximum.reduceat(votes.data, start)
    tied = votes.data >= np.repeat((1 - _TIE) * most, count[voting])
    ties = np.add.reduceat(tied, start, dtype=np.int64)
    drawn = np.cumsum(ties) - ties + rng.integers(ties)
    moved = cluster.copy()
    moved[voting] = votes.indices[np.flatnonzero(tied)[drawn]]
    return moved


def _scores(cluster: Array, a: Any, volume: Array, component: Array) -> tuple[Array, Array]:
    """Mean conductance and modularity of each component."""
    leaves = np.repeat(cluster, np.diff(a.indptr)) != cluster[a.indices]
    leaving = csr_array((a.data * leaves, a.indices, a.indptr), shape=a.shape).sum(1)
    cut = np.bincount(cluster, leaving, len(cluster))
    part = np.bincount(cluster, volume, len(cluster))
    total = np.maximum(np.bincount(component, volume), np.finfo(float).tiny)
    whole = total[component]  # clusters bear the numbers of nodes, of the same component
    smaller = np.maximum(np.minimum(part, whole - part), cut)
    phi = np.divide(cut, smaller, out=np.ones_like(cut), where=cut > 0)
    share = part / whole
    conductance = np.bincount(component, share * phi)
    modularity = 1 - np.bincount(component, cut / whole + share**2)
    return conductance, modularity
