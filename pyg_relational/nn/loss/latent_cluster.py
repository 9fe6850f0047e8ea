"""Misclustered samples pulled to correctly clustered ones of their class."""

import math
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pyg_relational.cluster.match_labels import match_labels
from pyg_relational.ops import knn, unit_rows
from pyg_relational.ops.checks import (
    check_choice,
    check_count,
    check_features,
    check_labels,
    check_matrix,
    finite,
    settle,
)
from pyg_relational.ops.neighbors.candidates import norm_check, prepare
from pyg_relational.ops.neighbors.top import search_on_device

__all__ = [
    "LatentClusterTargets",
    "Matched",
    "Method",
    "Targets",
    "full",
    "latent_cluster_loss",
    "latent_cluster_targets",
    "matched",
    "pull_length",
]

Targets = Literal["class", "cluster"]
Method = Literal["exact", "approximate"]


class LatentClusterTargets(NamedTuple):
    """Where misclustered samples are pulled to.

    Attributes:
        index: ``[m]`` int64, the samples to correct, in ascending order.
        target: ``[m, d]``, their targets.
        label: ``[k]`` int64, label of every cluster.
        misclustered: ``[n]`` bool, all misclustered samples, correctible and chosen or not.
    """

    index: Tensor  # type: ignore[assignment]
    target: Tensor
    label: Tensor
    misclustered: Tensor


@torch.no_grad()
def latent_cluster_targets(
    z: Tensor,
    y: Tensor,
    clusters: Tensor,
    *,
    k: int = 5,
    targets: Targets = "class",
    method: Method = "exact",
    samples_per_cluster: int = 1,
    classes: Tensor | None = None,
    from_clusters: Tensor | None = None,
    seed: int = 0,
) -> LatentClusterTargets:
    r"""Targets of latent cluster correction, constants.

    Clusters are matched to labels by :func:`~pyg_relational.cluster.match_labels`. A labelled sample in a cluster of
    its own label is correctly clustered, one in another is misclustered. The target of a misclustered sample is

    - ``"exact"``, ``"class"``: the mean of the ``k`` nearest correctly clustered samples of its class;
    - ``"exact"``, ``"cluster"``: for every cluster of its label, the mean of the ``k`` nearest correctly clustered
      samples there; the nearest of these means;
    - ``"approximate"``: ``samples_per_cluster`` correctly clustered samples are drawn from every cluster, all where
      there are fewer; the nearest of those of its class.

    Where there are fewer than ``k`` (or, approximately, no) such samples, it cannot be corrected and is left out.
    Exact neighbours, class by class; :math:`O(n (k + d))` memory.

    Args:
        z: Latents, rows of samples. Half precision is computed in float32.
        y: Classes; -1: unlabelled, takes no part.
        clusters: Cluster of every sample; -1: in none, takes no part.
        k: Number of neighbours of the exact method.
        targets: ``"class"`` or ``"cluster"``; the approximate method has no such difference.
        method: ``"exact"`` or ``"approximate"``.
        samples_per_cluster: Samples that the approximate method draws from a cluster, without replacement.
        classes: Correct the samples of these classes only.
        from_clusters: Correct the samples in these clusters only.
        seed: Seed of the random draws.

    Shapes:
        ``z``: :math:`[n, d]`, ``y``: :math:`[n]`, ``clusters``: :math:`[n]`, ``classes`` and ``from_clusters``: any
        number.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite or out of range, or an option is unknown.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import latent_cluster_targets
        >>> z = torch.tensor([[0.0], [2.0], [4.0], [9.0], [9.5], [8.0]])
        >>> y = torch.tensor([0, 0, 0, 1, 1, 0])  # the last is among the others
        >>> found = latent_cluster_targets(z, y, torch.tensor([0, 0, 0, 1, 1, 1]), k=2)
        >>> found.index.tolist(), found.target.tolist()
        ([5], [[3.0]])
    """
    check_matrix(z, "z")
    check_labels(y, len(z))
    check_labels(clusters, len(z), "clusters")
    k = check_count(k, "k")
    samples_per_cluster = check_count(samples_per_cluster, "samples_per_cluster")
    seed = check_count(seed, "seed", 0)
    check_choice(targets, Targets, "targets")
    check_choice(method, Method, "method")
    z = full(z)
    settle(finite(z, "z"), *([] if z.is_cpu else [norm_check(prepare(z, None, False))]))
    seen = matched(
        y,
        clusters,
        k=k,
        targets=targets,
        method=method,
        samples_per_cluster=samples_per_cluster,
        classes=classes,
        from_clusters=from_clusters,
        seed=seed,
    )
    by_class = seen.group is y and not z.is_cpu
    found, target = (
        _nearest_of_class(z, y, seen.index, seen.right, seen.k)
        if by_class
        else _nearest_means(z, y, seen.index, seen.right, seen.group, seen.k)
    )
    place = found.nonzero()[:, 0]
    return LatentClusterTargets(seen.index[place], target[place], seen.label, seen.misclustered)


