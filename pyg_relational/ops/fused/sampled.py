"""Inner products along edges: launch of the kernel."""

import torch
from torch import Tensor

__all__ = ["OPTIONS", "TILES", "sampled"]

# Chosen on paper, as docs/gpu.md tells: not measured.
TILES = {"T": 32, "K": 32}
OPTIONS = {"num_warps": 4, "num_stages": 2, "enable_fp_fusion": True}


def sampled(row: Tensor, col: Tensor, u: Tensor, v: Tensor, diff: bool) -> Tensor:
    r"""Inner products :math:`\langle u_i, v_j \rangle`, or :math:`\langle u_i - u_j, v_i - v_j \rangle`, edge by edge.

    Args:
        row: :math:`i` of every edge.
        col: :math:`j` of every edge.
        u: Features, float32.
        v: Features, float32.
        diff: Whether of differences.

    Shapes:
        ``row``, ``col``: :math:`[E]`, ``u``, ``v``: :math:`[n, d]`, output: :math:`[E]`.
    """
    from pyg_relational.ops.fused.kernels.sampled import sampled as kernel

    out = torch.empty(len(row), dtype=u.dtype, device=u.device)
    grid = (-(-len(row) // TILES["T"]),)
    edges = row.contiguous(), col.contiguous()
    features = u.contiguous(), v.contiguous()
    kernel[grid](*edges, *features, out, len(row), u.shape[1], DIFF=diff, **TILES, **OPTIONS)
    return out
