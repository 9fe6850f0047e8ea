"""Graphs to cluster: the kNN graph, what is made from it, and the comparators, each from its paper."""

import math
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from benchmarks.clustering.soft_pruning import soft_pruned
from pyg_relational.cluster import edge_consensus, leiden_partitions
from pyg_relational.nn import ModularityPruning, prune_by_consensus
from pyg_relational.ops import CG, both_directions, edge_diff_dot, knn, neighbor_pairs
from pyg_relational.ops.graph.laplacian import degree
from pyg_relational.ops.linear.grounded import GroundedLaplacian
from pyg_relational.transforms import knn_graph


class Graph(NamedTuple):
    """Edges in both directions and their weights."""

    edge_index: Tensor
    edge_weight: Tensor


class Recipe(NamedTuple):
    """What a graph is made with: neighbours, clusters, seed, and the kNN graph where it is known."""

    k: int
    clusters: int
    seed: int
    given: Graph | None = None


def nearest(x: Tensor, recipe: Recipe) -> Graph:
    """The union kNN graph with self-tuning Gaussian weights."""
    return recipe.given or Graph(*knn_graph(x, recipe.k))


def consensus_knn(x: Tensor, recipe: Recipe) -> Graph:
    """Edges of the kNN graph whose ends are together in more than two neighbourhoods: a third node says so as well.

    `Premachandran and Kakarala, "Consensus of k-NNs for robust neighborhood selection on graph-based manifolds"
    <https://doi.org/10.1109/CVPR.2013.209>`_ (CVPR 2013): every node casts a vote for each pair in its neighbourhood,
    itself included. The threshold is the user's there; here it was chosen in its favour, of 2 to 5 votes.
    """
    graph = nearest(x, recipe)
    together = joint_neighbourhoods(knn(x, recipe.k).index, graph.edge_index)
    return _kept(graph, together > 2)


def joint_neighbourhoods(index: Tensor, edge_index: Tensor) -> Tensor:
    """In how many neighbourhoods both ends of an edge are, a node being in its own."""
    n, k = index.shape
    members = torch.cat([torch.arange(n)[:, None], index], 1).flatten().numpy()
    ones = np.ones(n * (k + 1))
    member = scipy.sparse.csr_array((ones, members, np.arange(n + 1) * (k + 1)), shape=(n, n))
    votes = (member.T @ member).tocsr()
    row, col = edge_index.numpy()
    return torch.from_numpy(np.asarray(votes[row, col]).ravel())


def lgss(x: Tensor, recipe: Recipe) -> Graph:
    """Weights in which the features are smooth and no node is alone, learned on the edges of the 3k-NN graph.

    `Kalofolias and Perraudin, "Large scale graph learning from smooth signals" <https://arxiv.org/abs/1710.05654>`_
    (ICLR 2019): the log-degree model, and its scale for k neighbours a node.
    """
    x = x.double()
    near = knn(x, 3 * recipe.k)
    pairs = neighbor_pairs(near.index)
    square = near.distance.square()
    weight = log_degree_weights(pairs, edge_diff_dot(x, x, pairs) * theta(square, recipe.k), len(x))
    keep = weight > 1e-5 * weight.max()
    edge_index, pair = both_directions(pairs[:, keep], len(x))
    return Graph(edge_index, weight[keep][pair].float())


def theta(square: Tensor, k: int) -> float:
    """Scale of squared distances [n, > k], sorted, for k neighbours a node: geometric mean of the two bounds."""
    total = square[:, :k].sum(1)
    bounds = [(k * z.square() - total * z).rsqrt() for z in (square[:, k], square[:, k - 1])]
    return math.sqrt(math.prod(b[torch.isfinite(b)].mean().item() for b in bounds))


def log_degree_weights(
    pairs: Tensor, z: Tensor, n: int, *, tol: float = 1e-5, max_iter: int = 3000
) -> Tensor:
    r"""Minimiser :math:`w \ge 0` of :math:`2 \langle w, z \rangle - \sum_i \log (S w)_i + \lVert w \rVert^2`.

    One weight a pair, :math:`S w` the degrees; the forward-backward-forward iteration of `Kalofolias, "How to learn a
    graph from smooth signals" <https://arxiv.org/abs/1601.02513>`_ (2016), algorithm 1 with alpha = beta = 1.
    """
    i, j = pairs
    count = torch.bincount(pairs.flatten(), minlength=n)

    def degrees(w: Tensor) -> Tensor:
        return torch.zeros_like(d).index_add_(0, i, w).index_add_(0, j, w)

    w, d = torch.zeros_like(z), z.new_zeros(n)
    step = 0.9 / (3 + math.sqrt(2 * int(count.max())))
    for _ in range(max_iter):
        y, v = w - step * (2 * w + d[i] + d[j]), d + step * degrees(w)
        p = (y - 2 * step * z).clamp(min=0)
        q = (v - (v.square() + 4 * step).sqrt()) / 2
        new_w = w - y + p - step * (2 * p + q[i] + q[j])
        new_d = d - v + q + step * degrees(p)
        moved = max(_relative(new_w, w), _relative(new_d, d))
        w, d = new_w, new_d
        if moved < tol:
            break
    else:
        warnings.warn(f"weights still move by {moved:.1e} after {max_iter} steps", stacklevel=2)
    return w.clamp(min=0)


