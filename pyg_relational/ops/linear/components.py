"""Components of a graph that nothing holds, and parts that hang on weak edges."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pyg_relational.ops.autograd.functorch import plainly
from pyg_relational.ops.checks import floats
from pyg_relational.ops.graph.components import connected_components, edges_where, joined
from pyg_relational.ops.linear.aggregation import strong_edges
from pyg_relational.ops.linear.operator import ShiftedLaplacian

__all__ = ["WEAK", "Grounding", "direct_share", "ground", "in_reach"]

# An edge below this share of its ends' heaviest is not counted on to converge. Two grids of 144 nodes with one edge of
# 1e-3, 1e-5, 1e-7 between them are off by 2e-11, 2e-9, 3e-7 in float64.
WEAK = 1e-3
# An edge below this share is lost in rounding: 4 units in the last place of float64.
_NOTHING = 2.0**-50
# That are tried before components are looked for. At 0, 4, 8, 16, with 20 labels and k = 10 neighbours of 100,000
# points .22, .18, .05, .05 s in 16-d and .13, .15, .15, .06 in 3-d; on a 2-d grid .026, .029, .032, .036.
_STEPS = 8
_DECADES = 3  # of weights that are looked at together: as many as WEAK allows for


class Grounding(NamedTuple):
    """What holds the nodes.

    Args:
        component: Number of the component of every node, ``[n]``; 0 where nothing floats.
        floating: Nodes of components that neither a fixed node nor a shift holds, ``[n]``.
        weak: Whether something is held by weak edges only.
        floats: Whether a component floats.
        share: :func:`direct_share` of nodes that do not float, where it has been looked at.
    """

    component: Tensor
    floating: Tensor
    weak: bool
    floats: bool = False
    share: float | None = None

    def centred(self, x: Tensor) -> Tensor:
        """``x`` less its mean over each floating component."""
        if not self.floats:
            return x
        where = self.component
        total = torch.zeros_like(x).index_add_(0, where, x)
        count = x.new_zeros(len(x)).index_add_(0, where, x.new_ones(len(x)))
        mean = total / count.clamp(min=1)[:, None]
        return x - mean[where] * self.floating[:, None]


def ground(operator: ShiftedLaplacian) -> Grounding:
    """Find the components that float and whether a part hangs on weak edges.

    Args:
        operator: The matrix, and where values are given.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.components import ground
        >>> from pyg_relational.ops.linear.operator import ShiftedLaplacian
        >>> edges, one = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), torch.ones(4).double()
        >>> ground(ShiftedLaplacian(edges, one, 0 * one, torch.arange(4) == 0)).floating.tolist()
        [False, False, True, True]
    """
    n = len(operator.fixed)
    none = torch.zeros_like(operator.fixed)
    firm, some, share = _look(operator)
    if firm:
        return Grounding(none.long(), none, False, share=share)
    if not some:
        felt = strong_edges(operator.edge_index, operator.weight, n, _NOTHING)
        component = connected_components(edges_where(operator.edge_index, felt), n)
        return Grounding(component, ~none, False, True, torch.inf)
    loose = _loose(operator, WEAK)
    if not bool(loose.any()):
        return Grounding(none.long(), none, False)
    lost = _loose(operator, _NOTHING)
    row, col = operator.edge_index
    felt = strong_edges(operator.edge_index, operator.weight, n, _NOTHING)
    felt &= lost.index_select(0, row) == lost.index_select(0, col)
    held = operator.fixed | ((operator.shift > 0) & ~lost)
    component, floating = _not_held(edges_where(operator.edge_index, felt), held)
    weak, floats = torch.stack([(loose != floating).any(), floating.any()]).tolist()
    return Grounding(component, floating, weak, floats)


def direct_share(operator: ShiftedLaplacian, floating: Tensor | None = None) -> Tensor:
    r"""Least share of a free node's diagonal that its shift and edges to fixed nodes make up, infinite of none.

    Args:
        operator: The matrix; only of ``order=1``.
        floating: Nodes that are left out.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.components import direct_share
        >>> from pyg_relational.ops.linear.operator import ShiftedLaplacian
        >>> edges, one = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), torch.ones(4).double()
        >>> direct_share(ShiftedLaplacian(edges, one, one[:3], torch.arange(3) == 0))
        tensor(0.5000, dtype=torch.float64)
    """
    left_out = operator.outside if floating is None else operator.outside | floating
    direct = torch.addmv(operator.shift, operator.adjacency, operator.fixed.double())
    share = (direct / operator.diagonal).masked_fill(left_out, torch.inf)
    return share.amin() if len(share) else share.new_full((), torch.inf)


def _look(operator: ShiftedLaplacian) -> tuple[bool, bool, float | None]:
    """Whether all is held firmly, whether anything is held, and from a device the least :func:`direct_share`."""
    held = (operator.fixed | (operator.shift > 0)).any()
    if held.is_cpu:
        return bool(_held_firmly(operator)), bool(held), None
    firm, some, share = floats(_held_firmly(operator), held, direct_share(operator))
    return bool(firm), bool(some), share


def _held_firmly(operator: ShiftedLaplacian) -> Tensor:
    """Whether a few steps along heavy edges lead from held nodes to all."""
    fixed, weight = operator.fixed, operator.weight
    alone = fixed | (operator.shift > WEAK * operator.degree)
    if weight.numel() == 0 or (weight.is_cpu and bool(alone.all())):  # a device would be waited for
        return alone.all()
    least = WEAK * weight.max()
    return _few_steps(operator, weight > least, fixed | (operator.shift > least), alone)


def _few_steps(operator: ShiftedLaplacian, edges: Tensor, start: Tensor, alone: Tensor) -> Tensor:
    """Whether a few steps along some edges lead from where they start to all nodes but those that need none."""
    matrix, ways = operator.matrix(edges.double()), start.double()  # at most n^8 ways
    for _ in range(_STEPS):
        ways = torch.addmv(ways, matrix, ways)
        if ways.is_cpu and bool((alone | (ways > 0)).all()):
            break
    return (alone | (ways > 0)).all()


def in_reach(operator: ShiftedLaplacian, marked: Tensor) -> bool:
    """Whether a few steps lead from marked nodes to all: sure where it says so, else components tell.

    Args:
        operator: The matrix.
        marked: Nodes.

    Example:
        >>> import torch
        >>> from pyg_relational.ops.linear.components import in_reach
        >>> from pyg_relational.ops.linear.operator import ShiftedLaplacian
        >>> edges, one = torch.tensor([[0, 1], [1, 0]]), torch.ones(2).double()
        >>> in_reach(ShiftedLaplacian(edges, one, one, one > 1), torch.tensor([True, False]))
        True
    """
    return bool(plainly(partial(_few_steps, operator, operator.weight > 0), marked, marked))


def _loose(operator: ShiftedLaplacian, share: float) -> Tensor:
    """Nodes whose every path to a fixed one has an edge lighter than about a share of their own heaviest."""
    edge_index, weight, fixed = operator.edge_index, operator.weight, operator.fixed
    top = torch.zeros_like(operator.shift).scatter_reduce_(0, edge_index[0], weight, "amax")
    loose = ~fixed & (top == 0) & (operator.shift == 0)
    level = (top.log10() / _DECADES).floor()
    for number in level[~fixed & (top > 0)].unique().tolist():
        least = share * 10.0 ** (_DECADES * number)
        some = edges_where(edge_index, weight > least)
        unheld = _not_held(some, fixed | (operator.shift > least))[1]
        loose |= unheld & (level == number)
    return loose


def _not_held(edge_index: Tensor, held: Tensor) -> tuple[Tensor, Tensor]:
    """Components, and the nodes of those without a held one."""
    component = connected_components(edge_index, len(held))
    return component, ~joined(component, held)
