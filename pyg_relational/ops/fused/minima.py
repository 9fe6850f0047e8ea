"""Minima of squared distances over groups of columns: launch of the kernel."""

import torch
from torch import Tensor

__all__ = ["GROUP", "OPTIONS", "TILES", "minima", "precision"]

GROUP = 8  # columns in a group
# Chosen on paper, as docs/gpu.md tells: not measured.
TILES = {"R": 128, "T": 64, "K": 16}
OPTIONS = {"num_warps": 8, "num_stages": 3, "enable_fp_fusion": True}


def minima(q: Tensor, x: Tensor, bias: Tensor, own: Tensor | None, out: Tensor) -> None:
    r"""Write the minima of :math:`b_j - 2 \langle q_i, x_j \rangle` over groups of 8 columns next to each other.

    Products in float32, by three products of tf32 each, or one where ``torch.backends.cuda.matmul.allow_tf32`` says so.

    Args:
        q: Rows.
        x: Columns.
        bias: :math:`b`.
        own: Row of ``x`` that each of ``q`` is and does not meet; ``None`` where they are others.
        out: Where to; further columns of it are left as they are.

    Shapes:
        ``q``: :math:`[m, d]`, ``x``: :math:`[n, d]`, ``bias``: :math:`[n]`, ``own``:
        :math:`[m]`, int64, ``out``: :math:`[m, \lceil n / 8 \rceil]` or wider.
    """
    from pyg_relational.ops.fused.kernels.minima import minima as kernel

    (m, d), n = q.shape, len(x)
    grid = -(-n // TILES["T"]), -(-m // TILES["R"])
    kernel[grid](
        q.contiguous(), x.contiguous(), bias, own, out, m, n, d, out.stride(0), S=GROUP,
        OWN=own is not None, PRECISION=precision(), **TILES, **OPTIONS,
    )  # fmt: skip


def precision() -> str:
    """Triton's name of how products are computed."""
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"
