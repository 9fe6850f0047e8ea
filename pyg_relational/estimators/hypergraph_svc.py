"""Support vector machine with the Laplacians of a graph and a hypergraph as a scikit-learn classifier."""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pyg_relational.estimators.base import Affinity, Array, GraphClassifier
from pyg_relational.ops.checks import check_number, check_share
from pyg_relational.ops.linear.mixed import MixedLaplacian
from pyg_relational.ops.linear.solvers import ConvergenceError
from pyg_relational.transforms.knn_graph import Bandwidth, Metric
from pyg_relational.transforms.knn_hypergraph import knn_hypergraph

__all__ = ["Gamma", "HypergraphSVC", "Machine", "squared_hinge"]

Gamma = Literal["scale"] | float
_STEPS = 100  # of Newton's method; a handful is usual
_HALVINGS = 40
_MARGIN = 1e-12  # rounding of scores: nearer to 1 is on the margin
_COLUMNS = 256  # of a product with the Laplacians at a time


class HypergraphSVC(GraphClassifier):
    r"""Semi-supervised support vector machine that is smooth on a graph and on a hypergraph, for up to some 5,000 rows.

    `Rastogi and Nirwal, "Improved Hypergraph Laplacian Based Semi-supervised Support Vector Machine"
    <https://doi.org/10.1007/978-3-031-78192-6>`_ (ICPR 2024, p. 242). With a Gaussian kernel :math:`K` and
    :math:`f = K \alpha + b 1`, for each class against the rest

    .. math::
        \min_{\alpha, b} \tfrac{1}{2} \Big( \sum_{i \text{ labelled}} \max(1 - y_i f_i, 0)^2
        + \delta_A \alpha^T K \alpha + \delta_I f^T (\lambda L + (1 - \lambda) H) f \Big)

    (eq. 11), where :math:`L` is that of :func:`~pyg_relational.transforms.knn_graph` and :math:`H` that of
    :func:`~pyg_relational.transforms.knn_hypergraph`. :math:`\lambda = 1` is LapSVM with the squared hinge,
    :math:`\lambda = 0` HGSVM. The text's preconditioned conjugate gradients are :math:`O(n^2)` a step in every class;
    here one factorisation, :math:`O(n^3)`, leaves Newton's method as many unknowns as there are labels.

    As printed, the bias is penalised by :math:`H`, as :math:`H 1 \ne 0`, and not by :math:`L`; the regulariser of the
    text's prose, without bias, is not that of eq. 11. :math:`L` is not normalised and :math:`H` is.

    Args:
        k: Number of neighbours, the point itself not counted.
        metric: ``"euclidean"`` or ``"cosine"``, of graph and hypergraph.
        bandwidth: Bandwidth of their Gaussian weights, as in :func:`~pyg_relational.transforms.knn_graph`.
        gamma: :math:`\gamma` of the kernel :math:`\exp(-\gamma d^2)`; ``"scale"`` is 1 over the number of features
            times their variance, as in :class:`sklearn.svm.SVC`.
        mix: :math:`\lambda` in [0, 1].
        ambient: :math:`\delta_A > 0`.
        intrinsic: :math:`\delta_I \ge 0`; 0 is a supervised machine.
        device: Where to compute, as in torch.

    Attributes:
        classes_: Classes, sorted, ``[c]``.
        label_distributions_: Softmax of the scores of every fitted row, ``[n, c]``; not calibrated.
        transduction_: Class of every fitted row, ``[n]``; labelled rows need not keep their label.
        n_features_in_: Number of features.

    Example:
        >>> import numpy as np
        >>> from pyg_relational.estimators import HypergraphSVC
        >>> X = np.array([[0.0], [1.0], [2.0], [6.0], [7.0], [8.0]])
        >>> model = HypergraphSVC(k=2).fit(X, [4, -1, -1, -1, -1, 7])
        >>> model.transduction_, model.predict([[2.5]])
        (array([4, 4, 4, 7, 7, 7]), array([4]))
    """

    affinity: Affinity = "nearest_neighbors"

    def __init__(
        self,
        k: int = 10,
        metric: Metric = "euclidean",
        bandwidth: Bandwidth = "self_tuning",
        gamma: Gamma = "scale",
        mix: float = 0.5,
        ambient: float = 0.01,
        intrinsic: float = 0.1,
        device: str = "cpu",
    ) -> None:
        self.k = k
        self.metric = metric
        self.bandwidth = bandwidth
        self.gamma = gamma
        self.mix = mix
        self.ambient = ambient
        self.intrinsic = intrinsic
        self.device = device

    def _propagate(self, edge_index: Tensor, weight: Tensor, y: Tensor, x: Tensor | None) -> Tensor:
        assert x is not None
        self._check()
        x = x.double()
        self._gamma = self._scaled_gamma(x)
        hypergraph = knn_hypergraph(x, self.k, metric=self.metric, bandwidth=self.bandwidth)
        numbers = x.new_full((), self.mix), x.new_zeros(())
        laplacian = MixedLaplacian(edge_index, weight.double(), *hypergraph, *numbers)
        kernel = self._kernel(x, x)
        machine = Machine.of(kernel, laplacian, y >= 0, self.ambient, self.intrinsic)
        target = y[y >= 0]
        signs = 2.0 * (target[:, None] == torch.arange(len(self.classes_), device=y.device)) - 1
        found = [machine.fit(sign.to(x)) for sign in signs.unbind(1)]
        self._dual = torch.stack([alpha for alpha, _ in found], 1)
        self._bias = torch.stack([b for _, b in found])
        return kernel @ self._dual + self._bias

    def _extended(self, X: Any) -> Array:
        check_is_fitted(self)
        x = self._features(X)
        assert self._x is not None
        kernel = self._kernel(x.double(), self._x.double())
        scores: Array = (kernel @ self._dual + self._bias).cpu().numpy()
        return scores

    def _distribution(self, scores: Array) -> Array:
        distribution: Array = softmax(scores, axis=1)
        return distribution

    def _kernel(self, x: Tensor, y: Tensor) -> Tensor:
        distance = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
        return distance.square().mul(-self._gamma).exp()

    def _scaled_gamma(self, x: Tensor) -> float:
        if self.gamma != "scale":
            return float(self.gamma)
        variance = float(x.var(correction=0))
        return 1 / (x.shape[1] * variance) if variance > 0 else 1.0

    def _check(self) -> None:
        if self.gamma != "scale":
            _check_real(self.gamma, "gamma", above=0)
        _check_real(self.ambient, "ambient", above=0)
        _check_real(self.intrinsic, "intrinsic")
        _check_real(self.mix, "mix")
        check_share(self.mix, "mix")


