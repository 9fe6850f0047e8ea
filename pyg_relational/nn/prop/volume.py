"""Partitions with classes of given sizes: the best one for given scores."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyg_relational.ops.checks import check_number, floats

__all__ = ["check_priors", "graphs_of", "volume_bounds", "volume_threshold"]

_TEMPERATURES = (1e-1, 1e-2, 1e-3)  # of the smoothed prices, in units of the scores' spread
_NEWTON = 50  # steps at most; 1,000 and 10,000 rows in 3 to 50 classes take 1 or 2 a temperature
_NOTHING = -40.0  # its exponential is nothing beside 1, and none is a slow denormal number


def volume_threshold(scores: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    r"""Classes of the rows that maximise the sum of their scores, with bounds on the sizes of the classes.

    .. math::
        \max_\ell \sum_i s_{i \ell_i} \quad \text{subject to} \quad a_k \le |\{i : \ell_i = k\}| \le b_k

    With :math:`a = b` it is the projection of :math:`s` onto the partitions with these sizes, the volume-constrained
    threshold of `Jacobs et al., 2018 <https://doi.org/10.1016/j.jcp.2017.10.036>`_. Prices of the classes are found
    by Newton steps on the smoothed dual problem; then rows move along the cheapest chains of classes until the sizes
    fit and no chain gains, so that the result is exact.

    Args:
        scores: Score of every row in every class, finite.
        lower: Least size :math:`a` of each class.
        upper: Greatest size :math:`b` of each class.

    Shapes:
        ``scores``: :math:`[n, c]`, ``lower``, ``upper``: :math:`[c]`, int64, output: :math:`[n]`.

    Raises:
        ValueError: If no sizes within the bounds add up to the number of rows, or a score is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.prop.volume import volume_threshold
        >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.7, 0.6], [0.6, 0.1]])
        >>> volume_threshold(scores, torch.tensor([2, 2]), torch.tensor([2, 2])).tolist()
        [0, 1, 1, 0]
    """
    n, scores = len(scores), scores.double()
    facts = torch.cat([lower.double(), upper.double(), _extent(scores)]).cpu()
    (least, most), (largest, spread) = facts[:-2].long().view(2, -1), facts[-2:].tolist()
    if bool((least > most).any()) or not int(least.sum()) <= n <= int(most.sum()):
        raise ValueError(
            f"lower and upper must leave room for {n} rows, got {least.tolist()}, {most.tolist()}"
        )
    if not math.isfinite(largest):
        raise ValueError("scores must be finite, got NaN or infinity")
    if n == 0:
        return lower.new_zeros(0)
    label = (scores - _prices(scores, lower, upper, spread)).argmax(1)
    _balance(scores, label, least, most, 1e-12 * largest)
    return label


def _extent(scores: Tensor) -> Tensor:
    """Largest absolute value, and mean over the rows of how far their values spread."""
    if len(scores) == 0:
        return scores.new_zeros(2)
    low, high = scores.aminmax(dim=1)
    return torch.stack([torch.maximum(high, -low).amax(), (high - low).mean()])


def volume_bounds(num_rows: int, priors: Tensor, slack: float = 0.0) -> tuple[Tensor, Tensor]:
    r"""Sizes between :math:`(1 - t)` and :math:`(1 + t)` times the expected ones, rounded outwards.

    Args:
        num_rows: Number of rows.
        priors: Share of each class; they sum to 1.
        slack: :math:`t \ge 0`; 0 leaves the expected sizes, rounded down or up.

    Shapes:
        ``priors``: :math:`[c]`, output: two of :math:`[c]`, int64.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.prop.volume import volume_bounds
        >>> volume_bounds(10, torch.tensor([0.5, 0.25, 0.25]))
        (tensor([5, 2, 2]), tensor([5, 3, 3]))
    """
    size = num_rows * priors.double()
    low, high = size * max(1 - slack, 0), size * (1 + slack)
    return (low + 1e-6).floor().long(), (high - 1e-6).ceil().long()


def check_priors(priors: Tensor | None, values: Tensor, slack: float = 0.0) -> Tensor | None:
    """Check shares of the classes and scale them to a sum of 1.

    Args:
        priors: Shares, ``None`` to take those of the labels.
        values: Labels, one column a class.
        slack: Slack of the volumes.

    Shapes:
        ``priors``, output: :math:`[c]`, ``values``: :math:`[n, c]`.

    Raises:
        ValueError: If they are not finite, ``>= 0`` and of that shape, or ``slack`` is negative or not finite.
    """
    check_number(slack, "slack")
    if not 0 <= slack < math.inf:
        raise ValueError(f"slack must be >= 0 and finite, got {slack}")
    if priors is None:
        return None
    priors = torch.as_tensor(priors, dtype=torch.float64, device=values.device)
    c = values.shape[1]
    if priors.shape != (c,):
        raise ValueError(f"class_priors must have shape [{c}], got {list(priors.shape)}")
    if not bool(torch.isfinite(priors).all() & (priors >= 0).all() & (priors.sum() > 0)):
        raise ValueError(f"class_priors must be finite and >= 0, got {priors.tolist()}")
    return priors / priors.sum()


def graphs_of(rows: Tensor, batch: Tensor, num_graphs: int) -> Iterator[Tensor]:
    """Numbers of the marked rows of each graph that has some.

    Args:
        rows: Marked rows.
        batch: Graph of every row.
        num_graphs: How many there are.

    Shapes:
        ``rows``, ``batch``: :math:`[n]`.
    """
    for number in range(num_graphs):
        inside = (rows & (batch == number)).nonzero()[:, 0]
        if len(inside):
            yield inside


def _prices(scores: Tensor, lower: Tensor, upper: Tensor, spread: float) -> Tensor:
    """Prices at which about as many rows choose each class as may: annealed Newton steps."""
    price = scores.new_zeros(scores.shape[1])
    if not spread > 0:
        return price
    low, room = lower.double(), (upper - lower).double()
    across = scores.T.contiguous()  # sums over classes run along the rows
    for temperature in _TEMPERATURES:
        price = _newton(across, price, low, room, spread * temperature)
    return price


def _newton(scores: Tensor, price: Tensor, low: Tensor, room: Tensor, t: float) -> Tensor:
    """Newton's method, its steps halved while they lead up; a device is waited for once a point."""
    at = _dual(scores, price, low, room, t)
    steep = at.gradient.abs().max().item()
    for _ in range(_NEWTON):
        if steep < max(0.5, 1e-4 * scores.shape[1]):
            break
        step, size = torch.linalg.solve(_hessian(at, room), at.gradient) * t, 1.0
        while True:
            new = _dual(scores, price - size * step, low, room, t)
            rise, steep = floats(new.value - at.value, new.gradient.abs().max())
            if not rise > 0 or size <= 1e-4:
                break
            size /= 2
        if not rise < 0:
            break
        price, at = price - size * step, new
    return price