def spectral_sparsifier(x: Tensor, recipe: Recipe) -> Graph:
    """As many draws as the kNN graph has edges, in proportion to weight times effective resistance, reweighted.

    `Spielman and Srivastava, "Graph sparsification by effective resistances" <https://arxiv.org/abs/0803.0929>`_
    (2008). The sparse graph's Laplacian is the other's in expectation.
    """
    graph = nearest(x, recipe)
    once = graph.edge_index[0] < graph.edge_index[1]
    pairs, weight = graph.edge_index[:, once], graph.edge_weight[once].double()
    leverage = weight * resistances(graph, len(x), recipe.seed)[once]
    drawn = sampled(weight, leverage, len(weight), recipe.seed)
    edge_index, pair = both_directions(pairs[:, drawn > 0], len(x))
    return Graph(edge_index, drawn[drawn > 0][pair].float())


def sampled(weight: Tensor, leverage: Tensor, draws: int, seed: int) -> Tensor:
    """Weights after draws in proportion to leverage, with replacement; their expectation is ``weight``."""
    p = (leverage / leverage.sum()).numpy()
    count = torch.from_numpy(np.random.default_rng(seed).multinomial(draws, p))
    return torch.where(count > 0, weight * count / (draws * torch.from_numpy(p)), 0.0)


def resistances(graph: Graph, n: int, seed: int = 0, projections: int = 100) -> Tensor:
    """Effective resistance of every edge, by random projections: within about sqrt(2 / projections) of it.

    Every node is tied to the ground by 1e-4 of its degree, as edges of 1e-20 would else decide how far clusters are.
    """
    row, col = graph.edge_index
    weight = graph.edge_weight.double()
    rng = np.random.default_rng(seed)
    rhs = np.empty((n, projections))
    once = (row < col).numpy()
    i, j, root = row.numpy()[once], col.numpy()[once], weight.sqrt().numpy()[once]
    for column in range(projections):
        flow = root * rng.choice([-1.0, 1.0], len(root)) / math.sqrt(projections)
        rhs[:, column] = np.bincount(i, flow, n) - np.bincount(j, flow, n)
    tie = 1e-4 * degree(graph.edge_index, weight, n)
    none = torch.zeros(n, dtype=torch.bool)
    laplacian = GroundedLaplacian(graph.edge_index, weight, tie, none, solver=CG(tol=1e-3))
    potential = laplacian.solve(torch.from_numpy(rhs))
    return edge_diff_dot(potential, potential, graph.edge_index)


def pruned_farthest(x: Tensor, recipe: Recipe) -> Graph:
    """Algorithm 1 of the modularity-guided paper, as printed."""
    pruning = ModularityPruning(recipe.clusters, "farthest", seed=recipe.seed)
    return Graph(*pruning(x, *nearest(x, recipe))[:2])


def pruned_consensus(x: Tensor, recipe: Recipe) -> Graph:
    """The consensus of Leiden partitions."""
    graph = nearest(x, recipe)
    return Graph(*prune_by_consensus(*graph, recipe.clusters, num_nodes=len(x), seed=recipe.seed))


def pruned_soft(x: Tensor, recipe: Recipe) -> Graph:
    """Soft pruning, trained on the graph itself."""
    pruned = soft_pruned(x, *nearest(x, recipe), recipe.clusters, recipe.seed)
    return Graph(pruned.edge_index, pruned.edge_weight)


def random_partitions(x: Tensor, recipe: Recipe) -> Graph:
    """Control: the same consensus, of partitions that have the sizes of Leiden's and random members."""
    graph, partitions, generator = _partitions(x, recipe)
    shuffled = [clusters[torch.randperm(len(x), generator=generator)] for clusters in partitions]
    return _weakened(graph, edge_consensus(graph.edge_index, shuffled))


def shuffled_consensus(x: Tensor, recipe: Recipe) -> Graph:
    """Control: the consensus of Leiden's partitions, dealt to other edges; as many are dropped, as much is weakened."""
    graph, partitions, generator = _partitions(x, recipe)
    once = graph.edge_index[0] < graph.edge_index[1]
    pairs = graph.edge_index[:, once]
    share = edge_consensus(pairs, partitions)[torch.randperm(pairs.shape[1], generator=generator)]
    return _weakened(graph, share[both_directions(pairs, len(x))[1]])


GRAPHS: dict[str, Callable[[Tensor, Recipe], Graph]] = {
    "knn": nearest,
    "consensus_knn": consensus_knn,
    "lgss": lgss,
    "spectral_sparsifier": spectral_sparsifier,
    "random_partitions": random_partitions,
    "shuffled_consensus": shuffled_consensus,
    "pruned_farthest": pruned_farthest,
    "pruned_consensus": pruned_consensus,
    "pruned_soft": pruned_soft,
}
WITHOUT_CHANCE = {"knn", "consensus_knn", "lgss"}


def _partitions(x: Tensor, recipe: Recipe) -> tuple[Graph, list[Tensor], torch.Generator]:
    graph = nearest(x, recipe)
    least = 0.3 * len(x) / recipe.clusters
    found = leiden_partitions(*graph, len(x), min_size=least, seed=recipe.seed)
    return graph, found, torch.Generator().manual_seed(recipe.seed)


def _weakened(graph: Graph, share: Tensor) -> Graph:
    weaker = graph._replace(edge_weight=graph.edge_weight * share**3)
    return _kept(weaker, share > 0)


def _kept(graph: Graph, keep: Tensor) -> Graph:
    return Graph(graph.edge_index[:, keep], graph.edge_weight[keep])


def _relative(new: Tensor, old: Tensor) -> float:
    size = float(torch.linalg.vector_norm(old))
    return float(torch.linalg.vector_norm(new - old)) / size if size > 0 else math.inf
