"""Laplace learning as a scikit-learn classifier."""

import numpy as np
from torch import Tensor

from pyg_relational.estimators.base import Affinity, Array, GraphClassifier
from pyg_relational.nn.prop.laplace import laplace_propagation
from pyg_relational.nn.prop.reweight import Normalization, Reweighting
from pyg_relational.nn.prop.unreachable import OnUnreachable
from pyg_relational.ops.linear.solvers import Auto
from pyg_relational.transforms.knn_graph import Bandwidth, Metric

__all__ = ["LaplaceClassifier"]


class LaplaceClassifier(GraphClassifier):
    r"""Semi-supervised classifier by Laplace learning on a :math:`k`-nearest-neighbour graph.

    Of `Zhu et al., 2003 <https://dl.acm.org/doi/10.5555/3041838.3041953>`_: :math:`(L + \tau I)^m u = 0` off the
    labels, :math:`u = y` on them (:func:`~pyg_relational.nn.laplace_propagation`); the prediction is
    :math:`\arg\max_k u_{ik}`. Where labels are very few, see
    :class:`~pyg_relational.estimators.PoissonClassifier`.

    Args:
        k: Number of neighbours, the point itself not counted.
        metric: ``"euclidean"`` or ``"cosine"``.
        bandwidth: Bandwidth of the Gaussian weights, as in :func:`~pyg_relational.transforms.knn_graph`.
        affinity: ``"nearest_neighbors"``: X holds features. ``"precomputed"``: X is an undirected graph, anything
            that :func:`~pyg_relational.interop.as_edges` reads, or its dense adjacency as an array.
        tau: Decay :math:`\tau \ge 0`.
        normalization: Kind of Laplacian: ``"combinatorial"``, ``"randomwalk"`` or ``"normalized"``.
        reweighting: ``"none"``, ``"poisson"``, ``"wnll"`` or ``"properly"`` (wants features).
        order: :math:`m`.
        tol: Relative tolerance of the solution.
        on_unreachable: For rows that no label reaches: ``"prior"``, the shares of the classes among the labels,
            or ``"error"``.
        device: Where to compute, as in torch.

    Attributes:
        classes_: Classes, sorted, ``[c]``.
        label_distributions_: Distribution over the classes of every fitted row, ``[n, c]``.
        transduction_: Class of every fitted row, ``[n]``.
        n_features_in_: Number of features, or of nodes.

    Example:
        >>> import numpy as np
        >>> from pyg_relational.estimators import LaplaceClassifier
        >>> X = np.array([[0.0], [1.0], [2.0], [6.0], [7.0], [8.0]])
        >>> model = LaplaceClassifier(k=1).fit(X, [4, -1, -1, -1, -1, 7])
        >>> model.transduction_, model.predict([[2.5]])
        (array([4, 4, 4, 7, 7, 7]), array([4]))
    """

    def __init__(
        self,
        k: int = 10,
        metric: Metric = "euclidean",
        bandwidth: Bandwidth = "self_tuning",
        affinity: Affinity = "nearest_neighbors",
        tau: float = 0.0,
        normalization: Normalization = "combinatorial",
        reweighting: Reweighting = "none",
        order: int = 1,
        tol: float = 1e-6,
        on_unreachable: OnUnreachable = "prior",
        device: str = "cpu",
    ) -> None:
        self.k = k
        self.metric = metric
        self.bandwidth = bandwidth
        self.affinity = affinity
        self.tau = tau
        self.normalization = normalization
        self.reweighting = reweighting
        self.order = order
        self.tol = tol
        self.on_unreachable = on_unreachable
        self.device = device

    def _propagate(self, edge_index: Tensor, weight: Tensor, y: Tensor, x: Tensor | None) -> Tensor:
        u = laplace_propagation(
            edge_index,
            weight,
            y,
            x=x,
            tau=self.tau,
            normalization=self.normalization,
            reweighting=self.reweighting,
            order=self.order,
            solver=Auto(tol=self.tol),
            on_unreachable=self.on_unreachable,
        )
        share = u[y >= 0].mean(0)
        return u.where(u.sum(1, keepdim=True) > 0, share)

    def _distribution(self, scores: Array) -> Array:
        scores = np.maximum(scores, 0)
        distribution: Array = scores / scores.sum(1, keepdims=True)
        return distribution
