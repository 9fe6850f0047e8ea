"""Modularity, clustering and orthogonality of learned centroids (GraPix)."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pyg_relational.nn.loss.balance import orthogonality_of
from pyg_relational.nn.loss.scan import neighbor_consistency_loss, self_label_loss
from pyg_relational.ops import knn, unit_rows
from pyg_relational.ops.checks import Check, batch_checks, check_count, check_share, settle
from pyg_relational.ops.graph.modularity import modularity_of
from pyg_relational.ops.graph.per_graph import check_weights, graph_mean, mean_of_present
from pyg_relational.ops.graph.undirected import edges_to_sum
from pyg_relational.ops.options import show_options

__all__ = ["GraPixLoss", "grapix_loss"]

_TILE = 2**23  # affinities held at once


def grapix_loss(
    x: Tensor,
    centroids: Tensor,
    edge_index: Tensor | None = None,
    edge_weight: Tensor | None = None,
    *,
    alpha: float = 1.0,
    resolution: float = 0.05,
    batch: Tensor | None = None,
) -> Tensor:
    r"""GraPix loss, from `"GraPix: Exploring Graph Modularity Optimization for Unsupervised Pixel Clustering" <https://doi.org/10.1007/978-3-031-78192-6_13>`_.

    With centroids :math:`\mu_a` and :math:`S = \mathrm{softmax}_a(\alpha \cos(x_i, \mu_a))`,

    .. math::
        \mathcal{L} = -Q(A, S) - \frac{1}{n} \sum_i \max_a \cos(x_i, \mu_a)
        + \left\lVert \frac{S^\top S}{\lVert S^\top S \rVert_F} - \frac{I}{\sqrt{k}} \right\rVert_F

    :math:`Q` is :func:`~pyg_relational.ops.modularity`, on a given graph in :math:`O(E k)`, or on the full affinity
    :math:`A_{ij} = \max(\cos(x_i, x_j), 0)`, :math:`A_{ii} = 0`, as the authors run it: row tiles, computed again in
    the backward pass, :math:`O(n^2 (d + k))` time and :math:`O(n (d + k))` memory beyond a tile. Either way
    gradients reach ``x`` through the affinity too, if the weights of a given graph hold them
    (``knn_graph(x, k, metric="cosine", kernel="cosine")`` is the sparse affinity).

    This is the authors' program. Their text has, in place of the cosines, dot products (eqs. 1 and 7), of which the
    loss is unbounded; degrees of the binary graph beside weighted affinities (eqs. 6, 8, 10 and 11); a sum over the
    nodes in the second term (eq. 12); and the cross-entropy of :math:`S^\top S` with :math:`I` in the third (eq. 13).

    Args:
        x: Features, for example patch embeddings.
        centroids: :math:`\mu`.
        edge_index: Edges, in both directions; ``None`` for all pairs.
        edge_weight: Their weights, ``None`` for ones.
        alpha: :math:`\alpha`; the authors train with 1.
        resolution: :math:`\gamma` of the modularity; the authors train with 0.05.
        batch: Graph of every node; the mean of the graphs' losses is taken. The authors join the patches of all
            images of a batch in one graph.

    Shapes:
        ``x``: :math:`[n, d]`, ``centroids``: :math:`[k, d]`, ``edge_index``: :math:`[2, E]`,
        ``edge_weight``: :math:`[E]`, ``batch``: :math:`[n]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, a weight is negative, the graph is not undirected, or
            an edge joins two graphs of the batch.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import grapix_loss
        >>> grapix_loss(torch.eye(2)[[0, 0, 1, 1]], torch.eye(2), alpha=100.0, resolution=1.0)
        tensor(-1.5000)
    """
    check_weights(alpha=alpha, resolution=resolution)
    if edge_index is None and edge_weight is not None:
        raise ValueError("edge_index must be given with edge_weight, got None")
    checks = _checks(x, centroids)
    edges = None
    if edge_index is None:
        settle(*checks)
    else:
        edges = edges_to_sum(edge_index, edge_weight, len(x), *checks)
    with torch.autocast(centroids.device.type, enabled=False):
        u, s, cosine = _assign(x, centroids, alpha)
        best = graph_mean(_mean, batch, cosine.max(1).values)
        orthogonality = orthogonality_of(s, batch)
        if edges is None:
            q = graph_mean(partial(_affinity_modularity, resolution=resolution), batch, u, s)
        else:
            q = mean_of_present(modularity_of(*edges, s, resolution, batch), batch)
        return orthogonality - best - q


def _assign(x: Tensor, centroids: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows, soft assignment, and cosines with the centroids."""
    x, centroids = _one_dtype(x, centroids)
    u = unit_rows(x)
    cosine = u @ unit_rows(centroids).T
    return u, (alpha * cosine).softmax(1), cosine


def _checks(x: Tensor, centroids: Tensor) -> list[Check]:
    checks = batch_checks({"x": x, "centroids": centroids}, {})
    if centroids.shape[1] != x.shape[1] or not len(centroids):
        raise ValueError(
            f"centroids must have shape [k, {x.shape[1]}], k >= 1, got {list(centroids.shape)}"
        )
    return checks


def _one_dtype(x: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """Float32 at least."""
    dtype = torch.promote_types(torch.promote_types(x.dtype, centroids.dtype), torch.float32)
    return x.to(dtype), centroids.to(dtype)


def _mean(x: Tensor) -> Tensor:
    return x.sum() / max(len(x), 1)


def _affinity_modularity(u: Tensor, s: Tensor, resolution: float) -> Tensor:
    """Modularity of ``s`` on the full affinity of unit rows."""
    values = torch.cat([s, torch.ones_like(s[:, :1])], 1)
    step = max(1, _TILE // max(1, len(u)))
    product = torch.cat(
        [
            checkpoint(_tile, u, values, i, step, use_reentrant=False, preserve_rng_state=False)
            for i in range(0, max(1, len(u)), step)
        ]
    )
    degree = product[:, -1].double()
    total = degree.sum()
    total = total.where(total > 0, 1)
    inside = (product[:, :-1] * s).sum(dtype=torch.float64)
    null = (degree @ s.double()).square().sum()
    return (inside / total - resolution * null / total.square()).to(u.dtype)


def _tile(u: Tensor, values: Tensor, start: int, step: int) -> Tensor:
    affinity = u[start : start + step] @ u.T
    affinity.diagonal(start).fill_(0)
    return affinity.relu() @ values


class GraPixLoss(nn.Module):
    r"""The three steps of GraPix, on centroids it learns.

    The authors train by :meth:`forward` first, and then go on with :meth:`neighbors` or :meth:`self_label`
    (`their program <https://github.com/SonalKumar95/GraPix>`_). ``balance=False`` is their configuration, and the text
    (eq. 14). The text sums over neighbours (eq. 15), the program and we take the mean. What differs from the program:

    - the two later steps score with centroids scaled to length 1. The cluster of a point is the one of largest cosine
      in all three steps, where the program's :meth:`self_label` takes that of largest dot product, and so teaches
      some points another cluster than :meth:`assign` gives them;
    - neighbours' assignments are transposed, where the program reshapes them and so mixes up neighbours and clusters;
    - a point is kept from its own neighbours by its index, not by being the first found;
    - self-labelling without a confident sample gives 0, not an error.

    Args:
        channels: Size of a feature.
        num_clusters: Number of centroids.
        alpha: See :func:`grapix_loss`.
        resolution: See :func:`grapix_loss`.
        k: Number of neighbours of :meth:`neighbors`.
        entropy_weight: Weight of the entropy in :meth:`neighbors`.
        threshold: Confidence that :meth:`self_label` asks for.
        balance: Weigh the classes alike in :meth:`self_label`, as SCAN does.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import GraPixLoss
        >>> loss = GraPixLoss(channels=8, num_clusters=3, k=5)
        >>> x = torch.randn(20, 8, requires_grad=True)
        >>> loss(x).backward()
        >>> loss.neighbors(x).backward()
        >>> loss.self_label(x.detach(), x + 0.1 * torch.randn(20, 8)).backward()
        >>> loss.assign(x).shape
        torch.Size([20, 3])
    """

    def __init__(
        self,
        channels: int,
        num_clusters: int,
        alpha: float = 1.0,
        resolution: float = 0.05,
        k: int = 25,
        entropy_weight: float = 2.0,
        threshold: float = 0.99,
        balance: bool = False,
    ) -> None:
        super().__init__()
        check_count(channels, "channels")
        check_count(num_clusters, "num_clusters")
        check_count(k, "k")
        check_share(threshold, "threshold")
        check_weights(alpha=alpha, resolution=resolution, entropy_weight=entropy_weight)
        self.alpha = alpha
        self.resolution = resolution
        self.k = k
        self.entropy_weight = entropy_weight
        self.threshold = threshold
        self.balance = balance
        self.centroids = nn.Parameter(torch.empty(num_clusters, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the centroids from a normal distribution."""
        nn.init.normal_(self.centroids)

    def assign(self, x: Tensor) -> Tensor:
        r"""Soft assignment :math:`\mathrm{softmax}(\alpha \cos(x_i, \mu_a))`; its largest entry is the cluster."""
        settle(*_checks(x, self.centroids))
        with torch.autocast(self.centroids.device.type, enabled=False):
            return _assign(x, self.centroids, self.alpha)[1]

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None = None,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Tensor:
        """First step: :func:`grapix_loss`."""
        return grapix_loss(
            x,
            self.centroids,
            edge_index,
            edge_weight,
            alpha=self.alpha,
            resolution=self.resolution,
            batch=batch,
        )

    def neighbors(self, x: Tensor, batch: Tensor | None = None) -> Tensor:
        r"""Second step: :func:`~pyg_relational.nn.neighbor_consistency_loss` with the ``k`` nearest rows by cosine.

        The assignment is the softmax of :math:`\lVert x_i \rVert \cos(x_i, \mu_a)`, over :math:`a` scaled to length 1.
        """
        scores = self._scores(x)
        with torch.autocast(scores.device.type, enabled=False):
            assignment = unit_rows(scores).softmax(1)
        index = knn(x.detach(), self.k, "cosine", batch=batch).index
        return neighbor_consistency_loss(
            assignment, index, entropy_weight=self.entropy_weight, batch=batch
        )

    def self_label(self, weak: Tensor, strong: Tensor) -> Tensor:
        r"""Third step: :func:`~pyg_relational.nn.self_label_loss` of :math:`\lVert x_i \rVert \cos(x_i, \mu_a)`.

        Longer rows are surer; the largest score is that of the cluster in :meth:`assign`.
        """
        return self_label_loss(
            self._scores(weak),
            self._scores(strong),
            threshold=self.threshold,
            balance=self.balance,
        )

    def _scores(self, x: Tensor) -> Tensor:
        settle(*_checks(x, self.centroids))
        x, centroids = _one_dtype(x, self.centroids)
        with torch.autocast(x.device.type, enabled=False):
            return x @ unit_rows(centroids).T

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        clusters, channels = self.centroids.shape
        names = ("alpha", "resolution", "k", "entropy_weight", "threshold", "balance")
        options = show_options({name: getattr(self, name) for name in names})
        return f"{channels}, {clusters}, {options}"
