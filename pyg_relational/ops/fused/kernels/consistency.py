"""Squared differences between two similarities of all pairs, with both gradients."""

import triton
import triton.language as tl

__all__ = ["consistency"]


@triton.jit
def _rows(x, first, N, D, left, T: tl.constexpr, K: tl.constexpr):
    """``T`` rows of ``x``, [N, D], from the ``first``, and ``left`` columns; 0 beyond."""
    i, d = tl.arange(0, T), tl.arange(0, K)
    mask = (i < N - first)[:, None] & (d < left)[None, :]
    return tl.load(x + first.to(tl.int64) * D + (i[:, None] * D + d[None, :]), mask=mask, other=0.0)


@triton.jit
def _products(
    x, first, start, N, D,
    PRECISION: tl.constexpr, R: tl.constexpr, T: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """``<x_i, x_j>`` of ``R`` rows from the ``first`` and ``T`` from the ``start``."""
    acc = tl.zeros([R, T], tl.float32)
    for k in range(0, D, K):
        a = _rows(x + k, first, N, D, D - k, R, K)
        b = _rows(x + k, start, N, D, D - k, T, K)
        acc = tl.dot(a, tl.trans(b), acc, input_precision=PRECISION)
    return acc


@triton.jit
def consistency(
    u, q, y, value, by_u, by_q, N, D, C, CHUNKS, same, different,
    RELU: tl.constexpr, BY_U: tl.constexpr, PRECISION: tl.constexpr,
    R: tl.constexpr, T: tl.constexpr, K: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Value, and ``WIDE`` columns of a gradient, of ``R`` rows with a part of the columns.

    ``u``: [N, D], ``q``: [N, C], ``y``: [N], ``value``: [chunks, parts, blocks], ``by_u``: [parts, N, D], ``by_q``:
    [parts, N, C]. The first ``CHUNKS`` are of ``u``. Those of ``q`` meet only tiles that may have a pair of one class:
    of rows sorted by class few.
    """
    part, parts, chunk = tl.program_id(1), tl.num_programs(1), tl.program_id(2)
    first = tl.program_id(0) * R
    i, j = tl.arange(0, R), tl.arange(0, T)
    class_a = tl.load(y + first + i, mask=i < N - first, other=-1)
    low, high = tl.min(class_a), tl.max(class_a)
    total = tl.zeros([R], tl.float32)
    acc = tl.zeros([R, WIDE], tl.float32)
    of_u = chunk < CHUNKS
    x, out, width, begin = u, by_u, D, chunk * WIDE
    if not of_u:
        x, out, width, begin = q, by_q, C, (chunk - CHUNKS) * WIDE
    tiles = tl.cdiv(N, T)
    for tile in range(tiles * part // parts, tiles * (part + 1) // parts):
        start = tile * T
        class_b = tl.load(y + start + j, mask=j < N - start, other=-2)
        meet = (tl.min(class_b) <= high) & (low <= tl.max(class_b))
        if of_u | meet:
            slope = _products(u, first, start, N, D, PRECISION, R, T, K)
            if RELU:
                slope = tl.maximum(slope, 0.0)
            if meet:
                alike = class_a[:, None] == class_b[None, :]
                target = _products(q, first, start, N, C, PRECISION, R, T, K)
                gap = slope - tl.where(alike, target, 0.0)
                weight = tl.where(alike, same, different)
                weight = tl.where((first + i)[:, None] == (start + j)[None, :], 0.0, weight)
                total += tl.sum(gap * gap * weight, 1)
                if of_u:
                    if RELU:
                        weight = tl.where(slope > 0, weight, 0.0)
                else:
                    weight = tl.where(alike, -weight, 0.0)
                slope = gap * weight
            else:
                total += tl.sum(slope * slope, 1) * different
                slope *= different
            others = _rows(x + begin, start, N, width, width - begin, T, WIDE)
            acc = tl.dot(slope.to(others.dtype), others, acc, input_precision=PRECISION)
    place = (chunk * parts + part) * tl.num_programs(0) + tl.program_id(0)
    tl.store(value + place, tl.sum(total) / 2)
    if BY_U | (chunk >= CHUNKS):
        d = tl.arange(0, WIDE)
        out += (part.to(tl.int64) * N + first) * width + begin
        mask = (i < N - first)[:, None] & (d < width - begin)[None, :]
        tl.store(out + (i[:, None] * width + d[None, :]), 2 * acc, mask=mask)
