"""Triplets of images, anchors and proxies, and contrast between proxies."""

import math
from collections.abc import Collection, Sequence
from functools import partial, reduce
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pdist

from pyg_relational.ops import unit_rows
from pyg_relational.ops.autograd.call import call
from pyg_relational.ops.autograd.once import scaled
from pyg_relational.ops.checks import (
    asked,
    batch_checks,
    check_choice,
    check_number,
    may_read,
    settle,
)
from pyg_relational.ops.options import show_options

__all__ = [
    "Mining",
    "ProxyContrastiveLoss",
    "Reduction",
    "check_term_weights",
    "proxy_contrastive_loss",
]

Mining = Literal["all", "random", "semihard"]
Reduction = Literal["mean", "nonzero_mean"]


def proxy_contrastive_loss(
    embedding: Tensor,
    y: Tensor,
    anchors: Tensor,
    anchor_y: Tensor,
    proxies: Tensor,
    proxy_y: Tensor,
    *,
    margin: float = 0.2,
    pair_margin: float = 1.0,
    mining: Mining = "all",
    reduction: Reduction = "mean",
    term_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Contrastive loss of images, anchors and proxies.

    From `"CNN2Graph: Building Graphs for Image Classification" <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_.

    With :math:`D_{ij} = \lVert u_i - u_j \rVert_2` between rows scaled to length 1 (a zero row stays zero),

    .. math::
        \mathcal{L} = \mathcal{L}_{at} + \mathcal{L}_{pt} + \mathcal{L}_{ap} + \mathcal{L}_p

    The first three are means of triplets (eqs. 11-13): sources are the anchors among images, the proxies among
    images, the
    anchors among proxies. Source :math:`i` has a positive :math:`p` and a negative :math:`n`, both from the set it is
    among:

    .. math::
        T(i; p, n) = \max(D_{ip}^2 - D_{in}^2 + m, 0), \qquad y_p = y_i \ne y_n

    :math:`\mathcal{L}_p` is the mean over the unordered pairs of proxies of the contrastive loss of
    `Hadsell et al. (2006) <https://doi.org/10.1109/CVPR.2006.100>`_:

    .. math::
        \tfrac{1}{2} [y_i = y_j] D_{ij}^2 + \tfrac{1}{2} [y_i \ne y_j] \max(m_p - D_{ij}, 0)^2

    Equation 10 of CNN2Graph, which stands for this one, is misprinted; the above is what it means.

    A term without a triplet or pair is 0, with gradient 0. Triplets are counted, never built: with :math:`k`
    positives a source at most, a term takes :math:`O(B P \log k)` time and :math:`O(B P)` memory.
    On several processes the loss is over the local rows; gather them with :func:`pyg_relational.distributed.gather`
    first for the loss of the global batch.

    Args:
        embedding: Embedded images.
        y: Their classes; in all three sets, rows with -1 (unlabelled) take no part.
        anchors: Embedded anchors.
        anchor_y: Their classes.
        proxies: Embedded proxies.
        proxy_y: Their classes.
        margin: :math:`m`, in units of the squared distance.
        pair_margin: :math:`m_p`, in units of the distance.
        mining: ``"all"`` triplets; ``"semihard"`` ones, :math:`D_{ip}^2 < D_{in}^2 < D_{ip}^2 + m`
            (`FaceNet <https://arxiv.org/abs/1503.03832>`_); or ``"random"``: one positive and one negative a source,
            drawn uniformly, sources that lack either left out. The paper does not say which it takes.
        reduction: Mean of triplets: ``"mean"`` over all that were mined, or ``"nonzero_mean"`` over those above 0.
        term_weights: Factors of :math:`\mathcal{L}_{at}`, :math:`\mathcal{L}_{pt}`, :math:`\mathcal{L}_{ap}` and
            :math:`\mathcal{L}_p`. (default: all 1)
        generator: Source of randomness for random triplets.

    Shapes:
        ``embedding``: :math:`[B, F]`, ``y``: :math:`[B]`, ``anchors``: :math:`[A, F]`, ``anchor_y``: :math:`[A]`,
        ``proxies``: :math:`[P, F]`, ``proxy_y``: :math:`[P]`, output: scalar, at least float32.

    Raises:
        TypeError: If a set is not floating point, classes are not int64, or the generator is none.
        ValueError: If shapes disagree, a value is not finite, a class is below -1, a margin is not above 0,
            or an option is unknown.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import proxy_contrastive_loss
        >>> classes, proxies = torch.tensor([0, 1]), torch.eye(2)
        >>> proxy_contrastive_loss(torch.eye(2), classes, torch.eye(2), classes, proxies, classes).item()
        0.0
        >>> proxy_contrastive_loss(torch.eye(2), classes, torch.eye(2), 1 - classes, proxies, classes).item()
        4.400000095367432
    """
    _check_options(margin, pair_margin, mining, reduction)
    check_term_weights(term_weights, 4, "term_weights")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator must be a torch.Generator or None, got {type(generator).__name__}"
        )
    sets = {"embedding": embedding, "anchors": anchors, "proxies": proxies}
    classes = {"y": y, "anchor_y": anchor_y, "proxy_y": proxy_y}
    checks = batch_checks(sets, classes)
    _check_columns(sets)
    terms = [_groups(*pair) for pair in ((anchor_y, y), (proxy_y, y), (anchor_y, proxy_y))]
    largest = [asked(partial(_largest, groups.positives)) for groups in terms]
    known = settle(*checks, *(largest if may_read() else []))[len(checks) :]
    with torch.autocast(embedding.device.type, enabled=False):
        dtype = reduce(
            torch.promote_types, (embedding.dtype, anchors.dtype, proxies.dtype), torch.float32
        )
        image = _Rows(unit_rows(embedding.to(dtype)), y)
        anchor = _Rows(unit_rows(anchors.to(dtype)), anchor_y)
        proxy = _Rows(unit_rows(proxies.to(dtype)), proxy_y)
        pairs = call(_PairContrast, proxy.u, proxy.y, float(pair_margin))[0]
        most = [int(m) for m in known] or [len(y), len(y), len(proxy_y)]  # compiled, not known yet
        triplets = [
            _random_triplets(query, bank, groups, margin, reduction, generator)
            if mining == "random"
            else _counted_triplets(
                query, bank, groups, count, margin, mining == "semihard", reduction
            )
            for query, bank, groups, count in zip(
                (anchor, proxy, anchor), (image, image, proxy), terms, most, strict=True
            )
        ]
        weighted = zip((*triplets, pairs), term_weights, strict=True)
        loss: Tensor = sum(term * weight for term, weight in weighted)
        return loss.to(dtype)


def _check_options(margin: Any, pair_margin: Any, mining: Any, reduction: Any) -> None:
    for value, name in ((margin, "margin"), (pair_margin, "pair_margin")):
        check_number(value, name)
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be finite and > 0, got {value}")
    check_choice(mining, Mining, "mining")
    check_choice(reduction, Reduction, "reduction")


def check_term_weights(weights: Any, count: int, name: str) -> None:
    """Raise unless ``weights`` are so many finite numbers >= 0.

    Args:
        weights: The argument to check.
        count: How many there must be.
        name: How the caller's signature names it.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If they are not so many, or one is out of range.
    """
    if not isinstance(weights, Collection):
        raise TypeError(f"{name} must be {count} numbers, got {type(weights).__name__}")
    for weight in weights:
        check_number(weight, f"a number of {name}")
    if len(weights) != count or not all(0 <= weight < math.inf for weight in weights):
        raise ValueError(f"{name} must be {count} finite numbers >= 0, got {weights}")


def _check_columns(sets: dict[str, Tensor]) -> None:
    columns = sets["embedding"].shape[1]
    for name, x in sets.items():
        if x.shape[1] != columns:
            raise ValueError(
                f"{name} must have the {columns} columns of embedding, got {x.shape[1]}"
            )


class _Rows(NamedTuple):
    """Unit rows with their classes."""

    u: Tensor
    y: Tensor


class _Groups(NamedTuple):
    """The bank sorted by class, and where a query's positives are in it; an unlabelled query has none of either."""

    order: Tensor
    start: Tensor
    positives: Tensor
    negatives: Tensor


def _groups(y: Tensor, bank_y: Tensor) -> _Groups:
    values, order = bank_y.sort(stable=True)
    y = y.contiguous()  # else searchsorted warns
    start = torch.searchsorted(values, y)
    count = torch.searchsorted(values, y, right=True) - start
    labelled = y >= 0
    return _Groups(order, start, count * labelled, ((bank_y >= 0).sum() - count) * labelled)


def _largest(counts: Tensor) -> Tensor:
    return counts.max() if counts.numel() else counts.new_zeros(())


def _zero(*sets: _Rows) -> Tensor:
    """A 0 that backward can start from."""
    return torch.stack([0 * rows.u.sum(dtype=torch.float64) for rows in sets]).sum()


def _counted_triplets(
    query: _Rows,
    bank: _Rows,
    groups: _Groups,
    most: int,
    margin: float,
    semihard: bool,
    reduction: Reduction,
) -> Tensor:
    """Mean over all triplets: their sum is linear in the distances, and each distance is counted."""
    if not query.y.numel() * bank.y.numel():
        return _zero(query, bank)
    distance = _square_distances(query.u, bank.u)
    with torch.no_grad():
        counts = _counts(distance, query.y, bank.y, groups, most, margin, closed=False)
        if semihard:
            counts -= _counts(distance, query.y, bank.y, groups, most, 0.0, closed=True)
        number = counts.clamp(min=0).sum(dtype=torch.float64)
        mined = number
        if reduction == "mean" and not semihard:
            mined = (groups.positives * groups.negatives).sum().double()
    total = (counts * distance).sum(dtype=torch.float64) + margin * number
    return total / mined.clamp(min=1)


def _square_distances(u: Tensor, v: Tensor) -> Tensor:
    """Squared distances of unit or zero rows, whose squared lengths are 1 or 0 but for rounding."""
    of_u, of_v = (torch.linalg.vecdot(x.detach(), x.detach()).round_() for x in (u, v))
    return torch.addmm(of_v, u, v.T, alpha=-2).add_(of_u[:, None])


def _counts(
    distance: Tensor,
    y: Tensor,
    bank_y: Tensor,
    groups: _Groups,
    most: int,
    margin: float,
    closed: bool,
) -> Tensor:
    r"""For each positive, the negatives below it plus ``margin``; for each negative, minus the positives it is below.

    Sorting the few positives of a query is enough: a negative's rank among them says which of them it counts for.

    Args:
        distance: Squared distances of queries and bank.
        y: Classes of the queries.
        bank_y: Classes of the bank.
        groups: Result of ``_groups``.
        most: Positives of a query at most.
        margin: Added to the positives.
        closed: Count equality too.

    Shapes:
        ``distance``: :math:`[B, P]`, output: the same.
    """
    place = torch.arange(most, device=y.device)
    exists = place < groups.positives[:, None]
    column = groups.order[(groups.start[:, None] + place).clamp(max=bank_y.shape[0] - 1)]
    limit, order = (distance.gather(1, column) + margin).masked_fill(~exists, torch.inf).sort(1)
    negative = (y[:, None] != bank_y) & (y >= 0)[:, None] & (bank_y >= 0)
    rank = torch.searchsorted(limit, distance, right=not closed)
    ranks = distance.new_zeros(y.shape[0], place.shape[0] + 1)
    below = ranks.scatter_add_(1, rank, negative.to(distance.dtype)).cumsum(1)[:, :-1]
    counts = rank.sub_(groups.positives[:, None]).mul_(negative).to(distance.dtype)
    return counts.scatter_add_(1, column.gather(1, order), below * exists)


def _random_triplets(
    query: _Rows,
    bank: _Rows,
    groups: _Groups,
    margin: float,
    reduction: Reduction,
    generator: torch.Generator | None,
) -> Tensor:
    """Mean over one drawn triplet a query."""
    if not query.y.numel() * bank.y.numel():
        return _zero(query, bank)
    order, start, positives, negatives = groups
    mined = (positives > 0) & (negatives > 0)
    draw = torch.rand(
        (2, *start.shape), generator=generator, dtype=torch.float64, device=start.device
    )
    positive = start + (draw[0] * positives).long()
    negative = (bank.y < 0).sum() + (draw[1] * negatives).long()
    negative = negative + positives * (negative >= start)
    last = bank.y.shape[0] - 1
    near, far = (
        (query.u - bank.u[order[place.clamp(max=last)]]).square().sum(1)
        for place in (positive, negative)
    )
    value = (near - far + margin).relu() * mined
    if reduction == "nonzero_mean":
        mined = value > 0
    return value.sum(dtype=torch.float64) / mined.sum().clamp(min=1)


class _PairContrast(torch.autograd.Function):
    """Mean over the unordered pairs of rows of one class or two, with its gradient as one matrix product."""

    @staticmethod
    def forward(u: Tensor, y: Tensor, margin: float) -> tuple[Tensor, Tensor]:
        i, j = torch.triu_indices(y.shape[0], y.shape[0], 1, device=y.device)
        labelled = (y >= 0)[i] & (y >= 0)[j]
        share = labelled.to(u.dtype) / labelled.sum().clamp(min=1)
        distance = pdist(u)  # of differences: a matrix product would lose those of near rows
        same = y[i] == y[j]
        apart = torch.where(same, distance, (margin - distance).relu())
        pull = torch.where(same, share, -share * apart / distance.where(distance > 0, torch.inf))
        pulls = u.new_zeros(y.shape[0], y.shape[0]).index_put_((i, j), pull)
        pulls += pulls.T.clone()
        value = (apart.square() * share).sum(dtype=torch.float64) / 2
        return value, pulls.sum(1, keepdim=True) * u - pulls @ u

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        return scaled(ctx.saved_tensors[1], grad, ctx.saved_tensors[0]), None, None


class ProxyContrastiveLoss(nn.Module):
    """Module form of :func:`proxy_contrastive_loss`; arguments and defaults are the same.

    Args:
        margin: Margin of the triplets, in units of the squared distance.
        pair_margin: Margin of the pairs of proxies, in units of the distance.
        mining: ``"all"``, ``"random"`` or ``"semihard"``.
        reduction: ``"mean"`` or ``"nonzero_mean"``.
        term_weights: Factors of the four terms.

    Raises:
        TypeError: If a margin is not a number.
        ValueError: If a margin is not above 0, or an option is unknown.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import ProxyContrastiveLoss
        >>> loss = ProxyContrastiveLoss(mining="semihard")
        >>> x, proxies = torch.randn(8, 5, requires_grad=True), torch.randn(3, 5, requires_grad=True)
        >>> loss(x, torch.arange(8) % 3, torch.randn(6, 5), torch.arange(6) % 3, proxies, torch.arange(3)).backward()
    """

    def __init__(
        self,
        margin: float = 0.2,
        pair_margin: float = 1.0,
        mining: Mining = "all",
        reduction: Reduction = "mean",
        term_weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        _check_options(margin, pair_margin, mining, reduction)
        check_term_weights(term_weights, 4, "term_weights")
        self.options: dict[str, Any] = {
            "margin": margin,
            "pair_margin": pair_margin,
            "mining": mining,
            "reduction": reduction,
            "term_weights": tuple(term_weights),
        }

    def forward(
        self,
        embedding: Tensor,
        y: Tensor,
        anchors: Tensor,
        anchor_y: Tensor,
        proxies: Tensor,
        proxy_y: Tensor,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss of a batch."""
        return proxy_contrastive_loss(
            embedding, y, anchors, anchor_y, proxies, proxy_y, generator=generator, **self.options
        )

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        return show_options(self.options)
