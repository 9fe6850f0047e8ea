"""Relations between the samples of a batch as a PyG graph, and the methods that learn with them."""

from pyg_relational import (
    cluster,
    datasets,
    distributed,
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
    "interop",
    "metrics",
    "nn",
    "ops",
    "transforms",
    "visualize",
]
