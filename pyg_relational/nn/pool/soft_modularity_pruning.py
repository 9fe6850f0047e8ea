"""Gates on the edges of a graph, learned with modularity: the differentiable form of pruning between clusters."""

import math
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from pyg_relational.nn.loss.pruning import agreement_factor, check_objective, pruning_of
from pyg_relational.nn.pool.farthest_gate import gates_of
from pyg_relational.nn.pool.hard_concrete import hard_concrete
from pyg_relational.nn.pool.soft_assignment import (
    assigned,
    assignment_checks,
    check_assignment,
    check_positive,
)
from pyg_relational.nn.pool.strongest_edges import keep_strongest, undirected_pairs
from pyg_relational.ops import edge_diff_dot, edge_dot
from pyg_relational.ops.checks import (
    check_choice,
    check_count,
    check_features,
    check_matrix,
    finite,
)
from pyg_relational.ops.graph.undirected import undirected_edges
from pyg_relational.ops.options import show_options

__all__ = ["Gate", "SoftModularityPruning", "SoftPrunedGraph"]

Gate = Literal["farthest", "hard_concrete"]


class SoftPrunedGraph(NamedTuple):
    """What :class:`SoftModularityPruning` returns.

    Attributes:
        edge_index: ``[2, E']``, both directions, sorted: all edges in training, those that are left at eval.
        edge_weight: ``[E']``, their weights times their gates.
        gate: ``[E]``, gate of every given edge, sorted and without duplicates; 0 or 1 at eval.
        assignment: ``[n, k]``, soft assignment to clusters; ``[n, P, k]`` with several partitions.
        loss: Scalar, see :func:`~pyg_relational.nn.loss.pruning.pruning_loss`.
    """

    edge_index: Tensor
    edge_weight: Tensor
    gate: Tensor
    assignment: Tensor
    loss: Tensor


