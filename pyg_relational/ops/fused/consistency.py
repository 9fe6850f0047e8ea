"""Squared differences between two similarities of all pairs, with both gradients: launch of the kernel."""

import torch
from torch import Tensor

__all__ = ["OPTIONS", "TILES", "consistency", "pays", "precision"]

# Chosen on paper, as docs/gpu.md tells: not measured.
TILES = {"R": 64, "T": 32, "K": 16, "WIDE": 128}
OPTIONS = {"num_warps": 8, "num_stages": 2, "enable_fp_fusion": True}
_PROGRAMS = 256  # at most, where columns are parted: two on most of an H100's 132 multiprocessors
_FEW = 512  # rows up to which launches are what it takes, in up to as many features
_PRECISION = {"highest": "tf32x3", "high": "tf32", "medium": "bf16"}
_WITHOUT_BF16 = "3.2."  # of triton: for sm_90 its compiler ends the process


def precision() -> str:
    """How products are computed, by ``torch.get_float32_matmul_precision()``; sums are float32.

    ``"highest"`` is three products of tf32 each, ``"high"`` one, ``"medium"`` one of bfloat16.
    """
    return _PRECISION[torch.get_float32_matmul_precision()]


def pays(n: int, d: int) -> bool:
    """Whether the kernel is below the torch form by the count of docs/gpu.md.

    Args:
        n: Number of rows.
        d: Number of features.

    Example:
        >>> from pyg_relational.ops.fused.consistency import pays
        >>> pays(256, 512), pays(65_536, 128), pays(65_536, 512)
        (True, True, False)
    """
    return max(n, d) <= _FEW or (d <= TILES["WIDE"] and precision() == "tf32x3")


def consistency(
    u: Tensor,
    q: Tensor,
    y: Tensor,
    same: float,
    different: float,
    relu: bool,
    by_u: bool,
    by_q: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Value and gradients of :func:`~pyg_relational.ops.pairs.consistency.pair_consistency`, empty if not asked for.

    A program owns 64 rows and 128 columns of a gradient, and goes through all other rows, or a part of them where there
    are few: nothing of the size of all pairs leaves the chip, no atomics are used, and results repeat bit by bit.

    Args:
        u: Unit rows of features, float32.
        q: Unit rows of predictions, float32.
        y: Classes; rows sorted by them take fewer products.
        same: Weight of the pairs of one class.
        different: Weight of the pairs of two.
        relu: Cut the feature similarity at 0.
        by_u: Whether the gradient in ``u`` is asked for.
        by_q: Whether that in ``q`` is.

    Shapes:
        ``u``: :math:`[n, d]`, ``q``: :math:`[n, c]`, ``y``: :math:`[n]`, output: scalar, :math:`[n, d]`,
        :math:`[n, c]`.
    """
    from triton import __version__ as version

    from pyg_relational.ops.fused.kernels.consistency import consistency as kernel

    (n, d), c, kind = u.shape, q.shape[1], precision()
    if kind == "bf16" and version.startswith(_WITHOUT_BF16):
        kind = "tf32"
    if kind == "bf16":
        u, q, kind = u.bfloat16(), q.bfloat16(), "tf32"
    blocks, tiles, wide = -(-n // TILES["R"]), -(-n // TILES["T"]), TILES["WIDE"]
    of_u, of_q = (-(-d // wide) if by_u else 1), (-(-c // wide) if by_q else 0)
    chunks = of_u + of_q
    parts = max(1, min(_PROGRAMS // (blocks * chunks), tiles))
    value = u.new_empty(chunks, parts * blocks, dtype=torch.float32)
    grad_u = value.new_empty((parts, n, d) if by_u else 0)
    grad_q = value.new_empty((parts, n, c) if by_q else 0)
    kernel[blocks, parts, chunks](
        u.contiguous(), q.contiguous(), y.contiguous(), value, grad_u, grad_q, n, d, c, of_u, same,
        different, RELU=relu, BY_U=by_u, PRECISION=kind, **TILES, **OPTIONS,
    )  # fmt: skip
    return value[0].sum(), _whole(grad_u), _whole(grad_q)


def _whole(parts: Tensor) -> Tensor:
    if parts.dim() == 1:
        return parts
    return parts[0] if len(parts) == 1 else parts.sum(0)
