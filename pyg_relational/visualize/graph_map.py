"""A graph in the plane, and what pruning left of it."""

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyg_relational.ops.checks import check_classes, check_count, check_features
from pyg_relational.ops.graph.undirected import undirected_edges
from pyg_relational.visualize.figure import CLASS_LABELS, axes_of, class_colours, name_colours

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["graph_map", "graph_places"]

_KEPT, _DROPPED = "0.25", "#D55E00"
_EPOCHS = 100
_LEAST = 0.3  # distance of neighbours in the plane


def graph_map(
    x: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor | None = None,
    y: Tensor | None = None,
    ax: "Axes | None" = None,
    *,
    pruned: tuple[Tensor, Tensor | None] | None = None,
    seed: int = 0,
) -> "Axes":
    """Draw a graph in the plane: points coloured by class, edges the darker the heavier.

    Two features are the places. More are laid out by their edges as in `UMAP <https://arxiv.org/abs/1802.03426>`_
    (igraph), from two principal components: neighbours come to lie beside each other, distances between groups mean
    nothing. With a pruned graph, edges have its weights, and those it dropped are orange. A new figure names the
    classes at its side.

    Args:
        x: Features.
        edge_index: Edges, in both directions.
        edge_weight: Their weights. Default: ones.
        y: Class of each node, or -1 for none. Default: all are grey.
        ax: Where to draw. Default: the axes of a new figure.
        pruned: Edges and weights that are left of the graph, in both directions.
        seed: Seed of the layout. (default: 0)

    Shapes:
        - **x:** :math:`(n, d)`, floating point
        - **edge_index:** :math:`(2, E)`, int64; **edge_weight:** :math:`(E)`; **pruned:** the same of fewer edges
        - **y:** :math:`(n)`, int64
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: If a dtype is wrong.
        ValueError: On wrong shapes or values, a graph that is not undirected, or pruned edges that it does not have.

    Example:
        >>> import torch
        >>> from pyg_relational.transforms import knn_graph
        >>> x = torch.randn(20, 2)
        >>> ax = graph_map(x, *knn_graph(x, 3), torch.arange(20) % 2)
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['0', '1']
    """
    check_features(x)
    edge_index, weight, n = undirected_edges(edge_index, edge_weight, len(x))
    y = torch.full([n], -1) if y is None else y
    check_classes(y, n)
    seed = check_count(seed, "seed", 0)
    dropped = edge_index[:, :0]
    at = _given_or_laid_out(x, edge_index, weight, seed)
    if pruned is not None:
        left, left_weight, _ = undirected_edges(*pruned, n)
        dropped = _without(edge_index, left, n)
        edge_index, weight = left, left_weight
    axes = axes_of(ax)
    _lines(axes, at, edge_index, weight, _KEPT, "kept")
    _lines(axes, at, dropped, torch.ones(dropped.shape[1]), _DROPPED, "dropped")
    known = y[y >= 0].unique()
    colours = class_colours(len(known))
    number = torch.searchsorted(known, y).where(y >= 0, -1).cpu().numpy()
    size = float(np.clip(6000 / max(n, 1), 4, 30))
    style: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.3, "zorder": 3}
    axes.scatter(at[:, 0], at[:, 1], s=size, c=colours(number), **style)
    axes.set_aspect("equal", "datalim")
    axes.set_axis_off()
    names = {str(c): colours(i) for i, c in enumerate(known.tolist())}
    if ax is None and 0 < len(names) <= CLASS_LABELS:
        name_colours(axes, names)
    return axes


def graph_places(
    x: Tensor, edge_index: Tensor, edge_weight: Tensor, *, seed: int = 0
) -> NDArray[Any]:
    """Two coordinates of every node, by igraph's layout of the graph as in `UMAP <https://arxiv.org/abs/1802.03426>`_.

    It starts from two principal components. Neighbours come to lie beside each other; distances between
    groups mean nothing.

    Args:
        x: Features.
        edge_index: Edges, in both directions.
        edge_weight: Their weights.
        seed: Seed of its chance.

    Shapes:
        ``x``: :math:`[n, d]`, ``edge_index``: :math:`[2, E]`, ``edge_weight``: :math:`[E]`, output: :math:`[n, 2]`.
    """
    import igraph
    from sklearn.decomposition import PCA

    rows = x.detach().double().cpu().numpy()
    if not len(rows):  # igraph refuses an empty layout
        return np.zeros((0, 2))
    wide = np.pad(rows, [(0, 0), (0, max(0, 2 - rows.shape[1]))])
    if (wide != wide[:1]).any():
        wide = PCA(2, svd_solver="covariance_eigh").fit_transform(wide)
        wide *= 10 / np.abs(wide).max()
    once = edge_index[0] < edge_index[1]
    pairs = edge_index[:, once].T.contiguous().cpu().numpy()
    length = (-edge_weight.detach()[once].double().log()).clamp(0, 1e6).sqrt()
    igraph.set_random_number_generator(random.Random(seed))
    try:
        layout = igraph.Graph(len(rows), pairs).layout_umap(
            dist=length.tolist(), seed=wide[:, :2].tolist(), epochs=_EPOCHS, min_dist=_LEAST
        )
    finally:
        igraph.set_random_number_generator(random)
    return np.array(layout.coords)


def _given_or_laid_out(x: Tensor, edge_index: Tensor, weight: Tensor, seed: int) -> NDArray[Any]:
    if x.shape[1] == 2:
        return x.detach().double().cpu().numpy()
    largest = weight.max() if len(weight) else 1
    return graph_places(x, edge_index, weight / largest, seed=seed)


def _without(edge_index: Tensor, left: Tensor, n: int) -> Tensor:
    """Edges that are not left."""
    key, kept = (row * n + col for row, col in (edge_index, left))
    if not bool(torch.isin(kept, key).all()):
        stranger = left[:, ~torch.isin(kept, key)][:, 0].tolist()
        raise ValueError(f"pruned must have edges of the graph alone, got {stranger}")
    return edge_index[:, ~torch.isin(key, kept)]


def _lines(
    axes: "Axes", at: NDArray[Any], edge_index: Tensor, weight: Tensor, colour: str, name: str
) -> None:
    """Every edge once; the heaviest are black, and none is quite white."""
    from matplotlib.collections import LineCollection

    once = edge_index[0] < edge_index[1]
    lines = at[edge_index[:, once].T.cpu().numpy()]
    if not len(lines):
        return
    strength = weight.detach()[once].double().cpu().numpy()
    alpha = 0.08 + 0.72 * strength / (strength.max() if strength.any() else 1)
    style: dict[str, Any] = {"colors": colour, "linewidths": 0.6, "alpha": alpha, "label": name}
    axes.add_collection(LineCollection(list(lines), **style))
