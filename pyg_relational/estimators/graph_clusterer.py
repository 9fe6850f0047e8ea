"""What the clusterings share: a graph of the rows, and a cluster of each."""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.random import RandomState
from sklearn.base import ClusterMixin
from sklearn.utils import check_random_state
from torch import Tensor

from pyg_relational.estimators.base import Affinity, GraphEstimator
from pyg_relational.ops import modularity
from pyg_relational.ops.checks import check_count
from pyg_relational.transforms.knn_graph import Bandwidth, Metric

__all__ = ["GraphClusterer", "check_clusters"]

_Fitted = TypeVar("_Fitted", bound="GraphClusterer")


class GraphClusterer(ClusterMixin, GraphEstimator):  # type: ignore[misc]
    """Base of the clusterings. A subclass says how a graph is parted."""

    k: int
    metric: Metric
    bandwidth: Bandwidth
    affinity: Affinity
    random_state: int | RandomState | None
    device: str

    def _clusters(self, edge_index: Tensor, weight: Tensor, n: int, seed: int) -> Tensor:
        raise NotImplementedError

    def fit(self: _Fitted, X: Any, y: Any = None) -> _Fitted:
        """Find the clusters of the rows of ``X``.

        Args:
            X: Features ``[n, d]``, or with ``affinity="precomputed"`` an undirected graph of ``n`` nodes.
            y: Ignored.

        Returns:
            The estimator.

        Raises:
            ValueError: If a value is out of range or not finite.
        """
        _, (edge_index, weight, n) = self._graph(X)
        found = self._clusters(edge_index, weight, n, self._seed())
        self.modularity_ = modularity(edge_index, weight, found).item()
        self.labels_ = found.cpu().numpy()
        return self

    def _seed(self) -> int:
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(torch.iinfo(torch.int32).max))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = tags.input_tags.sparse = self.affinity == "precomputed"
        return tags


def check_clusters(n_clusters: int, n: int) -> int:
    """The number of clusters, where ``n`` rows can have as many.

    Args:
        n_clusters: Number of clusters.
        n: Number of rows.
    """
    n_clusters = check_count(n_clusters, "n_clusters")
    if n_clusters > n:
        raise ValueError(f"n_clusters must be <= {n}, the number of rows, got {n_clusters}")
    return n_clusters
