"""Kernels that ``torch.compile`` calls as they are instead of looking into them."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Kernel", "opaque"]

Kernel = Callable[..., Tensor]


def opaque(name: str, shape: Kernel) -> Callable[[Kernel], Kernel]:
    """Decorator that registers a kernel as the operator ``pyg_relational::name``, used while compiling only.

    Eager calls go past the dispatcher. Derivatives are left to the ``autograd.Function`` around the kernel.

    Args:
        name: Name of the operator.
        shape: An empty result, from the kernel's arguments.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.autograd.opaque import opaque
        >>> @opaque("doubled", lambda x: torch.empty_like(x))
        ... def doubled(x: torch.Tensor) -> torch.Tensor:
        ...     return 2 * x
        >>> torch.compile(doubled, fullgraph=True, backend="eager")(torch.ones(2)).tolist()
        [2.0, 2.0]
    """

    def register(kernel: Kernel) -> Kernel:
        operator = torch.library.custom_op(f"pyg_relational::{name}", kernel, mutates_args=())
        operator.register_fake(shape)

        def call(*args: object) -> Tensor:
            return operator(*args) if torch.compiler.is_compiling() else kernel(*args)

        return call

    return register
