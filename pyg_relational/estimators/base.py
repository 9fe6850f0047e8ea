"""What the estimators share: features or a graph, and of classifiers labels and rows that came later."""

from numbers import Number
from typing import Any, Literal, TypeVar

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from pyg_relational.interop import as_edges
from pyg_relational.ops import knn
from pyg_relational.ops.checks import check_choice
from pyg_relational.transforms.knn_graph import Bandwidth, Metric, knn_graph

__all__ = ["Affinity", "Array", "GraphClassifier", "GraphEstimator"]

Array = NDArray[Any]
_Fitted = TypeVar("_Fitted", bound="GraphClassifier")
Affinity = Literal["nearest_neighbors", "precomputed"]


class GraphEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of what fits a graph: that of the nearest neighbours of features, or a given one."""

    k: int
    metric: Metric
    bandwidth: Bandwidth
    affinity: Affinity
    device: str

    def _graph(self, X: Any) -> tuple[Tensor | None, tuple[Tensor, Tensor, int]]:
        check_choice(self.affinity, Affinity, "affinity")
        if self.affinity == "precomputed":
            graph = scipy.sparse.csr_array(check_array(X)) if isinstance(X, np.ndarray) else X
            edge_index, weight, n = as_edges(graph)
            self.n_features_in_ = n
            edge_index, weight = edge_index.to(self.device), weight.detach().to(self.device)
            return None, (edge_index, weight, n)
        kinds = [np.float64, np.float32]
        X = validate_data(self, X, dtype=kinds, order="C", ensure_min_samples=2)
        x = torch.tensor(X, device=self.device)
        graph = knn_graph(x, self.k, metric=self.metric, bandwidth=self.bandwidth)
        return x, (*graph, len(x))


class GraphClassifier(ClassifierMixin, GraphEstimator):  # type: ignore[misc]
    """Base of the classifiers. A subclass says how labels spread and what distribution scores stand for."""

    def _propagate(self, edge_index: Tensor, weight: Tensor, y: Tensor, x: Tensor | None) -> Tensor:
        raise NotImplementedError

    def _distribution(self, scores: Array) -> Array:
        raise NotImplementedError

    def fit(self: _Fitted, X: Any, y: Any) -> _Fitted:
        """Spread the labels over the rows of ``X``.

        Args:
            X: Features ``[n, d]``, or with ``affinity="precomputed"`` an undirected graph of ``n`` nodes.
            y: Labels ``[n]``; -1, None, NaN or pandas' NA where there is none. With -1, labels that are strings want an
                object array.

        Returns:
            The estimator.

        Raises:
            ValueError: If a value is out of range or not finite, or nothing is labelled.
        """
        x, (edge_index, weight, n) = self._graph(X)
        labels, labelled = _checked_labels(y, n)
        self.classes_, number = np.unique(labels[labelled], return_inverse=True)
        target = np.full(n, -1)
        target[labelled] = number
        scores = self._propagate(edge_index, weight, torch.from_numpy(target).to(weight.device), x)
        self._scores = scores.cpu().numpy()
        self._x = x
        self.label_distributions_ = self._distribution(self._scores)
        self.transduction_ = self.classes_[self._scores.argmax(1)]
        return self

    def fit_predict(self, X: Any, y: Any) -> Array:
        """Fit and return the class of every row, labelled ones included.

        Args:
            X: As in :meth:`fit`.
            y: As in :meth:`fit`.
        """
        transduction: Array = self.fit(X, y).transduction_
        return transduction

    def predict_proba(self, X: Any) -> Array:
        r"""Distribution over the classes of rows that may be new.

        Scores are the means of the fitted rows' scores, :math:`\sum_j w_{ij} u_j / \sum_j w_{ij}`, over the
        :math:`k` nearest of them: what the equation gives an unlabelled node attached to these alone. A row
        that equals fitted rows takes their mean, so that fitted rows keep what they have.

        Args:
            X: Features ``[m, d]``, or with ``affinity="precomputed"`` weights to the fitted nodes ``[m, n]``.
        """
        return self._distribution(self._extended(X))

    def predict(self, X: Any) -> Array:
        """Class of rows that may be new.

        Args:
            X: As in :meth:`predict_proba`.
        """
        best = self._extended(X).argmax(1)
        predicted: Array = self.classes_[best]
        return predicted

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy on the labelled rows.

        Args:
            X: As in :meth:`predict`.
            y: True labels ``[m]``; rows without one, as in :meth:`fit`, do not count.
            sample_weight: Weights of the rows.

        Raises:
            ValueError: If no row is labelled.
        """
        predicted = self.predict(X)
        labels, labelled = _checked_labels(y, len(predicted))
        weight = None if sample_weight is None else np.asarray(sample_weight)[labelled]
        return float(accuracy_score(labels[labelled], predicted[labelled], sample_weight=weight))

    def _features(self, X: Any) -> Tensor:
        X = validate_data(self, X, dtype=self._scores.dtype, order="C", reset=False)
        return torch.tensor(X, device=self.device)

    def _extended(self, X: Any) -> Array:
        """Weighted means of the fitted rows' scores."""
        check_is_fitted(self)
        if self.affinity == "precomputed":
            weight = scipy.sparse.csr_array(
                validate_data(self, X, accept_sparse="csr", reset=False)
            )
            total = weight.sum(1)[:, None]
            if (total <= 0).any():
                row = int((total <= 0).argmax())
                raise ValueError(
                    f"X must have a positive sum in every row, got {total[row, 0]} in row {row}"
                )
            mean: Array = (weight @ self._scores) / total
            return mean
        q = self._features(X)
        assert self._x is not None
        index, distance = knn(self._x, self.k, self.metric, y=q)
        exponent = -4 * distance.double().square() / self._scale(index, distance)
        exponent = exponent.masked_fill(distance == 0, torch.inf).nan_to_num()
        share = exponent.softmax(1).cpu().numpy()
        near: Array = share[:, :, None] * self._scores[index.cpu().numpy()]
        average: Array = near.sum(1)
        return average

    def _scale(self, index: Tensor, distance: Tensor) -> Tensor | float:
        """Product of the bandwidths, as in the graph."""
        if self.bandwidth == "unit":
            return 4.0
        if self.bandwidth != "self_tuning":
            return float(self.bandwidth) ** 2
        assert self._x is not None
        rows, place = index.unique(return_inverse=True)
        last = knn(self._x, self.k + 1, self.metric, y=self._x[rows]).distance[:, -1]
        return last[place].double() * distance[:, -1:]


def _checked_labels(y: Any, n: int) -> tuple[Array, Array]:
    """Labels ``[n]``, and which rows have one."""
    labels: Array = column_or_1d(np.asarray(y), warn=True)
    if len(labels) != n:
        raise ValueError(f"y must have {n} labels, one a row of X, got {len(labels)}")
    if labels.dtype.kind in "US" and (labels.astype(str) == "-1").any():
        raise ValueError("y must be an object array with -1 for no label where labels are strings")
    labelled = np.array([not _missing(label) for label in labels.tolist()], dtype=bool)
    known = labels[labelled]
    if len(known) == 0:
        raise ValueError(f"y must label a row (-1 is no label), got no label in {n} rows")
    if labels.dtype == object and all(isinstance(label, Number) for label in known):
        known = np.array(known.tolist())  # numbers beside None or NA
        labels = np.zeros(n, known.dtype)
        labels[labelled] = known
    check_classification_targets(known if known.dtype != object else np.unique(known.astype(str)))
    return labels, labelled


def _missing(label: Any) -> bool:
    """Whether it is -1, None, NaN or pandas' NA."""
    if label is None or type(label).__name__ == "NAType":
        return True
    return bool(isinstance(label, (int, float)) and (label == -1 or label != label))
