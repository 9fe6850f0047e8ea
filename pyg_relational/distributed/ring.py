"""Blocks of rows that go round all ranks."""

from collections.abc import Iterator
from typing import Any

import torch.distributed as dist
from torch import Tensor

from pyg_relational.distributed.collectives import rank_and_size

__all__ = ["ring"]


def ring(x: Tensor, sizes: list[int], group: Any = None) -> Iterator[tuple[int, Tensor]]:
    """Rank and rows of all ranks, own first; the next rows travel while the caller works at these.

    Two blocks of other rows are held at a time. All ranks go through all of it, and nothing has a gradient.

    Args:
        x: Own rows.
        sizes: Number of rows of each rank.
        group: Processes. (default: all)

    Shapes:
        ``x``: :math:`[n_r, *]`.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.ring import ring
        >>> [(rank, rows.shape) for rank, rows in ring(torch.ones(3, 2), [3])]
        [(0, torch.Size([3, 2]))]
    """
    rank, size = rank_and_size(group)
    block = x.detach().contiguous()
    for step in range(size):
        owner = (rank - step) % size
        if step == size - 1:
            yield owner, block
            return
        coming = block.new_empty(sizes[owner - 1], *block.shape[1:])
        works = _pass_on(block, coming, rank, size, group)
        yield owner, block
        for work in works:
            work.wait()
        block = coming


def _pass_on(block: Tensor, coming: Tensor, rank: int, size: int, group: Any) -> list[Any]:
    of: Any = group or dist.group.WORLD
    ahead, behind = (dist.get_global_rank(of, (rank + step) % size) for step in (1, -1))
    sent, received = (
        dist.P2POp(dist.isend, block, ahead, group),
        dist.P2POp(dist.irecv, coming, behind, group),
    )
    asked = [op for op in (sent, received) if op.tensor.numel()]
    return dist.batch_isend_irecv(asked) if asked else []
