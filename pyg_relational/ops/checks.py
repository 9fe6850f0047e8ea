"""Input checks shared by the public functions: each names the argument, what it expected and what it got."""

import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Check",
    "asked",
    "at_least",
    "batch_checks",
    "below",
    "check_batch",
    "check_choice",
    "check_classes",
    "check_count",
    "check_features",
    "check_labels",
    "check_matrix",
    "check_number",
    "check_share",
    "finite",
    "floats",
    "judge",
    "may_read",
    "read",
    "settle",
    "zero_or_one",
]

_LARGEST = sys.float_info.max


class Check(NamedTuple):
    """A number of a device and the range it must be in.

    Args:
        rule: What must be, for an error while compiling.
        number: The number, made when it is asked for.
        low: Its least value.
        high: Its largest value.
        refuse: Raise, saying what came. It may return where all is well: a sum can overflow.
    """

    rule: str
    number: Callable[[], Tensor]
    low: float
    high: float
    refuse: Callable[[], object]


def settle(*checks: Check) -> list[float]:
    """Raise at the first check that fails, with one wait for the device for all of them.

    Args:
        *checks: The checks.

    Returns:
        Their numbers; nothing of them where none :func:`may_read`, but each is asserted on the device.

    Raises:
        ValueError: From the check.
        RuntimeError: In place of that, compiled or in a CUDA graph.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.checks import at_least, finite, settle
        >>> settle(finite(torch.ones(2, 2), "x"), at_least(torch.tensor([4, 2]), 0, "y"))
        [4.0, 2.0]
    """
    if not may_read():
        for rule, number, low, high, _ in checks:
            value = number()
            torch._assert_async((value >= low) & (value <= high), rule)
        return []
    numbers = read(*checks)
    judge(checks, numbers)
    return numbers


def may_read() -> bool:
    """Whether numbers may be read from a device now: not while compiling or capturing a CUDA graph.

    Example:
        >>> from pyg_relational.ops.checks import may_read
        >>> may_read()
        True
    """
    if torch.compiler.is_compiling():
        return False
    return not (torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())


def read(*checks: Check) -> list[float]:
    """Numbers of checks, from a device all at once; from the CPU one by one, which costs less there.

    Args:
        *checks: The checks.
    """
    return floats(*(check.number() for check in checks))


def floats(*numbers: Tensor) -> list[float]:
    """Numbers as float64, from a device all at once; from the CPU one by one, which costs less there.

    Args:
        *numbers: Scalars of one device, of any number types.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.checks import floats
        >>> floats(torch.tensor(2), torch.tensor(True))
        [2.0, 1.0]
    """
    if all(number.is_cpu for number in numbers):
        return [float(number.item()) for number in numbers]
    together = numbers[0].new_empty(len(numbers), dtype=torch.float64)
    values: list[float] = torch.stack(numbers, out=together).tolist()
    return values


def judge(checks: Iterable[Check], numbers: Iterable[float]) -> None:
    """Raise at the first check whose number is out of range.

    Args:
        checks: The checks.
        numbers: Their numbers; there may be more.

    Raises:
        ValueError: From the check.
    """
    for check, number in zip(checks, numbers, strict=False):
        if not check.low <= number <= check.high:
            check.refuse()


def finite(x: Tensor, name: str) -> Check:
    """A check that all values of a matrix are finite.

    Args:
        x: The matrix.
        name: How the caller's signature names it.
    """
    rule = f"{name} must be finite"
    if not may_read():
        return Check(rule, lambda: torch.isfinite(x.detach()).all(), 1, 1, lambda: None)

    def total() -> Tensor:  # one pass; a finite sum has finite terms
        return x.detach().sum()

    return Check(rule, total, -_LARGEST, _LARGEST, lambda: _refuse_infinite(x, name))


def at_least(y: Tensor, least: int, name: str) -> Check:
    """A check that no integer is below ``least``; the number is the lowest, 0 of none.

    Args:
        y: The integers.
        least: The smallest that is allowed.
        name: How the caller's signature names them.
    """

    def lowest() -> Tensor:
        return y.min() if y.numel() else y.new_zeros(())

    def refuse() -> None:
        raise ValueError(f"{name} must be >= {least}, got {int(y.min())}")

    return Check(f"{name} must be >= {least}", lowest, least, math.inf, refuse)


def below(y: Tensor, limit: int, name: str) -> Check:
    """A check that every integer is below ``limit``; the number is the largest, ``limit - 1`` of none.

    Args:
        y: The integers.
        limit: The smallest that is not allowed.
        name: How the caller's signature names them.
    """

    def largest() -> Tensor:
        return y.max() if y.numel() else y.new_full((), limit - 1)

    def refuse() -> None:
        raise ValueError(f"{name} must be < {limit}, got {int(y.max())}")

    return Check(f"{name} must be < {limit}", largest, -math.inf, limit - 1, refuse)


