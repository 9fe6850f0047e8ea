"""Reading of graphs: whatever a user holds becomes ``(edge_index, edge_weight, num_nodes)``."""

import math
import sys
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from pyg_relational.ops.checks import Check, asked, check_count, judge, read
from pyg_relational.ops.graph.coalesce import coalesce

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["as_edges", "edge_checks", "read_graph", "sorted_edges"]

_SOURCES = (
    "an (edge_index, edge_weight) tuple, an edge_index tensor, a torch_geometric Data or "
    "EdgeIndex, a torch.sparse COO, CSR or CSC tensor, a torch_sparse.SparseTensor, "
    "a scipy.sparse array or matrix, a dense matrix, a networkx or igraph graph, or a DGLGraph"
)


class _Edges(NamedTuple):
    edge_index: Tensor
    edge_weight: Tensor | None
    shape: tuple[int | None, int | None] = (None, None)


def as_edges(graph: Any, num_nodes: int | None = None) -> tuple[Tensor, Tensor, int]:
    r"""Reads any common graph object as sorted, duplicate-free weighted edges.

    The edge from node ``r`` to node ``c`` is a column ``[r, c]`` of ``edge_index`` and the entry
    :math:`A_{rc}` of the adjacency matrix, whatever the source: row 0 of a PyG ``edge_index``, the
    row of a matrix and the source node of a DGL edge are the same thing. A *transposed* adjacency,
    as ``torch_geometric.transforms.ToSparseTensor`` stores in ``data.adj_t``, is read as the matrix
    it is: pass ``data.adj_t.t()`` to get the edges of ``data``.

    The weights of duplicate edges are summed, absent weights are ones, boolean and integer weights
    become the default float type, and floating-point weights keep theirs. Stored zeros stay edges.
    The graph is not symmetrised. Gradients flow to floating-point torch weights. The result shares
    memory with the input where nothing had to change.

    Args:
        graph: One of

            - ``(edge_index, edge_weight)``, where ``edge_weight`` may be ``None``;
            - an ``edge_index`` tensor or a :class:`torch_geometric.EdgeIndex`;
            - a :class:`torch_geometric.data.Data`: ``edge_weight``, else ``edge_attr``;
            - a square :obj:`torch.sparse` tensor (COO, CSR, CSC);
            - a square ``torch_sparse.SparseTensor``;
            - a square :mod:`scipy.sparse` array or matrix of any format;
            - a square dense matrix, a :class:`numpy.ndarray` or a floating-point tensor: what is not 0 is an edge;
            - a networkx graph, nodes numbered in its order, or an igraph graph: edge attribute ``"weight"``, else ones;
              an undirected one has every edge in both directions;
            - a homogeneous ``dgl.DGLGraph``: edge data ``"weight"``, else ``"w"``.
        num_nodes: Number of nodes :math:`n`. If ``None``, what ``graph`` says, else the largest
            index plus one. (default: ``None``)

    Returns:
        ``edge_index``, ``edge_weight`` and ``num_nodes``.

    Shapes:
        - **edge_index:** :math:`[2, E]`, int64, sorted by (row, column)
        - **edge_weight:** :math:`[E]`, given as :math:`[E]` or :math:`[E, 1]`

    Raises:
        TypeError: If ``graph`` is none of the above, indices are not integers, or weights are not
            real numbers.
        ValueError: If a matrix is not square, shapes or sizes disagree, an index is out of range,
            or a weight is not finite.

    Example:
        >>> import torch
        >>> from pyg_relational.interop import as_edges
        >>> edge_index = torch.tensor([[1, 0, 1], [0, 2, 0]])
        >>> as_edges((edge_index, torch.tensor([1.0, 2.0, 3.0])), num_nodes=4)
        (tensor([[0, 1],
                [2, 0]]), tensor([2., 4.]), 4)
    """
    index, weight, n = read_graph(graph, num_nodes)
    checks = edge_checks(index, weight, n)
    numbers = read(*checks)
    judge(checks, numbers)
    return sorted_edges(index, weight, n, numbers)


