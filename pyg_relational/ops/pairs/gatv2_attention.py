"""GATv2 attention of all queries to all keys."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.gatv2 import attend, attend_backward, kept
from pyg_relational.ops.pairs.gatv2 import gatv2_scores

__all__ = ["gatv2_attention"]

_Pair = tuple[Tensor, Tensor]


def gatv2_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    att: Tensor,
    negative_slope: float = 0.2,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    r"""Weighted sum of the values and log-sum-exp of the scores.

    .. math::
        o^{(h)}_i = \sum_j \mathrm{softmax}_j(e^{(h)}_{ij}) v^{(h)}_j, \qquad
        \ell^{(h)}_i = \log \sum_j \exp e^{(h)}_{ij}

    with the scores of :func:`gatv2_scores`. On CUDA, where triton is installed, one kernel computes both and two their
    gradient, from the log-sum-exp, in float32 and without anything of size :math:`B P H`. The second derivative is that
    of the torch form, as is all on other devices and in float64. ``torch.compile`` takes the kernels as one operator.

    Args:
        query: :math:`q`.
        key: :math:`k`.
        value: :math:`v`.
        att: :math:`a`.
        negative_slope: :math:`s`.
        dropout: Share of the weights that are left out at random, the others scaled to make up for them. (default: 0)

    Shapes:
        ``query``: :math:`[B, H, C]`, ``key``, ``value``: :math:`[P, H, C]`, ``att``: :math:`[H, C]`,
        output: :math:`[B, H, C]` of the dtype of ``value`` and :math:`[B, H]`, float32 at least.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.pairs.gatv2_attention import gatv2_attention
        >>> q, k = torch.zeros(1, 1, 1), torch.tensor([[[1.0]], [[3.0]]])
        >>> gatv2_attention(q, k, k, torch.zeros(1, 1))
        (tensor([[[2.]]]), tensor([[0.6931]]))
    """
    if value.shape != key.shape:
        raise ValueError(f"value must have shape {list(key.shape)}, got {list(value.shape)}")
    if is_fused(query, key, value, att):
        seed = torch.randint(2**62, (1,), device=query.device) if dropout else None
        fused: _Pair = _attend(query, key, value, att, negative_slope, dropout, seed)
        return fused
    drop = partial(functional.dropout, p=dropout) if dropout else _none
    return _plain(query, key, value, att, negative_slope, drop)


def _none(weight: Tensor) -> Tensor:
    return weight


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    att: Tensor,
    slope: float,
    drop: Callable[[Tensor], Tensor] = _none,
) -> _Pair:
    scores = gatv2_scores(query, key, att, slope)
    out = torch.einsum("hbp,phc->bhc", drop(scores.softmax(2)).to(value.dtype), value)
    return out, scores.logsumexp(2).T


_attend = torch.library.custom_op("pyg_relational::gatv2_attention", attend, mutates_args=())
_gradients = torch.library.custom_op(
    "pyg_relational::gatv2_attention_backward", attend_backward, mutates_args=()
)


@_attend.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, att: Tensor, *options: Any) -> _Pair:
    return value.new_empty(query.shape), query.new_empty(query.shape[:2], dtype=torch.float32)


@_gradients.register_fake
def _(grad: Tensor, grad_lse: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in inputs[:4])


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    *tensors, slope, dropout, seed = inputs
    ctx.options = slope, dropout
    ctx.save_for_backward(*tensors, *output, seed)


def _backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    *tensors, out, lse, seed = ctx.saved_tensors
    slope, dropout = ctx.options
    if torch.is_grad_enabled():  # a second derivative
        (samples, heads, _), proxies = out.shape, len(tensors[1])
        factor = kept(seed, heads, samples, proxies, dropout) if dropout else 1.0
        plain = partial(_plain, slope=slope, drop=lambda weight: weight * factor)
        return *torch.func.vjp(plain, *tensors)[1](grads), None, None, None
    return *_gradients(*grads, *tensors, out, lse, slope, dropout, seed), None, None, None


_attend.register_autograd(_backward, setup_context=_keep)
