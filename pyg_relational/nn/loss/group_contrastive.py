"""Agreement of two views, sample by sample and group by group of pseudo-labels."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import batch_checks, check_number, settle
from pyg_relational.ops.graph.per_graph import check_weights
from pyg_relational.ops.options import show_options

__all__ = [
    "GroupContrastiveLoss",
    "check_temperature",
    "group_contrastive_loss",
    "instance_contrastive_loss",
]

_TILE = 1 << 22  # similarities at a time
_NEVER = -1e30  # similarity with a group that is not there: its exponential is 0


def instance_contrastive_loss(a: Tensor, b: Tensor, *, temperature: float = 0.5) -> Tensor:
    r"""Every sample is nearer to its other view than to either view of other samples.

    From `Iqbal et al., "SITAR: Semi-supervised Image Transformer for Action Recognition"
    <https://doi.org/10.1007/978-3-031-78192-6_8>`_ (ICPR 2024, eq. 2). With :math:`h(u, v) = e^{\cos(u, v) / \tau}`, in
    the mean over the :math:`2 n` rows of both views,

    .. math::
        \ell(a_i, b_i) = -\log \frac{h(a_i, b_i)}{h(a_i, b_i) + \sum_{k \ne i} (h(a_i, a_k) + h(a_i, b_k))}

    :math:`O(n^2 d)` time; rows are taken in tiles that are computed again for the gradient, so that memory is
    :math:`O(n d)`. A zero row has cosine 0 with every row.

    Args:
        a: Embeddings of one view.
        b: Embeddings of the other view of the same samples.
        temperature: :math:`\tau`.

    Shapes:
        ``a``, ``b``: :math:`[n, d]`, output: scalar, at least float32.

    Returns:
        The loss; 0 of no sample, and of one.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, or the temperature is not positive.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import instance_contrastive_loss
        >>> instance_contrastive_loss(torch.eye(2), torch.eye(2), temperature=1.0)  # log(1 + 2 / e)
        tensor(0.5514)
    """
    check_temperature(temperature)
    _check_views(a, b, {})
    with torch.autocast(a.device.type, enabled=False):
        a, b = _wide(a), _wide(b)
        there = torch.ones(len(a), dtype=torch.bool, device=a.device)
        return _contrast(a, b, there, there, temperature)


def group_contrastive_loss(
    a: Tensor,
    b: Tensor,
    groups_a: Tensor | None = None,
    groups_b: Tensor | None = None,
    *,
    temperature: float = 0.5,
) -> Tensor:
    r"""Every group of samples is nearer to the same group in the other view than to other groups in either.

    From `Iqbal et al., "SITAR: Semi-supervised Image Transformer for Action Recognition"
    <https://doi.org/10.1007/978-3-031-78192-6_8>`_ (ICPR 2024, eqs. 3 and 4). A group are the samples of one
    pseudo-label in one view; its row is their mean,

    .. math::
        R_a^l = \frac{1}{T_a^l} \sum_{i :\, \hat y_a^i = l} a_i, \qquad T_a^l = \lvert \{ i : \hat y_a^i = l \} \rvert,

    and the loss is that of :func:`instance_contrastive_loss` on these rows. In the text:

    - Eq. 3 has :math:`U_p`, the sample, where :math:`S_p`, its view, is meant.
    - Eq. 4 is of all classes, and the mean of an empty group 0/0. Here a group counts among the others in each view
      that has it, and is compared with itself where both have it; the mean is over these. Without any the loss is 0.
    - The caption of figure 2 speaks of "high-confidence" pseudo-labels, the text of no threshold. Give -1 to samples to
      leave out.
    - Eq. 5 prints :math:`L_{ac}` for :math:`L_{gc}`.

    :math:`O(n d + c^2 d)` time and :math:`O(c d)` memory beyond the inputs for :math:`c` groups. Pseudo-labels are
    constants.

    Args:
        a: Scores of one view, or embeddings with ``groups_a``.
        b: Scores or embeddings of the other view of the same samples.
        groups_a: Group of every row of ``a``, -1 for none; ``None`` for the largest score.
        groups_b: Group of every row of ``b``, likewise.
        temperature: :math:`\tau`.

    Shapes:
        ``a``, ``b``: :math:`[n, d]`, ``groups_a``, ``groups_b``: :math:`[n]`, output: scalar, at least float32.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If shapes disagree, a value is not finite, one view alone has groups, or the temperature is not
            positive.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import group_contrastive_loss
        >>> scores = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 1.0]])
        >>> group_contrastive_loss(scores, scores, temperature=1.0)  # two groups: log(1 + 2 / e)
        tensor(0.5514)
    """
    check_temperature(temperature)
    if (groups_a is None) != (groups_b is None):
        raise ValueError("groups_a and groups_b must be given together, got one of them")
    given = {} if groups_a is None else {"groups_a": groups_a, "groups_b": groups_b}
    _check_views(a, b, given)
    if groups_a is None or groups_b is None:
        groups, count = torch.cat([_largest(a), _largest(b)]), a.shape[1]
    else:
        found, groups = torch.cat([groups_a, groups_b]).unique(return_inverse=True)
        groups = groups - (found < 0).sum()
        count = len(found)
    with torch.autocast(a.device.type, enabled=False):
        mean_a, has_a = _means(_wide(a), groups[: len(a)], count)
        mean_b, has_b = _means(_wide(b), groups[len(a) :], count)
        return _contrast(mean_a, mean_b, has_a, has_b, temperature)


def _largest(x: Tensor) -> Tensor:
    return x.detach().argmax(1) if x.numel() else x.new_empty(0, dtype=torch.int64)


def check_temperature(temperature: float) -> None:
    """Raise unless it is positive and finite.

    Args:
        temperature: The argument to check.

    Raises:
        ValueError: If it is not.
    """
    check_number(temperature, "temperature")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be > 0 and finite, got {temperature}")


def _check_views(a: Tensor, b: Tensor, groups: dict[str, Tensor | None]) -> None:
    checks = batch_checks({"a": a, "b": b}, groups)
    if a.shape != b.shape:
        raise ValueError(f"b must have the shape of a, {list(a.shape)}, got {list(b.shape)}")
    settle(*checks)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _means(x: Tensor, group: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean of the rows of each group, 0 of none, and which there are."""
    place = torch.where(group < 0, count, group)  # one more for those in none
    size = x.new_zeros(count + 1).index_add(0, place, x.new_ones(len(x)))[:count]
    total = x.new_zeros(count + 1, x.shape[1]).index_add(0, place, x)[:count]
    return total / size.clamp(min=1)[:, None], size > 0


