"""Gradients that are known as numbers only."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.autograd.call import call

__all__ = ["scaled"]


def scaled(gradient: Tensor, grad: Tensor, *inputs: Tensor) -> Tensor:
    """``gradient * grad``, whose derivative raises: how ``gradient`` depends on ``inputs`` was not kept.

    PyTorch's ``once_differentiable`` lets a second derivative through as 0 where ``grad`` needs none.

    Args:
        gradient: Gradient of a value, a number each.
        grad: Gradient of the loss in that value.
        inputs: What ``gradient`` depends on.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.once import scaled
        >>> scaled(torch.ones(2), torch.tensor(3.0), torch.ones(2)).tolist()
        [3.0, 3.0]
    """
    if not torch.is_grad_enabled():
        return gradient * grad
    product: Tensor = call(_Scaled, gradient, grad, *inputs)
    return product


class _Scaled(torch.autograd.Function):
    @staticmethod
    def forward(gradient: Tensor, grad: Tensor, *inputs: Tensor) -> Tensor:
        return gradient * grad

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        raise RuntimeError(
            "a loss whose gradient is computed with its value has no second derivative "
            "(graph_consistency_loss has one with method='dense')"
        )
