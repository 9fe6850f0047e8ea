"""Whether a fused kernel may run."""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

__all__ = ["is_fused"]

_ALLOWED = os.environ.get("PYG_RELATIONAL_FUSED", "1") != "0" and find_spec("triton") is not None
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def is_fused(*tensors: Tensor) -> bool:
    """Whether Triton's kernels run on these: on CUDA, none empty, float32 or half precision, and triton is installed.

    ``PYG_RELATIONAL_FUSED=0`` in the environment, when ``pyg_relational`` is imported, turns all of them off.

    Args:
        *tensors: What the kernel would read.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.fused.available import is_fused
        >>> is_fused(torch.ones(2))
        False
    """
    return _ALLOWED and all(t.is_cuda and t.numel() > 0 and t.dtype in _DTYPES for t in tensors)
