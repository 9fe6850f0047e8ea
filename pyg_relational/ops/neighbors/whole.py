"""Candidates among few points: all products at once, the least of each row with their columns in their last bits."""

from collections.abc import Iterator

import torch
from torch import Tensor

from pyg_relational.ops.neighbors.candidates import Points, candidates, slack

__all__ = ["candidates_of", "candidates_whole", "few", "has_memory", "of_rows"]

_FEW = 2048  # points up to which this takes 0.6 to 0.9 of the tiles' time; at 3000 it is slower in few dimensions
_MORE = 24  # candidates beyond k; with 6 it takes as long but for tight clusters in many dimensions, a fifth more
_WIDER = 8  # times as many for the rows where these do not suffice
_ROWS = 256  # of a product: with half of the rows, or all, it takes as long
_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def few(points: Points) -> bool:
    """Whether all products fit the cache, or nearly."""
    return max(len(points.x), len(points.q)) <= _FEW


def candidates_whole(points: Points, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Query and point of every pair that may be among a query's ``k`` nearest, by query.

    The last bits of a squared distance give way to its column, so that a partition of integers, in NumPy's vector
    instructions, finds both. What the bits hid is added to the bound of the rounding error.
    """
    n = len(points.x)
    square = _squares(points)
    key = square.view(_BITS[square.dtype])
    mask = (1 << (n - 1).bit_length()) - 1
    key.bitwise_and_(~mask).bitwise_or_(torch.arange(n, dtype=key.dtype, device=key.device))
    pairs, row = [], torch.arange(len(key), device=key.device)
    for count in (k + _MORE, _WIDER * (k + _MORE)):
        least = _least(key if count == k + _MORE else key[row], min(count, n - points.own))
        near, col = _within(points, k, row, least, mask)
        open_ = near[:, -1] & (least.shape[1] < n - points.own)
        here, place = (near & ~open_[:, None]).nonzero().unbind(1)
        pairs.append(row[here] * n + col[here, place])
        row = row[open_]
        if not len(row):
            break
    if 2 * len(row) > len(key):
        yield from candidates(points, k)
        return
    if len(row):
        pairs.append(of_rows(points, k, row))
    pair = torch.cat(pairs).sort().values if len(pairs) > 1 else pairs[0]
    yield pair // n, pair % n


def _within(points: Points, k: int, row: Tensor, least: Tensor, mask: int) -> tuple[Tensor, Tensor]:
    """Which of the least keys of some rows may be among the ``k`` nearest, and their columns."""
    col = (least & mask).long()
    low = least.bitwise_and(~mask).view(points.x.dtype)
    bound = low[:, k - 1].clamp(min=0) * (1 + 2 * torch.finfo(low.dtype).eps * mask)
    limit = bound + slack(points.q[row].norm(dim=1), bound, points.x.shape[1])
    return low <= limit[:, None], col


def _least(key: Tensor, count: int) -> Tensor:
    """The ``count`` least of each row, in order."""
    if not has_memory(key):
        return key.topk(count, largest=False).values
    key.numpy().partition(count - 1, axis=1)
    return key[:, :count].sort(1).values


def has_memory(x: Tensor) -> bool:
    """Whether NumPy can read it: within ``torch.func`` a tensor has no memory of its own."""
    try:
        x.numpy()
    except RuntimeError:
        return False
    return True


def _squares(points: Points) -> Tensor:
    """``||q_i - x_j||^2``, infinite where a point meets itself; those below the diagonal copied from above it."""
    x, q, bias = points.x, points.q, points.bias
    square = q.new_empty(len(q), len(x))
    own = (bias if points.own else torch.linalg.vecdot(q, q))[:, None]
    for start in range(0, len(q), _ROWS):
        rows = slice(start, start + _ROWS)
        first = start if points.own else 0
        tile = square[rows, first:]
        torch.addmm(bias[first:], q[rows], x[first:].T, alpha=-2, out=tile)
        tile += own[rows]
        if points.own:
            square[start + _ROWS :, rows] = tile[:, _ROWS:].T
    if points.own:
        square.fill_diagonal_(torch.inf)
    return square


def of_rows(points: Points, k: int, row: Tensor) -> Tensor:
    """Candidates of some rows by tiles, a pair as one number ``row * n + column``."""
    return torch.cat([r * len(points.x) + c for r, c in candidates_of(points, k, row)])


def candidates_of(points: Points, k: int, row: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Candidates of some rows by tiles, block by block."""
    some = points._replace(q=points.q[row], raw_q=points.raw_q[row], own=False)
    for i, col in candidates(some, k + points.own):
        here = row[i]
        keep = (here != col) | (not points.own)
        yield here[keep], col[keep]