def _contrast(a: Tensor, b: Tensor, has_a: Tensor, has_b: Tensor, temperature: float) -> Tensor:
    """Mean over the rows that are in both views, of each."""
    u, v = unit_rows(a), unit_rows(b)
    both = (has_a & has_b).repeat(2)
    nearness = torch.linalg.vecdot(u, v).repeat(2) / temperature
    loss = _others(torch.cat([u, v]), torch.cat([has_a, has_b]), temperature) - nearness
    mean: Tensor = loss.where(both, 0.0).sum() / both.sum().clamp(min=1)
    return mean


def _others(w: Tensor, there: Tensor, temperature: float) -> Tensor:
    """Logarithm of the sum of exponentials of each row's similarities with all the others that are there."""
    size = max(1, _TILE // max(1, len(w)))
    if len(w) <= size:
        return _tile(w, w, there, temperature, 0)
    parts = [
        checkpoint(_tile, w[i : i + size], w, there, temperature, i, use_reentrant=False)
        for i in range(0, len(w), size)
    ]
    return torch.cat(parts)


def _tile(rows: Tensor, w: Tensor, there: Tensor, temperature: float, first: int) -> Tensor:
    place = torch.arange(len(w), device=w.device)
    itself = place == first + torch.arange(len(rows), device=w.device)[:, None]
    similarity = (rows @ w.T / temperature).masked_fill(itself | ~there, _NEVER)
    total: Tensor = similarity.logsumexp(1) if len(w) else similarity.sum(1)
    return total


class GroupContrastiveLoss(nn.Module):
    r"""Both losses on unlabelled samples: :math:`\gamma L_{ic} + \beta L_{gc}` of SITAR (eq. 5).

    Args:
        instance_weight: :math:`\gamma`, of :func:`instance_contrastive_loss`.
        group_weight: :math:`\beta`, of :func:`group_contrastive_loss`.
        temperature: :math:`\tau` of both.

    Raises:
        TypeError: If a weight is not a number.
        ValueError: If a number is out of range.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import GroupContrastiveLoss
        >>> model, x = torch.nn.Linear(4, 3), torch.randn(8, 4)
        >>> GroupContrastiveLoss()(model(x), model(x + 0.1 * torch.randn(8, 4))).backward()
    """

    def __init__(
        self, instance_weight: float = 0.6, group_weight: float = 1.0, temperature: float = 0.5
    ) -> None:
        super().__init__()
        check_weights(instance_weight=instance_weight, group_weight=group_weight)
        check_temperature(temperature)
        self.instance_weight, self.group_weight = instance_weight, group_weight
        self.temperature = temperature

    def forward(
        self,
        a: Tensor,
        b: Tensor,
        groups_a: Tensor | None = None,
        groups_b: Tensor | None = None,
    ) -> Tensor:
        """Return the loss of two views of a batch.

        Args:
            a: As of :func:`group_contrastive_loss`.
            b: As there.
            groups_a: As there.
            groups_b: As there.
        """
        instance = instance_contrastive_loss(a, b, temperature=self.temperature)
        group = group_contrastive_loss(a, b, groups_a, groups_b, temperature=self.temperature)
        return self.instance_weight * instance + self.group_weight * group

    def extra_repr(self) -> str:
        """Options shown by ``print``."""
        names = ("instance_weight", "group_weight", "temperature")
        return show_options({name: getattr(self, name) for name in names})
