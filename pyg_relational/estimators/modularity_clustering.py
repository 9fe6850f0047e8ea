"""Clusters of high modularity as a scikit-learn clustering."""

import torch
from numpy.random import RandomState
from torch import Tensor

from pyg_relational.cluster import leiden
from pyg_relational.estimators.base import Affinity
from pyg_relational.estimators.graph_clusterer import GraphClusterer, check_clusters
from pyg_relational.nn.pool.modularity_pruning import ModularityPruning
from pyg_relational.transforms.knn_graph import Bandwidth, Metric

__all__ = ["ModularityClustering"]


class ModularityClustering(GraphClusterer):
    r"""Clusters of high modularity of a :math:`k`-nearest-neighbour graph.

    Without a number of clusters, Leiden's (`Traag et al. 2019 <https://arxiv.org/abs/1810.08473>`_,
    :func:`~pyg_relational.cluster.leiden`), which chooses it. With one, spectral clustering of the graph whose edges
    between clusters are weakened or dropped where modularity rises by it, as in `Zhuang, Wang et al.
    <https://arxiv.org/abs/2303.16103>`_ (2023), by :class:`~pyg_relational.nn.ModularityPruning`. Modularity is

    .. math::
        Q = \frac{1}{M} \sum_{ij} \Big(w_{ij} - \gamma \frac{d_i d_j}{M}\Big) [c_i = c_j], \qquad M = \sum_i d_i .

    Args:
        n_clusters: Number of clusters, ``None`` for Leiden's choice. (default: ``None``)
        k: Number of neighbours, the point itself not counted. (default: 10)
        metric: ``"euclidean"`` or ``"cosine"``.
        bandwidth: Bandwidth of the Gaussian weights, as in :func:`~pyg_relational.transforms.knn_graph`.
        affinity: ``"nearest_neighbors"``: X holds features. ``"precomputed"``: X is an undirected graph, anything
            that :func:`~pyg_relational.interop.as_edges` reads, or its dense adjacency as an array.
        resolution: :math:`\gamma` of Leiden; above 1 it gives more and smaller clusters. Not used with
            ``n_clusters``. (default: 1)
        random_state: Seed of all chance, as in scikit-learn. (default: 0)
        device: Where to find neighbours, as in torch; the rest runs on the CPU.

    Attributes:
        labels_: Cluster of every row, ``[n]``, from 0 in the order of their first rows.
        modularity_: :math:`Q` of the clusters on the graph, not pruned, with :math:`\gamma = 1`.
        n_features_in_: Number of features, or of nodes.

    Example:
        >>> import numpy as np
        >>> from pyg_relational.estimators import ModularityClustering
        >>> X = np.array([[0.0], [1.0], [2.0], [6.0], [7.0], [8.0]])
        >>> ModularityClustering(k=2).fit_predict(X)
        array([0, 0, 0, 1, 1, 1])
    """

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        k: int = 10,
        metric: Metric = "euclidean",
        bandwidth: Bandwidth = "self_tuning",
        affinity: Affinity = "nearest_neighbors",
        resolution: float = 1.0,
        random_state: int | RandomState | None = 0,
        device: str = "cpu",
    ) -> None:
        self.n_clusters = n_clusters
        self.k = k
        self.metric = metric
        self.bandwidth = bandwidth
        self.affinity = affinity
        self.resolution = resolution
        self.random_state = random_state
        self.device = device

    def _clusters(self, edge_index: Tensor, weight: Tensor, n: int, seed: int) -> Tensor:
        if self.n_clusters is None:
            return leiden(edge_index, weight, n, resolution=self.resolution, seed=seed)
        rows = torch.empty(n, 0, device=weight.device)  # the consensus reads no features
        pruning = ModularityPruning(check_clusters(self.n_clusters, n), seed=seed)
        clusters: Tensor = pruning(rows, edge_index, weight).clusters
        return clusters
