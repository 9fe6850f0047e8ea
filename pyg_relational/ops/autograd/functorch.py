"""Below ``torch.func``: a batch of graphs is one graph of as many parts, and work is done on plain values."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["join_nodes", "join_rows", "plainly", "split_parts"]


def join_rows(x: Tensor, dim: int | None, size: int) -> Tensor:
    """Rows of all parts, one part after the other.

    Args:
        x: What is mapped over.
        dim: Its dimension that is mapped, ``None`` where all parts share it.
        size: Number of parts.

    Shapes:
        ``x``: :math:`[n, *]` and the mapped dimension, output: :math:`[B n, *]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.functorch import join_rows
        >>> join_rows(torch.tensor([1, 2]), None, 2).tolist()
        [1, 2, 1, 2]
    """
    parts = x.expand(size, *x.shape) if dim is None else x.movedim(dim, 0)
    return parts.reshape(-1, *parts.shape[2:])


def join_nodes(index: Tensor, dim: int | None, size: int, num_nodes: int) -> Tensor:
    """Nodes of all parts, numbered through.

    Args:
        index: Nodes of a part.
        dim: Its dimension that is mapped, ``None`` where all parts share it.
        size: Number of parts.
        num_nodes: Number of nodes of a part.

    Shapes:
        ``index``: :math:`[E]` and the mapped dimension, output: :math:`[B E]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.functorch import join_nodes
        >>> join_nodes(torch.tensor([0, 2]), None, 2, 3).tolist()
        [0, 2, 3, 5]
    """
    parts = join_rows(index, dim, size)
    offset = num_nodes * torch.arange(size, device=index.device)
    return parts + offset.repeat_interleave(parts.numel() // size)


def split_parts(x: Tensor, size: int) -> Tensor:
    """Parts of what :func:`join_rows` joined.

    Args:
        x: Rows of all parts.
        size: Number of parts.

    Shapes:
        ``x``: :math:`[B n, *]`, output: :math:`[B, n, *]`.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.functorch import split_parts
        >>> split_parts(torch.tensor([1, 2, 1, 2]), 2).tolist()
        [[1, 2], [1, 2]]
    """
    return x.reshape(size, x.shape[0] // size, *x.shape[1:])


class _Plainly(torch.autograd.Function):
    @staticmethod
    def forward(f: Callable[..., Any], *tensors: Tensor) -> Any:
        return f(*tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            ctx.mark_non_differentiable(output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise NotImplementedError


def plainly(f: Callable[..., Any], *tensors: Tensor) -> Any:
    """``f(*tensors)`` without gradient, on values below all wrappers of ``torch.func.grad``.

    For what those wrappers cannot do, sparse matrices above all.

    Args:
        f: Function of the tensors; it returns a Tensor or ``None``.
        *tensors: What it is called with.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.functorch import plainly
        >>> torch.func.grad(lambda x: x.square() + plainly(torch.exp, x))(torch.tensor(2.0))
        tensor(4.)
    """
    return _Plainly.apply(f, *tensors)
