"""GATv2 attention of samples to proxies: launches of its kernels."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["OPTIONS", "TILE", "attend", "attend_backward", "kept"]

TILE = 32  # rows and columns of a tile: a warp of columns
_PROGRAMS = 2048  # 16 warps on each multiprocessor of an H100, which registers leave room for
# Chosen on paper, as docs/gpu.md tells: not measured.
OPTIONS = {"num_warps": 1, "num_stages": 1, "enable_fp_fusion": True}


class _Side(NamedTuple):
    """Samples or proxies, channel by channel in float32, padded to whole tiles."""

    x: Tensor
    linear: Tensor
    value: Tensor


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    att: Tensor,
    slope: float,
    dropout: float = 0.0,
    seed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Weighted sum of the values and log-sum-exp of the scores, in one pass over the proxies.

    Args:
        query: Features of samples.
        key: Features of proxies that scores are made of.
        value: Features of proxies that are summed.
        att: Weights of the channels.
        slope: Slope of LeakyReLU below 0.
        dropout: Share of the weights to leave out.
        seed: Seed of the draw, int64, on the device.

    Shapes:
        ``seed``: :math:`[1]`,
        ``query``: :math:`[B, H, C]`, ``key`` and ``value``: :math:`[P, H, C]`, ``att``: :math:`[H, C]`,
        output: :math:`[B, H, C]` of the dtype of ``value`` and :math:`[B, H]` of float32.
    """
    from pyg_relational.ops.fused.kernels.gatv2 import forward

    samples = _side(query, query, att, slope, 0.0)
    proxies = _side(key, value, att, slope, -torch.inf)
    (heads, channels, columns), rows = samples.x.shape, proxies.x.shape[2]
    parts = _parts(columns, rows, heads)
    out = samples.x.new_zeros(parts, heads, channels, columns)
    top, total = samples.x.new_empty(2, parts, heads, columns)
    forward[columns // TILE, heads, parts](
        proxies.x, samples.x, _weights(att, slope), proxies.linear, samples.linear, proxies.value, seed,
        out, top, total, rows, columns, channels, dropout, DROP=dropout > 0, T=TILE, **OPTIONS,
    )  # fmt: skip
    lse = (top + total.log()).logsumexp(0)
    out = (out * (top - lse).exp()[:, :, None]).sum(0)
    return _rows(out, query).to(value.dtype), lse[:, : len(query)].T.contiguous()


def attend_backward(
    grad: Tensor, grad_lse: Tensor, query: Tensor, key: Tensor, value: Tensor, att: Tensor,
    out: Tensor, lse: Tensor, slope: float, dropout: float = 0.0, seed: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of query, key, value and att; scores are computed anew.

    Args:
        grad: Gradient of ``out``.
        grad_lse: Gradient of ``lse``.
        query: As above.
        key: As above.
        value: As above.
        att: As above.
        out: Result of :func:`attend`.
        lse: Result of :func:`attend`.
        slope: As above.
        dropout: As above.
        seed: As above.

    Shapes:
        As in :func:`attend`.
    """
    samples = _side(query, grad, att, slope, 0.0)
    proxies = _side(key, value, att, slope, -torch.inf)
    delta = (grad.float() * out.float()).sum(2) - grad_lse.float()
    lse, delta = _padded(lse.T, torch.inf), _padded(delta.T)
    drop = dropout, seed
    by_query, _ = _slopes(proxies, samples, att, slope, lse, delta, drop, True)
    by_key, by_value = _slopes(samples, proxies, att, slope, lse, delta, drop, False)
    by_att = (by_query * samples.x).sum(2) + (by_key * proxies.x).sum(2)
    a = att.float()[:, :, None]
    return (
        _rows(a * by_query, query).to(query.dtype),
        _rows(a * by_key, key).to(key.dtype),
        _rows(by_value, value).to(value.dtype),
        by_att.to(att.dtype),
    )


def kept(seed: Tensor, heads: int, samples: int, proxies: int, dropout: float) -> Tensor:
    """What the kernels multiply weights by: 0, or ``1 / (1 - dropout)``.

    Args:
        seed: As above.
        heads: Number of heads.
        samples: Number of samples.
        proxies: Number of proxies.
        dropout: As above.

    Shapes:
        ``seed``: :math:`[1]`, output: :math:`[H, B, P]`, float32.
    """
    from pyg_relational.ops.fused.kernels.gatv2 import kept as kernel

    whole = proxies + -proxies % TILE
    out = torch.empty(heads, samples, whole, device=seed.device)
    kernel[samples, heads, whole // TILE](seed, out, whole, dropout, T=TILE, num_warps=1)
    return out[:, :, :proxies]


def _slopes(
    x: _Side,
    y: _Side,
    att: Tensor,
    slope: float,
    lse: Tensor,
    delta: Tensor,
    drop: tuple[float, Tensor | None],
    samples: bool,
) -> tuple[Tensor, Tensor]:
    """For the columns ``y``: sum of the scores' gradient times the derivative of LeakyReLU, and gradient of values."""
    from pyg_relational.ops.fused.kernels.gatv2 import slopes

    (heads, channels, columns), rows = y.x.shape, x.x.shape[2]
    parts, (dropout, seed) = _parts(columns, rows, heads), drop
    by_sign = y.x.new_zeros(parts, heads, channels, columns)
    by_value = by_sign if samples else torch.zeros_like(by_sign)
    by_all = y.x.new_empty(parts, heads, columns)
    slopes[columns // TILE, heads, parts](
        x.x, y.x, _weights(att, slope), x.linear, y.linear, x.value, y.value, lse, delta, seed,
        by_sign, by_all, by_value, rows, columns, channels, dropout,
        DROP=dropout > 0, SAMPLES=samples, T=TILE, **OPTIONS,
    )  # fmt: skip
    by = by_sign.sum(0) * ((1 - slope) / 2) + by_all.sum(0)[:, None] * ((1 + slope) / 2)
    return by, by_value.sum(0)


def _side(x: Tensor, value: Tensor, att: Tensor, slope: float, beyond: float) -> _Side:
    linear = (x.float() * att.float()).sum(2).T * ((1 + slope) / 2)
    whole = _padded(x.permute(1, 2, 0))
    same = value.data_ptr() == x.data_ptr() and value.stride() == x.stride()
    of_value = whole if same else _padded(value.permute(1, 2, 0))
    return _Side(whole, _padded(linear, beyond), of_value)


def _weights(att: Tensor, slope: float) -> Tensor:
    return (att.float() * ((1 - slope) / 2)).contiguous()


def _padded(x: Tensor, beyond: float = 0.0) -> Tensor:
    return pad(x.float(), (0, -x.shape[-1] % TILE), value=beyond).contiguous()


def _rows(x: Tensor, like: Tensor) -> Tensor:
    """[H, C, N] as [n, H, C]."""
    return x[:, :, : len(like)].permute(2, 0, 1).contiguous()


def _parts(columns: int, rows: int, heads: int) -> int:
    """Into how many the rows are parted, so that small batches fill the GPU, too."""
    programs = columns // TILE * heads
    return max(min(_PROGRAMS // programs, rows // TILE), 1)
