"""Minima of squared distances over groups of columns."""

import triton
import triton.language as tl

__all__ = ["minima"]


@triton.jit
def minima(
    q, x, bias, own, out, M, N, D, width,
    S: tl.constexpr, OWN: tl.constexpr, PRECISION: tl.constexpr,
    R: tl.constexpr, T: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    """``out[i, g] = min_j bias_j - 2 <q_i, x_j>`` over the ``S`` columns ``j`` of group ``g``.

    With ``OWN``, ``j = own_i`` is left out. ``q``: [M, D], ``x``: [N, D], ``bias``: [N], ``own``: [M], ``out``:
    [M, width]. A program has ``R`` rows and ``T`` columns.
    """
    rows = (tl.program_id(1) * R + tl.arange(0, R)).to(tl.int64)
    columns = (tl.program_id(0) * T + tl.arange(0, T)).to(tl.int64)
    d = tl.arange(0, K)
    q += rows[:, None] * D + d[None, :]
    x += columns[None, :] * D + d[:, None]
    acc = tl.zeros([R, T], tl.float32)
    for k in range(0, D, K):
        a = tl.load(q + k, mask=(rows[:, None] < M) & (d[None, :] < D - k), other=0.0)
        b = tl.load(x + k, mask=(columns[None, :] < N) & (d[:, None] < D - k), other=0.0)
        acc = tl.dot(a, b, acc, input_precision=PRECISION)
    value = tl.load(bias + columns, mask=columns < N, other=float("inf"))[None, :] - 2 * acc
    if OWN:
        self = tl.load(own + rows, mask=rows < M, other=-1)
        value = tl.where(self[:, None] == columns[None, :], float("inf"), value)
    least = tl.min(tl.reshape(value, [R, T // S, S]), 2)
    groups = tl.program_id(0) * (T // S) + tl.arange(0, T // S)
    kept = (rows[:, None] < M) & (groups[None, :] < tl.cdiv(N, S))
    tl.store(out + rows[:, None] * width + groups[None, :], least, mask=kept)
