"""Features in the plane by t-SNE."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from pyg_relational.ops import unit_rows
from pyg_relational.ops.checks import check_classes, check_count, check_features
from pyg_relational.visualize.figure import CLASS_LABELS, axes_of, class_colours, name_colours
from pyg_relational.visualize.matrices import full

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["embedding_map"]

_MARKS: tuple[tuple[Any, int, str], ...] = (
    ("o", 9, "none"),
    ("s", 45, "black"),
    ("*", 150, "black"),
)  # marker, size, edge of each set


def embedding_map(
    sets: Mapping[str, tuple[Tensor, Tensor]], ax: "Axes | None" = None, *, seed: int = 0
) -> "Axes":
    """Draw several sets of features in two dimensions, coloured by class, grey without one (-1).

    t-SNE (`van der Maaten and Hinton 2008 <https://www.jmlr.org/papers/v9/vandermaaten08a.html>`_, scikit-learn) of
    all rows together, scaled to length 1. It keeps neighbourhoods: sizes of groups and distances between them mean
    nothing. Features that collapsed to one direction are one point. A new figure names the classes at its side.

    Args:
        sets: Features and the class of each row, by name; at most three: dots, squares and stars. One may be empty.
        ax: Where to draw. Default: the axes of a new figure.
        seed: Seed of t-SNE. (default: 0)

    Shapes:
        - **sets:** :math:`(n, d)`, floating point, and :math:`(n)`, int64, each; one d for all
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        TypeError: If a dtype is wrong.
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
    rows = torch.cat([unit_rows(full(x.detach())).float() for x, _ in sets.values()])
    if len(rows) < 4:
        raise ValueError(f"sets must hold 4 rows, got {len(rows)}")
    seed = check_count(seed, "seed", 0)
    axes = axes_of(ax)
    places = _places(rows, seed)
    known = torch.cat([y for _, y in sets.values()]).unique()
    known = known[known >= 0]
    colours = class_colours(len(known))
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
    if ax is None and 0 < len(known) <= CLASS_LABELS:
        name_colours(axes, {str(c): colours(i) for i, c in enumerate(known.tolist())})
    return axes


def _places(rows: Tensor, seed: int) -> Any:
    """Two coordinates of each row by t-SNE, which has none where all rows are the same."""
    from sklearn.manifold import TSNE

    if torch.allclose(rows, rows[:1], rtol=0, atol=1e-6):
        return rows.new_zeros(len(rows), 2).numpy(force=True)
    method = "exact" if len(rows) < 1000 else "barnes_hut"  # exact is faster there
    tsne = TSNE(perplexity=min(30, (len(rows) - 1) / 3), random_state=seed, method=method)
    return tsne.fit_transform(pad(rows, (0, max(0, 2 - rows.shape[1]))).numpy(force=True))
