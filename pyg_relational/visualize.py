"""Pictures of the relations in a batch, and of attention. Needs matplotlib; leaves its backend and settings alone."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import check_classes, check_features

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "attention_matrix",
    "embedding_map",
    "new_figure",
    "prediction_graph",
    "relation_matrix",
    "save_figure",
]

_COLORMAP = "cividis"
_MARKS: tuple[tuple[Any, int, str], ...] = (
    ("o", 9, "none"),
    ("s", 45, "black"),
    ("*", 150, "black"),
)  # marker, size, edge of each set
_CLASS_LABELS = 14  # that fit beside a small picture


def relation_matrix(features: Tensor, y: Tensor | None = None, ax: "Axes | None" = None) -> "Axes":
    r"""Draw the feature graph of a batch, :math:`F_{ij} = \text{relu}(\cos(x_i, x_j))`.

    With labels, rows are sorted by class (stably) and lines separate the classes, so that
    relations inside classes show as bright blocks, as in the figure of "Graph Your Own Prompt"
    (`arXiv 2509.23373 <https://arxiv.org/abs/2509.23373>`_).

    Args:
        features: Features; more than two dimensions are flattened.
        y: Class of each row, or -1 for none: those come last. Default: rows stay in their order.
        ax: Where to draw. Default: the axes of a new figure.

    Shapes:
        - **features:** :math:`(n, ...)`, floating point
        - **y:** :math:`(n)`, int64
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: Of a wrong dtype.
        ValueError: On wrong shapes, features that are not finite, or a class below -1.

    Example:
        >>> import torch
        >>> ax = relation_matrix(torch.randn(6, 4), torch.tensor([0, 1, 0, 2, 1, 2]))
        >>> ax.get_images()[0].get_array().shape
        (6, 6)
    """
    flat = isinstance(features, Tensor) and features.dim() > 2
    check_features(features.flatten(1) if flat else features, "features")
    order = _order(features, y)
    u = unit_rows(_full(features.detach()[order].flatten(1)))
    return _matrix((u @ u.T).relu(), None if y is None else y[order], ax)


def prediction_graph(logits: Tensor, y: Tensor, ax: "Axes | None" = None) -> "Axes":
    r"""Draw the masked prediction graph of a batch, :math:`P_{ij} = [y_i = y_j] \cos(p_i, p_j)`.

    Here :math:`p = \text{softmax}(z)`. It is the target to which graph consistency
    (`arXiv 2509.23373 <https://arxiv.org/abs/2509.23373>`_) pulls the relations of the features.

    Args:
        logits: Logits z.
        y: Class of each row, by which rows are sorted (stably), or -1 for none: those come last and have no relation,
            since they take no part in the loss.
        ax: Where to draw. Default: the axes of a new figure.

    Shapes:
        - **logits:** :math:`(n, c)`, floating point
        - **y:** :math:`(n)`, int64
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: Of a wrong dtype.
        ValueError: On wrong shapes, logits that are not finite, or a class below -1.

    Example:
        >>> import torch
        >>> ax = prediction_graph(99 * torch.eye(2)[[0, 1, 0]], torch.tensor([0, 1, 0]))
        >>> ax.get_images()[0].get_array()[0].tolist()
        [1.0, 1.0, 0.0]
    """
    check_features(logits, "logits")
    order = _order(logits, y)
    y = y[order]
    p = unit_rows(_full(logits.detach()[order]).softmax(1))
    return _matrix((p @ p.T) * ((y[:, None] == y) & (y >= 0)), y, ax)


def attention_matrix(attention: Tensor, ax: "Axes | None" = None, *, vmax: float = 1.0) -> "Axes":
    """Draw the attention of samples of each class to proxies of each class.

    As in the figure of `CNN2Graph
    <https://openaccess.thecvf.com/content/WACV2023/html/Trivedy_CNN2Graph_Building_Graphs_for_Image_Classification_WACV_2023_paper.html>`_;
    rows are classes of samples, columns those of proxies.

    Args:
        attention: Result of :func:`pyg_relational.metrics.class_attention`; rows of NaN stay empty.
        ax: Where to draw. Default: the axes of a new figure.
        vmax: Attention of the brightest colour. (default: 1)

    Shapes:
        - **attention:** :math:`(c, c)`, floating point
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: Of a wrong dtype.
        ValueError: On a wrong shape, or infinite values.

    Example:
        >>> import torch
        >>> attention_matrix(torch.eye(3)).get_xlabel()
        'class of proxies'
    """
    check_features(attention.nan_to_num(0, torch.inf, -torch.inf), "attention")
    axes = _matrix(attention.detach().float(), torch.arange(len(attention)), ax, vmax, lines=False)
    axes.set(xlabel="class of proxies", ylabel="class of samples")
    return axes


def embedding_map(
    sets: Mapping[str, tuple[Tensor, Tensor]], ax: "Axes | None" = None, *, seed: int = 0
) -> "Axes":
    """Draw several sets of features in two dimensions, coloured by class, grey without one (-1).

    t-SNE (`van der Maaten and Hinton 2008 <https://www.jmlr.org/papers/v9/vandermaaten08a.html>`_, scikit-learn) of
    all rows together, scaled to length 1. It keeps neighbourhoods: sizes of groups and distances between them mean
    nothing. Features that collapsed to one direction are one point. A new figure names the classes at its side.

    Args:
        sets: By name, features and the class of each row; at most three: dots, squares and stars. One may be empty.
        ax: Where to draw. Default: the axes of a new figure.
        seed: Of t-SNE. (default: 0)

    Shapes:
        - **sets:** :math:`(n, d)`, floating point, and :math:`(n)`, int64, each; one d for all
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: Of a wrong dtype.
        ValueError: On wrong shapes, features that are not finite, a class below -1, fewer than 4 rows, or more than
            three sets.

    Example:
        >>> import torch
        >>> images, proxies = (torch.randn(9, 4), torch.arange(9) % 3), (torch.randn(3, 4), torch.arange(3))
        >>> ax = embedding_map({"images": images, "proxies": proxies})
        >>> [points.get_label() for points in ax.collections]
        ['images', 'proxies']
    """
    if not 1 <= len(sets) <= len(_MARKS):
        raise ValueError(f"sets must be 1 to {len(_MARKS)}, got {list(sets)}")
    for name, (x, y) in sets.items():
        check_features(x, f"sets[{name!r}]")
        check_classes(y, len(x), f"classes of sets[{name!r}]")
    widths = {name: x.shape[1] for name, (x, _) in sets.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(f"sets must have features of one width, got {widths}")
    rows = torch.cat([unit_rows(_full(x.detach())).float() for x, _ in sets.values()])
    if len(rows) < 4:
        raise ValueError(f"sets must hold 4 rows, got {len(rows)}")
    axes = new_figure().add_subplot() if ax is None else ax
    from matplotlib import colormaps

    places = _places(rows, seed)
    known = torch.cat([y for _, y in sets.values()]).unique()
    known = known[known >= 0]
    count = max(len(known), 1)
    colours = colormaps["tab10" if count <= 10 else "turbo"].resampled(count)
    colours = colours.with_extremes(under="lightgrey")
    start = 0
    for (name, (x, y)), (marker, size, edge) in zip(sets.items(), _MARKS, strict=False):
        at = places[start : start + len(x)]
        start += len(x)
        axes.scatter(
            at[:, 0],
            at[:, 1],
            s=size,
            c=colours(torch.searchsorted(known, y).where(y >= 0, -1).cpu().numpy()),
            marker=marker,
            edgecolors=edge,
            linewidths=0.6,
            label=name,
        )
    axes.set_xticks([])
    axes.set_yticks([])
    if ax is None and 0 < len(known) <= _CLASS_LABELS:
        _name_classes(axes, {str(c): colours(i) for i, c in enumerate(known.tolist())})
    return axes


def _name_classes(axes: "Axes", colours: Mapping[str, Any]) -> None:
    """The colour of each class, right of the picture."""
    from matplotlib.lines import Line2D

    style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 5}
    handles = [
        Line2D([], [], color=colour, label=name, **style) for name, colour in colours.items()
    ]
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
    axes.legend(handles=handles, title="class", fontsize=8, **place)


def _places(rows: Tensor, seed: int) -> Any:
    """Two coordinates of each row by t-SNE, which has none where all rows are the same."""
    from sklearn.manifold import TSNE

    if torch.allclose(rows, rows[:1], rtol=0, atol=1e-6):
        return rows.new_zeros(len(rows), 2).numpy(force=True)
    method = "exact" if len(rows) < 1000 else "barnes_hut"  # exact is faster there
    tsne = TSNE(perplexity=min(30, (len(rows) - 1) / 3), random_state=seed, method=method)
    return tsne.fit_transform(pad(rows, (0, max(0, 2 - rows.shape[1]))).numpy(force=True))


def new_figure(width: float = 5, height: float = 4) -> "Figure":
    """An empty figure that no window or global state knows of.

    Args:
        width: In inches.
        height: In inches.

    Raises:
        ImportError: matplotlib is not installed.

    Example:
        >>> new_figure().get_axes()
        []
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "pictures need matplotlib: pip install 'pyg-relational[bench]'"
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> list[Path]:
    """Write a figure as PNG (150 dots per inch) and as SVG; each file appears whole.

    Args:
        figure: What to write.
        path: File name without its ending; folders are made.

    Returns:
        The two files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [file.name for file in save_figure(new_figure(), f"{folder}/empty")]
        ['empty.png', 'empty.svg']
    """
    base = Path(path)
    base.parent.mkdir(parents=True, exist_ok=True)
    files = []
    for ending, metadata in (("png", {}), ("svg", {"Date": None})):
        target = base.with_name(f"{base.name}.{ending}")
        part = base.with_name(f".{base.name}.{os.getpid()}.part")
        figure.savefig(part, format=ending, dpi=150, metadata=metadata)
        os.replace(part, target)
        files.append(target)
    return files