def read_graph(graph: Any, num_nodes: int | None) -> tuple[Tensor, Tensor, int | None]:
    """Edges and weights as they are given, and the number of nodes where that is known; no value is looked at.

    Args:
        graph: As of :func:`as_edges`.
        num_nodes: As there.

    Raises:
        TypeError: As there.
        ValueError: As there, if a shape or size is wrong.
    """
    index, weight, shape = _read(graph)
    num_nodes = _num_nodes(num_nodes, shape)
    index = _checked_index(index)
    return index, _checked_weight(weight, index), num_nodes


def edge_checks(index: Tensor, weight: Tensor, num_nodes: int | None) -> list[Check]:
    """What :func:`as_edges` asks of values, and whether edges are sorted without duplicates; nothing without edges.

    Args:
        index: Edges.
        weight: Their weights.
        num_nodes: Number of nodes, ``None`` where it is not known.

    Shapes:
        ``index``: :math:`[2, E]`, ``weight``: :math:`[E]`.
    """
    if index.size(1) == 0:
        return []
    most = math.inf if num_nodes is None else num_nodes - 1

    def refuse_index() -> None:
        _raise_out_of_range(index, int(index.max()) + 1 if num_nodes is None else num_nodes)

    def refuse_weight() -> None:
        edge = int(weight.detach().isfinite().logical_not().nonzero()[0])
        raise ValueError(f"edge_weight must be finite, got {weight[edge].item()} at edge {edge}")

    first, last = index.aminmax()
    least, largest = weight.detach().aminmax()  # NaN where one is
    finite = "edge_weight must be finite"
    return [
        Check("edge_index must be >= 0", lambda: first, 0, math.inf, refuse_index),
        Check("edge_index must be < num_nodes", lambda: last, -math.inf, most, refuse_index),
        Check(finite, lambda: least, -sys.float_info.max, math.inf, refuse_weight),
        Check(finite, lambda: largest, -math.inf, sys.float_info.max, refuse_weight),
        asked(partial(_is_strictly_sorted, index)),
    ]


def sorted_edges(
    index: Tensor, weight: Tensor, num_nodes: int | None, numbers: list[float]
) -> tuple[Tensor, Tensor, int]:
    """The same edges sorted, each once, and the number of nodes.

    Args:
        index: Edges.
        weight: Their weights.
        num_nodes: Number of nodes, ``None`` where it is not known.
        numbers: Numbers of :func:`edge_checks`.

    Shapes:
        ``index``: :math:`[2, E]`, ``weight``: :math:`[E]`.
    """
    if not numbers:
        return index, weight, num_nodes or 0
    _, high, *_, is_sorted = numbers
    n = int(high) + 1 if num_nodes is None else num_nodes
    return (index, weight, n) if is_sorted else (*coalesce(index, weight, n), n)


def _read(graph: Any) -> _Edges:
    if isinstance(graph, tuple):
        if len(graph) != 2:
            raise ValueError(
                f"graph must be a tuple (edge_index, edge_weight), got {len(graph)} items"
            )
        return _read_index(graph[0])._replace(edge_weight=graph[1])
    if isinstance(graph, np.ndarray):
        return _read_dense(torch.from_numpy(graph))
    if isinstance(graph, Tensor) and _is_square(graph):
        return _read_dense(graph)
    if isinstance(graph, Tensor):
        return _read_index(graph) if graph.layout == torch.strided else _read_torch_sparse(graph)
    if scipy.sparse.issparse(graph):
        return _read_scipy(graph)
    packages = _packages(graph)
    if "torch_geometric" in packages:
        return _read_pyg(graph)
    if "torch_sparse" in packages:
        row, col, weight = graph.coo()
        return _Edges(torch.stack([row, col]), weight, tuple(graph.sparse_sizes()))
    if "dgl" in packages:
        return _read_dgl(graph)
    if "networkx" in packages:
        return _read_networkx(graph)
    if "igraph" in packages:
        return _read_igraph(graph)
    raise _unknown(graph)