class _Dual(NamedTuple):
    """The smoothed dual problem at some prices: value, gradient, each row's shares of the classes, use of the room."""

    value: Tensor
    gradient: Tensor
    share: Tensor
    on: Tensor


def _dual(scores: Tensor, price: Tensor, low: Tensor, room: Tensor, t: float) -> _Dual:
    part = (scores - price[:, None]).div_(t)
    top = part.amax(0)
    part.sub_(top).clamp_(min=_NOTHING).exp_()
    total = part.sum(0)
    choice, on = t * (total.log() + top).sum(), (price / t).sigmoid()
    value, share = choice + low @ price + t * (room @ softplus(price / t)), part.div_(total)
    return _Dual(value, low + room * on - share.sum(1), share, on)


def _hessian(at: _Dual, room: Tensor) -> Tensor:
    hessian = torch.diag(at.share.sum(1) + room * at.on * (1 - at.on)) - at.share @ at.share.T
    hessian.diagonal().add_(1e-8 * hessian.diagonal().max().clamp(min=1.0))
    return hessian


def _balance(scores: Tensor, label: Tensor, lower: Tensor, upper: Tensor, least: float) -> None:
    """Move rows along the cheapest chains of classes: first to fit the sizes, then while that gains.

    A device is waited for once a chain; the bounds are on the host.
    """
    one = scores.new_ones(len(label))
    while True:
        loss = scores.gather(1, label[:, None]) - scores
        size, cost = _sizes_and_costs(loss, label, one)
        over, under = (size - upper).clamp(min=0), (lower - size).clamp(min=0)
        give, take = (size - lower).clamp(min=0), (upper - size).clamp(min=0)
        if over.any():
            give = over
        elif under.any():
            take = under
        cost, step = _chains(cost, least)
        cost[~((give > 0)[:, None] & (take > 0)[None])] = torch.inf
        cost.fill_diagonal_(torch.inf)
        best = int(cost.argmin())
        start, end = divmod(best, len(lower))
        if not (over.any() or under.any()) and not cost[start, end] < -least:
            return
        _move(loss, label, _path(step, start, end), int(min(give[start], take[end])))


def _sizes_and_costs(loss: Tensor, label: Tensor, one: Tensor) -> tuple[Tensor, Tensor]:
    """Sizes of the classes, and least cost of a row to move between two, in one wait for a device."""
    c = loss.shape[1]
    both = loss.new_full((c + 1, c), torch.inf)
    both[0].zero_().index_add_(0, label, one)
    both[1:].scatter_reduce_(0, label[:, None].expand(-1, c), loss, "amin")
    both = both.cpu()
    return both[0].long(), both[1:].fill_diagonal_(0.0)


def _chains(cost: Tensor, least: float) -> tuple[Tensor, Tensor]:
    """Cheapest chains between classes (Floyd and Warshall), and the first class on each."""
    c = len(cost)
    step = torch.arange(c, device=cost.device).repeat(c, 1)
    for middle in range(c):
        through = cost[:, middle, None] + cost[None, middle]
        shorter = through < cost - least
        cost = through.where(shorter, cost)
        step = step[:, middle, None].where(shorter, step)
    return cost, step


def _path(step: Tensor, start: int, end: int) -> list[int]:
    path = [start]
    while path[-1] != end:
        path.append(int(step[path[-1], end]))
    return path


def _move(loss: Tensor, label: Tensor, path: list[int], most: int) -> None:
    """Move up to ``most`` rows along each edge of a path: one, or those that cost the same."""
    costs = [loss[:, there].where(label == here, torch.inf) for here, there in pairwise(path)]
    ties = [cost == cost.amin() for cost in costs]
    places = [tie.cumsum(0) for tie in ties]  # among them, from 1
    count = torch.stack([place[-1] for place in places]).amin().clamp(max=most)
    for tie, place, there in zip(ties, places, path[1:], strict=True):
        label.masked_fill_(tie & (place <= count), there)
