"""What ranks do together, each a copy where there is one rank, or no process group."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["all_reduce", "all_sum", "all_to_all", "from_first", "rank_and_size", "to_first"]


def rank_and_size(group: Any = None) -> tuple[int, int]:
    """Rank of this process, and number of them; ``(0, 1)`` without a process group.

    Args:
        group: Processes. (default: all)

    Raises:
        ValueError: If this process is not of the group.

    Example:
        >>> from pyg_relational.distributed.collectives import rank_and_size
        >>> rank_and_size()
        (0, 1)
    """
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    rank = dist.get_rank(group)
    if rank < 0:
        raise ValueError(
            f"group must hold this process, rank {dist.get_rank()}, got one without it"
        )
    return rank, dist.get_world_size(group)


def all_to_all(rows: Tensor, send: list[int], receive: list[int], group: Any = None) -> Tensor:
    r"""Rows that other ranks have for this one, in the order of the ranks.

    Args:
        rows: Rows for the others, in the order of the ranks.
        send: Number of rows for each rank.
        receive: Number of rows from each rank.
        group: Processes. (default: all)

    Shapes:
        ``rows``: :math:`[\sum \text{send}, *]`, output: :math:`[\sum \text{receive}, *]`.
    """
    rows = rows.contiguous()
    if len(send) == 1:
        return rows.clone()
    out = rows.new_empty(sum(receive), *rows.shape[1:])
    dist.all_to_all_single(out, rows, receive, send, group=group)
    return out


def all_reduce(x: Tensor, group: Any = None, op: str = "SUM") -> Tensor:
    """Sum, ``"MAX"`` or ``"MIN"`` over the ranks, without gradient.

    Args:
        x: What every rank has, of one shape.
        group: Processes. (default: all)
        op: What is done with it.
    """
    x = x.detach().clone(memory_format=torch.contiguous_format)
    if rank_and_size(group)[1] > 1:
        dist.all_reduce(x, op=getattr(dist.ReduceOp, op), group=group)
    return x


def to_first(rows: Tensor, sizes: list[int], group: Any = None) -> Tensor:
    """Rows of all ranks on the first one, none on the others; without gradient.

    Args:
        rows: Own rows.
        sizes: Number of rows of each rank.
        group: Processes. (default: all)

    Shapes:
        ``rows``: :math:`[m_r, *]`.
    """
    rank = rank_and_size(group)[0]
    send = [len(rows), *[0] * (len(sizes) - 1)]
    return all_to_all(rows.detach(), send, sizes if rank == 0 else [0] * len(sizes), group)


def from_first(x: Tensor, group: Any = None) -> Tensor:
    """What the first rank has, on every rank; without gradient.

    Args:
        x: On the first rank, what all get; on the others, room for it.
        group: Processes. (default: all)
    """
    x = x.detach().clone(memory_format=torch.contiguous_format)
    if rank_and_size(group)[1] > 1:
        of: Any = group or dist.group.WORLD
        dist.broadcast(x, dist.get_global_rank(of, 0), group=group)
    return x


class _AllSum(torch.autograd.Function):
    """Symmetric: its own transpose."""

    @staticmethod
    def forward(x: Tensor, group: Any) -> Tensor:
        return all_reduce(x, group)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.group = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _AllSum.apply(grad, ctx.group), None


def all_sum(x: Tensor, group: Any = None) -> Tensor:
    """Sum over the ranks, on every rank; the gradient is that of the sum of the ranks' losses.

    Args:
        x: What every rank has, of one shape.
        group: Processes. (default: all)

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.collectives import all_sum
        >>> all_sum(torch.ones(2))
        tensor([1., 1.])
    """
    total: Tensor = _AllSum.apply(x, group)
    return total
