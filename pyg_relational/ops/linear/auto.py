"""Which solver an equation gets where none is named."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from pyg_relational.ops.graph.components import connected_components
from pyg_relational.ops.linear.scaled import LOOK, ScaledLaplacian
from pyg_relational.ops.linear.solvers import CG, Direct, Multigrid, Solver

if TYPE_CHECKING:
    from pyg_relational.ops.linear.grounded import GroundedLaplacian

_SMALL = 1_000
_CYCLES = 1_000


def choose(equation: "GroundedLaplacian") -> Solver:
    """The solver that was fastest on graphs like this one, by a rule that is the same every time.

    1. ``CG()`` on CUDA, for ``order > 1`` and for up to 1,000 nodes.
    2. ``Direct()`` for a forest, or a graph that 1,000 edges less make one: its factors have hardly more entries than it.
    3. ``CG()`` where a crude solve on one column takes fewer than 30 iterations: values do not travel far.
    4. ``Multigrid()``, or ``CG()`` where pyamg is not installed.

    Args:
        equation: What is to be solved.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.auto import choose
        >>> from pyg_relational.ops.linear.grounded import GroundedLaplacian
        >>> path = torch.stack([torch.arange(1999), torch.arange(1, 2000)])
        >>> edges = torch.cat([path, path.flip(0)], dim=1)
        >>> choose(GroundedLaplacian(edges, torch.ones(3998), torch.zeros(2000), torch.arange(2000) == 0))
        Direct(strict=False)
    """
    if equation.fixed.is_cuda or equation.order > 1 or len(equation.fixed) <= _SMALL:
        return CG()
    if _nearly_forest(equation):
        return Direct()
    if ScaledLaplacian(equation).look() < LOOK or not find_spec("pyamg"):
        return CG()
    return Multigrid()


def _nearly_forest(equation: "GroundedLaplacian") -> bool:
    """Whether there are few independent cycles: edges less nodes plus components."""
    n = len(equation.fixed)
    row, col = equation.edge_index
    edges = int((row < col).sum())
    if edges > n + _CYCLES:
        return False
    components = int(connected_components(equation.edge_index, n).max()) + 1
    return edges - n + components <= _CYCLES
