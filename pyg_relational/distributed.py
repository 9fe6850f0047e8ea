"""Batches that span processes, for losses over the pairs of the global batch."""

from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        sizes = _sizes(x)
        stops = list(accumulate(sizes))
        rank = dist.get_rank()
        ctx.rows = slice(stops[rank] - sizes[rank], stops[rank])
        padded = x.new_zeros((max(sizes), *x.shape[1:]))
        padded[: x.shape[0]] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(grad)
        return grad[ctx.rows]


def _sizes(x: Tensor) -> list[int]:
    own = torch.tensor([x.shape[0]], device=x.device)
    sizes = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, own)
    return [int(size) for size in sizes]


def gather(x: Tensor) -> Tensor:
    r"""Rows of all processes, in rank order; differentiable.

    Every process holds a part of the global batch, gathers features, logits and labels, and computes the
    same loss on all of them. The gradient that comes back to the local rows is that of the sum of the
    processes' losses, so the averaging of ``DistributedDataParallel`` leaves exactly the gradient that one
    process would have had with the global batch.

    Args:
        x: The local rows; their number may differ between processes, the other dimensions may not.

    Shapes:
        ``x``: :math:`[n_r, *]` on rank :math:`r`, output: :math:`[\sum_r n_r, *]`.

    Returns:
        ``x`` itself where ``torch.distributed`` is not initialised.

    Raises:
        ValueError: If ``x`` has no rows to gather.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed import gather
        >>> gather(torch.ones(2, 3)).shape
        torch.Size([2, 3])
    """
    if x.dim() == 0:
        raise ValueError("x must have rows, shape [n, ...], got a scalar")
    if not (dist.is_available() and dist.is_initialized()):
        return x
    rows: Tensor = _Gather.apply(x)
    return rows
