"""The numerical core: pure functions on tensors."""

from pyg_relational.ops.components import connected_components
from pyg_relational.ops.edge_dot import edge_diff_dot, edge_dot
from pyg_relational.ops.edges import both_directions, neighbor_pairs
from pyg_relational.ops.gatv2 import gatv2_scores
from pyg_relational.ops.kernels import gaussian_kernel, safe_sqrt, unit_rows
from pyg_relational.ops.knn import KNN, knn
from pyg_relational.ops.laplacian import laplacian_product
from pyg_relational.ops.modularity import modularity
from pyg_relational.ops.solve import CG, ConvergenceError, Direct, SolveInfo
from pyg_relational.ops.spmm import spmm
from pyg_relational.ops.tangent_basis import tangent_basis

__all__ = [
    "CG",
    "KNN",
    "ConvergenceError",
    "Direct",
    "SolveInfo",
    "both_directions",
    "connected_components",
    "edge_diff_dot",
    "edge_dot",
    "gatv2_scores",
    "gaussian_kernel",
    "knn",
    "laplacian_product",
    "modularity",
    "neighbor_pairs",
    "safe_sqrt",
    "spmm",
    "tangent_basis",
    "unit_rows",
]
