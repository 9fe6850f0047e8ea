"""Rows of other ranks that this one needs: a plan made once, and the exchange of values by it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyg_relational.distributed.collectives import all_to_all, rank_and_size

__all__ = ["Halo", "halo_of"]


class _Exchange(torch.autograd.Function):
    """Rows to those who need them; backward, their gradients to those who hold them."""

    @staticmethod
    def forward(rows: Tensor, send: list[int], receive: list[int], group: Any) -> Tensor:
        return all_to_all(rows, send, receive, group)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.options = inputs[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        send, receive, group = ctx.options
        return _Exchange.apply(grad, receive, send, group), None, None, None


@dataclass(frozen=True, eq=False)
class Halo:
    """Which rows this rank gets from others, and gives to them.

    Args:
        columns: Their numbers in the whole graph, sorted.
        give: Own rows for the others, counted from 0, in the order of the ranks.
        receive: Number of rows from each rank.
        send: Number of rows for each rank.
        start: Number of the first own row.
        stop: Number behind the last.
        group: Processes.

    Shapes:
        ``columns``: :math:`[h]`, ``give``: :math:`[g]`, int64.
    """

    columns: Tensor
    give: Tensor
    receive: list[int]
    send: list[int]
    start: int
    stop: int
    group: Any = None

    def extend(self, x: Tensor) -> Tensor:
        """Own rows, and those of ``columns`` behind them.

        Differentiable any number of times: gradients of rows of others go back to these.

        Args:
            x: Own rows.

        Shapes:
            ``x``: :math:`[n_r, *]`, output: :math:`[n_r + h, *]`.
        """
        if len(self.send) == 1:
            return x
        if (
            x.dim() == 1
        ):  # a gradient through torch.cat of vectors without numbers has no derivative
            return self.extend(x[:, None])[:, 0]
        given = x.index_select(0, self.give)
        rows = _Exchange.apply(given, self.send, self.receive, self.group)
        return torch.cat([x, rows])

    def number(self, node: Tensor) -> Tensor:
        """Where :meth:`extend` has the row of a node.

        Args:
            node: Own nodes and ``columns``, as numbered in the whole graph.
        """
        own = (node >= self.start) & (node < self.stop)
        behind = self.stop - self.start + torch.searchsorted(self.columns, node.contiguous())
        return torch.where(own, node - self.start, behind)


def halo_of(node: Tensor, offsets: tuple[int, ...], group: Any = None) -> Halo:
    """The plan for the nodes that a rank needs: two exchanges of numbers, all ranks together.

    Args:
        node: Nodes, own ones among them, in any order and number.
        offsets: First row of each rank, and behind them the number of rows.
        group: Processes. (default: all)

    Shapes:
        ``node``: :math:`[m]`.

    Example:
        >>> import torch
        >>> from pyg_relational.distributed.halo import halo_of
        >>> halo_of(torch.tensor([2, 0]), (0, 3)).extend(torch.eye(3)).shape
        torch.Size([3, 3])
    """
    rank, size = rank_and_size(group)
    start, stop = offsets[rank], offsets[rank + 1]
    columns = node[(node < start) | (node >= stop)].unique()
    bounds = torch.searchsorted(columns, torch.tensor(offsets, device=node.device))
    counts = bounds.diff()
    given = all_to_all(counts, [1] * size, [1] * size, group)
    receive, send = torch.stack([counts, given]).tolist()
    give = all_to_all(columns, receive, send, group) - start
    return Halo(columns, give, receive, send, start, stop, group)
