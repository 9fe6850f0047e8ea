"""Product of a sparse matrix with many right-hand sides: launch of the kernel."""

from torch import Tensor

__all__ = ["OPTIONS", "ROWS", "product", "tiles"]

# Chosen on paper, as docs/gpu.md tells: not measured.
OPTIONS = {"num_warps": 1, "num_stages": 2, "enable_fp_fusion": True}
ROWS = 512  # numbers that a program gathers at once, 16 a thread


def tiles(columns: int) -> dict[str, int]:
    """Entries and columns that a program takes at a time.

    Args:
        columns: Number of right-hand sides.

    Example:
        >>> from pyg_relational.ops.fused.product import tiles
        >>> tiles(10)
        {'T': 32, 'K': 16}
    """
    width = min(128, max(8, 1 << (columns - 1).bit_length()))
    return {"T": ROWS // width, "K": width}


def product(matrix: Tensor, x: Tensor, form: bool = False) -> tuple[Tensor, Tensor]:
    r"""Product :math:`y = W x`, and :math:`\langle x_i, y_i \rangle` of every row if asked for.

    Each row is added up by one program, in one order: results repeat bit by bit.

    Args:
        matrix: :math:`W`, sparse CSR, float32.
        x: Right-hand sides, float32.
        form: Whether to take the inner products; :math:`W` is square then.

    Shapes:
        ``matrix``: :math:`[n, m]`, ``x``: :math:`[m, c]`, output: :math:`[n, c]` and :math:`[n]`, or :math:`[0]`.
    """
    from pyg_relational.ops.fused.kernels.product import product as kernel

    n, c = matrix.shape[0], x.shape[1]
    out, inner = x.new_empty(n, c), x.new_empty(n if form else 0)
    parts = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    kernel[(n,)](*parts, x.contiguous(), out, inner, c, FORM=form, **tiles(c), **OPTIONS)
    return out, inner
