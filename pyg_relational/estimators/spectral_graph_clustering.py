"""Spectral clustering of a sparse graph as a scikit-learn clustering."""

from numpy.random import RandomState
from torch import Tensor

from pyg_relational.cluster import spectral
from pyg_relational.estimators.base import Affinity
from pyg_relational.estimators.graph_clusterer import GraphClusterer, check_clusters
from pyg_relational.transforms.knn_graph import Bandwidth, Metric

__all__ = ["SpectralGraphClustering"]


class SpectralGraphClustering(GraphClusterer):
    r"""Normalised spectral clustering of a :math:`k`-nearest-neighbour graph, with its components taken apart.

    k-means on eigenvectors of :math:`D^{-1/2} W D^{-1/2}`, of `Ng, Jordan and Weiss
    <https://proceedings.neurips.cc/paper/2001/hash/801272ee79cfde7fa5960571fee36b9b-Abstract.html>`_ (2001), by
    :func:`~pyg_relational.cluster.spectral`. Stray groups of less than a tenth of :math:`n / k` rows, :math:`k` the
    number of clusters, take no cluster: where a kNN graph falls apart, :class:`sklearn.cluster.SpectralClustering`
    gives them one each.

    Args:
        n_clusters: Number of clusters. (default: 8)
        k: Number of neighbours, the point itself not counted. (default: 10)
        metric: ``"euclidean"`` or ``"cosine"``.
        bandwidth: Bandwidth of the Gaussian weights, as in :func:`~pyg_relational.transforms.knn_graph`.
        affinity: ``"nearest_neighbors"``: X holds features. ``"precomputed"``: X is an undirected graph, anything
            that :func:`~pyg_relational.interop.as_edges` reads, or its dense adjacency as an array.
        random_state: Seed of all chance, as in scikit-learn. (default: 0)
        device: Where to find neighbours, as in torch; the rest runs on the CPU.

    Attributes:
        labels_: Cluster of every row, ``[n]``, from 0 in the order of their first rows.
        modularity_: Modularity of the clusters on the graph, see :func:`~pyg_relational.ops.modularity`.
        n_features_in_: Number of features, or of nodes.

    Example:
        >>> import numpy as np
        >>> from pyg_relational.estimators import SpectralGraphClustering
        >>> X = np.array([[0.0], [1.0], [2.0], [6.0], [7.0], [8.0]])
        >>> SpectralGraphClustering(2, k=2).fit_predict(X)
        array([0, 0, 0, 1, 1, 1])
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        k: int = 10,
        metric: Metric = "euclidean",
        bandwidth: Bandwidth = "self_tuning",
        affinity: Affinity = "nearest_neighbors",
        random_state: int | RandomState | None = 0,
        device: str = "cpu",
    ) -> None:
        self.n_clusters = n_clusters
        self.k = k
        self.metric = metric
        self.bandwidth = bandwidth
        self.affinity = affinity
        self.random_state = random_state
        self.device = device

    def _clusters(self, edge_index: Tensor, weight: Tensor, n: int, seed: int) -> Tensor:
        clusters = check_clusters(self.n_clusters, n)
        size = max(2, n // (10 * clusters))
        return spectral(edge_index, weight, clusters, min_size=size, num_nodes=n, seed=seed)