def _check_real(value: Any, name: str, above: float | None = None) -> None:
    """Raise unless it is a finite number >= 0, or > ``above``."""
    check_number(value, name)
    number = float(value)
    if not (0 <= number < np.inf) or (above is not None and number <= above):
        least = ">= 0" if above is None else f"> {above}"
        raise ValueError(f"{name} must be {least} and finite, got {value}")


class Machine(NamedTuple):
    r"""What eq. 11 is for given labelled rows :math:`P`, whatever the labels are.

    Its solution has :math:`\alpha = S^{-1} (P^T v - b m)`, :math:`S = \delta_I M K + \delta_A I`,
    :math:`m = \delta_I M 1`, where :math:`v` are the labelled rows' slacks, signed.

    Args:
        dual: :math:`S^{-1} P^T`.
        dual_bias: :math:`S^{-1} m`.
        gram: :math:`P K S^{-1} P^T`.
        shift: What :math:`b` adds to labelled rows, :math:`P (1 - K S^{-1} m)`.
        total: :math:`1^T m`.
        ambient: :math:`\delta_A`.
    """

    dual: Tensor
    dual_bias: Tensor
    gram: Tensor
    shift: Tensor
    total: Tensor
    ambient: float

    @classmethod
    def of(
        cls,
        kernel: Tensor,
        laplacian: MixedLaplacian,
        labelled: Tensor,
        ambient: float,
        intrinsic: float,
    ) -> "Machine":
        """Factorise once for all classes."""
        n = len(kernel)
        one = torch.eye(n, dtype=kernel.dtype, device=kernel.device)
        whole = torch.cat([kernel, kernel.new_ones(n, 1)], 1).split(_COLUMNS, 1)
        product = intrinsic * torch.cat([laplacian.product(part) for part in whole], 1)
        rhs = torch.cat([one[:, labelled], product[:, -1:]], 1)
        matrix = product[:, :-1] + ambient * one
        solved = torch.linalg.solve(matrix, rhs)
        seen = kernel[labelled] @ solved
        m = product[:, -1]
        total = (m.sum() - m @ (kernel @ solved[:, -1])).clamp(min=0)
        return cls(solved[:, :-1], solved[:, -1], seen[:, :-1], 1 - seen[:, -1], total, ambient)

    def fit(self, sign: Tensor) -> tuple[Tensor, Tensor]:
        """Dual variables and bias for labels of -1 and 1."""
        v, b = squared_hinge(self.gram, self.shift, self.total, sign)
        return self.dual @ v - self.dual_bias * b, b