class Matched(NamedTuple):
    """What clusters and labels say of samples, without their latents.

    Attributes:
        label: Label of every cluster.
        misclustered: All misclustered samples.
        index: Samples to correct.
        right: Samples that targets are means of.
        group: Samples of one value are averaged together.
        k: Number of these samples in each mean.
    """

    label: Tensor
    misclustered: Tensor
    index: Tensor  # type: ignore[assignment]
    right: Tensor
    group: Tensor
    k: int


def matched(
    y: Tensor,
    clusters: Tensor,
    *,
    k: int,
    targets: Targets,
    method: Method,
    samples_per_cluster: int,
    classes: Tensor | None,
    from_clusters: Tensor | None,
    seed: int,
) -> Matched:
    """Samples to correct, and those to correct them by; arguments as in :func:`latent_cluster_targets`.

    Args:
        y: Classes.
        clusters: Cluster of every sample.
        k: Number of neighbours.
        targets: ``"class"`` or ``"cluster"``.
        method: ``"exact"`` or ``"approximate"``.
        samples_per_cluster: Samples that the approximate method draws.
        classes: Correct these classes only.
        from_clusters: Correct samples in these clusters only.
        seed: Seed of the draws.

    Shapes:
        ``y``, ``clusters``: :math:`[n]`.
    """
    label = match_labels(y, clusters)
    of_cluster = torch.cat([label, label.new_full((1,), -1)])[clusters]
    takes_part = (y >= 0) & (clusters >= 0)
    misclustered = takes_part & (of_cluster != y)
    wrong = _only(
        _only(misclustered, y, classes, "classes"), clusters, from_clusters, "from_clusters"
    )
    right = (takes_part & (of_cluster == y)).nonzero()[:, 0]
    if method == "approximate":
        right, k = _draw(right, clusters, samples_per_cluster, seed), 1
    group = clusters if method == "exact" and targets == "cluster" else y
    return Matched(label, misclustered, wrong.nonzero()[:, 0], right, group, k)


