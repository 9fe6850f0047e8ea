"""Pictures of what clusters of the latent spaces have to do with classes, layer by layer and epoch by epoch."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from benchmarks.drawing import COLOURS, interleaved, legend
from pyg_relational.visualize import new_figure

SCORES = {"accuracy": "accuracy (%)", "cross_entropy": "cross-entropy"}
GROUPS = {"cc": "CC", "mc": "MC"}
WIDTHS = {"cc": 3.0, "mc": 1.5}
GROUPS_NOTE = "CC, MC: correctly clustered, misclustered"
MEASURES = {
    "mc_share": "misclustered (%)",
    "clusters": "clusters",
    "modularity": "modularity",
    "gdv": "GDV",
}


def groups(runs: pd.DataFrame) -> Figure | None:
    """Accuracy and cross-entropy of correctly and misclustered samples, a column for each layer; None without any."""
    runs = looked_into(runs)
    if runs.empty:
        return None
    figure, panels = _panels(runs, list(SCORES.values()))
    for line, score in zip(panels, SCORES, strict=True):
        scale = 100 if score == "accuracy" else 1
        for number, (method, of_method) in enumerate(runs.groupby("method", sort=False)):
            for group, name in GROUPS.items():
                values = scale * history(of_method, f"{group}_{score}")
                look = _look(number, runs) | {"linewidth": WIDTHS[group]}
                _lines(line, values, f"{method}, {name}", look)
    for ax in panels[1]:
        ax.set_ylim(0, None)
    _finish(figure, panels, runs, f"; {GROUPS_NOTE}")
    return figure


def measures(runs: pd.DataFrame) -> Figure | None:
    """Share of misclustered samples, clusters, modularity and GDV, a column for each layer; None without any."""
    runs = looked_into(runs)
    if runs.empty:
        return None
    figure, panels = _panels(runs, list(MEASURES.values()))
    for line, measure in zip(panels, MEASURES, strict=True):
        for number, (method, of_method) in enumerate(runs.groupby("method", sort=False)):
            _lines(line, history(of_method, measure), str(method), _look(number, runs))
    for ax in panels[list(MEASURES).index("clusters")]:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(figure, panels, runs)
    return figure


def looked_into(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs whose latents were looked into."""
    return runs[[isinstance(made, dict) for made in runs.get("latents", [None] * len(runs))]]


def history(runs: pd.DataFrame, measure: str) -> NDArray[np.float64]:
    """A measure ``[seeds, epochs, layers]``, epochs from 0; NaN where a group is empty."""
    if measure == "mc_share":
        mc, cc = history(runs, "mc_samples"), history(runs, "cc_samples")
        return 100 * mc / (mc + cc)
    return np.array([made[measure] for made in runs["latents"]], dtype=np.float64)


def _panels(runs: pd.DataFrame, titles: list[str]) -> tuple[Figure, NDArray[Any]]:
    layers = runs["latents"].iloc[0]["layers"]
    figure = new_figure(2.6 * len(layers) + 0.6, 2.1 * len(titles) + 1.2)
    panels = figure.subplots(len(titles), len(layers), sharex=True, sharey="row", squeeze=False)
    for ax, layer in zip(panels[0], layers, strict=True):
        ax.set_title(layer, fontsize=10)
    for ax, title in zip(panels[:, 0], titles, strict=True):
        ax.set_ylabel(title)
    for ax in panels[-1]:
        ax.set_xlabel("epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure, panels


def _look(number: int, runs: pd.DataFrame) -> dict[str, Any]:
    """Of the line of a method, by its number."""
    dashes = interleaved(number, runs["method"].nunique())
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": dashes}


def _lines(
    line: NDArray[Any], values: NDArray[np.float64], label: str, look: dict[str, Any]
) -> None:
    """Mean over seeds in the panel of each layer, and a band from the least to the most."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a group that is empty for all seeds
        low, mean, high = (f(values, axis=0) for f in (np.nanmin, np.nanmean, np.nanmax))
    epochs = np.arange(len(mean))
    for layer, ax in enumerate(line):
        ax.plot(epochs, mean[:, layer], label=label, **look)
        band = {"color": look["color"], "alpha": 0.12, "linewidth": 0}
        ax.fill_between(epochs, low[:, layer], high[:, layer], **band)


def _finish(figure: Figure, panels: NDArray[Any], runs: pd.DataFrame, note: str = "") -> None:
    """Grid, title, legend, and where the correction starts."""
    starts = {made["method"]["options"].get("warmup") for made in runs["config"]} - {None}
    for ax in panels.flatten():
        for start in starts:
            ax.axvline(start, color="0.6", linewidth=0.8)
        ax.grid(alpha=0.3)
    made, seeds = runs["latents"].iloc[0], runs["seed"].nunique()
    count = made["cc_samples"][0][0] + made["mc_samples"][0][0]
    first = f"{runs['task'].iloc[0]}: clusters of {count} test samples in each layer{note}"
    second = f"mean and range over {seeds} seeds" + "; grey line: correction starts" * bool(starts)
    legend(figure, panels[0, 0], f"{first}\n{second}")
