"""Outlier nodes taken out of a graph, as a transform of PyG."""

import torch
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_relational.cluster import outliers
from pyg_relational.cluster.outliers import check_outliers
from pyg_relational.ops.options import show_options
from pyg_relational.transforms.pyg import node_features

__all__ = ["RemoveOutliers"]


@functional_transform("relational_remove_outliers")
class RemoveOutliers(BaseTransform):  # type: ignore[misc]
    """Takes the nodes that :func:`~pyg_relational.cluster.outliers` finds out of ``data``, and their edges.

    What is left has ``n_id``, which rows of the given data they were, unless the data had an ``n_id`` of its own. Once
    these are clustered, :func:`~pyg_relational.cluster.join_nearest` gives outliers the cluster of the nearest of them.
    Put it before the transform that makes the graph, so that neighbours are found among what is left.

    Args:
        k: Number of neighbours.
        whisker: How many interquartile ranges above the upper quartile an outlier begins.

    Raises:
        TypeError: If an option is of a wrong type.
        ValueError: If one is out of range, or the data is a batch of graphs.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from pyg_relational.cluster import join_nearest, spectral
        >>> from pyg_relational.transforms import KNNGraph, RemoveOutliers
        >>> grid = torch.cartesian_prod(torch.arange(6.0), torch.arange(6.0))
        >>> x = torch.cat([grid, grid + 20, torch.tensor([[30.0, 30.0]])])
        >>> left = KNNGraph(k=4)(RemoveOutliers(k=4)(Data(x=x)))
        >>> clusters = torch.full((73,), -1)
        >>> clusters[left.n_id] = spectral(left.edge_index, left.edge_weight, 2)
        >>> int((clusters < 0).sum()), join_nearest(x, clusters).bincount().tolist()
        (9, [36, 37])
    """

    def __init__(self, k: int = 10, *, whisker: float = 0.5) -> None:
        self.k, self.whisker = check_outliers(k, whisker), whisker

    def forward(self, data: Data) -> Data:
        """Return ``data`` without its outliers."""
        x = node_features(data)
        if data.get("batch") is not None:
            raise ValueError("data.batch must be None: take outliers out of each graph first")
        if data.get("n_id") is None:
            data.n_id = torch.arange(x.shape[0], device=x.device)
        data.num_nodes = x.shape[0]
        return data.subgraph(~outliers(x, self.k, whisker=self.whisker).mask)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({show_options({'k': self.k, 'whisker': self.whisker})})"
