"""Poisson learning as a scikit-learn classifier."""

import numpy as np
from scipy.special import softmax
from torch import Tensor

from pyg_relational.estimators.base import Affinity, Array, GraphClassifier
from pyg_relational.nn.prop.poisson import poisson_propagation
from pyg_relational.nn.prop.unreachable import OnUnreachable
from pyg_relational.ops.linear.solvers import Auto
from pyg_relational.transforms.knn_graph import Bandwidth, Metric

__all__ = ["PoissonClassifier"]


class PoissonClassifier(GraphClassifier):
    r"""Semi-supervised classifier by Poisson learning on a :math:`k`-nearest-neighbour graph, for very few labels.

    Of `Calder et al., 2020 <https://proceedings.mlr.press/v119/calder20a.html>`_: labels are sources and sinks,
    :math:`L u = \sum_j \delta_j (y_j - \bar{y})` (:func:`~pyg_relational.nn.poisson_propagation`); the prediction is
    :math:`\arg\max_k u_{ik}`. Distributions are the softmax of :math:`u` over its root mean square: they order
    classes as the scores do, but are not calibrated.

    Args:
        k: Number of neighbours, the point itself not counted.
        metric: ``"euclidean"`` or ``"cosine"``.
        bandwidth: Bandwidth of the Gaussian weights, as in :func:`~pyg_relational.transforms.knn_graph`.
        affinity: ``"nearest_neighbors"``: X holds features. ``"precomputed"``: X is an undirected graph, anything
            that :func:`~pyg_relational.interop.as_edges` reads, or its dense adjacency as an array.
        tol: Relative tolerance of the solution.
        on_unreachable: For rows that no label reaches: ``"prior"``, the shares of the classes among the labels,
            or ``"error"``.
        device: Where to compute, as in torch.

    Attributes:
        classes_: Classes, sorted, ``[c]``.
        label_distributions_: Distribution over the classes of every fitted row, ``[n, c]``.
        transduction_: Class of every fitted row, ``[n]``; labelled rows need not keep their label.
        n_features_in_: Number of features, or of nodes.

    Example:
        >>> import numpy as np
        >>> from pyg_relational.estimators import PoissonClassifier
        >>> X = np.array([[0.0], [1.0], [2.0], [4.0], [5.0], [6.0]])
        >>> PoissonClassifier(k=2).fit_predict(X, [4, -1, -1, -1, -1, 7])
        array([4, 4, 4, 7, 7, 7])
    """

    def __init__(
        self,
        k: int = 10,
        metric: Metric = "euclidean",
        bandwidth: Bandwidth = "self_tuning",
        affinity: Affinity = "nearest_neighbors",
        tol: float = 1e-6,
        on_unreachable: OnUnreachable = "prior",
        device: str = "cpu",
    ) -> None:
        self.k = k
        self.metric = metric
        self.bandwidth = bandwidth
        self.affinity = affinity
        self.tol = tol
        self.on_unreachable = on_unreachable
        self.device = device

    def _propagate(self, edge_index: Tensor, weight: Tensor, y: Tensor, x: Tensor | None) -> Tensor:
        u = poisson_propagation(
            edge_index, weight, y, solver=Auto(tol=self.tol), on_unreachable=self.on_unreachable
        )
        self._size = float(u.square().mean().sqrt()) or 1.0
        return u

    def _distribution(self, scores: Array) -> Array:
        distribution: Array = softmax(np.asarray(scores, dtype=float) / self._size, axis=1)
        return distribution
