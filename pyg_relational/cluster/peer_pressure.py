"""Peer pressure clustering of a graph."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from pyg_relational.ops.checks import check_count
from pyg_relational.ops.graph.components import smallest_member
from pyg_relational.ops.graph.undirected import undirected_edges

__all__ = ["Array", "peer_pressure"]

Array = NDArray[Any]

_TIE = 1e-6  # votes that are equal but for rounding, of float32 weights too
_ROUNDING = 1e-12  # of conductance and modularity


def peer_pressure(
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    num_nodes: int | None = None,
    *,
    normalize: bool = False,
    max_iter: int = 100,
    patience: int = 10,
    seed: int = 0,
) -> Tensor:
    r"""Clusters that form as every node joins the one that most of its neighbours are in, again and again.

    The kNN pressure of `Ho Thanh, "Improving Fine-Tuning with Latent Cluster Correction"
    <https://arxiv.org/abs/2501.11919>`_ (section VI.A). At first every node is a cluster of its own. With
    :math:`B_{ic} = [c_i = c]`, each step moves all nodes at once:

    .. math::
        c_i \leftarrow \arg\max_c \, (A B)_{ic}

    a sparse product; votes within 1e-6 of the largest tie, and ties are drawn at random. Steps go on until the mean
    :func:`~pyg_relational.metrics.conductance` (eqs. 10 and 11, over the total volume) stops falling.

    Four things are not in the text:

    - The step of lowest conductance counts only while modularity rises as well, and ``patience`` steps may pass without
      a better one. Conductance alone goes on falling while one cluster takes over the graph.
    - In a graph with hubs and overlapping classes, one cluster takes over before the others have formed. So more steps
      follow from the best one, in which votes count as far as they exceed what chance would give,

      .. math::
          c_i \leftarrow \arg\max_c \Big( \sum_{j \ne i} A_{ij} B_{jc} - \frac{d_i}{2m} \sum_{j \ne i} d_j B_{jc} \Big),

      the gain of modularity; of these, the partition of highest modularity is returned, or the connected components
      where theirs is higher, as in a complete graph.
    - A node that would go straight back to the cluster it came from does so only if that has the lower number, and
      stays a step otherwise: neighbours that exchange their clusters for ever, as on a bipartite graph, would never
      agree.
    - ``normalize=True`` is the rule of `Kepner and Gilbert, "Graph Algorithms in the Language of Linear Algebra"
      <https://doi.org/10.1137/1.9780898719918>`_ (2011, chapter 6): :math:`A D^{-1} B`, every node has one vote to
      share among its neighbours.

    Runs on the CPU in :math:`O(E)` time a step, and memory. The same seed gives the same partition. An isolated node is
    a cluster of its own. A self-loop is a vote for the node's own cluster.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_nodes: Number of nodes, ``None`` for the largest index plus one.
        normalize: Let the votes of every node sum to 1; else they are the weights of its edges.
        max_iter: Most steps of either kind.
        patience: Steps without a better partition after which those of a kind are done.
        seed: Seed of the choice between tied clusters.

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
    max_iter = check_count(max_iter, "max_iter")
    patience = check_count(patience, "patience")
    seed = check_count(seed, "seed", 0)
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, num_nodes)
    row, col = edge_index.to("cpu", torch.int32 if n < 2**31 else torch.int64).numpy()
    w = weight.detach().double().cpu().numpy()
    a = csr_array((w, (row, col)), shape=(n, n))
    a.eliminate_zeros()
    cluster = torch.from_numpy(_press(a, normalize, max_iter, patience, seed))
    first = smallest_member(cluster.to(edge_index.device, torch.int64))
    number: Tensor = first.unique(return_inverse=True)[1]
    return number


class _Partition(NamedTuple):
    cluster: Array
    conductance: float
    modularity: float


