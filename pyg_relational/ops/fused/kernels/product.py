"""Product of a sparse matrix with many right-hand sides."""

import triton
import triton.language as tl

__all__ = ["product"]


@triton.jit
def product(
    ptr, col, weight, x, out, form, C, FORM: tl.constexpr, T: tl.constexpr, K: tl.constexpr
):
    """Row ``y_i`` of ``W x``, and ``<x_i, y_i>`` into ``form`` (``FORM``).

    ``ptr``: [n + 1], ``col``, ``weight``: [E], ``x``, ``out``: [n, C], ``form``: [n]; ``T`` entries and ``K`` columns
    at a time.
    """
    i = tl.program_id(0).to(tl.int64)
    begin, end = tl.load(ptr + i), tl.load(ptr + i + 1)
    e, c = tl.arange(0, T), tl.arange(0, K)
    total = tl.zeros([K], tl.float32)
    for k in range(0, C, K):
        inside = c < C - k
        acc = tl.zeros([T, K], tl.float32)
        for entry in range(begin, end, T):
            there = e < end - entry
            j = tl.load(col + entry + e, mask=there, other=0).to(tl.int64)[:, None] * C
            w = tl.load(weight + entry + e, mask=there, other=0.0)[:, None]
            mask = there[:, None] & inside[None, :]
            acc += w * tl.load(x + j + k + c[None, :], mask=mask, other=0.0)
        y = tl.sum(acc, 0)
        tl.store(out + i * C + k + c, y, mask=inside)
        if FORM:
            total += y * tl.load(x + i * C + k + c, mask=inside, other=0.0)
    if FORM:
        tl.store(form + i, tl.sum(total, 0))