class SoftModularityPruning(nn.Module):
    r"""Closes gates on the edges between clusters, by gradient descent: for graphs that a network learns from.

    The differentiable form of :class:`~pyg_relational.nn.ModularityPruning`, for use between the kNN graph of a batch
    and what runs on it. Nodes are assigned to centroids that are learned, by
    :func:`~pyg_relational.nn.pool.soft_assignment.soft_assignment`, or as the caller says. Each undirected edge has one
    gate :math:`g_e \in [0, 1]`, and its weight becomes :math:`g_e w_e`:

    - ``gate="farthest"``: :func:`~pyg_relational.nn.pool.farthest_gate.farthest_gate`, Algorithm 1 of `"Enhancing Graph
      Topology and Clustering Quality: A Modularity-Guided Approach" <https://arxiv.org/abs/2303.16103>`_ made soft. As
      the temperatures go to 0, it closes what the algorithm drops in its first step, which is few edges of a kNN graph.
    - ``gate="hard_concrete"``: :func:`~pyg_relational.nn.pool.hard_concrete.hard_concrete` of :math:`\beta_0 + \beta_1
      \lVert x_u - x_v \rVert^2 + \beta_2 \langle c_u, c_v \rangle`, three numbers that are learned, with noise in
      training only. They start at 3, 0 and 1: gates open, whatever the scale of the features, and no edge pruned. They
      learn fast enough with Adam at 0.1.

    With several partitions, each with centroids of its own, :math:`\langle c_u, c_v \rangle` is the mean over them: the
    share of partitions that keep an edge inside of a cluster, as in the consensus of
    :class:`~pyg_relational.nn.ModularityPruning`, made differentiable.

    Add the loss, :func:`~pyg_relational.nn.loss.pruning.pruning_loss`, to that of the task. At eval gates are hard:
    edges with :math:`g_e < 1/2` are removed, but where a node would be left with fewer than ``min_degree`` it keeps the
    strongest of them. Self-loops always stay. Defaults suit features of length 1, see
    :func:`~pyg_relational.ops.unit_rows`.

    Args:
        channels: Size of a feature.
        num_clusters: Number of centroids :math:`k`.
        gate: ``"farthest"`` or ``"hard_concrete"``. (default: ``"farthest"``)
        partitions: Number of partitions :math:`P`. (default: 1)
        temperature: Temperature of the soft assignment, a squared distance. (default: 0.1)
        farthest_temperature: Temperature of the softmax over far centroids, a distance. (default: 0.1)
        keep: Share of the edges to keep, :math:`\rho`. (default: 0.9)
        min_degree: Neighbours to leave a node that has as many. (default: 1)
        resolution: Resolution of the modularity. (default: 1)
        budget: :math:`\lambda_b`. (default: 10)
        hinge: :math:`\lambda_d`. (default: 1)
        collapse: :math:`\lambda_c`. (default: 1)

    Shapes:
        ``x``: :math:`[n, d]`, ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, ``assignment``:
        :math:`[n, k']` or :math:`[n, P', k']`, ``batch``: :math:`[n]`, output: :class:`SoftPrunedGraph`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape or value is out of range, the graph is not undirected, or an edge joins two graphs of the
            batch.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import SoftModularityPruning, laplace_propagation
        >>> from pyg_relational.transforms import knn_graph
        >>> x = torch.randn(30, 4, requires_grad=True)
        >>> y, mask = torch.arange(30) % 3, torch.arange(30) < 9
        >>> graph = SoftModularityPruning(4, num_clusters=3)(x, *knn_graph(x, 5))
        >>> u = laplace_propagation(graph.edge_index, graph.edge_weight, y, mask, tau=0.1)
        >>> (graph.loss - (u[9:].gather(1, y[9:, None]) + 1e-8).log().mean()).backward()
        >>> x.grad.shape
        torch.Size([30, 4])
    """

    def __init__(
        self,
        channels: int,
        num_clusters: int,
        gate: Gate = "farthest",
        *,
        partitions: int = 1,
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
        check_choice(gate, Gate, "gate")
        channels = check_count(channels, "channels")
        num_clusters = check_count(num_clusters, "num_clusters")
        partitions = check_count(partitions, "partitions")
        check_positive(temperature=temperature, farthest_temperature=farthest_temperature)
        weights = {"resolution": resolution, "budget": budget, "hinge": hinge, "collapse": collapse}
        check_objective(keep, min_degree, **weights)
        self.options: dict[str, Any] = {"keep": keep, "min_degree": min_degree, **weights}
        self.gate, self.temperature = gate, temperature
        self.farthest_temperature = farthest_temperature
        several = (partitions,) if partitions > 1 else ()
        self.centroids = nn.Parameter(torch.empty(*several, num_clusters, channels))
        if gate == "hard_concrete":
            self.affine = nn.Parameter(torch.empty(3))
        self.reset_parameters()

    def reset_parameters(self, x: Tensor | None = None, seed: int = 0) -> None:
        """Draw centroids of about length 1, or take rows of ``x`` by k-means++; open the gates.

        Args:
            x: Features, :math:`[n, d]` with :math:`n >= k`.
            seed: Seed of k-means++.
        """
        seed = check_count(seed, "seed", 0)
        if x is not None:
            check_features(x)
            *_, k, channels = self.centroids.shape
            if len(x) < k or x.shape[1] != channels:
                raise ValueError(f"x must have shape [n >= {k}, {channels}], got {list(x.shape)}")
        with torch.no_grad():
            if x is None:
                self.centroids.normal_(std=self.centroids.shape[-1] ** -0.5)
            else:
                self.centroids.copy_(x.detach()[self._plusplus(x, seed)])
            if self.gate == "hard_concrete":
                self.affine.copy_(torch.tensor([3.0, 0.0, 1.0]))

    def _plusplus(self, x: Tensor, seed: int) -> Tensor:
        """Rows of ``x`` to start all centroids at."""
        from sklearn.cluster import kmeans_plusplus

        *several, k, _ = self.centroids.shape
        points, random = x.detach().float().cpu().numpy(), np.random.RandomState(seed)
        rows = [
            kmeans_plusplus(points, k, random_state=random)[1] for _ in range(math.prod(several))
        ]
        return torch.from_numpy(np.stack(rows)).view(*several, k).to(x.device, torch.int64)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        assignment: Tensor | None = None,
        generator: torch.Generator | None = None,
        *,
        batch: Tensor | None = None,
    ) -> SoftPrunedGraph:
        """Return the gated graph, in training, or the pruned graph; the noise is drawn from ``generator``."""
        check_matrix(x)
        checks = [finite(x, "x")]
        if assignment is None:
            checks = assignment_checks(x, self.centroids)
        edge_index, weight, n = undirected_edges(edge_index, edge_weight, len(x), *checks)
        with torch.autocast(x.device.type, enabled=False):
            if assignment is None:
                assignment = assigned(x, self.centroids, self.temperature)
            else:
                check_assignment(assignment, n)
            dtype = torch.promote_types(x.dtype, assignment.dtype)
            c = assignment.to(torch.promote_types(dtype, torch.float32))
            pairs, pair = undirected_pairs(edge_index, n)
            gate = self._gates(x.to(c.dtype), c, pairs, batch, generator)
            gate = gate.where(pairs[0] != pairs[1], 1).index_select(0, pair)
            left = torch.arange(len(pair), device=x.device)
            if not self.training:
                least = self.options["min_degree"]
                keep = keep_strongest(edge_index, weight, gate >= 0.5, pair, least, n)
                gate, left = keep.to(gate), keep.nonzero()[:, 0]
            loss = pruning_of(edge_index, weight, gate, c, batch=batch, **self.options)
            return SoftPrunedGraph(edge_index[:, left], weight[left] * gate[left], gate, c, loss)

    def _gates(
        self,
        x: Tensor,
        c: Tensor,
        pairs: Tensor,
        batch: Tensor | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        if self.gate == "farthest":
            return gates_of(pairs, x, c, self.farthest_temperature, batch)
        bias, far, same = self.affine.to(c.dtype)
        c = agreement_factor(c)
        logits = bias + far * edge_diff_dot(x, x, pairs) + same * edge_dot(c, c, pairs)
        return hard_concrete(logits, noise=self.training, generator=generator)

    def extra_repr(self) -> str:
        """The options."""
        *several, num_clusters, channels = self.centroids.shape
        own = {
            "channels": channels,
            "num_clusters": num_clusters,
            "gate": self.gate,
            "partitions": math.prod(several),
            "temperature": self.temperature,
            "farthest_temperature": self.farthest_temperature,
        }
        return show_options(own | self.options)