def latent_cluster_loss(
    z: Tensor,
    y: Tensor,
    clusters: Tensor,
    *,
    k: int = 5,
    targets: Targets = "class",
    method: Method = "exact",
    samples_per_cluster: int = 1,
    classes: Tensor | None = None,
    from_clusters: Tensor | None = None,
    seed: int = 0,
    orthogonal_to: Tensor | None = None,
) -> Tensor:
    r"""Mean distance of misclustered samples to their targets.

    From `Ho Thanh, "Improving Fine-Tuning with Latent Cluster Correction" <https://arxiv.org/abs/2501.11919>`_:

    .. math::
        \mathcal{L} = \frac{1}{\sqrt{d} \, N} \sum_i \lVert z_i - \bar z_i \rVert

    over the :math:`N` samples that :func:`latent_cluster_targets` finds correctible, with its targets
    :math:`\bar z_i` as constants. A sample on its target has gradient 0.

    With ``orthogonal_to``, a basis of a subspace for each row, only the part of the pull that is orthogonal to it
    remains:

    .. math::
        \mathcal{L}_\perp = \frac{1}{\sqrt{d} \, N} \sum_i \lVert (I - U_i U_i^\top) (z_i - \bar z_i) \rVert

    with an orthonormal basis :math:`U_i` of the same subspace. The paper's orthogonal correction (section V.C) takes
    the tangent space at :math:`z_i`, :func:`~pyg_relational.ops.tangent_basis`: the sample leaves its manifold
    the shortest way. One direction, such as the gradient of the task's loss at :math:`z_i`, leaves that loss as it is,
    to first order; that is not in the paper. The author's program has neither.

    Args:
        z: Latents. Half precision is computed in float32.
        y: Classes; -1: unlabelled, takes no part.
        clusters: Cluster of every sample; -1: in none, takes no part.
        k: See :func:`latent_cluster_targets`, also for what follows.
        targets: ``"class"`` or ``"cluster"``.
        method: ``"exact"`` or ``"approximate"``.
        samples_per_cluster: Samples that the approximate method draws from a cluster.
        classes: Correct the samples of these classes only.
        from_clusters: Correct the samples in these clusters only.
        seed: Seed of the approximate method's random draws.
        orthogonal_to: A basis for each row, in columns, or one direction, a constant. It need not be orthonormal, nor
            of full rank: columns of 0, or that others span, count for nothing.

    Shapes:
        ``z``: :math:`[n, d]`, ``y``: :math:`[n]`, ``clusters``: :math:`[n]`, ``orthogonal_to``: :math:`[n, d, r]` or
        :math:`[n, d]`, output: scalar, at least float32.

    Returns:
        The loss, in units of ``z``; 0, with gradient 0, where there is nothing to correct.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite or out of range, or an option is unknown.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import latent_cluster_loss
        >>> z = torch.tensor([[0.0], [2.0], [4.0], [9.0], [9.5], [8.0]], requires_grad=True)
        >>> y = torch.tensor([0, 0, 0, 1, 1, 0])
        >>> loss = latent_cluster_loss(z, y, torch.tensor([0, 0, 0, 1, 1, 1]), k=2)
        >>> loss.backward()
        >>> loss.item(), z.grad.flatten().tolist()
        (5.0, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    """
    found = latent_cluster_targets(
        z,
        y,
        clusters,
        k=k,
        targets=targets,
        method=method,
        samples_per_cluster=samples_per_cluster,
        classes=classes,
        from_clusters=from_clusters,
        seed=seed,
    )
    if orthogonal_to is not None:
        _check_basis(orthogonal_to, z)
        orthogonal_to = orthogonal_to[found.index]
    length = pull_length(z[found.index], found.target, orthogonal_to)
    return length.sum() / max(1, len(length))


def pull_length(z: Tensor, target: Tensor, orthogonal_to: Tensor | None = None) -> Tensor:
    r"""Length, over :math:`\sqrt d`, of each row's pull to its target, or of the part orthogonal to a subspace.

    Args:
        z: Latents.
        target: Their targets.
        orthogonal_to: Bases of the subspaces, or directions; columns of 0 count for nothing.

    Shapes:
        ``z``, ``target``: :math:`[n, d]`, ``orthogonal_to``: :math:`[n, d, r]` or :math:`[n, d]`, output: :math:`[n]`,
        at least float32.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.latent_cluster import pull_length
        >>> z, g = torch.tensor([[3.0, 4.0, 0.0, 0.0]]), torch.tensor([[9.0, 0.0, 0.0, 0.0]])
        >>> pull_length(z, torch.zeros(1, 4)), pull_length(z, torch.zeros(1, 4), g)
        (tensor([2.5000]), tensor([2.]))
    """
    pull = full(z) - target
    length: Tensor = torch.linalg.vector_norm(pull, dim=1)
    if orthogonal_to is not None:
        rounding = 8 * torch.finfo(pull.dtype).eps * length.detach()
        basis = orthogonal_to.detach().to(pull.dtype)
        for column in _orthonormal(basis[..., None] if basis.dim() == 2 else basis):
            pull = _without(pull, column)
        length = torch.linalg.vector_norm(pull, dim=1)
        length = length.where(~(length <= rounding), 0)  # NaN stays
    return length / math.sqrt(max(1, z.shape[1]))


