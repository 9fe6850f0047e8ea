"""The graphs of features as transforms of PyG."""

from typing import Any

from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.datapipes import functional_transform
from torch_geometric.transforms import BaseTransform

from pyg_relational.ops.options import check_options, show_options
from pyg_relational.transforms.dense_graph import Similarity, check_dense_graph, dense_graph
from pyg_relational.transforms.knn_graph import check_knn_graph, knn_graph
from pyg_relational.transforms.knn_hypergraph import check_knn_hypergraph, knn_hypergraph

__all__ = ["DenseGraph", "KNNGraph", "KNNHypergraph", "node_features"]


def node_features(data: Any) -> Tensor:
    """``data.x``, or ``data.pos`` where that is missing, as a matrix, images flattened.

    Args:
        data: A homogeneous graph.

    Raises:
        TypeError: If it is none.
        ValueError: If it has neither, or rows are missing.
    """
    if not isinstance(data, Data):
        raise TypeError(
            f"data must be a torch_geometric.data.Data, got {type(data).__name__}: of a HeteroData, "
            "pass one node type, as Data(x=data['name'].x)"
        )
    name = "x" if data.get("x") is not None else "pos"
    x = data.get(name)
    if x is None:
        raise ValueError("data.x or data.pos must hold the features, got neither")
    if x.dim() < 2:
        raise ValueError(f"data.{name} must have shape [n, ...], got {list(x.shape)}")
    rows: Tensor = x.flatten(1)
    return rows


@functional_transform("relational_knn_graph")
class KNNGraph(BaseTransform):  # type: ignore[misc]
    r"""Adds the graph of :func:`knn_graph` to ``data``, of each graph of ``data.batch`` apart.

    The rows are ``data.x``, or ``data.pos`` where that is missing, as PyG's own transforms do.

    Sets ``edge_index`` and ``edge_weight``; with ``kernel=None`` the distances go to ``edge_attr``.

    Args:
        k: Number of neighbours.
        **options: Keyword arguments of :func:`knn_graph`.

    Raises:
        TypeError: If an option is unknown or of a wrong type.
        ValueError: If one is out of range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from pyg_relational.transforms import KNNGraph
        >>> KNNGraph(k=2)(Data(x=torch.randn(5, 3)))
        Data(x=[5, 3], edge_index=[2, ...], edge_weight=[...], num_nodes=5)
    """

    def __init__(self, k: int, **options: Any) -> None:
        check_knn_graph(k, **check_options(knn_graph, options, given=("batch",)))
        self.k = int(k)
        self.options = options

    def forward(self, data: Data) -> Data:
        """Return ``data`` with the graph."""
        x = node_features(data)
        data.edge_index, weight = knn_graph(x, self.k, batch=data.get("batch"), **self.options)
        distances = self.options.get("kernel", "") is None
        data.edge_weight, data.edge_attr = (None, weight) if distances else (weight, None)
        data.num_nodes = x.shape[0]
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({show_options({'k': self.k} | self.options)})"


@functional_transform("relational_dense_graph")
class DenseGraph(BaseTransform):  # type: ignore[misc]
    """Adds the graph of :func:`dense_graph` to ``data``, from ``data.x`` and, where there is one, ``data.batch``.

    Args:
        similarity: See :func:`dense_graph`.
        threshold: See :func:`dense_graph`.
        top_k: See :func:`dense_graph`.

    Raises:
        TypeError: If an option is of a wrong type.
        ValueError: If one is out of range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from pyg_relational.transforms import DenseGraph
        >>> DenseGraph()(Data(x=torch.ones(3, 2)))
        Data(x=[3, 2], edge_index=[2, 6], edge_weight=[6], num_nodes=3)
    """

    def __init__(
        self,
        similarity: Similarity = "cosine",
        threshold: float = 0.0,
        top_k: int | None = None,
    ) -> None:
        check_dense_graph(similarity, threshold, top_k)
        self.options: dict[str, Any] = {
            "similarity": similarity,
            "threshold": threshold,
            "top_k": top_k,
        }

    def forward(self, data: Data) -> Data:
        """Return ``data`` with the graph."""
        x = node_features(data)
        data.edge_index, data.edge_weight = dense_graph(x, batch=data.get("batch"), **self.options)
        data.edge_attr = None
        data.num_nodes = x.shape[0]
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({show_options(self.options)})"


@functional_transform("relational_knn_hypergraph")
class KNNHypergraph(BaseTransform):  # type: ignore[misc]
    """Adds the hypergraph of :func:`knn_hypergraph` to ``data``, of each graph of ``data.batch`` apart.

    The rows are ``data.x``, or ``data.pos`` where that is missing. Sets ``hyperedge_index`` and ``hyperedge_weight`` as
    :class:`torch_geometric.nn.HypergraphConv` takes them. There are as many hyperedges as nodes, so that PyG's batches
    number both right.

    Args:
        k: Number of neighbours.
        **options: Keyword arguments of :func:`knn_hypergraph`.

    Raises:
        TypeError: If an option is unknown or of a wrong type.
        ValueError: If one is out of range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> from pyg_relational.transforms import KNNHypergraph
        >>> KNNHypergraph(k=2)(Data(x=torch.randn(5, 3)))
        Data(x=[5, 3], hyperedge_index=[2, 15], hyperedge_weight=[5], num_nodes=5)
    """

    def __init__(self, k: int, **options: Any) -> None:
        check_knn_hypergraph(k, **check_options(knn_hypergraph, options, given=("batch",)))
        self.k = int(k)
        self.options = options

    def forward(self, data: Data) -> Data:
        """Return ``data`` with the hypergraph."""
        x = node_features(data)
        data.hyperedge_index, data.hyperedge_weight = knn_hypergraph(
            x, self.k, batch=data.get("batch"), **self.options
        )
        data.num_nodes = x.shape[0]
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({show_options({'k': self.k} | self.options)})"
