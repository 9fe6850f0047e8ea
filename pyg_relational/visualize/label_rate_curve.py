"""Accuracy of any classifiers against the number of labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyg_relational.ops.checks import check_count
from pyg_relational.visualize.figure import axes_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Rates", "draw_rates", "label_rate_curve", "label_rates"]

Rates = Mapping[str, Mapping[int, Sequence[float]]]

_STYLES = (
    ("#0072B2", "o", "-"),
    ("#D55E00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
)
_APART = 0.03  # of a place, so that intervals lie beside each other


def label_rate_curve(
    estimators: Mapping[str, Any],
    x: Any,
    y: Any,
    ax: "Axes | None" = None,
    *,
    per_class: Sequence[int] = (1, 2, 5, 10, 20),
    draws: int = 5,
    seed: int = 0,
) -> "Axes":
    """Draw the accuracy of classifiers on rows without a label against the number of labels a class.

    Means over random draws of the labels, with 95 % Student-t intervals; all classifiers see the same draws. A
    semi-supervised one, which has ``transduction_`` once it is fitted, sees all rows, -1 where there is no label; any
    other sees the labelled rows alone.

    Args:
        estimators: Classifiers of scikit-learn's kind, by name; at most four.
        x: Features.
        y: Classes of all rows.
        ax: Where to draw. Default: the axes of a new figure.
        per_class: Numbers of labels a class. (default: 1, 2, 5, 10, 20)
        draws: How often labels are drawn, at least 2. (default: 5)
        seed: Seed of the first draw. (default: 0)

    Shapes:
        - **x:** :math:`(n, d)`, **y:** :math:`(n)`, integers from 0
        - **returns:** the axes, whose ``figure`` can be saved

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: If there are too many or no estimators, a class has no more rows than labels, or ``draws`` is 1.

    Example:
        >>> import numpy as np
        >>> from sklearn.linear_model import LogisticRegression
        >>> from pyg_relational.estimators import LaplaceClassifier
        >>> x, y = np.random.default_rng(0).standard_normal((60, 2)), np.arange(60) % 2
        >>> x[y == 1] += 3
        >>> models = {"Laplace learning": LaplaceClassifier(k=5), "logistic regression": LogisticRegression()}
        >>> ax = label_rate_curve(models, x, y, per_class=(1, 5))
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['Laplace learning', 'logistic regression']
    """
    rates = label_rates(estimators, x, y, per_class=per_class, draws=draws, seed=seed)
    axes = axes_of(ax)
    draw_rates(axes, rates)
    axes.set_ylabel("accuracy on rows without a label, %")
    return axes


def label_rates(
    estimators: Mapping[str, Any],
    x: Any,
    y: Any,
    *,
    per_class: Sequence[int],
    draws: int,
    seed: int,
) -> dict[str, dict[int, list[float]]]:
    """Accuracies on rows without a label, by classifier and number of labels a class, one for each draw.

    Args:
        estimators: As in :func:`label_rate_curve`, as all that follows.
        x: Features.
        y: Classes.
        per_class: Numbers of labels.
        draws: How often labels are drawn.
        seed: Seed of the first draw.
    """
    _check_names(estimators, "estimators")
    x, y = np.asarray(x), np.asarray(y)
    per_class = [check_count(number, "per_class") for number in per_class]
    least = int(np.unique(y, return_counts=True)[1].min())
    if max(per_class) >= least:
        raise ValueError(f"per_class must be < {least}, the rows of a class, got {max(per_class)}")
    draws = check_count(draws, "draws", 2)
    seed = check_count(seed, "seed", 0)
    found = {name: {number: [0.0] * draws for number in per_class} for name in estimators}
    first = _drawn(y, max(per_class), seed)
    sees_all = {name: _sees_all(estimator, x, first) for name, estimator in estimators.items()}
    for draw in range(draws):
        for number in per_class:
            partial = _drawn(y, number, seed + draw)
            for name, estimator in estimators.items():
                hits = _predicted(estimator, x, partial, sees_all[name]) == y
                found[name][number][draw] = float(hits[partial < 0].mean())
    return found


def draw_rates(axes: "Axes", rates: Rates) -> None:
    """Means and 95 % Student-t intervals, on a logarithmic axis; intervals end at 0 and 100 %.

    Args:
        axes: Where to draw.
        rates: Accuracies by name and number of labels.
    """
    from matplotlib.ticker import NullLocator

    _check_names(rates, "rates")
    for i, (name, by_rate) in enumerate(rates.items()):
        means, halves = np.array([_mean(100 * np.array(values)) for values in by_rate.values()]).T
        at = np.array(list(by_rate)) * (1 + _APART * (i - (len(rates) - 1) / 2))
        ends = np.minimum([halves, halves], [means, 100 - means])
        colour, marker, line = _STYLES[i]
        axes.errorbar(at, means, ends, capsize=3, label=name, color=colour, marker=marker, ls=line)
    places = list(next(iter(rates.values())))
    axes.set_xscale("log")
    axes.set_xticks(places, [str(place) for place in places])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("labels a class")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def _check_names(given: Mapping[str, Any], name: str) -> None:
    if not 1 <= len(given) <= len(_STYLES):
        raise ValueError(f"{name} must be 1 to {len(_STYLES)}, got {list(given)}")


def _drawn(y: NDArray[Any], number: int, seed: int) -> NDArray[Any]:
    """Labels of ``number`` rows a class, the first of them those of a smaller number; -1 elsewhere."""
    order = np.random.default_rng(seed).permutation(len(y))
    partial = np.full(len(y), -1)
    for label in np.unique(y):
        rows = order[y[order] == label][:number]
        partial[rows] = label
    return partial


def _sees_all(estimator: Any, x: NDArray[Any], partial: NDArray[Any]) -> bool:
    """Whether it is semi-supervised, as its ``transduction_`` tells, or its last step's."""
    from sklearn.base import clone

    fitted = clone(estimator).fit(x, partial)
    return hasattr(fitted.steps[-1][1] if hasattr(fitted, "steps") else fitted, "transduction_")


def _predicted(
    estimator: Any, x: NDArray[Any], partial: NDArray[Any], sees_all: bool
) -> NDArray[Any]:
    """Class of every row."""
    from sklearn.base import clone

    rows = np.full(len(x), True) if sees_all else partial >= 0
    return np.asarray(clone(estimator).fit(x[rows], partial[rows]).predict(x))


def _mean(values: NDArray[Any]) -> tuple[float, float]:
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)