def squared_hinge(
    gram: Tensor, shift: Tensor, total: Tensor, sign: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Minimiser of :math:`\frac{1}{2} (\sum_i \max(1 - y_i f_i, 0)^2 + v^T G v + t b^2)`, :math:`f = G v + b h`.

    By Newton's method: on the rows within the margin the minimum is that of a linear system. A step that does not lower
    the value is halved, which ends at the one minimum, as the function is convex.

    Args:
        gram: :math:`G`, symmetric and not negative.
        shift: :math:`h`.
        total: :math:`t \ge 0`.
        sign: :math:`y`, of -1 and 1.

    Shapes:
        ``gram``: :math:`[l, l]`, ``shift``, ``sign``, ``v``: :math:`[l]`, ``total``, ``b``: scalars.

    Raises:
        ConvergenceError: If it does not converge.
    """
    count = len(sign)
    theta = gram.new_zeros(count + 1)
    inside = torch.ones_like(sign, dtype=torch.bool)

    def value(theta: Tensor) -> Tensor:
        v, b = theta[:count], theta[count]
        slack = (1 - sign * (gram @ v + b * shift)).clamp(min=0)
        return slack.square().sum() + v @ gram @ v + total * b * b

    for _ in range(_STEPS):
        full = _newton(gram, shift, total, sign, inside, theta)
        step, least = full, value(theta)
        for _ in range(_HALVINGS):
            if value(theta + step) <= least:
                break
            step = step / 2
        theta = theta + step
        now = sign * (gram @ theta[:count] + theta[count] * shift) < 1 - _MARGIN
        still = full.abs().max() <= _MARGIN * theta.abs().max()
        if still or (step is full and torch.equal(now, inside)):
            return theta[:count], theta[count]
        inside = now
    raise ConvergenceError(f"Newton's method did not converge in {_STEPS} steps")


def _newton(
    gram: Tensor, shift: Tensor, total: Tensor, sign: Tensor, inside: Tensor, theta: Tensor
) -> Tensor:
    """Least step to a minimum where the rows within the margin are these: slacks of the others are 0."""
    on = inside.to(gram)
    upper = on.new_ones(len(on)).diag() + on[:, None] * gram * on
    edge = (on * shift)[:, None]
    matrix = torch.cat([torch.cat([upper, edge], 1), torch.cat([edge, -total[None, None]]).T])
    rhs = torch.cat([on * sign, sign.new_zeros(1)])
    step: Tensor = torch.linalg.pinv(matrix, hermitian=True) @ (rhs - matrix @ theta)
    return step
