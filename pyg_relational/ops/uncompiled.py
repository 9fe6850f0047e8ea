"""Functions that ``torch.compile`` does not trace, without importing the compiler."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

__all__ = ["uncompiled"]

_P = ParamSpec("_P")
_R = TypeVar("_R")


def uncompiled(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """:func:`torch.compiler.disable`, whose import of two seconds waits until someone compiles.

    Args:
        function: What runs as it stands, in one break of a compiled graph.

    Example:
        >>> from pyg_relational.ops.uncompiled import uncompiled
        >>> uncompiled(abs)(-1)
        1
    """
    disabled: list[Callable[_P, _R]] = []

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(function))
        return disabled[0](*args, **kwargs)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]  # what the compiler looks for
    return call