def _packages(graph: Any) -> set[str]:
    """Names of the packages that its classes come from, so that none is imported for a user who does not hold one."""
    return {base.__module__.partition(".")[0] for base in type(graph).__mro__}


def _unknown(graph: Any) -> TypeError:
    return TypeError(f"graph must be {_SOURCES}, got {type(graph).__qualname__}")


def _read_pyg(graph: Any) -> _Edges:
    from torch_geometric.data import Data, HeteroData

    if isinstance(graph, Data):
        return _read_data(graph)
    if isinstance(graph, HeteroData):
        raise TypeError(
            "graph must be homogeneous, got a HeteroData: pass data['a', 'to', 'a'].edge_index of one edge type, "
            "or data.to_homogeneous()"
        )
    raise _unknown(graph)


def _read_index(index: Any) -> _Edges:
    if "torch_geometric" in _packages(index):
        from torch_geometric import EdgeIndex

        if isinstance(index, EdgeIndex):
            return _Edges(index.as_tensor(), None, index.sparse_size())
    return _Edges(index, None)


def _read_torch_sparse(graph: Tensor) -> _Edges:
    if graph.dim() != 2 or graph.layout not in (
        torch.sparse_coo,
        torch.sparse_csr,
        torch.sparse_csc,
    ):
        raise TypeError(
            f"graph must be a two-dimensional COO, CSR or CSC tensor, "
            f"got {graph.layout} of shape {tuple(graph.shape)}"
        )
    if graph.layout == torch.sparse_coo:
        graph = graph.coalesce()
        index = graph.indices()
    elif graph.layout == torch.sparse_csr:
        index = torch.stack([_owners(graph.crow_indices()), graph.col_indices()])
    else:
        index = torch.stack([graph.row_indices(), _owners(graph.ccol_indices())])
    return _Edges(index.detach(), graph.values(), (graph.size(0), graph.size(1)))


def _owners(pointer: Tensor) -> Tensor:
    """Row of every entry of a compressed matrix."""
    rows = torch.arange(len(pointer) - 1, device=pointer.device, dtype=pointer.dtype)
    return rows.repeat_interleave(pointer.diff())


def _read_data(data: "Data") -> _Edges:
    if data.edge_index is None:
        hint = "; pass data.adj_t.t()" if "adj_t" in data else ""
        raise ValueError(f"data.edge_index must be set, got None{hint}")
    weight = data.edge_attr if data.edge_weight is None else data.edge_weight
    index, _, shape = _read_index(data.edge_index)
    size = _known_size(data)
    return _Edges(index, weight, shape if size is None else (_num_nodes(size, shape), size))


def _known_size(data: "Data") -> int | None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return data.num_nodes  # type: ignore[no-any-return]
        except UserWarning:  # PyG has only the edges to guess from
            return None


def _is_square(graph: Tensor) -> bool:
    """Whether it is a square matrix, and not an index that is floating point by mistake."""
    dense = graph.layout == torch.strided and graph.is_floating_point() and graph.dim() == 2
    return dense and graph.size(0) == graph.size(1)


def _read_dense(matrix: Tensor) -> _Edges:
    if matrix.dim() != 2:
        raise ValueError(f"graph must be a matrix, got shape {list(matrix.shape)}")
    index = matrix.detach().nonzero().T
    return _Edges(index, matrix[index[0], index[1]], (matrix.size(0), matrix.size(1)))


def _read_networkx(graph: Any) -> _Edges:
    place = {node: i for i, node in enumerate(graph)}
    pairs = [(place[a], place[b], float(w)) for a, b, w in graph.edges(data="weight", default=1.0)]
    return _listed(pairs, graph.is_directed(), len(place))


def _read_igraph(graph: Any) -> _Edges:
    weights = graph.es["weight"] if graph.is_weighted() else [1.0] * graph.ecount()
    pairs = [(*ends, float(w)) for ends, w in zip(graph.get_edgelist(), weights, strict=True)]
    return _listed(pairs, graph.is_directed(), graph.vcount())


