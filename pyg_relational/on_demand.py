"""Names that a package imports when they are first asked for: all of PyG takes longer to import than torch."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["on_demand"]


def on_demand(
    door: str, places: dict[str, str | None]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package that imports some names on demand (PEP 562).

    Args:
        door: ``__name__`` of the package.
        places: Names, and the module of the package where each is; ``None`` for a module itself.
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {door!r} has no attribute {name!r}")
        module = import_module(f"{door}.{places[name] or name}")
        return module if places[name] is None else getattr(module, name)

    return get, lambda: sorted({*vars(sys.modules[door]), *places})