def _orthonormal(basis: Tensor) -> list[Tensor]:
    """Columns that span the same, of length 1 or 0."""
    made: list[Tensor] = []
    rounding = 8 * basis.shape[1] * torch.finfo(basis.dtype).eps
    for column in unit_rows(basis.mT.flatten(0, 1)).view(basis.mT.shape).unbind(1):
        for other in made:
            column = _without(column, other)
        length = torch.linalg.vector_norm(column, dim=1, keepdim=True)
        made.append(unit_rows(column.where(~(length <= rounding), 0)))
    return made


def _without(x: Tensor, direction: Tensor) -> Tensor:
    """Rows less their parts in directions of length 1."""
    for _ in range(2):  # the second time takes away what rounding left
        x = x - (x * direction).sum(1, keepdim=True) * direction
    return x


def _check_basis(basis: Any, z: Tensor) -> None:
    if isinstance(basis, Tensor) and basis.dim() == 3:
        check_features(basis.flatten(1), "orthogonal_to")
    else:
        check_features(basis, "orthogonal_to")
    if basis.shape[:2] != z.shape:
        shape = f"{list(z.shape)} or [{len(z)}, {z.shape[1]}, r]"
        raise ValueError(f"orthogonal_to must have shape {shape}, got {list(basis.shape)}")


def full(z: Tensor) -> Tensor:
    """The matrix in at least float32."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def _only(rows: Tensor, values: Tensor, chosen: Tensor | None, name: str) -> Tensor:
    if chosen is None:
        return rows
    check_labels(chosen, chosen.numel() if isinstance(chosen, Tensor) else 0, name)
    return rows & torch.isin(values, chosen.to(values.device))


def _draw(rows: Tensor, clusters: Tensor, count: int, seed: int) -> Tensor:
    """Up to ``count`` of each cluster's rows."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    order = order[clusters[rows[order]].argsort(stable=True)]
    cluster = clusters[rows[order]]
    place = torch.arange(len(order), device=rows.device) - torch.searchsorted(cluster, cluster)
    return rows[order[place < count]]


def _nearest_of_class(
    z: Tensor, y: Tensor, index: Tensor, right: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """:func:`_nearest_means` of the classes, all at once."""
    if len(right) < k or not len(index):
        return torch.zeros_like(index, dtype=torch.bool), z.new_zeros(len(index), z.shape[1])
    points = prepare(z[right], z[index], False)
    near, distance = search_on_device(points, k, (y[index], y[right]))
    return distance[:, -1] < torch.inf, embedding_bag(near, points.raw_x, mode="mean")


def _nearest_means(
    z: Tensor, y: Tensor, index: Tensor, right: Tensor, group: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Nearest of the groups' means of ``k`` neighbours, for each of ``index``; which have one, and the means."""
    nearest = z.new_full((len(index),), torch.inf)
    target = z.new_zeros((len(index), z.shape[1]))
    wanted = y[index]
    right = right[group[right].argsort(stable=True)]
    sizes = group[right].unique_consecutive(return_counts=True)[1].tolist()
    for members in right.split(sizes) if sizes else []:
        rows = (wanted == y[members[0]]).nonzero()[:, 0]
        if len(members) < k or not len(rows):
            continue
        points, queries = z[members], z[index[rows]]
        mean = embedding_bag(knn(points, k, y=queries).index, points, mode="mean")
        distance = torch.linalg.vector_norm(queries - mean, dim=1)
        closer = distance < nearest[rows]
        nearest[rows[closer]], target[rows[closer]] = distance[closer], mean[closer]
    return nearest < torch.inf, target