def _press(a: Any, normalize: bool, max_iter: int, patience: int, seed: int) -> Array:
    """Cluster of every node, named by one of its nodes."""
    n = a.shape[0]
    if a.nnz == 0:
        return np.arange(n)
    degree = a.sum(1)
    volume = degree + a.diagonal()
    votes = a.data / degree[a.indices] if normalize else a.data
    ballots = csr_array((votes, a.indices, a.indptr), shape=(n, n))
    rng = np.random.default_rng(seed)
    score = partial(_scored, a=a, volume=volume)
    limits = max_iter, patience

    best = score(np.arange(n, dtype=a.indices.dtype))
    best = _climb(best, partial(_vote, ballots, rng=rng), score, _falls, *limits)
    beyond_chance = partial(_vote, _without_loops(a), rng=rng, volume=volume)
    best = _climb(best, beyond_chance, score, _rises, *limits)
    apart = score(_whole_components(a))
    return (best if _rises(best, apart) else apart).cluster


def _falls(new: _Partition, best: _Partition) -> bool:
    return new.conductance < best.conductance - _ROUNDING and _rises(new, best)


def _rises(new: _Partition, best: _Partition) -> bool:
    return new.modularity > best.modularity + _ROUNDING


def _climb(
    best: _Partition,
    vote: Callable[[Array], Array],
    score: Callable[[Array], _Partition],
    better: Callable[[_Partition, _Partition], bool],
    max_iter: int,
    patience: int,
) -> _Partition:
    """The best partition of the steps from one."""
    before = cluster = best.cluster
    stale = 0
    for _ in range(max_iter):
        wanted = vote(cluster)
        back = (wanted == before) & (wanted > cluster)
        before, cluster = cluster, np.where(back, cluster, wanted)
        new = score(cluster)
        best, stale = (new, 0) if better(new, best) else (best, stale + 1)
        if stale == patience:
            break
    return best


def _vote(
    ballots: Any, cluster: Array, rng: np.random.Generator, volume: Array | None = None
) -> Array:
    """The cluster that most neighbours of each node are in; with volumes, beyond those that chance puts there."""
    n = len(cluster)
    votes = ballots @ csr_array((np.ones(n), cluster, np.arange(n + 1)), shape=(n, n))
    count = np.diff(votes.indptr)
    voting = np.flatnonzero(count)
    start, counts = votes.indptr[voting], count[voting]
    slack = _TIE * np.maximum.reduceat(votes.data, start) if len(voting) else 0
    gain = votes.data - (0 if volume is None else _by_chance(votes, cluster, volume))
    least = np.maximum.reduceat(gain, start) - slack
    tied = gain >= np.repeat(least, counts)
    ties = np.add.reduceat(tied, start, dtype=np.int64)
    drawn = np.cumsum(ties) - ties + rng.integers(ties)
    moved = cluster.copy()
    moved[voting] = votes.indices[np.flatnonzero(tied)[drawn]]
    return moved


def _by_chance(votes: Any, cluster: Array, volume: Array) -> Array:
    """Weight that each node would have in each cluster, were edges drawn by volume; itself not counted."""
    row = np.repeat(np.arange(len(cluster)), np.diff(votes.indptr))
    there = np.bincount(cluster, volume, len(cluster))[votes.indices]
    itself = np.where(votes.indices == cluster[row], volume[row], 0)
    expected: Array = volume[row] / volume.sum() * (there - itself)
    return expected


def _scored(cluster: Array, a: Any, volume: Array) -> _Partition:
    """A partition with its mean conductance and modularity."""
    leaves = np.repeat(cluster, np.diff(a.indptr)) != cluster[a.indices]
    leaving = csr_array((a.data * leaves, a.indices, a.indptr), shape=a.shape).sum(1)
    cut = np.bincount(cluster, leaving, len(cluster))
    part = np.bincount(cluster, volume, len(cluster))
    whole = part.sum()  # of these, so that the rest of a cluster of all is 0
    smaller = np.maximum(np.minimum(part, whole - part), cut)
    phi = np.divide(cut, smaller, out=np.ones_like(cut), where=smaller > 0)
    share = part / whole
    return _Partition(cluster, share @ phi, 1 - cut.sum() / whole - share @ share)


def _whole_components(a: Any) -> Array:
    component = scipy.sparse.csgraph.connected_components(a, directed=False)[1]
    first: Array = np.unique(component, return_index=True)[1]
    return first[component]


def _without_loops(a: Any) -> Any:
    a = a.copy()
    a.setdiag(0)
    a.eliminate_zeros()
    return a
