"""Candidates for the nearest neighbours, by tiled matrix products and a bound on their rounding error."""

import math
import sys
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.checks import Check
from pyg_relational.ops.graph.kernels import unit_rows

__all__ = [
    "Groups",
    "Minima",
    "Points",
    "Tiles",
    "candidates",
    "candidates_both_ways",
    "merged",
    "norm_check",
    "prepare",
    "slack",
]

_ROWS = 256  # of a product
_COLUMNS = 2560  # of a product: few MiB, which stay in the cache until their minima are taken
_KEPT = 2**14  # columns up to which the products of all of them are kept until candidates are found
_SIZE = 1.4  # columns in a group over sqrt(n / (k d)): fewer cost minima, more cost candidates; .4 to 2.4 tried
_SIZE_KEPT = 0.5  # the same over sqrt(n / k) where a candidate is a product kept; .35 to 1.4 tried
_GATHER = 2**18  # numbers of candidates' features at once, within the cache
_STRIPE = 1024  # rows of a product that serves rows and columns; with half as many, or twice, it takes a tenth longer
_GEMM = 2**26  # elements of it, at most
_PAIRS = 2**15  # candidate pairs to hand on at once
_HELD = 8  # candidates held per neighbour wanted, before columns are no longer used twice


class Points(NamedTuple):
    """What the search needs of ``x`` and the queries: rows to multiply, rows to subtract, originals."""

    x: Tensor  # [n, d] centred (or unit) rows for the matrix product
    q: Tensor  # [m, d] the same for the queries
    bias: Tensor  # [n] ||x_j||^2, 1 for unit rows
    raw_x: Tensor
    raw_q: Tensor
    cosine: bool
    own: bool  # queries are x itself


def prepare(x: Tensor, y: Tensor | None, cosine: bool) -> Points:
    """Points and queries, centred or of unit length, in float32 at least."""
    low = x.dtype in (torch.float16, torch.bfloat16)
    raw_x = x.float() if low else x
    raw_q = raw_x if y is None else (y.float() if low else y)
    if cosine:
        x, bias = unit_rows(raw_x), raw_x.new_ones(raw_x.shape[0])
        q = x if y is None else unit_rows(raw_q)
    else:
        centre = _middle(raw_x)
        x = raw_x - centre
        q = x if y is None else raw_q - centre
        bias = torch.linalg.vecdot(x, x)
    return Points(x, q, bias, raw_x, raw_q, cosine, y is None)


def norm_check(points: Points) -> Check:
    """That no squared norm overflows.

    Args:
        points: Points and queries.
    """
    rule = f"x must have finite squared norms in {points.x.dtype}: rescale the features"

    def total() -> Tensor:
        of_queries: Tensor = torch.linalg.vecdot(points.q, points.q)
        return 2 * (points.bias.sum() + of_queries.sum())

    def refuse() -> None:
        raise ValueError(rule)

    return Check(rule, total, 0, sys.float_info.max, refuse)


