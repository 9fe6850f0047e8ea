"""Graph consistency over all pairs of a batch, by whole matrices."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyg_relational.nn.loss.edge_consistency import rbf
from pyg_relational.nn.loss.graph_consistency_options import GraphConsistencyOptions
from pyg_relational.ops import unit_rows
from pyg_relational.ops.autograd.call import call
from pyg_relational.ops.fused.available import is_fused
from pyg_relational.ops.fused.consistency import consistency, pays

__all__ = ["cosine_consistency", "dense_consistency"]


def dense_consistency(u: Tensor, q: Tensor, y: Tensor, options: GraphConsistencyOptions) -> Tensor:
    """The formula as printed, over the pairs of labelled rows; no size depends on data.

    Args:
        u: Unit rows of features; features themselves with ``"rbf"``.
        q: Unit rows of predictions; predictions themselves with ``"rbf"``.
        y: Classes.
        options: Options of the loss.

    Shapes:
        ``u``: :math:`[n, d]`, ``q``: :math:`[n, c]`, ``y``: :math:`[n]`, output: scalar.
    """
    known = y >= 0
    pair = (known[:, None] & known).triu(1)
    same = pair & (y[:, None] == y)
    if options.similarity == "rbf":
        f, p = rbf(u, u), rbf(q, q)
    else:
        f, p = u @ u.T, q @ q.T
    square = ((f.relu() if options.relu else f) - same * p).square()
    kinds = (same, pair & ~same) if options.balance else (pair,)
    counts = torch.stack([kind.sum() for kind in kinds])
    sums = torch.stack([(square * kind).sum() for kind in kinds])
    mean = (sums / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)
    return mean if options.reduction == "mean" else mean * pair.sum()


def cosine_consistency(x: Tensor, p: Tensor, y: Tensor, weight: float, relu: bool) -> Tensor:
    r"""The loss for cosines of labelled rows, with the gradient computed in the same pass; for small batches.

    A matrix of the pairs is read and written half as often as by autograd of the printed formula. The gradient is
    written in differentiable operations, which run again where a second derivative is asked for.

    Args:
        x: Features.
        p: Predictions.
        y: Classes, none of them -1.
        weight: Weight of each of the :math:`n (n - 1) / 2` pairs.
        relu: Cut negative cosines of features at 0.

    Shapes:
        ``x``: :math:`[n, d]`, ``p``: :math:`[n, c]`, ``y``: :math:`[n]`, output: scalar.

    Example:
        >>> import torch
        >>> from pyg_relational.nn.loss.dense_consistency import cosine_consistency
        >>> x = torch.eye(2)[[0, 0, 1]]
        >>> cosine_consistency(x, x, torch.tensor([0, 1, 1]), 1.0, True).item()
        1.0
    """
    needs = (x.requires_grad, p.requires_grad)
    loss: Tensor = call(_CosineConsistency, x, p, y, weight, relu, needs)[0]
    return loss


_Found = tuple[Tensor, Tensor | None, Tensor | None]  # the value, gradients or None


class _CosineConsistency(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, p: Tensor, *rest: Any) -> _Found:
        fused = is_fused(x, p) and pays(*x.shape) and not torch.compiler.is_compiling()
        return (_fused if fused else _value_and_gradients)(x, p, *rest)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.options = inputs[3:]
        ctx.mark_non_differentiable(*(g for g in output[1:] if g is not None))
        ctx.save_for_backward(*inputs[:3], *output[1:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        grads = ctx.saved_tensors[3:]
        if torch.is_grad_enabled():
            grads = _value_and_gradients(*ctx.saved_tensors[:3], *ctx.options)[1:]
        of_inputs = (None if g is None else g * grad for g in grads)
        return *of_inputs, None, None, None, None


class _Directions(NamedTuple):
    """Unit rows and the lengths they were divided by."""

    unit: Tensor
    length: Tensor

    def gradient(self, grad: Tensor) -> Tensor:
        """Gradient in the rows, of that in the unit rows."""
        along = torch.linalg.vecdot(grad, self.unit).unsqueeze(1)
        return torch.addcmul(grad, along, self.unit, value=-1) / self.length


def _directions(x: Tensor) -> _Directions:
    """As :func:`unit_rows`, but without its scaling where the CPU sees that no square overflows or vanishes."""
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    if x.is_cpu and x.numel():
        few = torch.finfo(x.dtype).tiny ** 0.25
        low, high = (float(end.item()) for end in length.detach().aminmax())
        if few < low and high < 1 / few:
            return _Directions(x / length, length)
    unit = unit_rows(x)
    length = torch.linalg.vecdot(x, unit).unsqueeze(1)
    return _Directions(unit, length.where(length > 0, torch.inf))


def _fused(
    x: Tensor, p: Tensor, y: Tensor, weight: float, relu: bool, needs: tuple[bool, bool]
) -> _Found:
    """Loss and gradients by one kernel between the unit rows and their gradients."""
    rows = _directions(x), _directions(p)
    value, *grads = consistency(rows[0].unit, rows[1].unit, y, weight, weight, relu, *needs)
    of_x, of_p = (
        part.gradient(grad) if need else None
        for part, grad, need in zip(rows, grads, needs, strict=True)
    )
    return value, of_x, of_p


def _value_and_gradients(
    x: Tensor, p: Tensor, y: Tensor, weight: float, relu: bool, needs: tuple[bool, bool]
) -> _Found:
    """Masks are numbers: on the CPU, products with Booleans cost six times as much."""
    of_x, of_p = _directions(x), _directions(p)
    u, q = of_x.unit, of_p.unit
    f = u @ u.T
    f = f.relu_() if relu else f
    same = (y.unsqueeze(1) - y).to(f.dtype).eq_(0)
    gap = torch.addcmul(f, q @ q.T, same, value=-1).fill_diagonal_(0)
    value = torch.linalg.vecdot(gap, gap).sum() * (weight / 2)
    grad_x = grad_p = None
    if needs[0]:
        passed = torch.ops.aten.threshold_backward(gap, f, 0) if relu else gap
        grad_x = of_x.gradient(torch.addmm(u, passed, u, beta=0, alpha=2 * weight))
    if needs[1]:
        thin = torch.addmm(
            q.T, q.T, gap * same, beta=0, alpha=-2 * weight
        )  # faster than its transpose
        grad_p = of_p.gradient(thin.T)
    return value, grad_x, grad_p
