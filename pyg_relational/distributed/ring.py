"""Blocks of rows that go round all ranks."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch.distributed as dist
from torch import Tensor

from pyg_relational.distributed.collectives import rank_and_size

__all__ = ["ring", "shift"]

_SHIFTED = 16  # first tag of what is shifted while blocks are on their way


def ring(
    rows: Sequence[Tensor], sizes: list[int], group: Any = None
) -> Iterator[tuple[int, list[Tensor]]]:
    """Rank and rows of all ranks, own first; the next rows travel while the caller works at these.

    Two blocks of other rows are held at a time. All ranks go through all of it, and nothing has a gradient.

    Args:
        rows: Own rows of one or several tensors.
        sizes: Number of rows of each rank.
        group: Processes. (default: all)

    Shapes:
        ``rows``: :math:`[n_r, *]` each.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.ring import ring
        >>> [(rank, x.shape, y.shape) for rank, (x, y) in ring([torch.ones(3, 2), torch.ones(3)], [3])]
        [(0, torch.Size([3, 2]), torch.Size([3]))]
    """
    rank, size = rank_and_size(group)
    blocks = [x.detach().contiguous() for x in rows]
    for step in range(size):
        owner = (rank - step) % size
        if step == size - 1:
            yield owner, blocks
            return
        coming = [block.new_empty(sizes[owner - 1], *block.shape[1:]) for block in blocks]
        works = _pass_on(blocks, coming, rank, size, group)
        yield owner, blocks
        for work in works:
            work.wait()
        blocks = coming


def shift(rows: Sequence[Tensor], count: int, group: Any = None) -> list[Tensor]:
    r"""Rows of the rank behind, while the rank ahead gets these; also amid a :func:`ring`.

    Args:
        rows: Rows for the rank ahead, of one or several tensors.
        count: Number of rows that come.
        group: Processes. (default: all)

    Shapes:
        ``rows``: :math:`[m, *]` each, output: :math:`[\text{count}, *]` each.
    """
    rank, size = rank_and_size(group)
    blocks = [x.contiguous() for x in rows]
    if size == 1:
        return blocks
    coming = [block.new_empty(count, *block.shape[1:]) for block in blocks]
    for work in _pass_on(blocks, coming, rank, size, group, _SHIFTED):
        work.wait()
    return coming


def _pass_on(
    blocks: list[Tensor], coming: list[Tensor], rank: int, size: int, group: Any, tag: int = 0
) -> list[Any]:
    of: Any = group or dist.group.WORLD
    ahead, behind = (dist.get_global_rank(of, (rank + step) % size) for step in (1, -1))
    ops = [
        dist.P2POp(way, x, peer, group, number)
        for way, peer, tensors in ((dist.isend, ahead, blocks), (dist.irecv, behind, coming))
        for number, x in enumerate(tensors, tag)
    ]
    asked = [op for op in ops if op.tensor.numel()]
    return dist.batch_isend_irecv(asked) if asked else []
