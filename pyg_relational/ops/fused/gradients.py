"""Vector updates of conjugate gradients on many right-hand sides: launches of the kernels."""

import torch
from torch import Tensor

__all__ = ["OPTIONS", "SUMS", "Iterate", "tiles"]

# Chosen on paper, as docs/gpu.md tells: not measured.
OPTIONS = {"num_warps": 4, "num_stages": 2, "enable_fp_fusion": True}
SUMS = 32  # partial sums that a program adds at once
_NUMBERS = 1024  # of a tile, 8 a thread
_PROGRAMS = 512  # 4 blocks on most of an H100's 132 multiprocessors
_TILES = 4  # fewest of a program, so that partial sums are few beside the rows


def tiles(columns: int) -> dict[str, int]:
    """Rows and columns that a program takes at a time.

    Args:
        columns: Number of right-hand sides.

    Example:
        >>> from pyg_relational.ops.fused.gradients import tiles
        >>> tiles(10)
        {'T': 64, 'K': 16}
    """
    width = min(128, max(8, 1 << (columns - 1).bit_length()))
    return {"T": _NUMBERS // width, "K": width}


class Iterate:
    r"""Where conjugate gradients are, in the form of `Chronopoulos and Gear, 1989`_: one place to wait an iteration.

    .. _Chronopoulos and Gear, 1989: https://doi.org/10.1016/0377-0427(89)90045-9

    A column is done where :math:`r^T M^{-1} r \le 1`. Sums are added up in one order: results repeat bit by bit.

    Args:
        r: Residuals, float32; changed in place.

    Shapes:
        ``r``: :math:`[n, c]`.

    Attributes:
        x: The solution so far, of ``r`` as it was.
        size: Curvature along the last direction, infinite where a column is done.
    """

    def __init__(self, r: Tensor) -> None:
        self.r = r
        self.x, self.p, self.q = (torch.zeros_like(r) for _ in range(3))
        self.size, self._spare = r.new_zeros(2, r.shape[1]).unbind()
        self._tiles = tiles(r.shape[1])
        programs = -(-len(r) // (_TILES * self._tiles["T"]))
        self._sums = r.new_empty(2, min(programs, _PROGRAMS), r.shape[1])

    def step(self, z: Tensor, w: Tensor) -> None:
        """Go one step.

        Args:
            z: Preconditioned residuals.
            w: Product of the matrix with them.

        Shapes:
            ``z``, ``w``: :math:`[n, c]`.
        """
        from pyg_relational.ops.fused.kernels.gradients import products, step

        (n, c), parts = self.r.shape, self._sums.shape[1]
        grid, z, w = (parts, -(-c // self._tiles["K"])), z.contiguous(), w.contiguous()
        products[grid](self.r, z, w, self._sums, n, c, **self._tiles, **OPTIONS)
        step[grid](
            self._sums, self.size, self._spare, z, w, self.p, self.q, self.x, self.r, n, c, parts,
            P=SUMS, **self._tiles, **OPTIONS,
        )  # fmt: skip
        self.size, self._spare = self._spare, self.size
