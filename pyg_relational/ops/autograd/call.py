"""Calls of ``torch.autograd.Function`` that cost no more than its forward."""

from typing import Any

import torch

__all__ = ["call"]


def call(function: type[torch.autograd.Function], *args: Any) -> Any:
    """``function.apply(*args)`` of all arguments of a function with ``setup_context``.

    PyTorch binds the arguments to the signature of ``forward`` at every call, which takes 50 us, as long as ten small
    operations. Only transforms of ``torch.func`` and the compiler need that. Only a private function of PyTorch tells
    whether such a transform is at work; PyTorch's ``apply`` asks the same one.

    Args:
        function: The function.
        *args: All arguments of its ``forward``, in order.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.call import call
        >>> class Twice(torch.autograd.Function):
        ...     @staticmethod
        ...     def forward(x):
        ...         return 2 * x
        ...     @staticmethod
        ...     def setup_context(ctx, inputs, output): ...
        ...     @staticmethod
        ...     def backward(ctx, grad):
        ...         return 2 * grad
        >>> torch.autograd.grad(call(Twice, x := torch.tensor(1.0, requires_grad=True)), x)
        (tensor(2.),)
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return function.apply(*args)
    return super(torch.autograd.Function, function).apply(*args)  # type: ignore[misc]
