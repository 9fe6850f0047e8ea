"""Which solver an equation gets where none is named."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import torch

from pyg_relational.ops.graph.components import connected_components
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.scaled import LOOK
from pyg_relational.ops.linear.solvers import CG, Auto, Chosen, Direct, Multigrid

if TYPE_CHECKING:
    from pyg_relational.ops.linear.set_up import SetUp

__all__ = ["choose"]

# Nodes up to which factors are the fastest where values travel far. Milliseconds of Direct() and Multigrid() on 1,000,
# 3,000 and 10,000 nodes: 2-d grids 7, 17; 15, 22; 85, 63; neighbours in 2-d 10, 19; 27, 53; 153, 151.
_SMALL = 2_000
# Cycles that may be left of a forest. Roads of 10,000 nodes have 2,500: .04 s, Multigrid() .11 s; the worst, a random
# graph of degree 3 with 5,000, takes 1.2 s and with 10,000 8.5 s.
_CYCLES = 5_000
# Nodes, edges a node and widest step over the root of the nodes, up to which factors are the fastest on roads. Seconds
# of Direct() and Multigrid() on roads with 1.25 edges a node, .9 to 1.0 wide, for 1 and 10 columns: 30,000 nodes .09,
# .21 and .17, .53; 100,000 .49, .72 and .82, 2.95; 300,000 2.11, 1.90 and 3.35, 11.9. A 2-d grid, 2 edges a node and
# 1.0 wide: 100,000 .65, .23 and .97, .70. Random graphs with 1.25 edges a node are 22 to 76 wide, and fill in.
_ROADS = 200_000
_DENSITY = 1.35
_WIDTH = 2.0


def choose(set_up: "SetUp", auto: Auto) -> Chosen:
    r"""The solver that was fastest on graphs like this one, by a rule that is the same every time.

    1. ``CG()`` on CUDA and for ``order > 1``.
    2. ``Direct()`` for more than 2,000 nodes that are a forest but for 5,000 edges: there is hardly any fill-in.
    3. ``CG()`` where a crude solve on one column takes fewer than 30 iterations: values do not travel far.
    4. ``Direct()`` for up to 2,000 nodes, or 200,000 of a road-like graph: at most 1.35 edges a node, and at most
       :math:`2 \sqrt{n}` nodes at any one distance from the first nodes of the components.
    5. ``Multigrid()``, or ``CG()`` where pyamg is not installed.

    Args:
        set_up: What is to be solved.
        auto: Tolerance and strictness of the one that is taken.

    Example:
        >>> import torch
        >>> from pyg_relational.ops import both_directions
        >>> from pyg_relational.ops.linear.auto import choose
        >>> from pyg_relational.ops.linear.operator import ShiftedLaplacian
        >>> from pyg_relational.ops.linear.set_up import SetUp
        >>> from pyg_relational.ops.linear.solvers import Auto
        >>> path = torch.stack([torch.arange(2999), torch.arange(1, 3000)])
        >>> edges, _ = both_directions(path, 3000)
        >>> one, zero = torch.ones(5998).double(), torch.zeros(3000).double()
        >>> choose(SetUp(ShiftedLaplacian(edges, one, zero, torch.arange(3000) == 0), Auto()), Auto())
        Direct(strict=False)
    """
    kind = _fastest(set_up)
    if issubclass(kind, Direct):
        return kind(strict=auto.strict)
    return kind(tol=auto.tol, strict=auto.strict)


def _fastest(set_up: "SetUp") -> type[Chosen]:
    operator = set_up.operator
    n = len(operator.fixed)
    if operator.fixed.is_cuda or operator.order > 1:
        return CG
    if n > _SMALL and _nearly_forest(operator):
        return Direct
    if set_up.scaled.look() < LOOK:
        return CG
    if n <= _SMALL or _road_like(operator):
        return Direct
    return Multigrid if find_spec("pyamg") else CG


def _nearly_forest(operator: ShiftedLaplacian) -> bool:
    """Whether there are few independent cycles: edges less nodes plus components."""
    edges, n = _edges(operator), len(operator.fixed)
    if edges > n + _CYCLES:
        return False
    components = int(connected_components(operator.edge_index, n).max()) + 1
    return edges - n + components <= _CYCLES


def _road_like(operator: ShiftedLaplacian) -> bool:
    """Whether there are few edges, and no step of a search in breadth meets many nodes: little fill-in."""
    from scipy.sparse.csgraph import dijkstra

    n = len(operator.fixed)
    if n > _ROADS or _edges(operator) > _DENSITY * n:
        return False
    component = connected_components(operator.edge_index, n)
    node = torch.arange(n)
    first = torch.full((int(component.max()) + 1,), n).scatter_reduce_(0, component, node, "amin")
    row, col = operator.edge_index.int().numpy()  # SciPy 1.12 takes no other
    ones = np.ones(len(row), dtype=np.float32)
    graph = scipy.sparse.csr_array((ones, (row, col)), shape=(n, n))
    step = dijkstra(graph, indices=first.numpy(), unweighted=True, min_only=True).astype(int)
    met = np.unique(component.numpy() * n + step, return_counts=True)[1]
    return bool(met.max() <= _WIDTH * n**0.5)


def _edges(operator: ShiftedLaplacian) -> int:
    row, col = operator.edge_index
    return int((row < col).sum())
