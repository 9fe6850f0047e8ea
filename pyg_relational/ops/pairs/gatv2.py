"""Scores of GATv2 attention between all queries and all keys."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["BUFFER", "gatv2_scores"]

_Grads = tuple[Tensor | None, ...]
BUFFER = 2**24  # numbers; 64 MiB of float32


def gatv2_scores(query: Tensor, key: Tensor, att: Tensor, negative_slope: float = 0.2) -> Tensor:
    r"""Scores of GATv2 attention between all queries and all keys.

    From `"How Attentive are Graph Attention Networks?" <https://arxiv.org/abs/2105.14491>`_:

    .. math::
        e^{(h)}_{ij} = \sum_c a_{hc} \, \mathrm{LeakyReLU}_s(q_{ihc} + k_{jhc})

    Nothing of size :math:`B P H C` is built: with :math:`\mathrm{LeakyReLU}_s(t) = \frac{1 + s}{2} t + \frac{1 - s}{2}
    |t|`, the scores are a rank-one part and the difference of two matrices of L1 distances between :math:`a q` and
    :math:`-a k`, one over the channels with :math:`a_{hc} \ge 0` and one over the others. Memory is
    :math:`O(H (B P + B C + P C))`, also for the gradient and in ``torch.compile``, which takes it as one operator;
    only a second derivative uses the broadcast form. Half precision is computed in float32.

    Args:
        query: :math:`q`.
        key: :math:`k`.
        att: :math:`a`.
        negative_slope: :math:`s`. The derivative at :math:`t = 0` is :math:`(1 + s) / 2`.

    Shapes:
        ``query``: :math:`[B, H, C]`, ``key``: :math:`[P, H, C]`, ``att``: :math:`[H, C]`,
        output: :math:`[H, B, P]`.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import gatv2_scores
        >>> gatv2_scores(torch.tensor([[[1.0, -2.0]]]), torch.tensor([[[0.0, 1.0]]]), torch.tensor([[3.0, 1.0]]))
        tensor([[[2.8000]]])
    """
    if (
        query.dim() != 3
        or key.dim() != 3
        or query.shape[1:] != key.shape[1:]
        or att.shape != query.shape[1:]
    ):
        raise ValueError(
            "query, key and att must have shapes [B, H, C], [P, H, C] and [H, C], "
            f"got {list(query.shape)}, {list(key.shape)} and {list(att.shape)}"
        )
    dtype = torch.promote_types(torch.promote_types(query.dtype, key.dtype), att.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    q, k = (t.transpose(0, 1).to(dtype).contiguous() for t in (query, key))
    a = att.to(dtype)
    whole = torch.compiler.is_compiling()
    scores: Tensor = (_scores if whole else _Scores.apply)(q, k, a, negative_slope)  # type: ignore[no-untyped-call]
    return scores


def _broadcast(q: Tensor, k: Tensor, a: Tensor, slope: float) -> Tensor:
    t = q[:, :, None] + k[:, None]
    return (a[:, None, None] * ((1 + slope) / 2 * t + (1 - slope) / 2 * t.abs())).sum(-1)


def _forward(q: Tensor, k: Tensor, a: Tensor, slope: float) -> Tensor:
    linear = (a[:, None] * q).sum(2)[:, :, None] + (a[:, None] * k).sum(2)[:, None]
    return _signed_distance(q, k, a).mul_((1 - slope) / 2).add_(linear, alpha=(1 + slope) / 2)


def _backward(
    grad: Tensor, q: Tensor, k: Tensor, a: Tensor, slope: float
) -> tuple[Tensor, Tensor, Tensor]:
    by_query = _slopes(grad, q, k, slope)
    by_key = _slopes(grad.mT, k, q, slope)
    by_att = (by_query * q).sum(1) + (by_key * k).sum(1)
    return by_query.mul_(a[:, None]), by_key.mul_(a[:, None]), by_att


class _Scores(torch.autograd.Function):
    generate_vmap_rule = False

    @staticmethod
    def forward(q: Tensor, k: Tensor, a: Tensor, slope: float) -> Tensor:
        return _forward(q, k, a, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.slope = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> _Grads:
        return *_Slopes.apply(grad, *ctx.saved_tensors, ctx.slope), None


class _Slopes(torch.autograd.Function):
    """The gradient of the scores; its own is that of the broadcast form."""

    @staticmethod
    def forward(
        grad: Tensor, q: Tensor, k: Tensor, a: Tensor, slope: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return _backward(grad, q, k, a, slope)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.slope = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> _Grads:
        slope = ctx.slope

        def gradient(grad: Tensor, *inputs: Tensor) -> Any:
            return torch.func.vjp(lambda q, k, a: _broadcast(q, k, a, slope), *inputs)[1](grad)

        return *torch.func.vjp(gradient, *ctx.saved_tensors)[1](grads), None


_scores = torch.library.custom_op("pyg_relational::gatv2_scores", _forward, mutates_args=())
_slopes_of_scores = torch.library.custom_op(
    "pyg_relational::gatv2_scores_backward", _backward, mutates_args=()
)


@_scores.register_fake
def _(q: Tensor, k: Tensor, a: Tensor, slope: float) -> Tensor:
    return q.new_empty(len(a), q.shape[1], k.shape[1])


@_slopes_of_scores.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, a: Tensor, slope: float) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(a)


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    *tensors, ctx.slope = inputs
    ctx.save_for_backward(*tensors)


def _scores_backward(ctx: Any, grad: Tensor) -> _Grads:
    return *_slopes_of_scores(grad.contiguous(), *ctx.saved_tensors, ctx.slope), None


_scores.register_autograd(_scores_backward, setup_context=_keep)


def _signed_distance(q: Tensor, k: Tensor, a: Tensor) -> Tensor:
    """Sum over c of a_c |q_c + k_c|, for each head."""
    x, y = a[:, None] * q, -a[:, None] * k
    if a.device.type != "cpu":  # the number of positive channels is not known without waiting
        near, far = (
            torch.cdist(x * part, y * part, p=1) for part in (a[:, None] >= 0, a[:, None] < 0)
        )
        return near - far
    out = x.new_empty(len(a), q.shape[1], k.shape[1])
    for u, v, weight, scores in zip(x, y, a, out, strict=True):
        channels = (weight >= 0).nonzero().flatten(), (weight < 0).nonzero().flatten()
        near, far = (torch.cdist(u.index_select(1, c), v.index_select(1, c), p=1) for c in channels)
        torch.sub(near, far, out=scores)
    return out


def _parts(x: Tensor, grad: Tensor, columns: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of both that go together: all on the CPU; elsewhere the kernel holds H x rows x columns x C numbers."""
    rows = x.shape[1]
    if x.device.type != "cpu":
        rows = BUFFER // (x.shape[0] * x.shape[2] * max(columns, 1))
    size = max(rows, 1)
    for part, of_grad in zip(x.split(size, 1), grad.split(size, 1), strict=True):
        yield part.contiguous(), of_grad.contiguous()


def _slopes(grad: Tensor, x: Tensor, y: Tensor, slope: float) -> Tensor:
    """Sum over j of grad_ij LeakyReLU'(x_ic + y_jc), for each head."""
    y = -y
    signs = torch.cat(
        [
            torch.ops.aten._cdist_backward(part, rows, y, 1.0, part)
            for rows, part in _parts(x, grad.contiguous(), y.shape[1])
        ],
        1,
    )
    return signs.mul_((1 - slope) / 2).add_(grad.sum(2, keepdim=True), alpha=(1 + slope) / 2)