def _listed(pairs: list[tuple[int, int, float]], directed: bool, n: int) -> _Edges:
    if not directed:
        pairs = pairs + [(b, a, w) for a, b, w in pairs if a != b]
    index = torch.tensor([pair[:2] for pair in pairs], dtype=torch.int64).view(-1, 2).T
    return _Edges(index, torch.tensor([pair[2] for pair in pairs]), (n, n))


def _read_scipy(graph: Any) -> _Edges:
    if graph.ndim != 2:
        raise ValueError(f"graph must be a matrix, got shape {graph.shape}")
    coo = graph.tocoo()
    if graph.format == "bsr":  # its blocks are padded with zeros that are no edges
        coo.eliminate_zeros()
    index = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64, copy=False))
    return _Edges(index, torch.tensor(coo.data), graph.shape)


def _read_dgl(graph: Any) -> _Edges:
    if not graph.is_homogeneous or graph.is_block:
        raise ValueError(
            "graph must be a homogeneous DGLGraph, got one of "
            f"node types {graph.ntypes} and edge types {graph.etypes}"
        )
    weight = next((graph.edata[key] for key in ("weight", "w") if key in graph.edata), None)
    nodes = graph.num_nodes()
    return _Edges(torch.stack(graph.edges(order="eid")), weight, (nodes, nodes))


def _num_nodes(num_nodes: int | None, shape: tuple[int | None, int | None]) -> int | None:
    known = {size for size in shape if size is not None}
    if len(known) > 1:
        raise ValueError(f"graph must be square, got shape {shape}")
    if num_nodes is None:
        return known.pop() if known else None
    num_nodes = check_count(num_nodes, "num_nodes", 0)
    if known and num_nodes not in known:
        raise ValueError(f"num_nodes must be {known.pop()}, the size of graph, got {num_nodes}")
    return num_nodes


def _checked_index(index: Any) -> Tensor:
    if not isinstance(index, Tensor):
        raise TypeError(f"edge_index must be a tensor, got {type(index).__qualname__}")
    if index.is_floating_point() or index.is_complex() or index.dtype == torch.bool:
        raise TypeError(f"edge_index must hold integers, got {index.dtype}")
    if index.dim() != 2 or index.size(0) != 2:
        raise ValueError(f"edge_index must have shape [2, E], got {list(index.shape)}")
    return index.long()


def _checked_weight(weight: Any, index: Tensor) -> Tensor:
    if weight is None:
        return torch.ones(index.size(1), device=index.device)
    if not isinstance(weight, Tensor):
        raise TypeError(f"edge_weight must be a tensor or None, got {type(weight).__qualname__}")
    if weight.is_complex():
        raise TypeError(f"edge_weight must be real, got {weight.dtype}")
    num_edges = index.size(1)
    if weight.shape not in ((num_edges,), (num_edges, 1)):
        raise ValueError(
            f"edge_weight must have shape [{num_edges}] or [{num_edges}, 1], "
            f"one weight an edge, got {list(weight.shape)}"
        )
    if weight.device != index.device:
        raise ValueError(f"edge_weight must be on {index.device}, got {weight.device}")
    dtype = weight.dtype if weight.is_floating_point() else torch.get_default_dtype()
    return weight.reshape(-1).to(dtype)


def _is_strictly_sorted(index: Tensor) -> Tensor:
    row, col = index.diff()
    key = col.add(row, alpha=2**31)  # of nodes below 2^31
    return torch.all(key > 0)


def _raise_out_of_range(index: Tensor, num_nodes: int) -> None:
    row, edge = ((index < 0) | (index >= num_nodes)).nonzero()[0].tolist()
    value = int(index[row, edge])
    bound = ">= 0" if value < 0 else f"< num_nodes={num_nodes}"
    raise ValueError(f"edge_index entry [{row}, {edge}] is {value}, must be {bound}")
