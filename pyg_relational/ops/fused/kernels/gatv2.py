"""GATv2 attention of samples to proxies.

One warp has a tile of ``T = 32`` rows and as many columns, a column a thread, so what is summed over rows stays in the
thread. Channels are plain loops: registers do not grow with them, and what has channels is added up in memory that one
program alone writes. All is float32 and padded to whole tiles, so nothing is masked: samples with an infinite
log-sum-exp, proxies with minus infinity for the linear part of their score.
"""

import triton
import triton.language as tl

__all__ = ["forward", "kept", "slopes"]


@triton.jit
def _place(X, Y, C, T: tl.constexpr):
    """Offsets of rows, columns and result by channel, then of one channel, and first and last row of the program."""
    h, part, parts = tl.program_id(1).to(tl.int64), tl.program_id(2), tl.num_programs(2)
    columns = tl.program_id(0) * T + tl.arange(0, T)
    out = part * tl.num_programs(1) + h
    tiles = X // T
    first, last = tiles * part // parts * T, tiles * (part + 1) // parts * T
    return h * C, h * X, h * Y + columns, h * C * X, h * C * Y + columns, out, columns, first, last


@triton.jit
def _keep(seed, sample, proxy, P, dropout):
    """What weights of one head are multiplied by: 0, or what makes up for those; the same in every pass."""
    draw = tl.rand(tl.load(seed) + tl.program_id(1), sample * P + proxy)
    return tl.where(draw < dropout, 0.0, 1 / (1 - dropout))


@triton.jit
def kept(seed, out, P, dropout, T: tl.constexpr):
    """The factors of one sample, one head and ``T`` proxies. ``out``: [H, B, P]."""
    sample = tl.program_id(0)
    proxy = tl.program_id(2) * T + tl.arange(0, T)
    row = (tl.program_id(1) * tl.num_programs(0) + sample).to(tl.int64) * P
    tl.store(out + row + proxy, _keep(seed, sample, proxy, P, dropout))


@triton.jit
def forward(
    x, y, w, x_linear, y_linear, value, seed, out, top_out, total_out,
    X, Y, C, dropout, DROP: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Weighted sums of ``T`` samples ``y`` and one head over a part of the proxies ``x``, not yet divided by ``total``.

    ``x``, ``value``: [H, C, X], ``y``: [H, C, Y], ``w``: [H, C], ``x_linear``: [H, X], ``y_linear``: [H, Y], ``out``:
    zeros [parts, H, C, Y]; ``top``, ``total``: [parts, H, Y], the largest score and the sum of exponentials below it.
    With ``DROP`` weights are left out of the sums, not of ``total``, by :func:`kept`. ``seed``: [1], int64.
    """
    rows = tl.arange(0, T)
    weights, x1, y1, xc, yc, o, columns, first, last = _place(X, Y, C, T)
    linear = tl.load(y_linear + y1)
    out += o * C * Y + columns
    top = tl.full([T], -float("inf"), tl.float32)
    total = tl.zeros([T], tl.float32)
    for i in range(first, last, T):
        s = tl.load(x_linear + x1 + i + rows)[:, None] + linear[None, :]
        for c in range(C):
            u = tl.load(x + xc + c * X + i + rows)
            v = tl.load(y + yc + c * Y)
            s += tl.load(w + weights + c) * tl.abs(u[:, None] + v[None, :])
        new = tl.maximum(top, tl.max(s, 0))
        p, scale = tl.exp(s - new[None, :]), tl.exp(top - new)
        total = total * scale + tl.sum(p, 0)
        top = new
        if DROP:
            p *= _keep(seed, columns[None, :], (i + rows)[:, None], X, dropout)
        for c in range(C):
            u = tl.load(value + xc + c * X + i + rows)
            tl.store(out + c * Y, tl.load(out + c * Y) * scale + tl.sum(p * u[:, None], 0))
        tl.debug_barrier()
    tl.store(top_out + o * Y + columns, top)
    tl.store(total_out + o * Y + columns, total)


@triton.jit
def slopes(
    x, y, w, x_linear, y_linear, x_value, y_value, lse, delta, seed, by_sign, by_all, by_value,
    X, Y, C, dropout, DROP: tl.constexpr, SAMPLES: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Gradients of ``T`` columns ``y`` and one head over a part of the rows ``x``.

    Columns are samples and rows proxies (``SAMPLES``), or the other way; values of samples are the gradient of the
    output. With the scores' gradient g, ``by_sign``: zeros [parts, H, C, Y], the sum of g times the sign of ``x + y``;
    ``by_all``: [parts, H, Y], the sum of g; ``by_value``: zeros as ``by_sign``, the gradient of the proxies' values.
    """
    rows = tl.arange(0, T)
    weights, x1, y1, xc, yc, o, columns, first, last = _place(X, Y, C, T)
    linear = tl.load(y_linear + y1)
    by_sign += o * C * Y + columns
    by_value += o * C * Y + columns
    total = tl.zeros([T], tl.float32)
    for i in range(first, last, T):
        s = tl.load(x_linear + x1 + i + rows)[:, None] + linear[None, :]
        g = tl.zeros([T, T], tl.float32)
        for c in range(C):
            u = tl.load(x + xc + c * X + i + rows)
            v = tl.load(y + yc + c * Y)
            s += tl.load(w + weights + c) * tl.abs(u[:, None] + v[None, :])
            u = tl.load(x_value + xc + c * X + i + rows)
            v = tl.load(y_value + yc + c * Y)
            g += u[:, None] * v[None, :]
        if SAMPLES:
            p = tl.exp(s - tl.load(lse + y1)[None, :])
            if DROP:
                g *= _keep(seed, columns[None, :], (i + rows)[:, None], X, dropout)
            g = p * (g - tl.load(delta + y1)[None, :])
        else:
            p = tl.exp(s - tl.load(lse + x1 + i + rows)[:, None])
            if DROP:
                keep = _keep(seed, (i + rows)[:, None], columns[None, :], Y, dropout)
                g = p * (g * keep - tl.load(delta + x1 + i + rows)[:, None])
                p *= keep
            else:
                g = p * (g - tl.load(delta + x1 + i + rows)[:, None])
        total += tl.sum(g, 0)
        for c in range(C):
            u = tl.load(x + xc + c * X + i + rows)[:, None]
            v = -tl.load(y + yc + c * Y)[None, :]
            signed = tl.where(u > v, g, tl.where(u < v, -g, 0.0))
            tl.store(by_sign + c * Y, tl.load(by_sign + c * Y) + tl.sum(signed, 0))
            if not SAMPLES:
                u = tl.load(x_value + xc + c * X + i + rows)
                tl.store(by_value + c * Y, tl.load(by_value + c * Y) + tl.sum(p * u[:, None], 0))
        tl.debug_barrier()
    tl.store(by_all + o * Y + columns, total)
