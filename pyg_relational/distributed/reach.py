"""Nodes that no held node reaches, over ranks."""

import torch
from torch import Tensor

from pyg_relational.distributed.collectives import all_reduce
from pyg_relational.distributed.product import ShardedLaplacian
from pyg_relational.ops import connected_components

__all__ = ["unreached"]

_NOTHING = 2.0**-50  # an edge below this share of its ends' heaviest is lost in rounding


def unreached(operator: ShardedLaplacian, fixed: Tensor) -> Tensor:
    """Local rows in components that neither a fixed node nor a shift holds.

    Every rank joins its rows and their columns to components once. Then it is told, one byte a column and round, which
    columns are reached, until nothing is new on any rank: as many rounds as the farthest node is ranks away.

    Args:
        operator: The matrix.
        fixed: Local rows whose values are given.

    Shapes:
        ``fixed``, output: :math:`[n_r]`, bool.
    """
    graph, halo = operator.graph, operator.graph.halo
    felt, degree = _felt(operator)
    held = fixed | (operator.shift > _NOTHING * degree)
    component = connected_components(graph.local[:, felt], graph.num_rows + len(halo.columns))
    while True:
        rows = halo.extend(held.to(torch.uint8)).bool()
        reached = torch.zeros_like(rows)
        reached[component[rows]] = True
        now = reached[component[: graph.num_rows]]
        new = all_reduce((now & ~held).sum(), graph.group)
        held = now
        if not int(new):
            return ~held


def _felt(operator: ShardedLaplacian) -> tuple[Tensor, Tensor]:
    """Edges that are not lost beside the heaviest of both their ends; weights of the local rows."""
    graph, weight = operator.graph, operator.weight
    row, col = graph.local
    none = weight.new_zeros(graph.num_rows)
    top = graph.halo.extend(none.scatter_reduce(0, row, weight, "amax"))
    lighter = torch.minimum(top.index_select(0, row), top.index_select(0, col))
    return weight > _NOTHING * lighter, none.index_add(0, row, weight)
