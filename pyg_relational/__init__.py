"""Relations between the samples of a batch as a PyG graph, and the methods that learn with them.

The rooms are imported when they are first asked for: ``pyg_relational.estimators`` brings scikit-learn, others do not.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyg_relational import (
        cluster,
        datasets,
        distributed,
        estimators,
        interop,
        metrics,
        nn,
        ops,
        transforms,
        visualize,
    )

__version__ = "0.1.0"

__all__ = [
    "cluster",
    "datasets",
    "distributed",
    "estimators",
    "interop",
    "metrics",
    "nn",
    "ops",
    "transforms",
    "visualize",
]


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
