"""Inner products along edges."""

import triton
import triton.language as tl

__all__ = ["sampled"]


@triton.jit
def sampled(row, col, u, v, out, E, D, DIFF: tl.constexpr, T: tl.constexpr, K: tl.constexpr):
    """``<u_i, v_j>`` of ``T`` edges, or ``<u_i - u_j, v_i - v_j>`` (``DIFF``). ``u``, ``v``: [n, D], ``out``: [E]."""
    edge = tl.program_id(0).to(tl.int64) * T + tl.arange(0, T)
    there = edge < E
    i = tl.load(row + edge, mask=there, other=0)[:, None] * D
    j = tl.load(col + edge, mask=there, other=0)[:, None] * D
    d = tl.arange(0, K)[None, :]
    acc = tl.zeros([T, K], tl.float32)
    for k in range(0, D, K):
        mask = there[:, None] & (d < D - k)
        a = tl.load(u + i + k + d, mask=mask, other=0.0)
        b = tl.load(v + j + k + d, mask=mask, other=0.0)
        if DIFF:
            a -= tl.load(u + j + k + d, mask=mask, other=0.0)
            b = tl.load(v + i + k + d, mask=mask, other=0.0) - b
        acc += a * b
    tl.store(out + edge, tl.sum(acc, 1), mask=there)
