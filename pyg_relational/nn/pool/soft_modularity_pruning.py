"""Gates on the edges of a graph, learned with modularity: the differentiable form of pruning between clusters."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyg_relational.nn.loss.balance import collapse_loss
from pyg_relational.nn.loss.per_graph import check_weights
from pyg_relational.ops import edge_diff_dot, edge_dot, modularity, safe_sqrt
from pyg_relational.ops.checks import check_choice, check_features
from pyg_relational.ops.laplacian import degree
from pyg_relational.ops.undirected import undirected_edges


class SoftPrunedGraph(NamedTuple):
    """What :class:`SoftModularityPruning` returns.

    Attributes:
        edge_index: ``[2, E']``, both directions, sorted: all edges in training, those that are left at eval.
        edge_weight: ``[E']``, their weights times their gates.
        gate: ``[E]``, gate of every given edge, sorted and without duplicates; 0 or 1 at eval.
        assignment: ``[n, k]``, soft assignment to clusters.
        loss: Scalar, see :func:`pruning_loss`.
    """

    edge_index: Tensor
    edge_weight: Tensor
    gate: Tensor
    assignment: Tensor
    loss: Tensor


class SoftModularityPruning(nn.Module):
    r"""Closes gates on the edges between clusters, by gradient descent: for graphs that a network learns from.

    The differentiable form of :class:`~pyg_relational.nn.ModularityPruning`, for use between the kNN graph of a batch
    and what runs on it. Nodes are assigned by :func:`soft_assignment` to centroids that are learned, or as the caller
    says. Each undirected edge has one gate :math:`g_e \in [0, 1]`, and its weight becomes :math:`g_e w_e`:

    - ``gate="farthest"``: :func:`farthest_gate`, Algorithm 1 of `"Enhancing Graph Topology and Clustering Quality: A
      Modularity-Guided Approach" <https://arxiv.org/abs/2303.16103>`_ made soft. As the temperatures go to 0, it
      closes what the algorithm drops in its first step, which is few edges of a kNN graph.
    - ``gate="hard_concrete"``: :func:`hard_concrete` of :math:`\beta_0 + \beta_1 \lVert x_u - x_v \rVert^2 + \beta_2
      \langle c_u, c_v \rangle`, three numbers that are learned, with noise in training only. They start at 3, 0 and 1:
      gates open, whatever the scale of the features, and no edge pruned. They learn fast enough with Adam at 0.1.

    Add the loss, :func:`pruning_loss`, to that of the task. At eval gates are hard: edges with :math:`g_e < 1/2` are
    removed, but where a node would be left with fewer than ``min_degree`` it keeps the strongest of them. Self-loops
    always stay. Defaults suit features of length 1, see :func:`~pyg_relational.ops.unit_rows`.

    Args:
        channels: Size of a feature.
        k: Number of centroids.
        gate: ``"farthest"`` or ``"hard_concrete"``. (default: ``"farthest"``)
        temperature: Of the assignment, a squared distance. (default: 0.1)
        farthest_temperature: Of the farthest centroid, a distance. (default: 0.1)
        keep: Share of the edges to keep, :math:`\rho`. (default: 0.9)
        min_degree: Neighbours to leave a node that has as many. (default: 1)
        resolution: Of the modularity. (default: 1)
        budget: :math:`\lambda_b`. (default: 10)
        hinge: :math:`\lambda_d`. (default: 1)
        collapse: :math:`\lambda_c`. (default: 1)

    Shapes:
        ``x``: :math:`[n, d]`, ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``assignment``:
        :math:`[n, k']`, output: :class:`SoftPrunedGraph`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import SoftModularityPruning, laplace_propagation
        >>> from pyg_relational.transforms import knn_graph
        >>> x = torch.randn(30, 4, requires_grad=True)
        >>> y, mask = torch.arange(30) % 3, torch.arange(30) < 9
        >>> graph = SoftModularityPruning(4, k=3)(x, *knn_graph(x, 5))
        >>> u = laplace_propagation(graph.edge_index, graph.edge_weight, y, mask, tau=0.1)
        >>> (graph.loss - (u[9:].gather(1, y[9:, None]) + 1e-8).log().mean()).backward()
        >>> x.grad.shape
        torch.Size([30, 4])
    """

    def __init__(
        self,
        channels: int,
        k: int,
        gate: str = "farthest",
        *,
        temperature: float = 0.1,
        farthest_temperature: float = 0.1,
        keep: float = 0.9,
        min_degree: int = 1,
        resolution: float = 1.0,
        budget: float = 10.0,
        hinge: float = 1.0,
        collapse: float = 1.0,
    ) -> None:
        super().__init__()
        check_choice(gate, ("farthest", "hard_concrete"), "gate")
        for name, value in (("channels", channels), ("k", k)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value}")
        _check_positive(temperature=temperature, farthest_temperature=farthest_temperature)
        _check_counts(keep, min_degree)
        weights = {"resolution": resolution, "budget": budget, "hinge": hinge, "collapse": collapse}
        check_weights(**weights)
        self.options: dict[str, Any] = {"keep": keep, "min_degree": min_degree, **weights}
        self.gate, self.temperature = gate, temperature
        self.farthest_temperature = farthest_temperature
        self.centroids = nn.Parameter(torch.empty(k, channels))
        if gate == "hard_concrete":
            self.affine = nn.Parameter(torch.empty(3))
        self.reset_parameters()

    def reset_parameters(self, x: Tensor | None = None, seed: int = 0) -> None:
        """Draw centroids of about length 1, or take rows of ``x`` by k-means++; open the gates.

        Args:
            x: Features, :math:`[n, d]` with :math:`n >= k`.
            seed: Of k-means++.
        """
        k, channels = self.centroids.shape
        with torch.no_grad():
            if x is None:
                self.centroids.normal_(std=channels**-0.5)
            else:
                from sklearn.cluster import kmeans_plusplus

                rows = kmeans_plusplus(x.detach().float().cpu().numpy(), k, random_state=seed)[1]
                self.centroids.copy_(x.detach()[rows])
            if self.gate == "hard_concrete":
                self.affine.copy_(torch.tensor([3.0, 0.0, 1.0]))

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        assignment: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> SoftPrunedGraph:
        """Return the gated graph, in training, or the pruned graph; the noise is drawn from ``generator``."""
        check_features(x)
        edge_index, weight, n = undirected_edges(edge_index, edge_weight, len(x))
        with torch.autocast(x.device.type, enabled=False):
            if assignment is None:
                assignment = soft_assignment(x, self.centroids, self.temperature)
            c = _checked(assignment, n)
            dtype = torch.promote_types(x.dtype, c.dtype)
            c = c.to(torch.promote_types(dtype, torch.float32))
            pairs, pair = _pairs(edge_index, n)
            gate = self._gates(x.to(c.dtype), c, pairs, generator)
            gate = gate.where(pairs[0] != pairs[1], 1).index_select(0, pair)
            left = torch.arange(len(pair), device=x.device)
            if not self.training:
                keep = _leave(edge_index, weight, gate >= 0.5, pair, self.options["min_degree"], n)
                gate, left = keep.to(gate), keep.nonzero()[:, 0]
            loss = pruning_loss(edge_index, weight, gate, c, **self.options)
            return SoftPrunedGraph(edge_index[:, left], weight[left] * gate[left], gate, c, loss)

    def _gates(
        self, x: Tensor, c: Tensor, pairs: Tensor, generator: torch.Generator | None
    ) -> Tensor:
        if self.gate == "farthest":
            return farthest_gate(x, c, pairs, self.farthest_temperature)
        bias, far, same = self.affine.to(c.dtype)
        logits = bias + far * edge_diff_dot(x, x, pairs) + same * edge_dot(c, c, pairs)
        return hard_concrete(logits, noise=self.training, generator=generator)

    def extra_repr(self) -> str:
        """The options."""
        k, channels = self.centroids.shape
        return f"{channels}, k={k}, gate={self.gate!r}, keep={self.options['keep']}"


def soft_assignment(x: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    r"""Soft assignment :math:`c_i = \mathrm{softmax}_a(-\lVert x_i - \mu_a \rVert^2 / \tau)` to centroids.

    Args:
        x: Features.
        centroids: :math:`\mu`.
        temperature: :math:`\tau`, a squared distance.

    Shapes:
        ``x``: :math:`[n, d]`, ``centroids``: :math:`[k, d]`, output: :math:`[n, k]`, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, or the temperature is not positive.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.soft_modularity_pruning import soft_assignment
        >>> soft_assignment(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]]), 1.0)
        tensor([[0.9820, 0.0180],
                [0.5000, 0.5000]])
    """
    check_features(x)
    check_features(centroids, "centroids")
    _check_positive(temperature=temperature)
    if centroids.shape[1] != x.shape[1]:
        raise ValueError(f"x must have {centroids.shape[1]} columns, got {x.shape[1]}")
    dtype = torch.promote_types(torch.promote_types(x.dtype, centroids.dtype), torch.float32)
    origin = centroids.detach().to(dtype).mean(0)  # near the data: an offset costs digits
    x, mu = x.to(dtype) - origin, centroids.to(dtype) - origin
    # |x|^2 is the same for all centroids, so the softmax does without it
    return ((2 * x @ mu.mT - mu.square().sum(1)) / temperature).softmax(1)


def farthest_gate(x: Tensor, assignment: Tensor, edge_index: Tensor, temperature: float) -> Tensor:
    r"""Gates that close between a cluster and the one whose centroid is farthest from its own.

    .. math::
        g_{uv} = 1 - c_u^\top S c_v, \qquad S = R + R^\top - R \circ R^\top, \qquad
        R_{ab} = \mathrm{softmax}_{b \ne a}(\lVert \mu_a - \mu_b \rVert / T), \qquad
        \mu_a = \frac{\sum_i c_{ia} x_i}{\sum_i c_{ia}}

    :math:`S_{ab}` is the probability that one of two clusters is the other's farthest. For hard clusters and
    :math:`T \to 0` the gate is 0 where
    :func:`~pyg_relational.nn.pool.modularity_pruning.between_farthest` is true, else 1. Clusters that nobody is in are
    nobody's farthest. :math:`O(E k + n k d)` time.

    Args:
        x: Features.
        assignment: Soft assignment :math:`c` to :math:`k` clusters; rows sum to 1.
        edge_index: Edges, any.
        temperature: :math:`T`, a distance.

    Shapes:
        ``x``: :math:`[n, d]`, ``assignment``: :math:`[n, k]`, ``edge_index``: :math:`[2, E]`, output: :math:`[E]`.

    Raises:
        TypeError: If ``x`` and ``assignment`` are not both float32 or both float64, or edges not int64.
        ValueError: If a shape or value is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.soft_modularity_pruning import farthest_gate
        >>> x, edges = torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[0, 0, 1], [1, 2, 2]])
        >>> farthest_gate(x, torch.eye(3), edges, 0.01).tolist()
        [1.0, 0.0, 0.0]
    """
    check_features(x)
    c = _checked(assignment, len(x))
    _check_positive(temperature=temperature)
    return (1 - edge_dot(c @ _apart(x, c, temperature), c, edge_index)).clamp(0, 1)


def _apart(x: Tensor, c: Tensor, temperature: float) -> Tensor:
    """The matrix ``S``."""
    k, mass = c.shape[1], c.sum(0)
    there = mass > 0
    centroids = (c.mT @ x) / mass.where(there, 1)[:, None]
    grid = torch.ones(k, k, device=x.device).nonzero().mT
    distance = safe_sqrt(edge_diff_dot(centroids, centroids, grid)).view(k, k)
    other = there & ~torch.eye(k, dtype=torch.bool, device=x.device)
    lowest = torch.finfo(x.dtype).min
    r = (distance / temperature).where(other, lowest).softmax(1) * other
    return r + r.mT - r * r.mT


def hard_concrete(
    logits: Tensor, *, noise: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    r"""Hard concrete gates of `"Learning Sparse Neural Networks through L0 Regularization" <https://arxiv.org/abs/1712.01312>`_.

    .. math::
        g = \min(1, \max(0, s (\zeta - \gamma) + \gamma)), \qquad
        s = \sigma\Big(\frac{\log u - \log(1 - u) + \log \alpha}{\beta}\Big), \qquad u \sim \mathcal{U}(0, 1)

    with :math:`\gamma = -0.1`, :math:`\zeta = 1.1`, :math:`\beta = 2/3`; without noise :math:`s = \sigma(\log \alpha)`.

    Args:
        logits: :math:`\log \alpha`, any shape.
        noise: Whether to draw :math:`u`. (default: ``True``)
        generator: Where to draw it from, on the device of the logits.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.soft_modularity_pruning import hard_concrete
        >>> hard_concrete(torch.tensor([-4.0, 0.0, 4.0]), noise=False)
        tensor([0.0000, 0.5000, 1.0000])
    """
    if noise:
        u = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device, generator=generator)
        logits = (u.logit() + logits) * 1.5
    return (1.2 * logits.sigmoid() - 0.1).clamp(0, 1)


def gated_modularity(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    gate: Tensor,
    assignment: Tensor,
    resolution: float = 1.0,
) -> Tensor:
    r"""Modularity of a graph with gates on its edges, against the null model of the graph without them.

    .. math::
        Q = \frac{1}{M} \sum_{(i, j) \in E} g_{ij} w_{ij} \langle c_i, c_j \rangle
            - \gamma \frac{\lVert C^\top d \rVert^2}{M^2}

    with the degrees :math:`d` and their sum :math:`M` as they were: closing a gate inside of a cluster costs, closing
    one between clusters costs nothing, and none gains, unlike in the modularity of the pruned graph. :math:`O(E k)`
    time. A graph without edges has :math:`Q = 0`.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        gate: Gate :math:`g` of every edge, equal in both directions.
        assignment: Soft assignment :math:`C`, float32 or float64.
        resolution: :math:`\gamma`.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``, ``gate``: :math:`[E]`, ``assignment``: :math:`[n, k]`, output:
        scalar.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: As :func:`~pyg_relational.ops.modularity`, and if ``gate`` has another shape.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.soft_modularity_pruning import gated_modularity
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> gated_modularity(edge_index, None, torch.tensor([1., 1., 0., 0.]), torch.eye(2)[[0, 0, 1, 1]])
        tensor(0.)
    """
    check_features(assignment, "assignment")
    q = modularity(edge_index, edge_weight, assignment, resolution)
    if gate.shape != edge_index.shape[1:]:
        raise ValueError(
            f"gate must have shape {list(edge_index.shape[1:])}, got {list(gate.shape)}"
        )
    weight = torch.ones_like(gate) if edge_weight is None else edge_weight
    weight = weight * (1 + (edge_index[0] == edge_index[1]).to(weight.dtype))
    total = weight.double().sum()
    closed = weight * (1 - gate) * edge_dot(assignment, assignment, edge_index)
    return q - (closed.double().sum() / total.where(total > 0, 1)).to(q.dtype)


def pruning_loss(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    gate: Tensor,
    assignment: Tensor,
    *,
    keep: float = 0.9,
    min_degree: int = 1,
    resolution: float = 1.0,
    budget: float = 10.0,
    hinge: float = 1.0,
    collapse: float = 1.0,
) -> Tensor:
    r"""Objective of gates on the edges of a graph: which to close, how many, and not all at one node.

    .. math::
        \mathcal{L} = -Q + \lambda_b (\bar g - \rho)^2
            + \frac{\lambda_d}{n} \sum_i \max\Big(0, \min(m, |N_i|) - \sum_{j \in N_i} g_{ij}\Big)
            + \lambda_c \Big(\frac{\sqrt{k}}{n} \Big\lVert \sum_i c_i \Big\rVert_2 - 1\Big)

    with :math:`Q` of :func:`gated_modularity`, the mean gate :math:`\bar g`, and the last term of
    `DMoN <https://arxiv.org/abs/2006.16904>`_. Self-loops are no neighbours, and not in the mean. :math:`O(E k)` time.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        gate: Gate :math:`g` of every edge, equal in both directions.
        assignment: Soft assignment :math:`C`, float32 or float64.
        keep: Share of the edges to keep, :math:`\rho`. (default: 0.9)
        min_degree: Neighbours :math:`m` to leave a node that has as many. (default: 1)
        resolution: Of the modularity. (default: 1)
        budget: :math:`\lambda_b`. (default: 10)
        hinge: :math:`\lambda_d`. (default: 1)
        collapse: :math:`\lambda_c`. (default: 1)

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``, ``gate``: :math:`[E]`, ``assignment``: :math:`[n, k]`, output:
        scalar.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, or the graph is not undirected.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.pool.soft_modularity_pruning import pruning_loss
        >>> edge_index = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
        >>> pruning_loss(edge_index, None, torch.ones(4), torch.eye(2)[[0, 0, 1, 1]], keep=1.0)
        tensor(-0.5000)
    """
    _check_counts(keep, min_degree)
    check_weights(budget=budget, hinge=hinge, collapse=collapse)
    n = len(assignment)
    q = gated_modularity(edge_index, edge_weight, gate, assignment, resolution)
    between = (edge_index[0] != edge_index[1]).to(gate.dtype)
    count = between.sum()
    excess = (gate * between).sum() - keep * count
    wanted = degree(edge_index, between, n).clamp(max=min_degree)
    missing = (wanted - degree(edge_index, gate * between, n)).relu().sum()
    return (
        budget * (excess / count.clamp(min=1)).square()
        + hinge * missing / max(n, 1)
        + collapse * collapse_loss(assignment)
        - q
    )


def _pairs(edge_index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Every undirected edge once, and which of them each edge is."""
    low, high = edge_index.amin(0), edge_index.amax(0)
    key, pair = (low * n + high).unique(return_inverse=True)
    return torch.stack([key // max(n, 1), key % max(n, 1)]), pair


def _leave(
    edge_index: Tensor, weight: Tensor, keep: Tensor, pair: Tensor, min_degree: int, n: int
) -> Tensor:
    """Edges to keep, and the strongest others of nodes that would have fewer than ``min_degree``."""
    row, col = edge_index
    order = weight.detach().argsort(descending=True, stable=True)
    order = order[(row != col)[order]]
    order = order[(2 * row + ~keep)[order].argsort(stable=True)]  # by node, what is kept first
    count = row[order].bincount(minlength=n)
    rank = torch.arange(len(order), device=row.device) - (count.cumsum(0) - count)[row[order]]
    kept = torch.zeros_like(keep)
    kept[pair[keep]] = True
    kept[pair[order[rank < min_degree]]] = True
    return kept[pair]


def _checked(assignment: Tensor, n: int) -> Tensor:
    check_features(assignment, "assignment")
    if len(assignment) != n or assignment.shape[1] < 1:
        raise ValueError(
            f"assignment must have shape [{n}, k], k >= 1, got {list(assignment.shape)}"
        )
    c = assignment.detach()
    if n and bool((c.min() < -1e-3) | ((c.sum(1) - 1).abs().max() > 1e-3)):
        raise ValueError(
            f"assignment must be >= 0 with rows that sum to 1, got min {c.min().item():.3g} and sums "
            f"{c.sum(1).min().item():.3g} to {c.sum(1).max().item():.3g}"
        )
    return assignment


def _check_positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be finite and > 0, got {value}")


def _check_counts(keep: float, min_degree: int) -> None:
    if not 0 <= keep <= 1:
        raise ValueError(f"keep must be in [0, 1], got {keep}")
    if not isinstance(min_degree, int) or min_degree < 0:
        raise ValueError(f"min_degree must be an integer >= 0, got {min_degree}")