def zero_or_one(y: Any, name: str) -> Check:
    """A check that a matrix ``[n, C]``, of any type, holds 0 and 1 alone.

    Args:
        y: The argument to check.
        name: How the caller's signature names it.

    Raises:
        TypeError: If ``y`` is no Tensor.
        ValueError: If it is not 2-dimensional.
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(y).__name__}")
    if y.dim() != 2:
        raise ValueError(f"{name} must have shape [n, C], got {list(y.shape)}")
    other = (y != 0) & (y != 1)

    def refuse() -> None:
        raise ValueError(f"{name} must hold 0 and 1, got {y[other][0].item()}")

    return Check(f"{name} must hold 0 and 1", lambda: other.any(), 0, 0, refuse)


def asked(number: Callable[[], Tensor]) -> Check:
    """A check that lets any number pass.

    Args:
        number: What makes it.
    """
    return Check("", number, -math.inf, math.inf, lambda: None)


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
    check_matrix(x, name)
    settle(finite(x, name))


def check_batch(features: Mapping[str, Any], classes: Mapping[str, Any]) -> list[float]:
    """:func:`check_features` and :func:`check_classes` of a whole batch, with one wait for its device.

    Args:
        features: Matrices by the names that the caller's signature has for them.
        classes: Classes of the rows of each of them; of fewer than there are matrices, of the first ones.

    Returns:
        The lowest of each of ``classes``, -1 or more; nothing of them while compiling.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong, a value is not finite or a class is below -1.
        RuntimeError: In place of that, compiled, if a value is not finite or a class is below -1.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.checks import check_batch
        >>> check_batch({"x": torch.ones(2, 3)}, {"y": torch.tensor([4, -1])})
        [-1.0]
    """
    return settle(*batch_checks(features, classes))[len(features) :]


def batch_checks(features: Mapping[str, Any], classes: Mapping[str, Any]) -> list[Check]:
    """What :func:`check_batch` asks of values; dtypes and shapes are checked at once.

    Args:
        features: As there.
        classes: As there.

    Raises:
        TypeError: If a dtype is wrong.
        ValueError: If a shape is wrong.
    """
    for name, x in features.items():
        check_matrix(x, name)
    sizes = [x.shape[0] for x in features.values()][: len(classes)]
    for size, (name, y) in zip(sizes, classes.items(), strict=True):
        check_labels(y, size, name)
    return [
        *(finite(x, name) for name, x in features.items()),
        *(at_least(y, -1, name) for name, y in classes.items()),
    ]


def check_matrix(x: Any, name: str = "x") -> None:
    """Raise unless ``x`` is a floating-point matrix ``[n, d]``.

    Args:
        x: The argument to check.
        name: How the caller's signature names it.

    Raises:
        TypeError: If ``x`` is not a floating-point Tensor.
        ValueError: If it is not 2-dimensional.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        hint = "" if x.is_complex() else f": take {name}.float()"
        raise TypeError(f"{name} must be floating point, got {x.dtype}{hint}")
    if x.dim() != 2:
        hint = f": take {name}.flatten(1)" if x.dim() > 2 else ""
        raise ValueError(f"{name} must have shape [n, d], got {list(x.shape)}{hint}")


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
        raise TypeError(f"{name} must be int64, got {y.dtype}: take {name}.long()")
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
    settle(at_least(y, -1, name))


def check_choice(value: Any, choices: Any, name: str) -> None:
    """Raise ``ValueError`` unless ``value`` is one of ``choices``.

    Args:
        value: The argument to check.
        choices: What is allowed: a tuple, or the :data:`typing.Literal` of the caller's signature.
        name: How the caller's signature names it.
    """
    choices = getattr(choices, "__args__", choices)
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


def check_number(value: Any, name: str) -> None:
    """Raise ``TypeError`` unless ``value`` is a number of any library, no bool, or a Tensor.

    Args:
        value: The argument to check.
        name: How the caller's signature names it.
    """
    if isinstance(value, bool) or not isinstance(value, (float, int, Tensor, Real)):
        raise TypeError(f"{name} must be a number or a Tensor, got {type(value).__name__}")


def check_share(value: Any, name: str) -> None:
    """Raise unless ``value`` is a number in [0, 1].

    Args:
        value: The argument to check.
        name: How the caller's signature names it.

    Raises:
        TypeError: If it is no number.
        ValueError: If it is out of range.
    """
    check_number(value, name)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be in [0, 1], got {value}")
