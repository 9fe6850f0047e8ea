"""Options that a module keeps for a function: named as there, and shown."""

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from inspect import Parameter, signature
from typing import Any, TypeVar

from torch import Tensor

__all__ = ["check_options", "show_options", "with_options"]

_Callee = TypeVar("_Callee", bound=Callable[..., Any])


def check_options(
    function: Callable[..., Any], options: Mapping[str, Any], given: Collection[str] = ()
) -> dict[str, Any]:
    """The keyword-only arguments of a function: ``options``, and defaults for the others.

    Args:
        function: The function that will be called with them.
        options: What the user has named.
        given: Arguments that the caller sets itself: no options.

    Raises:
        TypeError: If one is no keyword-only argument of the function.

    Example:
        >>> from pyg_relational.ops.options import check_options
        >>> def f(x, *, tau=0.0, order=1): ...
        >>> check_options(f, {"order": 2})
        {'tau': 0.0, 'order': 2}
        >>> check_options(f, {"taau": 0.1})
        Traceback (most recent call last):
        TypeError: taau must be an option of f, such as tau, got taau=0.1
    """
    defaults = {
        name: parameter.default
        for name, parameter in signature(function).parameters.items()
        if parameter.kind is Parameter.KEYWORD_ONLY and name not in given
    }
    for name, value in options.items():
        if name not in defaults:
            near = get_close_matches(name, defaults) or sorted(defaults)
            raise TypeError(
                f"{name} must be an option of {function.__name__}, such as {', '.join(near)}, "
                f"got {name}={value!r}"
            )
    return defaults | dict(options)


def with_options(options: type) -> Callable[[_Callee], _Callee]:
    """Decorator of a function or class with ``**options``: signature and docstring name each of them.

    Args:
        options: Dataclass of the options, with an ``Args`` section.

    Example:
        >>> from dataclasses import dataclass
        >>> from inspect import signature
        >>> from pyg_relational.ops.options import with_options
        >>> @dataclass(kw_only=True)
        ... class Options:
        ...     tau: float = 0.0
        >>> @with_options(Options)
        ... def f(x, **options): ...
        >>> signature(f)
        <Signature (x, *, tau: float = 0.0)>
    """

    def decorate(callee: _Callee) -> _Callee:
        given = signature(callee)
        kept = [p for p in given.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        named = signature(options).parameters.values()
        callee.__signature__ = given.replace(parameters=[*kept, *named])  # type: ignore[attr-defined]
        text = (options.__doc__ or "").partition("    Args:\n")[2].partition("\n\n")[0]
        callee.__doc__ = re.sub(r" +\*\*options: .*", lambda _: text, callee.__doc__ or "")
        return callee

    return decorate


def show_options(options: Mapping[str, Any]) -> str:
    """Options as they are in a call; a Tensor of more than four numbers by its shape.

    Args:
        options: Names and values.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.options import show_options
        >>> show_options({"method": "auto", "tau": torch.tensor(0.5), "weights": torch.ones(9)})
        "method='auto', tau=0.5, weights=Tensor[9]"
    """
    return ", ".join(f"{name}={_shown(value)}" for name, value in options.items())


def _shown(value: Any) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    return str(value.tolist()) if value.numel() <= 4 else f"Tensor{list(value.shape)}"
