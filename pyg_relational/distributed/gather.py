"""Batches that span processes, for losses over the pairs of the global batch."""

from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pyg_relational.distributed.agree import agree, described
from pyg_relational.ops.autograd.functorch import plainly

__all__ = ["gather"]


class _Gather(torch.autograd.Function):
    """All rows, on every rank."""

    @staticmethod
    def forward(x: Tensor, sizes: list[int], group: Any) -> Tensor:
        padded = x.new_zeros((max(sizes), *x.shape[1:]))
        padded[: x.shape[0]] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.options = inputs[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _SumOwn.apply(grad, *ctx.options), None, None


class _SumOwn(torch.autograd.Function):
    """This rank's rows of the sum over the ranks; the transpose of the other."""

    @staticmethod
    def forward(grad: Tensor, sizes: list[int], group: Any) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad, group=group)
        rank = dist.get_rank(group)
        stop = list(accumulate(sizes))[rank]
        return grad[stop - sizes[rank] : stop].clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.options = inputs[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _Gather.apply(grad, *ctx.options), None, None


def _facts(x: Any) -> tuple[dict[str, object], list[int]]:
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a Tensor, got {type(x).__name__}")
    if x.dim() == 0:
        raise ValueError("x must have rows, shape [n, ...], got a scalar")
    return {"call": "gather", "x": described(x)}, [len(x)]


def gather(x: Tensor, group: "dist.ProcessGroup | None" = None) -> Tensor:
    r"""Rows of all processes, in rank order; differentiable, as often as needed.

    Every process holds a part of the global batch, gathers features, logits and labels, and computes the
    same loss on all of them. The gradient that comes back to the local rows is that of the sum of the
    processes' losses, so the averaging of ``DistributedDataParallel`` leaves exactly the gradient that one
    process would have had with the global batch. Second derivatives are right too, of that same sum: a gradient that
    enters a loss as a value is the number of processes times that of one process.

    All processes call it equally often. One that has run out of batches goes on with ``x[:0]``, or all stop together
    by ``DistributedDataParallel.join(throw_on_early_termination=True)``. The plain ``join()`` cannot be used: there a
    process that has run out answers the calls of ``DistributedDataParallel`` only.

    Args:
        x: The local rows; their number may differ between processes, the other dimensions may not.
        group: Processes that gather. (default: all)

    Shapes:
        ``x``: :math:`[n_r, *]` on rank :math:`r`, output: :math:`[\sum_r n_r, *]`.

    Returns:
        ``x`` itself where ``torch.distributed`` is not initialised.

    Raises:
        TypeError: If ``x`` is not a Tensor, on any process.
        ValueError: If this process is not of the group; on all processes at once, if ``x`` has no rows on one,
            or dtype, width or the need of a gradient differ between them.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import gather
        >>> gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if not (dist.is_available() and dist.is_initialized()):
        _facts(x)
        return x
    needs_grad = torch.is_grad_enabled()
    sizes: list[int] = []

    def ask(*_: Tensor) -> None:
        with torch.set_grad_enabled(needs_grad):
            sizes.extend(size for (size,) in agree(lambda: _facts(x), group))

    if isinstance(x, Tensor):
        plainly(ask, x)
    else:
        ask()
    rows: Tensor = _Gather.apply(x, sizes, group)
    return rows