def _order(x: Tensor, y: Tensor | None) -> Tensor:
    if y is None:
        return torch.arange(len(x), device=x.device)
    check_classes(y, len(x))
    return y.where(y >= 0, torch.iinfo(y.dtype).max).argsort(stable=True)


def _full(x: Tensor) -> Tensor:
    """At least float32."""
    return x if x.dtype == torch.float64 else x.float()


def _matrix(
    values: Tensor, y: Tensor | None, ax: "Axes | None", vmax: float = 1.0, lines: bool = True
) -> "Axes":
    axes = new_figure().add_subplot() if ax is None else ax
    image = axes.imshow(
        values.cpu().numpy(), cmap=_COLORMAP, vmin=0, vmax=vmax, interpolation="nearest"
    )
    if y is not None:
        _mark_classes(axes, y, lines)
    if ax is None:
        axes.figure.colorbar(image, label="relation")
    return axes


def _mark_classes(axes: "Axes", y: Tensor, lines: bool) -> None:
    classes, counts = torch.unique_consecutive(y, return_counts=True)
    ends = counts.cumsum(0)
    for end in ends[:-1].tolist() if lines else ():
        axes.axhline(end - 0.5, color="white", linewidth=0.5)
        axes.axvline(end - 0.5, color="white", linewidth=0.5)
    fitting = _CLASS_LABELS if len(classes) <= 100 else _CLASS_LABELS // 2  # of three digits
    step = math.ceil(len(classes) / fitting)
    centres = (ends - counts / 2 - 0.5)[::step].tolist()
    names = [str(c) if c >= 0 else "none" for c in classes[::step].tolist()]
    axes.set_xticks(centres, names)
    axes.set_yticks(centres, names)
    axes.set_xlabel("class")
    axes.set_ylabel("class")
    axes.tick_params(length=0)
