"""Edges between clusters are pruned: Algorithm 1 of the modularity-guided paper, and a consensus of partitions."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from pyg_relational.cluster import spectral
from pyg_relational.nn.pool.prune_by_consensus import (
    Edges,
    check_weakening,
    kept_edges,
    prune_by_consensus,
)
from pyg_relational.ops import modularity
from pyg_relational.ops.checks import check_choice, check_count, check_features, check_labels
from pyg_relational.ops.graph.undirected import undirected_edges
from pyg_relational.ops.options import show_options

__all__ = ["Clustering", "ModularityPruning", "PrunedGraph", "Rule", "Step", "between_farthest"]

Clustering = Callable[[Tensor, Tensor], Tensor]
Rule = Literal["consensus", "farthest"]


class Step(NamedTuple):
    """One clustering: how many undirected edges are left, and its modularity on the given and on the pruned graph."""

    edges: int
    modularity: float
    pruned_modularity: float
    clusters: Tensor


class PrunedGraph(NamedTuple):
    """Edges that are left, in both directions, their weights, the clusters of the last step, and all steps."""

    edge_index: Tensor
    edge_weight: Tensor
    clusters: Tensor
    history: list[Step]


class ModularityPruning(nn.Module):
    r"""Drops or weakens the edges of a graph that stand between clusters, while modularity rises.

    The loop is Algorithm 1 of `"Enhancing Graph Topology and Clustering Quality: A Modularity-Guided Approach"
    <https://arxiv.org/abs/2303.16103>`_: cluster the nodes, prune, cluster again, and take the new graph and clusters
    if modularity has risen (the paper prints the opposite test). It is that of the given graph: on the pruned graph it
    rises by construction. What is pruned:

    - ``rule="farthest"``, the paper's: all edges between each cluster and the one with the farthest centroid. Clusters
      that are far apart have hardly any edges, so this drops hardly any.
    - ``rule="consensus"``, ours: see :func:`prune_by_consensus`.

    In the paper :math:`A_{ij}` is 0 or 1: give no weights. Any are taken here, and what pruning gains depends on them.
    Where pruning does not raise modularity, the given graph comes back: so it does where ``clustering`` cannot use the
    pruned graph. The choice of edges is a constant; weights that are left carry gradient.

    Args:
        num_clusters: Number of clusters :math:`k`.
        rule: ``"consensus"`` or ``"farthest"``. (default: ``"consensus"``)
        power: :math:`p` of the consensus. (default: 3)
        min_degree: Neighbours to leave a node that has as many. (default: 1)
        clustering: Function from ``edge_index`` and ``edge_weight`` to clusters. (default:
            :func:`~pyg_relational.cluster.spectral` with ``num_clusters``, stray groups of less than a tenth of
            :math:`n / k` left out)
        max_iter: How often to prune at most. (default: 1 of the consensus, 9 of the farthest)
        seed: Seed of both clusterings. (default: 0)

    Shapes:
        ``x``: :math:`[n, d]`, ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output:
        :class:`PrunedGraph`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ModularityPruning
        >>> from pyg_relational.transforms import knn_graph
        >>> x = torch.cat([torch.randn(50, 2), torch.randn(50, 2) + 4])
        >>> pruned = ModularityPruning(2)(x, *knn_graph(x, 10))
        >>> pruned.clusters.shape
        torch.Size([100])
    """

    def __init__(
        self,
        num_clusters: int,
        rule: Rule = "consensus",
        *,
        power: float = 3.0,
        min_degree: int = 1,
        clustering: Clustering | None = None,
        max_iter: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice(rule, Rule, "rule")
        if max_iter is None:
            max_iter = 1 if rule == "consensus" else 9
        if not (clustering is None or callable(clustering)):
            raise TypeError(f"clustering must be callable or None, got {type(clustering).__name__}")
        self.num_clusters = check_count(num_clusters, "num_clusters")
        max_iter = check_count(max_iter, "max_iter")
        seed = check_count(seed, "seed", 0)
        check_weakening(power, min_degree)
        self.rule, self.power, self.min_degree = rule, power, min_degree
        self.clustering, self.max_iter, self.seed = clustering, max_iter, seed

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
    ) -> PrunedGraph:
        """Return the pruned graph."""
        check_features(x)
        edge_index, weight, _ = undirected_edges(edge_index, edge_weight, len(x))
        given = edge_index, weight
        best = self._clustered(given, given, len(x))
        for step in range(self.max_iter):
            left = self._pruned(x, best, step)
            if left[0].shape == best.edge_index.shape and torch.equal(left[1], best.edge_weight):
                break
            found = self._clustered(given, left, len(x))
            history = best.history + found.history
            if found.history[0].modularity <= best.history[-1].modularity:
                return best._replace(history=history)
            best = found._replace(history=history)
        return best

    def _pruned(self, x: Tensor, graph: PrunedGraph, step: int) -> Edges:
        edges = graph.edge_index, graph.edge_weight
        if self.rule == "consensus":
            return prune_by_consensus(
                *edges,
                self.num_clusters,
                num_nodes=len(x),
                power=self.power,
                min_degree=self.min_degree,
                seed=self.seed + step,
            )
        apart = between_farthest(graph.edge_index, x, graph.clusters)
        keep = kept_edges(edges, ~apart, self.min_degree, len(x))
        return edges[0][:, keep], edges[1][keep]

    def _clustered(self, given: Edges, left: Edges, n: int) -> PrunedGraph:
        clusters = self._clusters(*left, n)
        q = modularity(given[0], given[1].detach(), clusters).item()
        pruned_q = modularity(left[0], left[1].detach(), clusters).item()
        edges = int((left[0][0] <= left[0][1]).sum())
        return PrunedGraph(*left, clusters, [Step(edges, q, pruned_q, clusters)])

    def _clusters(self, edge_index: Tensor, weight: Tensor, n: int) -> Tensor:
        if self.clustering is not None:
            clusters = self.clustering(edge_index, weight.detach())
            check_labels(clusters, n, "clusters")
            return clusters
        size = max(2, n // (10 * self.num_clusters))
        return spectral(
            edge_index,
            weight.detach(),
            self.num_clusters,
            min_size=size,
            num_nodes=n,
            seed=self.seed,
        )

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        names = ("num_clusters", "rule", "power", "min_degree", "clustering", "max_iter", "seed")
        return show_options({name: getattr(self, name) for name in names})


def between_farthest(edge_index: Tensor, x: Tensor, clusters: Tensor) -> Tensor:
    """Whether an edge runs between a cluster and the cluster whose centroid is farthest from its own.

    Args:
        edge_index: Edges.
        x: Features.
        clusters: Cluster of every node, any numbers.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``x``: :math:`[n, d]`, ``clusters``: :math:`[n]`, output: :math:`[E]`, bool.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.modularity_pruning import between_farthest
        >>> x, edges = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0, 0, 1], [1, 2, 2]])
        >>> between_farthest(edges, x, torch.arange(3)).tolist()
        [False, True, True]
    """
    found, number = clusters.unique(return_inverse=True)
    if len(found) < 2:
        return torch.zeros(edge_index.shape[1], dtype=torch.bool, device=x.device)
    x = x.detach().double()
    total = x.new_zeros(len(found), x.shape[1]).index_add(0, number, x)
    centroids = total / number.bincount()[:, None]
    farthest = torch.cdist(centroids, centroids).argmax(1)
    a, b = number[edge_index]
    apart: Tensor = (a != b) & ((farthest[a] == b) | (farthest[b] == a))
    return apart
