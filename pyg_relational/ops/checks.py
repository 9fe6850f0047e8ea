"""Input checks shared by the public functions: each names the argument, what it expected and what it got."""

import operator
from typing import Any, get_args

import torch
from torch import Tensor

__all__ = [
    "check_choice",
    "check_classes",
    "check_count",
    "check_features",
    "check_labels",
    "check_share",
]


def check_features(x: Any, name: str = "x") -> None:
    """Raise unless ``x`` is a floating-point matrix ``[n, d]`` of finite values.

    Args:
        x: The argument to check.
        name: How the caller's signature names it.

    Raises:
        TypeError: If ``x`` is not a floating-point Tensor.
        ValueError: If ``x`` is not 2-dimensional or holds NaN or infinity.
        RuntimeError: In place of that, compiled, if it holds NaN or infinity.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    if x.dim() != 2:
        raise ValueError(f"{name} must have shape [n, d], got {list(x.shape)}")
    if torch.compiler.is_compiling():
        torch._assert_async(torch.isfinite(x.detach()).all(), f"{name} must be finite")
        return
    if torch.isfinite(x.detach().sum()):  # one pass; a finite sum has finite terms
        return
    bad = (~torch.isfinite(x)).nonzero()
    if len(bad):
        i, j = bad[0].tolist()
        raise ValueError(f"{name} must be finite, got {x[i, j].item()} in row {i}, column {j}")


def check_labels(y: Any, n: int, name: str = "y") -> None:
    """Raise unless ``y`` is an int64 vector of length ``n``.

    Args:
        y: The argument to check.
        n: The number of rows it goes with.
        name: How the caller's signature names it.

    Raises:
        TypeError: If ``y`` is not an int64 Tensor.
        ValueError: If its shape is not ``[n]``.
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(y).__name__}")
    if y.dtype != torch.int64:
        raise TypeError(f"{name} must be int64, got {y.dtype}")
    if y.shape != (n,):
        raise ValueError(f"{name} must have shape [{n}], got {list(y.shape)}")


def check_classes(y: Any, n: int, name: str = "y") -> None:
    """Raise unless ``y`` is an int64 vector of length ``n`` of classes, or -1 for none.

    Args:
        y: The argument to check.
        n: The number of rows it goes with.
        name: How the caller's signature names it.

    Raises:
        TypeError: If ``y`` is not an int64 Tensor.
        ValueError: If its shape is not ``[n]`` or a class is below -1.
        RuntimeError: In place of that, compiled, if a class is below -1.
    """
    check_labels(y, n, name)
    if torch.compiler.is_compiling():
        torch._assert_async((y >= -1).all(), f"{name} must be >= -1")
    elif n and (lowest := int(y.min())) < -1:
        raise ValueError(f"{name} must be >= -1, got {lowest}")


def check_choice(value: Any, choices: Any, name: str) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``.

    Args:
        value: The argument to check.
        choices: What is allowed: a tuple, or the :data:`typing.Literal` of the caller's signature.
        name: How the caller's signature names it.
    """
    choices = get_args(choices) or choices
    if value not in choices:
        raise ValueError(f"{name} must be one of {choices}, got {value!r}")


def check_count(value: Any, name: str, least: int = 1) -> int:
    """``value`` as an int; raise unless it is an integer, of any library, and at least ``least``.

    Args:
        value: The argument to check.
        name: How the caller's signature names it.
        least: The smallest that is allowed.

    Raises:
        TypeError: If ``value`` is no integer, or a bool of any library.
        ValueError: If it is below ``least``.
    """
    try:
        if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
            raise TypeError
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {type(value).__name__}") from None
    if count < least:
        raise ValueError(f"{name} must be >= {least}, got {count}")
    return count


def check_share(value: Any, name: str) -> None:
    """Raise ``ValueError`` unless ``value`` is in [0, 1].

    Args:
        value: The argument to check.
        name: How the caller's signature names it.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
