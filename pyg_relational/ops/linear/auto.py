"""Which solver an equation gets where none is named."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from pyg_relational.ops.graph.components import connected_components
from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.scaled import LOOK
from pyg_relational.ops.linear.solvers import CG, Direct, Multigrid, Solver

if TYPE_CHECKING:
    from pyg_relational.ops.linear.set_up import SetUp

__all__ = ["choose"]

# Nodes up to which factors are the fastest where values travel far. Milliseconds of Direct() and Multigrid() on 1,000,
# 3,000 and 10,000 nodes: 2-d grids 7, 17; 15, 22; 85, 63; neighbours in 2-d 10, 19; 27, 53; 153, 151.
_SMALL = 2_000
# Cycles that may be left of a forest. Roads of 10,000 nodes have 2,500: .04 s, Multigrid() .11 s; the worst, a random
# graph of degree 3 with 5,000, takes 1.2 s and with 10,000 8.5 s.
_CYCLES = 5_000


def choose(set_up: "SetUp") -> Solver:
    """The solver that was fastest on graphs like this one, by a rule that is the same every time.

    1. ``CG()`` on CUDA and for ``order > 1``.
    2. ``Direct()`` for more than 2,000 nodes that are a forest but for 5,000 edges: there is hardly any fill-in.
    3. ``CG()`` where a crude solve on one column takes fewer than 30 iterations: values do not travel far.
    4. ``Direct()`` for up to 2,000 nodes.
    5. ``Multigrid()``, or ``CG()`` where pyamg is not installed.

    Args:
        set_up: What is to be solved.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.auto import choose
        >>> from pyg_relational.ops.linear.operator import ShiftedLaplacian
        >>> from pyg_relational.ops.linear.set_up import SetUp
        >>> path = torch.stack([torch.arange(2999), torch.arange(1, 3000)])
        >>> edges = torch.cat([path, path.flip(0)], dim=1)
        >>> one, zero = torch.ones(5998).double(), torch.zeros(3000).double()
        >>> choose(SetUp(ShiftedLaplacian(edges, one, zero, torch.arange(3000) == 0), None))
        Direct(strict=False)
    """
    operator = set_up.operator
    n = len(operator.fixed)
    if operator.fixed.is_cuda or operator.order > 1:
        return CG()
    if n > _SMALL and _nearly_forest(operator):
        return Direct()
    if set_up.scaled.look() < LOOK:
        return CG()
    if n <= _SMALL:
        return Direct()
    return Multigrid() if find_spec("pyamg") else CG()


def _nearly_forest(operator: ShiftedLaplacian) -> bool:
    """Whether there are few independent cycles: edges less nodes plus components."""
    n = len(operator.fixed)
    row, col = operator.edge_index
    edges = int((row < col).sum())
    if edges > n + _CYCLES:
        return False
    components = int(connected_components(operator.edge_index, n).max()) + 1
    return edges - n + components <= _CYCLES
