"""Eigenvalues of graphs' Laplacians."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyg_relational.ops.checks import check_count
from pyg_relational.ops.graph.undirected import undirected_edges
from pyg_relational.visualize.figure import axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["smallest_eigenvalues", "spectra"]

_MOST = 5000  # nodes whose dense matrix is a quarter of a gigabyte
_MARKS = (("#0072B2", "o", 8), ("#D55E00", "s", 5), ("#009E73", "^", 4))


def spectra(
    graphs: Mapping[str, tuple[Tensor, Tensor | None]],
    num_nodes: int,
    ax: "Axes | None" = None,
    *,
    count: int = 20,
) -> "Axes":
    r"""Draw the smallest eigenvalues of the Laplacians :math:`I - D^{-1/2} W D^{-1/2}` of graphs.

    As many as are 0 is the number of components; a gap after the :math:`k`-th says that the graph has :math:`k` parts
    that hang together weakly. Pruning weakens what joins the parts, and makes the first ones smaller.

    Args:
        graphs: Graphs by name: edges in both directions and weights, ``None`` for ones; at most three.
        num_nodes: Number of nodes, at most 5,000.
        ax: Where to draw. Default: the axes of a new figure.
        count: How many eigenvalues. (default: 20)

    Shapes:
        - **graphs:** :math:`(2, E)`, int64, and :math:`(E)`, floating point, each
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes, a graph that is not undirected, or too many graphs, nodes or eigenvalues.

    Example:
        >>> import torch
        >>> ax = spectra({"two pairs": (torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]), None)}, 4, count=3)
        >>> ax.lines[0].get_ydata().round(6).tolist()
        [0.0, 0.0, 2.0]
    """
    if not 1 <= len(graphs) <= len(_MARKS):
        raise ValueError(f"graphs must be 1 to {len(_MARKS)}, got {list(graphs)}")
    values = {
        name: smallest_eigenvalues(*graph, num_nodes, count) for name, graph in graphs.items()
    }
    axes = axes_of(ax)
    for (name, value), (colour, marker, size) in zip(values.items(), _MARKS, strict=False):
        style: dict[str, Any] = {
            "marker": marker,
            "markersize": size,
            "color": colour,
            "linewidth": 0.8,
        }
        hollow = "none" if size == _MARKS[0][2] else colour
        axes.plot(range(1, count + 1), value, label=name, markerfacecolor=hollow, **style)
    axes.set(xlabel="number of the eigenvalue", ylabel="eigenvalue of the Laplacian")
    axes.locator_params("x", integer=True)
    if len(graphs) > 1:
        axes.legend(frameon=False)
    return axes


def smallest_eigenvalues(
    edge_index: Tensor, edge_weight: Tensor | None, num_nodes: int, count: int
) -> Tensor:
    r"""The smallest eigenvalues of :math:`I - D^{-1/2} W D^{-1/2}`, in ascending order; 0 of an isolated node.

    Args:
        edge_index: Edges, in both directions.
        edge_weight: Their weights, ``None`` for ones.
        num_nodes: Number of nodes.
        count: How many.

    Shapes:
        ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[count]`, float64, on the CPU.
    """
    n = check_count(num_nodes, "num_nodes")
    if n > _MOST:
        raise ValueError(f"num_nodes must be <= {_MOST}, got {n}")
    if check_count(count, "count") > n:
        raise ValueError(f"count must be <= {n}, the number of nodes, got {count}")
    edge_index, weight, _ = undirected_edges(edge_index, edge_weight, n)
    adjacency = torch.zeros(n, n, dtype=torch.float64)
    adjacency[tuple(edge_index.cpu())] = weight.detach().double().cpu()
    degree = adjacency.sum(1)
    root = degree.where(degree > 0, 1).rsqrt()
    laplacian = torch.diag((degree > 0).double()) - root[:, None] * adjacency * root
    smallest: Tensor = torch.linalg.eigvalsh(laplacian)[:count].clamp(min=0)
    return smallest
