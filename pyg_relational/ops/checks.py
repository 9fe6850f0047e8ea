"""Input checks shared by the public functions: each names the argument, what it expected and what it got."""

import math
import operator
from collections.abc import Mapping
from typing import Any, get_args

import torch
from torch import Tensor

__all__ = [
    "check_batch",
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
    _check_matrix(x, name)
    if torch.compiler.is_compiling():
        _assert_finite(x, name)
    elif not math.isfinite(x.detach().sum().item()):  # one pass; a finite sum has finite terms
        _refuse_infinite(x, name)


def check_batch(
    features: Mapping[str, Any], classes: Mapping[str, Any], *also: Tensor
) -> list[float]:
    """:func:`check_features` and :func:`check_classes` of a whole batch, with one wait for its device.

    Args:
        features: Matrices by the names that the caller's signature has for them.
        classes: Classes of the rows of each of them; of fewer than there are matrices, of the first ones.
        *also: Numbers that the caller wants to know, too.

    Returns:
        The lowest of each of ``classes``, -1 or more, and ``also``; nothing of them while compiling.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong, a value is not finite or a class is below -1.
        RuntimeError: In place of that, compiled, if a value is not finite or a class is below -1.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.checks import check_batch
        >>> check_batch({"x": torch.ones(2, 3)}, {"y": torch.tensor([4, -1])}, torch.tensor(7))
        [-1.0, 7.0]
    """
    for name, x in features.items():
        _check_matrix(x, name)
    for x, (name, y) in zip(features.values(), classes.items(), strict=False):
        check_labels(y, x.shape[0], name)
    if torch.compiler.is_compiling():
        for name, x in features.items():
            _assert_finite(x, name)
        for name, y in classes.items():
            torch._assert_async((y >= -1).all(), f"{name} must be >= -1")
        return []
    sums = [x.detach().sum() for x in features.values()]
    lowest = [y.min() if len(y) else y.new_zeros(()) for y in classes.values()]
    values = _read(*sums, *lowest, *also)
    for (name, x), total in zip(features.items(), values, strict=False):
        if not math.isfinite(total):
            _refuse_infinite(x, name)
    for (name, y), low in zip(classes.items(), values[len(sums) :], strict=False):
        if low < -1:
            raise ValueError(f"{name} must be >= -1, got {int(y.min())}")
    return values[len(sums) :]


def _read(*numbers: Tensor) -> list[float]:
    """From the CPU one by one, which costs less there than to stack them."""
    if all(number.is_cpu for number in numbers):
        return [float(number.item()) for number in numbers]
    values: list[float] = torch.stack([number.double() for number in numbers]).tolist()
    return values


def _check_matrix(x: Any, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    if x.dim() != 2:
        raise ValueError(f"{name} must have shape [n, d], got {list(x.shape)}")


def _assert_finite(x: Tensor, name: str) -> None:
    torch._assert_async(torch.isfinite(x.detach()).all(), f"{name} must be finite")


def _refuse_infinite(x: Tensor, name: str) -> None:
    """Raise with the place of the first; a sum can overflow without any."""
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
