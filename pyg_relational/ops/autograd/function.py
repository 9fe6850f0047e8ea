"""Calls of ``torch.autograd.Function`` that cost no more than its forward."""

from typing import Any

import torch

__all__ = ["Function"]


class Function(torch.autograd.Function):
    """``torch.autograd.Function`` with ``setup_context``, without default arguments.

    PyTorch binds the arguments to the signature of ``forward`` at every call, which takes 50 us, as long as ten small
    operations. Only a transform of ``torch.func`` needs that.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.function import Function
        >>> class Twice(Function):
        ...     @staticmethod
        ...     def forward(x):
        ...         return 2 * x
        ...     @staticmethod
        ...     def setup_context(ctx, inputs, output): ...
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return 2 * grad
        >>> torch.autograd.grad(Twice.apply(x := torch.tensor(1.0, requires_grad=True)), x)
        (tensor(2.),)
    """

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Result of ``forward``, differentiable.

        Args:
            *args: All arguments of ``forward``, in order.
        """
        if torch._C._are_functorch_transforms_active():
            return super().apply(*args)  # type: ignore[no-untyped-call]
        return super(torch.autograd.Function, cls).apply(*args)  # type: ignore[misc]
