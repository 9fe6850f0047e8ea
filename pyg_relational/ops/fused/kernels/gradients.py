"""Vector updates of conjugate gradients on many right-hand sides."""

import triton
import triton.language as tl

__all__ = ["products", "step"]


@triton.jit
def _place(N, C, T: tl.constexpr, K: tl.constexpr):
    """First and last tile of the program's part, rows of a tile, columns and which of them there are."""
    part, parts = tl.program_id(0).to(tl.int64), tl.num_programs(0)
    tiles = tl.cdiv(N, T)
    columns = tl.program_id(1) * K + tl.arange(0, K)
    return tiles * part // parts, tiles * (part + 1) // parts, tl.arange(0, T), columns, columns < C


@triton.jit
def products(r, z, w, out, N, C, T: tl.constexpr, K: tl.constexpr):
    """``<r, z>`` and ``<z, w>`` of each column over a part of the rows. All but ``out``, [2, parts, C]: [N, C]."""
    first, last, rows, columns, there = _place(N, C, T, K)
    square, along = tl.zeros([K], tl.float32), tl.zeros([K], tl.float32)
    for tile in range(first, last):
        row = tile * T + rows
        place = row[:, None] * C + columns[None, :]
        mask = (row < N)[:, None] & there[None, :]
        b = tl.load(z + place, mask=mask, other=0.0)
        square += tl.sum(tl.load(r + place, mask=mask, other=0.0) * b, 0)
        along += tl.sum(tl.load(w + place, mask=mask, other=0.0) * b, 0)
    part, parts = tl.program_id(0), tl.num_programs(0)
    tl.store(out + part * C + columns, square, mask=there)
    tl.store(out + (parts + part) * C + columns, along, mask=there)


@triton.jit
def step(
    sums, old, new, z, w, p, q, x, r, N, C, PARTS, T: tl.constexpr, K: tl.constexpr, P: tl.constexpr
):
    """One step of a part of the rows by the ``sums`` of :func:`products`, [2, PARTS, C].

    ``p += z / <r, z>``, ``q += w / <r, z>`` so that ``q`` is the matrix times ``p``, ``x += p / c`` and
    ``r -= q / c`` with ``c = <p, q> = <z, w> / <r, z>^2 - old``. ``new``: c, infinite where a column is done or c is
    not positive; such columns stay as they are, and for good.
    """
    first, last, rows, columns, there = _place(N, C, T, K)
    square, along = tl.zeros([K], tl.float32), tl.zeros([K], tl.float32)
    for i in range(0, PARTS, P):
        part = i + tl.arange(0, P)
        place = part[:, None] * C + columns[None, :]
        mask = (part < PARTS)[:, None] & there[None, :]
        square += tl.sum(tl.load(sums + place, mask=mask, other=0.0), 0)
        along += tl.sum(tl.load(sums + PARTS * C + place, mask=mask, other=0.0), 0)
    open = square > 1
    scale = 1 / tl.where(open, square, 1.0)
    curvature = along * scale * scale - tl.load(old + columns, mask=there, other=0.0)
    open = open & (curvature > 0)
    scale = tl.where(open, scale, 0.0)
    size = tl.where(open, 1 / tl.where(open, curvature, 1.0), 0.0)
    tl.store(new + columns, tl.where(open, curvature, float("inf")), mask=there)
    for tile in range(first, last):
        row = tile * T + rows
        place = row[:, None] * C + columns[None, :]
        mask = (row < N)[:, None] & there[None, :]
        a = tl.load(p + place, mask=mask, other=0.0)
        a += tl.load(z + place, mask=mask, other=0.0) * scale[None, :]
        b = tl.load(q + place, mask=mask, other=0.0)
        b += tl.load(w + place, mask=mask, other=0.0) * scale[None, :]
        tl.store(p + place, a, mask=mask)
        tl.store(q + place, b, mask=mask)
        mine = tl.load(x + place, mask=mask, other=0.0) + a * size[None, :]
        tl.store(x + place, mine, mask=mask)
        left = tl.load(r + place, mask=mask, other=0.0) - b * size[None, :]
        tl.store(r + place, left, mask=mask)
