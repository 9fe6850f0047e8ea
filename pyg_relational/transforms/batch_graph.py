"""A mini-batch as a graph."""

from typing import TYPE_CHECKING

from torch import Tensor

from pyg_relational.ops.checks import check_labels

if TYPE_CHECKING:
    from torch_geometric.data import Data
    from torch_geometric.transforms import BaseTransform

__all__ = ["batch_graph"]


def batch_graph(
    x: Tensor, y: Tensor | None = None, transform: "BaseTransform | None" = None
) -> "Data":
    """Turn a mini-batch of features into a PyG graph.

    Args:
        x: Features; anything after the first dimension is flattened.
        y: Labels, -1 where there is none.
        transform: What makes the edges; ``None`` is ``KNNGraph(k=10)``.

    Shapes:
        ``x``: :math:`[n, *]`, ``y``: :math:`[n]`.

    Returns:
        ``Data(x, y, edge_index, edge_weight, num_nodes)``; gradients reach ``x`` through the weights.

    Raises:
        ValueError: If the shapes disagree, or the transform cannot make the graph.

    Example:
        >>> import torch
        >>> from pyg_relational.transforms import KNNGraph, batch_graph
        >>> batch_graph(torch.randn(8, 4), torch.arange(8), KNNGraph(k=3)).num_nodes
        8
    """
    from torch_geometric.data import Data

    from pyg_relational.transforms.pyg import KNNGraph

    if x.dim() < 2:
        raise ValueError(f"x must have shape [n, ...], got {list(x.shape)}")
    if y is not None:
        check_labels(y, x.shape[0])
    data = Data(x=x.flatten(1), y=y)
    try:
        return (transform or KNNGraph(k=10))(data)
    except AssertionError as error:
        raise ValueError(
            f"transform must make a graph of data.x alone, got {transform}, which looks for more "
            "(PyG's own read data.pos): take pyg_relational.transforms.KNNGraph"
        ) from error
