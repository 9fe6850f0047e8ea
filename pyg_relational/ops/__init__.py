"""The numerical core: pure functions on tensors."""

from pyg_relational.ops.graph.components import connected_components
from pyg_relational.ops.graph.edge_dot import edge_diff_dot, edge_dot
from pyg_relational.ops.graph.edges import both_directions, neighbor_pairs
from pyg_relational.ops.graph.hypergraph import hypergraph_laplacian_product
from pyg_relational.ops.graph.kernels import gaussian_kernel, safe_sqrt, unit_rows
from pyg_relational.ops.graph.laplacian import laplacian_product
from pyg_relational.ops.graph.modularity import modularity
from pyg_relational.ops.graph.spmm import spmm
from pyg_relational.ops.linear.prepared import Prepared
from pyg_relational.ops.linear.solvers import (
    CG,
    Auto,
    ConvergenceError,
    Direct,
    Multigrid,
    SolveInfo,
)
from pyg_relational.ops.neighbors.approximate import ApproximateKNN, approximate_knn
from pyg_relational.ops.neighbors.knn import KNN, knn
from pyg_relational.ops.neighbors.tangent_basis import tangent_basis
from pyg_relational.ops.pairs.gatv2 import gatv2_scores

__all__ = [
    "CG",
    "KNN",
    "ApproximateKNN",
    "Auto",
    "ConvergenceError",
    "Direct",
    "Multigrid",
    "Prepared",
    "SolveInfo",
    "approximate_knn",
    "both_directions",
    "connected_components",
    "edge_diff_dot",
    "edge_dot",
    "gatv2_scores",
    "gaussian_kernel",
    "hypergraph_laplacian_product",
    "knn",
    "laplacian_product",
    "modularity",
    "neighbor_pairs",
    "safe_sqrt",
    "spmm",
    "tangent_basis",
    "unit_rows",
]
