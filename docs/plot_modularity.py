"""Draws docs/images/pruning_iterations.png: ``python docs/plot_modularity.py``.

COIL-20 and USPS are downloaded, or read from the folder that ``PYG_RELATIONAL_RAW`` names.
"""

from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from torch import Tensor

from pyg_relational import datasets
from pyg_relational.metrics import clustering_accuracy
from pyg_relational.nn import ModularityPruning, prune_by_consensus
from pyg_relational.nn.pool.modularity_pruning import between_farthest
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph
from pyg_relational.visualize import new_figure, save_figure

IMAGES = Path(__file__).parent / "images"
ROOT = Path(__file__).parents[1] / "datasets"
STEPS = 5
COLOURS = {"consensus": "#0072B2", "farthest": "#D55E00"}


class Step(NamedTuple):
    """Accuracy, modularity on the given and on the pruned graph, share of edges left."""

    accuracy: float
    given: float
    pruned: float
    edges: float


def steps(x: Tensor, y: Tensor, k: int, rule: str) -> list[Step]:
    """Prune and cluster again and again, without a test to stop."""
    given = left = knn_graph(x, 10)
    pruning = ModularityPruning(k, rule, max_iter=1)
    found = []
    for step in range(STEPS + 1):
        clusters = pruning._clusters(*left, len(x))
        edges = left[0].shape[1] / given[0].shape[1]
        q = modularity(*given, clusters).item(), modularity(*left, clusters).item()
        found.append(Step(clustering_accuracy(y, clusters), *q, edges))
        if step == STEPS:
            break
        if rule == "farthest":
            keep = ~between_farthest(left[0], x, clusters)
            left = left[0][:, keep], left[1][keep]
        else:
            left = prune_by_consensus(*left, k, num_nodes=len(x), seed=step)
    return found


def panel(ax: Axes, of_rule: dict[str, list[Step]], measure: str) -> None:
    """A line a rule; dashed on the pruned graph."""
    for rule, found in of_rule.items():
        scale = 100 if measure == "accuracy" else 1
        solid = [scale * getattr(step, measure) for step in found]
        ax.plot(solid, "o-", color=COLOURS[rule], markersize=4, label=rule)
        if measure == "given":
            ax.plot([step.pruned for step in found], "s--", color=COLOURS[rule], markersize=4)


def main() -> None:
    """Figures 2 and 3 of the modularity-guided paper, for both rules."""
    sets = {name: getattr(datasets, name)(root=ROOT) for name in ("COIL20", "PenDigits", "USPS")}
    figure = new_figure(10.5, 5.6)
    axes = figure.subplots(2, 3, sharex=True)
    for column, (name, data) in enumerate(sets.items()):
        x, y = data.split("train") if name == "PenDigits" else (data[0].x, data[0].y)
        of_rule = {rule: steps(x.flatten(1), y, data.num_classes, rule) for rule in COLOURS}
        print(name, of_rule)
        panel(axes[0, column], of_rule, "accuracy")
        panel(axes[1, column], of_rule, "given")
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel("times pruned")
    axes[0, 0].set_ylabel("accuracy, %")
    axes[1, 0].set_ylabel("modularity on the given (—)\nand the pruned graph (- -)")
    axes[0, 0].legend()
    save_figure(figure, IMAGES / "pruning_iterations")


if __name__ == "__main__":
    main()
