"""A set-up that a caller keeps: one graph, solved again and again."""

from typing import Any

import torch
from torch import Tensor

from pyg_relational.ops.linear.operator import ShiftedLaplacian
from pyg_relational.ops.linear.set_up import SetUp
from pyg_relational.ops.linear.solvers import Solver

__all__ = ["Prepared"]

_SET_BY = {
    "edge_index": "edge_index",
    "order": "order",
    "weight": "edge_weight (alpha and reweighting change it, too)",
    "shift": "tau (alpha and normalization change it, too)",
    "fixed": "mask",
    "mass": "normalization",
    "solver": "solver",
}


class Prepared:
    r"""What a linear system needs before it can be solved, made at its first use and kept for the next ones.

    For many solves with one matrix, as of one graph with other values or sources. In Poisson learning and random walks
    the matrix does not depend on the labels, so these may change as well. Components, scaling, and hierarchy or factors
    are made once and serve every call that is given this object, forward and backward. Derivatives are as without it;
    solutions agree within the tolerance. A copy is empty.

    Raises:
        ValueError: When it is used for another matrix, told by its values, or with another solver.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import poisson_propagation
        >>> from pyg_relational.ops import Prepared
        >>> path = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
        >>> prepared = Prepared()
        >>> for y in ([0, -1, -1, 1], [1, -1, 0, -1]):
        ...     u = poisson_propagation(path, None, torch.tensor(y), prepared=prepared)
        ...     print(u.argmax(1).tolist())
        [0, 0, 1, 1]
        [1, 1, 0, 0]
    """

    def __init__(self) -> None:
        self._set_up: SetUp | None = None
        self._solver: Solver | None = None

    def set_up(self, operator: ShiftedLaplacian, solver: Solver) -> SetUp:
        """The set-up, at the first call made for this matrix and solver.

        Args:
            operator: The matrix.
            solver: Its solver.

        Raises:
            ValueError: If it was made for another.
        """
        if self._set_up is None:
            own = ShiftedLaplacian(
                operator.edge_index.clone(),
                operator.weight.clone(),
                operator.shift.clone(),
                operator.fixed.clone(),
                None if operator.mass is None else operator.mass.clone(),
                operator.order,
            )
            self._set_up, self._solver = SetUp(own, solver), solver
            return self._set_up
        mine = vars(self._set_up.operator) | {"solver": self._solver}
        given = vars(operator) | {"solver": solver}
        for name, options in _SET_BY.items():
            if not _same(mine[name], given[name]):
                raise ValueError(
                    f"prepared must be given the graph and options of its first use, got another {options}; "
                    "take a new Prepared()"
                )
        return self._set_up

    def __reduce__(self) -> tuple[type["Prepared"], tuple[()]]:
        return Prepared, ()

    def __repr__(self) -> str:
        if self._set_up is None:
            return "Prepared()"
        edges = self._set_up.operator.edge_index.shape[1]
        return f"Prepared({len(self._set_up.operator.fixed)} nodes, {edges} edges)"


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.device == b.device and torch.equal(a, b)
    return bool(a == b) if not isinstance(a, Tensor | None) else a is b
