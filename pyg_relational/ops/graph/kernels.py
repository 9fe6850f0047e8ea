"""Edge weights from distances."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.autograd.call import call
from pyg_relational.ops.autograd.functorch import join_rows, split_parts

__all__ = ["gaussian_kernel", "safe_sqrt", "unit_rows"]


def gaussian_kernel(square: Tensor, scale: Tensor | float) -> Tensor:
    r"""Gaussian weight :math:`w = \exp(-4 d^2 / s)` with the limit of a vanishing scale.

    Where :math:`s = 0`, the weight is 1 at :math:`d = 0` and 0 elsewhere. There, and where derivatives would
    overflow (:math:`s` near the smallest float, or :math:`w` below it), the gradient is 0.

    Args:
        square: Squared distances :math:`d^2`.
        scale: :math:`s`, the product of the two ends' bandwidths, in squared units of distance.

    Shapes:
        ``square``: :math:`[E]`, ``scale``: :math:`[E]` or a number, output: :math:`[E]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import gaussian_kernel
        >>> gaussian_kernel(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.0])).tolist()
        [1.0, 0.0]
    """
    scale = scale.to(square) if isinstance(scale, Tensor) else square.new_full((), scale)
    scale = scale.expand_as(square)
    smooth = (square < 200 * scale) & (scale > 1e8 * torch.finfo(square.dtype).tiny)
    limit = torch.exp(-4 * square.detach() / scale.detach()).nan_to_num(1.0)
    return torch.exp(-4 * square / scale.where(smooth, 1.0)).where(smooth, limit)


def safe_sqrt(square: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 instead of infinite; NaN stays.

    Args:
        square: Values ``>= 0``, any shape.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import safe_sqrt
        >>> safe_sqrt(torch.tensor([0.0, 4.0])).tolist()
        [0.0, 2.0]
    """
    zero = square <= 0
    return square.where(~zero, 1.0).sqrt().where(~zero, 0.0)


def unit_rows(x: Tensor) -> Tensor:
    """Rows scaled to length 1; zero rows stay zero, with gradient 0.

    Each row is divided by a power of two near its largest entry first, so that no square overflows or vanishes.

    Args:
        x: Features.

    Shapes:
        ``x``: :math:`[n, d]`, output: :math:`[n, d]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import unit_rows
        >>> unit_rows(torch.tensor([[3e30, 4e30], [0.0, 0.0]]))
        tensor([[0.6000, 0.8000],
                [0.0000, 0.0000]])
    """
    unit: Tensor = call(_UnitRows, x)
    return unit


class _UnitRows(torch.autograd.Function):
    """Keeps nothing but its input."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        if x.numel() == 0:
            return x.clone()
        largest = x.abs().amax(1, keepdim=True)
        x = x / torch.exp2((torch.frexp(largest).exponent - 1).to(x.dtype))
        square = torch.linalg.vecdot(x, x)[:, None]
        return x.div_(square.where(square > 0, torch.inf).sqrt_())

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        unit = unit_rows(x)
        length = torch.linalg.vecdot(x, unit)[:, None]
        along = torch.linalg.vecdot(grad, unit)[:, None]
        across: Tensor = (grad - along * unit) / length.where(length > 0, torch.inf)
        return across

    @staticmethod
    def vmap(info: Any, dims: Any, x: Tensor) -> Any:
        rows = join_rows(x, dims[0], info.batch_size)
        return split_parts(call(_UnitRows, rows), info.batch_size), 0
