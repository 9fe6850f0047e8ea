"""Clusters of an image matched with clusters of its text, and kept apart from those of other samples."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops import edge_diff_dot, safe_sqrt
from pyg_relational.ops.checks import finite, settle
from pyg_relational.ops.graph.per_graph import check_weights

__all__ = ["ClusterMatching", "cluster_matching_loss", "match_clusters"]

_MOST = 5040  # matchings, as of 7 clusters with 7


class ClusterMatching(NamedTuple):
    """Result of :func:`match_clusters`.

    Attributes:
        distance: ``[B]``, mean distance of matched clusters, differentiable.
        match: ``[B, N_t]`` int64, the visual cluster of every textual one.
    """

    distance: Tensor
    match: Tensor


def match_clusters(visual: Tensor, textual: Tensor) -> ClusterMatching:
    r"""Minimum-cost matching of each sample's textual clusters with its visual ones.

    From `Park et al., "Clustering-based Image-Text Graph Matching for Domain Generalization"
    <https://doi.org/10.1007/978-3-031-78192-6_26>`_ (ICPR 2024, eq. 5), for each sample

    .. math::
        L_p = \frac{1}{N_t} \sum_{i=1}^{N_t} \lVert C_v^{\mu_i} - C_t^i \rVert_2, \qquad
        \mu = \operatorname*{arg\,min}_{\mu \text{ injective}} L_p

    Exact: all :math:`N_v! / (N_v - N_t)!` matchings of all samples are compared at once, on the device. The matching
    is a constant, the distance differentiable, with gradient 0 where two matched clusters are equal.

    Args:
        visual: Visual clusters :math:`C_v`.
        textual: Textual clusters :math:`C_t`, no more than visual ones.

    Shapes:
        ``visual``: :math:`[B, N_v, p]`, ``textual``: :math:`[B, N_t, p]`, output: :math:`[B]`, at least float32, and
        :math:`[B, N_t]`.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, there are more textual clusters than visual ones, more than 5,040 matchings
            (7 clusters with 7), or a value is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import match_clusters
        >>> visual = torch.tensor([[[0.0], [5.0], [9.0]]])
        >>> match_clusters(visual, torch.tensor([[[6.0], [5.5]]]))  # not both can have 5
        ClusterMatching(distance=tensor([1.7500]), match=tensor([[2, 1]]))
    """
    _check(visual, textual)
    count, n_v, n_t = *visual.shape[:2], textual.shape[1]
    sample = torch.arange(count, device=visual.device)
    with torch.autocast(visual.device.type, enabled=False):
        visual, textual = _wide(visual, textual)
        match = _assignment(_distances(visual.detach(), textual.detach()))
        row = sample[:, None] * n_v + match
        column = torch.arange(count * n_t, device=visual.device).view(count, n_t)
        return ClusterMatching(_apart(visual, textual, row, column).mean(1), match)


def cluster_matching_loss(visual: Tensor, textual: Tensor, *, margin: float = 1.0) -> Tensor:
    r"""Clusters of an image and its text are nearer to each other than either to those of other samples.

    From `Park et al., "Clustering-based Image-Text Graph Matching for Domain Generalization"
    <https://doi.org/10.1007/978-3-031-78192-6_26>`_ (ICPR 2024, eq. 6). With :math:`D_{bc}` the :math:`L_p` of
    :func:`match_clusters` of the visual clusters of sample :math:`b` and the textual ones of :math:`c`,

    .. math::
        L_h = \frac{1}{B (B - 1)} \sum_{b \ne c} \max(0, D_{bb} - D_{cb} + \epsilon)
        + \max(0, D_{bb} - D_{bc} + \epsilon)

    In :math:`O(B^2 N_v N_t p)` time; memory is :math:`O(B p)` for the features and :math:`O(B^2)` for each of the
    matchings, 60 of 5 clusters with 3. :math:`L_p` itself is in no term of the text's eq. 7, though a
    :math:`\lambda_p` is named: it is ``match_clusters(visual, textual).distance.mean()``.

    Args:
        visual: Visual clusters.
        textual: Textual clusters, no more than visual ones.
        margin: :math:`\epsilon`, a distance. The text does not give it.

    Shapes:
        ``visual``: :math:`[B, N_v, p]`, ``textual``: :math:`[B, N_t, p]`, output: scalar, at least float32.

    Returns:
        The loss; 0 of no sample, and of one.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: As :func:`match_clusters`, or if ``margin`` is negative.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import cluster_matching_loss
        >>> visual = torch.tensor([[[0.0], [1.0]], [[8.0], [9.0]]])
        >>> cluster_matching_loss(visual, visual[:, :1])  # 8 and 7 apart
        tensor(0.)
        >>> cluster_matching_loss(visual, visual[:, :1].flip(0))  # 8 + 1 and 7 + 1, twice
        tensor(17.)
    """
    check_weights(margin=margin)
    _check(visual, textual)
    count, n_v, n_t = *visual.shape[:2], textual.shape[1]
    sample = torch.arange(count, device=visual.device)
    with torch.autocast(visual.device.type, enabled=False):
        visual, textual = _wide(visual, textual)
        cost = _distances(visual.detach().flatten(0, 1), textual.detach().flatten(0, 1))
        match = _assignment(cost.view(count, n_v, count, n_t).transpose(1, 2))
        row = sample[:, None, None] * n_v + match
        column = torch.arange(count * n_t, device=visual.device).view(count, n_t)
        apart = _apart(visual, textual, row, column.expand_as(row)).mean(2)
        own = apart.diagonal()[:, None]
        hinge = (own - apart.T + margin).relu() + (own - apart + margin).relu()
        other = sample != sample[:, None]
        return hinge.where(other, 0.0).sum() / max(1, count * (count - 1))


def _check(visual: Tensor, textual: Tensor) -> None:
    for name, x in (("visual", visual), ("textual", textual)):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(x).__name__}")
        if not x.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {x.dtype}")
        if x.dim() != 3 or not x.shape[1]:
            raise ValueError(
                f"{name} must have shape [B, N, p] of one cluster or more, got {list(x.shape)}"
            )
    if visual.shape[::2] != textual.shape[::2]:
        raise ValueError(
            f"textual must have the samples and channels of visual, {list(visual.shape[::2])}, "
            f"got {list(textual.shape[::2])}"
        )
    n_v, n_t = visual.shape[1], textual.shape[1]
    if n_t > n_v:
        raise ValueError(f"textual must have at most the {n_v} clusters of visual, got {n_t}")
    if math.perm(n_v, n_t) > _MOST:
        raise ValueError(
            f"visual and textual must have at most {_MOST:,} matchings, got {math.perm(n_v, n_t):,} "
            f"of {n_t} clusters with {n_v}"
        )
    settle(finite(visual.flatten(0, 1), "visual"), finite(textual.flatten(0, 1), "textual"))


def _wide(visual: Tensor, textual: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(torch.promote_types(visual.dtype, textual.dtype), torch.float32)
    return visual.to(dtype), textual.to(dtype)


def _distances(visual: Tensor, textual: Tensor) -> Tensor:
    """All of them, by direct differences."""
    return torch.cdist(visual, textual, compute_mode="donot_use_mm_for_euclid_dist")


def _assignment(cost: Tensor) -> Tensor:
    """The visual cluster of every textual one, ``[..., N_t]``, of the least total of ``cost`` ``[..., N_v, N_t]``."""
    matchings = _injections(cost.shape[-2], cost.shape[-1], cost.device)
    columns = enumerate(cost.unbind(-1))
    total = torch.stack([c.index_select(-1, matchings[:, i]) for i, c in columns]).sum(0)
    return matchings[total.argmin(-1)]


def _injections(n: int, k: int, device: torch.device) -> Tensor:
    """All ordered choices of ``k`` of ``n``, in their order, made on the device from their ranks."""
    rank = torch.arange(math.perm(n, k), device=device)
    digits = [rank // math.perm(n - i - 1, k - i - 1) % (n - i) for i in range(k)]
    table = torch.stack(digits, 1)
    for i in reversed(range(k)):  # digits count among what those before have left
        rest = table[:, i + 1 :]
        table[:, i + 1 :] = rest + (rest >= table[:, i, None]).to(rest)
    return table


def _apart(visual: Tensor, textual: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Distances of visual clusters ``row`` and textual clusters ``column``, numbered over all samples."""
    x = torch.cat([visual.flatten(0, 1), textual.flatten(0, 1)])
    pairs = torch.stack([row.flatten(), column.flatten() + visual.shape[0] * visual.shape[1]])
    return safe_sqrt(edge_diff_dot(x, x, pairs)).view(row.shape)
