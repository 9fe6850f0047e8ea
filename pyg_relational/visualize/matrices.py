"""Relations in a batch, and attention, as matrices sorted by class."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import check_classes, check_features
from pyg_relational.visualize.figure import CLASS_LABELS, axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["attention_matrix", "full", "prediction_graph", "relation_matrix"]

_COLORMAP = "cividis"


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
        TypeError: If a dtype is wrong.
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
    u = unit_rows(full(features.detach()[order].flatten(1)))
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
        TypeError: If a dtype is wrong.
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
    p = unit_rows(full(logits.detach()[order]).softmax(1))
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
        TypeError: If a dtype is wrong.
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


def _order(x: Tensor, y: Tensor | None) -> Tensor:
    if y is None:
        return torch.arange(len(x), device=x.device)
    check_classes(y, len(x))
    return y.where(y >= 0, torch.iinfo(y.dtype).max).argsort(stable=True)


def full(x: Tensor) -> Tensor:
    """The matrix in at least float32.

    Args:
        x: Floating point.
    """
    return x if x.dtype == torch.float64 else x.float()


def _matrix(
    values: Tensor, y: Tensor | None, ax: "Axes | None", vmax: float = 1.0, lines: bool = True
) -> "Axes":
    axes = axes_of(ax)
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
    fitting = CLASS_LABELS if len(classes) <= 100 else CLASS_LABELS // 2  # of three digits
    step = math.ceil(len(classes) / fitting)
    centres = (ends - counts / 2 - 0.5)[::step].tolist()
    names = [str(c) if c >= 0 else "none" for c in classes[::step].tolist()]
    axes.set_xticks(centres, names)
    axes.set_yticks(centres, names)
    axes.set_xlabel("class")
    axes.set_ylabel("class")
    axes.tick_params(length=0)
