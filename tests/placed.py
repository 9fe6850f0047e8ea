"""The suite's own tests on another device: what a test makes is there, and what it reads as numpy comes back."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

__all__ = ["Placed"]

TESTS = str(Path(__file__).parent)
PACKAGE = str(Path(__file__).parents[1] / "pyg_relational")
MAKERS = frozenset(_device_constructors())


class Placed(TorchFunctionMode):
    """Tensors that tests make without naming a device are on this one; drawn on the CPU, so with its numbers.

    So are parameters of modules. What functions of the package make is left alone: one that forgets the device of its
    arguments fails as it would for a user.

    Args:
        device: Where to.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.numpy and _by_a_test():
            return args[0].cpu().numpy(*args[1:], **kwargs)
        made = func(*args, **kwargs)
        if kwargs.get("device") is not None or func not in MAKERS or not _by_a_test():
            return made
        return made.detach().to(self.device).requires_grad_(made.requires_grad)


def _by_a_test() -> bool:
    """Whether the innermost function of the repository is a test's, or makes a module."""
    frame = sys._getframe(2)
    while frame:
        code = frame.f_code
        if code.co_filename.startswith(PACKAGE):
            return code.co_name in ("__init__", "reset_parameters")
        if code.co_filename.startswith(TESTS):
            return True
        frame = frame.f_back
    return False