def _middle(x: Tensor) -> Tensor:
    """A point amid the rows, one far away or not: medians of some of them."""
    some = x[:: max(1, len(x) // 16)]
    return some.T.contiguous().sort(1).values[:, len(some) // 2]


class Groups(NamedTuple):
    """Columns in groups of ``size``, members a stride apart, ``most`` groups in each block but the last."""

    size: int
    most: int
    n: int

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """Number of the first group, first column and number of groups of every block."""
        for first in range(0, self.n, self.size * self.most):
            count = min(self.most, math.ceil((self.n - first) / self.size))
            yield first // self.size, first, count

    def columns(self, group: Tensor) -> Tensor:
        """Members ``[g, size]`` of groups, some of the last block's at ``n`` and behind."""
        block = group // self.most
        first = block * (self.most * self.size)
        stride = ((self.n - first + self.size - 1) // self.size).clamp_(max=self.most)
        member = torch.arange(self.size, device=group.device)
        return (first + group - block * self.most)[:, None] + stride[:, None] * member


class Minima(NamedTuple):
    """Rows from ``start``: minima over groups of columns, and a bound on the ``k``-th smallest value."""

    start: int
    fine: Tensor
    bound: Tensor


class Tiles:
    """Products ``||x_j||^2 - 2 <q_i, x_j>``, tile by tile, of which only minima over groups of columns are kept.

    The squared norm is one more feature, so that a product is all there is to compute.

    Args:
        points: Points and queries.
        k: Number of neighbours.
    """

    def __init__(self, points: Points, k: int) -> None:
        self.points, self.k = points, k
        n, d = points.x.shape
        self.rows, columns = _ROWS, _COLUMNS
        self.keep = n <= _KEPT
        size = _SIZE_KEPT * math.sqrt(n / k) if self.keep else _SIZE * math.sqrt(n / (k * d + 1))
        size = min(max(1, int(size)), columns)
        self.groups = Groups(size, max(1, columns // size // 16 * 16), n)  # whole cache lines
        self.x = torch.cat([points.x * -2, points.bias[:, None]], 1)
        if pad := -n % size:
            behind = self.x.new_zeros(pad, self.x.shape[1])
            behind[:, -1] = math.inf
            self.x = torch.cat([self.x, behind])
        self.q = torch.cat([points.q, points.q.new_ones(len(points.q), 1)], 1)
        width = len(self.x) if self.keep else columns
        self.buffer = self.x.new_empty((self.rows, _apart(width)))

    def minima(self, first: int = 0) -> Iterator[Minima]:
        """Minima of blocks of rows from ``first`` on."""
        groups = math.ceil(self.groups.n / self.groups.size)
        per = max(1, groups // (5 * self.k))
        coarse = math.ceil(groups / per)
        fine = self.x.new_empty((self.rows, coarse * per))
        fine[:, groups:] = math.inf
        for start in range(first, len(self.q), self.rows):
            q = self.q[start : start + self.rows]
            for group, column, count in self.groups.blocks():
                width = count * self.groups.size
                place = column if self.keep else 0
                tile = self.buffer[: len(q), place : place + width]
                torch.mm(q, self.x[column : column + width].T, out=tile)
                if self.points.own and start < column + width and column < start + len(q):
                    tile.diagonal(start - column).fill_(math.inf)
                fine[: len(q), group : group + count] = _minima(tile, self.groups.size)
            some = fine[: len(q)]
            yield Minima(start, some, _kth_smallest(_minima(some, per), self.k))

    def within(self, found: Minima, limit: Tensor) -> tuple[Tensor, Tensor]:
        """Query and point, sorted by query, of everything within its row's limit."""
        row, group = (found.fine <= limit[:, None]).nonzero().unbind(1)
        if self.groups.size == 1:  # nothing but the values themselves
            return row + found.start, group
        chunk = max(1, _GATHER // (self.groups.size * (4 if self.keep else self.x.shape[1])))
        parts = []
        for r, g in zip(row.split(chunk), group.split(chunk), strict=True):
            col = self.groups.columns(g)
            near = self._values(found, r, col) <= limit.index_select(0, r)[:, None]
            e, m = near.nonzero().unbind(1)
            parts.append((r.index_select(0, e) + found.start, col[e, m]))
        return _join(parts)

    def _values(self, found: Minima, row: Tensor, col: Tensor) -> Tensor:
        """Products of rows of the latest minima with columns ``[g, size]``; infinite where a point meets itself."""
        if self.keep:
            flat = (row * self.buffer.shape[1])[:, None] + col
            kept: Tensor = self.buffer.view(-1).index_select(0, flat.view(-1)).view(flat.shape)
            return kept
        row = row + found.start
        x = self.x.index_select(0, col.view(-1)).view(*col.shape, -1)
        value = (x * self.q.index_select(0, row)[:, None]).sum(2)
        return value.masked_fill_(col == row[:, None], math.inf) if self.points.own else value


def _apart(width: int) -> int:
    """Length of rows of ``width`` numbers that share no cache lines.

    Where a row begins 4 KiB, or a little less, after another, in float32, a product takes three times as long.
    """
    return width + -width % 1024 + 544


def candidates(points: Points, k: int, first: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Query and point of every pair that may be among a query's ``k`` nearest, by query; block by block.

    The ``k``-th smallest minimum over disjoint groups of columns bounds the ``k``-th smallest value, so a
    group whose minimum is above it (plus twice the rounding error) holds no neighbour.
    """
    norm = points.q.norm(dim=1)
    tiles = Tiles(points, k)

    def found() -> Iterator[tuple[Tensor, Tensor]]:
        for part in tiles.minima(first):
            length = norm[part.start : part.start + len(part.bound)]
            reach = length.square() + part.bound
            yield tiles.within(part, part.bound + slack(length, reach, points.x.shape[1]))

    return merged(found())


def merged(found: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """The same pairs in larger blocks, but for the first two: they are the sample that a tree is compared with."""
    yield from islice(found, 2)
    parts: list[tuple[Tensor, Tensor]] = []
    for part in found:
        parts.append(part)
        if sum(len(row) for row, _ in parts) > _PAIRS:
            yield _join(parts)
            parts = []
    if parts:
        yield _join(parts)


def _join(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    row, col = (torch.cat(part) for part in zip(*parts, strict=True))
    return row, col


def candidates_both_ways(points: Points, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same for the neighbours of the points themselves, each product used for both its ends.

    ``best`` holds the ``k`` smallest group minima that a point has met; those of rows not reached yet
    come from the columns of earlier blocks, whose candidates wait until their row's turn. Their bounds are
    tightened after half as many blocks again. Where too many would wait, the rest goes one way.
    """
    n, d = points.x.shape
    rows = min(_STRIPE, max(256, _GEMM // n // 64 * 64))
    size = max(1, int(0.5 * math.sqrt(n / k)))
    buffer = points.x.new_empty((rows, _apart(n + size)))
    best = points.x.new_full((n, k), math.inf)
    norm = points.x.norm(dim=1)
    limit = torch.full_like(norm, math.inf)
    waiting: list[tuple[Tensor, Tensor, Tensor]] = []
    tightened = 0
    for block, begin in enumerate(range(0, n, rows)):
        stop = min(begin + rows, n)
        tile = _square_distances(points, begin, stop, size, buffer)
        across, down = tile, tile[:, stop - begin : n - begin].T
        fine = _minima(across, size)
        limit[begin:stop] = _tighten(best[begin:stop], fine, norm[begin:stop], d)
        row, col = _within(across, fine, limit[begin:stop])
        own = [(row + begin) * n + col + begin]
        for owner, other, value in waiting:
            first, last = torch.searchsorted(owner, torch.tensor([begin, stop])).tolist()
            near = value[first:last] <= limit[owner[first:last]]
            own.append((owner[first:last] * n + other[first:last])[near])
        if stop < n:
            fine = _minima(down, rows // 64)
            if block == 0 or block + 1 >= 1.5 * tightened:
                limit[stop:] = _tighten(best[stop:], fine, norm[stop:], d)
                tightened = block + 1
            row, col = _within(down, fine, limit[stop:])
            waiting.append((row + stop, col + begin, down[row, col]))
        pairs = torch.cat(own).sort().values
        yield pairs // n, pairs % n
        if sum(len(value) for *_, value in waiting) > _HELD * n * k:  # ties beyond number
            waiting.clear()
            yield from candidates(points, k, stop)
            return


def _square_distances(points: Points, begin: int, stop: int, size: int, buffer: Tensor) -> Tensor:
    """``||x_i - x_j||^2`` of rows ``begin:stop`` and columns from ``begin``, padded with inf."""
    x, bias = points.x[begin:], points.bias[begin:, None]
    rows, n = stop - begin, len(x)
    left = torch.cat([x[:rows] * -2, bias[:rows], torch.ones_like(bias[:rows])], 1)
    tile = buffer[:rows, : n + -n % size]
    for start in range(0, n, _COLUMNS):
        columns = slice(start, min(start + _COLUMNS, n))
        right = torch.cat([x[columns], torch.ones_like(bias[columns]), bias[columns]], 1)
        torch.mm(left, right.T, out=tile[:, columns])
    tile.diagonal().fill_(math.inf)
    tile[:, n:] = math.inf
    return tile


def _tighten(best: Tensor, fine: Tensor, norm: Tensor, d: int) -> Tensor:
    """Let rows meet the minima of groups of columns: update ``best``; the rows' limits."""
    per = max(1, fine.shape[1] // (5 * best.shape[1]))
    whole = fine.shape[1] // per * per
    coarse = fine[:, :whole].unflatten(1, (-1, per)).amin(2)
    best.copy_(torch.cat([best, coarse], 1).topk(best.shape[1], largest=False, sorted=False)[0])
    limit = best.amax(1)
    return limit + slack(norm, limit, d)


def _minima(tile: Tensor, size: int) -> Tensor:
    """Minima of groups of ``size`` columns, each group a stride of the row."""
    if tile.stride(0) == 1:  # a transposed view: amin is ten times slower across it
        down: Tensor = tile.T.unflatten(0, (size, -1)).amin(0)
        return down.T
    across: Tensor = tile.unflatten(1, (size, -1)).amin(1)
    return across


def _kth_smallest(values: Tensor, k: int) -> Tensor:
    smallest: Tensor = values.topk(k, largest=False, sorted=False).values
    return smallest.amax(1)


def _within(tile: Tensor, fine: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column, sorted by row, of everything within its row's limit."""
    row, group = (fine <= limit[:, None]).nonzero().unbind(1)
    groups = fine.shape[1]
    down, right = tile.stride()
    memory = tile.as_strided((1 + (len(tile) - 1) * down + (tile.shape[1] - 1) * right,), (1,))
    members = torch.arange(tile.shape[1] // groups, device=tile.device) * groups
    parts = []
    for r, g in zip(row.split(_PAIRS), group.split(_PAIRS), strict=True):
        flat = (r * down + g * right)[:, None] + members * right
        value = memory.index_select(0, flat.view(-1)).view(flat.shape)
        e, m = (value <= limit.index_select(0, r)[:, None]).nonzero().unbind(1)
        parts.append((r.index_select(0, e), g.index_select(0, e) + m * groups))
    return _join(parts)


def slack(norm: Tensor, square: Tensor, d: int) -> Tensor:
    """Twice a bound on the error of every squared distance that is at most ``square``."""
    reach = 2 * norm + square.clamp(min=0).sqrt()
    eps: float = torch.finfo(norm.dtype).eps
    if norm.is_cuda and norm.dtype == torch.float32:  # tensor cores cut off what they add
        eps = 2**-9 if torch.backends.cuda.matmul.allow_tf32 else 4 * eps
    return reach * (reach * (2 * (d + 8) * eps)) + 2 * (d + 8) * torch.finfo(norm.dtype).tiny
