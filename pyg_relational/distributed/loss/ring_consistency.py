"""Pair consistency over the rows of all ranks: blocks of rows go round, tiles are computed where they pass."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.collectives import all_sum
from pyg_relational.distributed.ring import ring
from pyg_relational.ops.autograd.once import scaled
from pyg_relational.ops.pairs.consistency import PairWeights, pairs_in_tiles, tile_for
from pyg_relational.ops.pairs.cross_consistency import PairRows, cross_consistency

__all__ = ["ring_consistency"]

_Found = tuple[Tensor, Tensor, Tensor]  # a value, its gradients


def ring_consistency(
    us: list[Tensor],
    q: Tensor,
    y: Tensor,
    weights: PairWeights,
    sizes: list[int],
    *,
    relu: bool = True,
    group: Any = None,
) -> Tensor:
    r""":func:`~pyg_relational.ops.pairs.consistency.pair_consistency` of each layer over the rows of all ranks.

    Features, predictions and classes of all layers go once round the ranks. A rank meets every row with its own ones,
    and so has the whole gradient of these: nothing comes back. A pair of two ranks counts half on each. The gradient
    is that of the sum of the ranks' losses, and is not differentiable again.

    Args:
        us: Unit rows of features of every layer.
        q: Unit rows of predictions.
        y: Classes.
        weights: Weight of the pairs of one class and of two.
        sizes: Number of rows of each rank.
        relu: Cut the feature similarity at 0.
        group: Processes. (default: all)

    Shapes:
        ``us``: :math:`[n_r, d_l]` each, ``q``: :math:`[n_r, c]`, ``y``: :math:`[n_r]`, output: :math:`[K]`, float64.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.loss.ring_consistency import ring_consistency
        >>> from pyg_relational.ops.pairs.consistency import PairWeights
        >>> u = torch.eye(2)[[0, 0, 1]]
        >>> ring_consistency([u], u, torch.tensor([0, 1, 1]), PairWeights(1.0, 1.0), [3]).item()
        1.0
    """
    order = y.argsort(stable=True)
    us, q, y = [u[order] for u in us], q[order], y[order]
    rows = [PairRows(u.detach(), q.detach(), y) for u in us]
    found: list[_Found] = []
    for step, (_, (*others, other_q, other_y)) in enumerate(ring((*us, q, y), sizes, group)):
        if step == 0:
            found = [_own(u, q, y, weights, relu) for u in us]
            continue
        for own, other, (value, *grads) in zip(rows, others, found, strict=True):
            across = PairRows(other, other_q, other_y)
            value += cross_consistency(own, across, weights, (grads[0], grads[1]), relu=relu) / 2
    values = [_Known.apply(*known, u, q) for known, u in zip(found, us, strict=True)]
    return all_sum(torch.stack(values), group)


def _own(u: Tensor, q: Tensor, y: Tensor, weights: PairWeights, relu: bool) -> _Found:
    """Value of the pairs of own rows, and its gradients where they are needed."""
    needs = [x.requires_grad and torch.is_grad_enabled() for x in (u, q)]
    tile = tile_for(u)
    value, of_u, of_q = pairs_in_tiles(u.detach(), q.detach(), y, *weights, relu, tile, *needs)
    return value.double(), of_u, of_q


class _Known(torch.autograd.Function):
    """A value, with gradients that are known as numbers."""

    @staticmethod
    def forward(value: Tensor, grad_u: Tensor, grad_q: Tensor, u: Tensor, q: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        *known, u, q = ctx.saved_tensors
        needed = zip(known, ctx.needs_input_grad[3:], strict=True)
        return (
            None,
            None,
            None,
            *(scaled(g, grad.to(g), u, q) if need else None for g, need in needed),
        )
