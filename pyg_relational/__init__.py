"""Relations between the samples of a batch as a PyG graph, and the methods that learn with them.

The rooms are imported when they are first asked for: ``pyg_relational.estimators`` brings scikit-learn, others do not.
"""

from typing import TYPE_CHECKING

from pyg_relational.on_demand import on_demand

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

__version__ = "0.2.0"

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


__getattr__, __dir__ = on_demand(__name__, dict.fromkeys(__all__))
