"""Functions by name or from a file, whose keyword-only arguments are their options."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from benchmarks import own

F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[F]):
    """Named functions of one kind.

    Args:
        kind: What they are, for error messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.functions: dict[str, F] = {}

    def __call__(self, name: str) -> Callable[[F], F]:
        """Decorator that registers a function under ``name``."""

        def add(function: F) -> F:
            if name in self.functions:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self.functions[name] = function
            return function

        return add

    def __getitem__(self, name: str) -> F:
        """The function of that name, or of a ``file.py:function``.

        Raises:
            ValueError: None has it.
            OSError: There is no such file.
        """
        if own.is_function(name):
            return own.function(name)
        if name not in self.functions:
            raise ValueError(f"{self.kind} must be one of {sorted(self.functions)}, got {name!r}")
        return self.functions[name]

    def options(self, name: str) -> dict[str, Any]:
        """Default of each option of a function."""
        parameters = inspect.signature(self[name]).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def complete(self, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """``options`` and the defaults of those not given.

        Raises:
            ValueError: An option is not one of the function's.
        """
        known = self.options(name)
        if unknown := sorted(set(options) - set(known)):
            raise ValueError(
                f"options of {self.kind} {name!r} must be among {sorted(known)}, got {unknown}"
            )
        return {**known, **options}
