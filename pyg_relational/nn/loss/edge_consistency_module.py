"""Graph consistency over the edges of a given graph, as message passing."""

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from pyg_relational.nn.loss.edge_consistency import pair_losses
from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import batch_checks, settle
from pyg_relational.ops.options import show_options

__all__ = ["EdgeConsistency"]


class EdgeConsistency(MessagePassing):  # type: ignore[misc]
    r"""Graph consistency of every node with its neighbours, as a message passing layer.

    Node :math:`j` receives :math:`\ell_{ij}` of :func:`pair_losses` from each neighbour :math:`i`. The sum over the
    nodes of an undirected graph is twice the loss of its edges. Being message passing, it works with
    PyG's loaders and explainers.

    Args:
        aggr: How a node combines its edges' losses.
        relu: Cut negative cosines at 0.

    Shapes:
        ``x``: :math:`[n, d]`, ``logits``: :math:`[n, c]`, ``y``: :math:`[n]`, -1 for a node whose edges have loss 0,
        ``edge_index``: :math:`[2, E]`, output: :math:`[n]`, float32 at least.

    Raises:
        ValueError: If shapes disagree, a value is not finite or a class is below -1.

    Example:
        >>> import torch
        >>> from pyg_relational.nn import EdgeConsistency
        >>> layer = EdgeConsistency()
        >>> layer(torch.eye(2), torch.zeros(2, 3), torch.tensor([1, 1]), torch.tensor([[0, 1], [1, 0]]))
        tensor([1.0000, 1.0000])
    """

    def __init__(self, aggr: str = "add", relu: bool = True) -> None:
        if not isinstance(aggr, str):
            raise TypeError(f"aggr must be a str, got {type(aggr).__name__}")
        super().__init__(aggr=aggr)
        self._aggr = aggr
        self.relu = relu

    def forward(self, x: Tensor, logits: Tensor, y: Tensor, edge_index: Tensor) -> Tensor:
        """Return the loss at every node."""
        checks = batch_checks({"x": x, "logits": logits}, {"y": y})
        if len(logits) != len(x):
            raise ValueError(f"logits must have the {len(x)} rows of x, got {len(logits)}")
        settle(*checks)
        known = (y >= 0)[edge_index].all(0)
        with torch.autocast(x.device.type, enabled=False):
            x, logits = (t.to(torch.promote_types(t.dtype, torch.float32)) for t in (x, logits))
            u, q = unit_rows(x), unit_rows(logits.softmax(1))
            loss = pair_losses(u, q, y, edge_index, self.relu) * known
            size = x.shape[0], x.shape[0]
            out: Tensor = self.propagate(edge_index, loss=loss[:, None], size=size)
        return out.squeeze(1)

    def message(self, loss: Tensor) -> Tensor:
        """Send every edge its loss."""
        return loss

    def __repr__(self) -> str:
        options = {"aggr": self._aggr, "relu": self.relu}
        return f"{type(self).__name__}({show_options(options)})"
