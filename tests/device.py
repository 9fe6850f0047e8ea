"""A pretend GPU: tensors that say ``cuda`` and hold their values on the CPU; what a GPU would wait for is counted.

It says nothing of speed, of cuSPARSE or of memory. C++ takes the tensors for ``meta``.
"""

import sys
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["Counts", "Pretend", "pretend"]

CUDA = torch.device("cuda", 0)
_INSIDE = torch.device("meta")  # for C++: the only device but the CPU that autograd runs on here
PACKAGE = str(Path(__file__).parents[1] / "pyg_relational")
# What waits for its result, to know a size or a number.
READS = frozenset(
    [
        "_local_scalar_dense",
        "nonzero",
        "_unique",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "masked_select",
        "bincount",
        "equal",
        "isin",
        "linalg_cholesky",
        "_linalg_svd",
        "_linalg_eigh",
    ]
)
# What starts no kernel, besides views.
FREE = frozenset(
    [
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "_unsafe_view",
        "lift_fresh",
        "_sparse_csr_tensor_unsafe",
        "sparse_compressed_tensor",
        "_sparse_compressed_tensor_unsafe",
        "crow_indices",
        "col_indices",
        "values",
        "detach",
    ]
)
# What changes the shape of a tensor in place.
RESHAPE = frozenset(["squeeze_", "unsqueeze_", "t_", "transpose_", "as_strided_"])


class Pretend(torch.Tensor):
    """A tensor on the pretend GPU; ``value`` is on the CPU."""

    value: Tensor
    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    layout = property(lambda self: self.value.layout)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, value: Tensor) -> "Pretend":
        dense = value.layout == torch.strided
        strides = (
            {"strides": value.stride(), "storage_offset": value.storage_offset()} if dense else {}
        )
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, value.shape, dtype=value.dtype, device=_INSIDE, **strides
        )
        tensor.value = value
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} of a pretend tensor must be within Counts()")

    def __repr__(self) -> str:
        return f"Pretend({list(self.shape)})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def cpu(self) -> Tensor:
        assert not (self.requires_grad and torch.is_grad_enabled()), "gradients end here"
        Counts.current().reads[_site()] += 1
        return self.value.clone()

    def new_tensor(self, data: Any, dtype: torch.dtype | None = None) -> Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype, device=self.device)

    def numpy(self) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        device = kwargs.pop("device", None)
        if args and isinstance(args[0], str | torch.device | Tensor):
            like, *args = args
            device = like.device if isinstance(like, Tensor) else like
            args = [like.dtype, *args] if isinstance(like, Tensor) else args
        if device is not None and torch.device(device).type == "cpu":
            return self.cpu().to(*args, **kwargs)
        return torch.Tensor.to(self, *args, **kwargs) if args or kwargs else self


def _brought(factory: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """``torch.tensor`` and its like, which leave no trace below, by a copy."""

    def make(*args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        made = factory(*args, **kwargs)
        return made if device is None else made.to(device)

    return make


class Counts(TorchDispatchMode):
    """Within it pretend tensors can be computed with, and what happens is counted by source line.

    Attributes:
        reads: The host waits for the device: a number or a size that depends on data.
        copies: From the host to the device.
        launches: Operators, views and allocations not counted.

    Raises:
        RuntimeError: At an operator of tensors on both.

    Example:
        >>> with Counts() as counts:
        ...     x = pretend(torch.arange(3))
        ...     _ = bool((x > 1).any())
        >>> counts.reads.total(), counts.launches.total()
        (1, 3)
    """

    _active: ClassVar[list[Any]] = []

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.copies, self.launches = Counter(), Counter(), Counter()

    @staticmethod
    def current() -> "Counts":
        return Counts._active[-1]

    def __enter__(self) -> "Counts":
        Counts._active.append(self)
        self._patches = ExitStack()
        for name in ("tensor", "as_tensor", "sparse_csr_tensor"):
            self._patches.enter_context(patch.object(torch, name, _brought(getattr(torch, name))))
        self._patches.enter_context(patch("torch.cuda._lazy_init"))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.close()
        Counts._active.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        held = [t for t in tensors if isinstance(t, Pretend)]
        device = kwargs.get("device")
        to_host = bool(held) and device is not None and device.type == "cpu"
        here = bool(held) if device is None else device.type != "cpu"
        name = func._schema.name.partition("::")[2]
        if held or here:
            self._count(func, name, args, tensors, held, to_host)
        if here and device is not None:
            kwargs["device"] = torch.device("cpu")
        plain_args, plain_kwargs = tree_map(_value, (args, kwargs))
        out = func(*plain_args, **plain_kwargs)
        if name in RESHAPE:
            with torch._C._DisableTorchDispatch():
                return func(*args, **kwargs)
        if not here or (name == "copy_" and not isinstance(args[0], Pretend)):
            return out if not (name == "copy_" and held) else args[0]
        return tree_map(lambda t: _held(t, held), out)

    def _count(
        self,
        func: Any,
        name: str,
        args: Any,
        tensors: list[Tensor],
        held: list[Pretend],
        to_host: bool,
    ) -> None:
        site = _site()
        if not func.is_view and name not in FREE:
            self.launches[site] += 1
        brought = name == "copy_" and not isinstance(args[0], Pretend)
        if to_host or brought or name in READS or _sized_by_data(name, args, tensors):
            self.reads[site] += 1
        elif name in ("_to_copy", "copy_"):
            self.copies[site] += len(held) < len(tensors)
        elif name == "index" and len(held) < len(tensors):
            self.copies[site] += 1  # an index on the host is brought
        elif any(t.dim() for t in tensors if not isinstance(t, Pretend)) and held:
            raise RuntimeError(f"{name} at {site} must have tensors of one device")


def _sized_by_data(name: str, args: Any, tensors: list[Tensor]) -> bool:
    """An index by a mask, or repetitions of a number each, whose total is not known."""
    if name == "repeat_interleave":
        return len(args) < 2 and len(tensors) == 1
    masked = name.startswith(("index", "_index_put")) and any(
        t.dtype in (torch.bool, torch.uint8) for t in tensors[1:]
    )
    filled = "index_put" in name and isinstance(args[2], Tensor) and args[2].numel() == 1
    return masked and not filled


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Pretend) else x


def _held(x: Any, held: list[Pretend]) -> Any:
    """The result on the pretend GPU: the same object where the operator wrote in place."""
    if not isinstance(x, Tensor):
        return x
    return next((t for t in held if t.value is x), Pretend(x))


def _site() -> str:
    """The innermost line of the package."""
    frame = sys._getframe(1)
    while frame and not frame.f_code.co_filename.startswith(PACKAGE):
        frame = frame.f_back
    return (
        f"{frame.f_code.co_filename.removeprefix(PACKAGE)}:{frame.f_lineno}"
        if frame
        else "elsewhere"
    )


def pretend(x: Any) -> Any:
    """A tensor, or a module in place, on the pretend GPU.

    Args:
        x: What to bring there; gradients reach a tensor that needs them, as a leaf.
    """
    if not isinstance(x, nn.Module):
        return Pretend(x.detach().clone()).requires_grad_(x.requires_grad)
    for part in x.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(Pretend(parameter.detach().clone()))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = Pretend(buffer.clone())
    return x
