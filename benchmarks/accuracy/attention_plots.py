"""Pictures of attention: embeddings of images, anchors and proxies, entropy against classes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from benchmarks.accuracy.attention import STAGES, attention_at
from benchmarks.drawing import interval_line, legend, probe_path, style
from pyg_relational.visualize import embedding_map, new_figure

CLASSES = r".*, \d+ classes"  # of the name of a task
APART = 1.07  # the classes of a method over those of the one before, so that marks lie beside each other
SHOWN = 30  # classes whose colours can be told apart
MEASURES = {
    "entropy": "entropy of a sample's attention",
    "entropy_of_mean": "entropy of the mean attention",
    "own_class": "attention to the own class / uniform",
}


def embeddings(runs: pd.DataFrame, folders: Sequence[Path]) -> Figure | None:
    """Test samples, anchors and proxies in two dimensions, at the start, in the middle and at the end of training.

    One line a method with attention, for the first seed of which they were kept; None without any, and with more
    classes than can be told apart.
    """
    probes = _attention_probes(runs, folders)
    if not probes or max(len(probe["images_y"].unique()) for probe in probes.values()) > SHOWN:
        return None
    names = [
        n for n in ("images", "anchors", "proxies") if any(f"{n}_y" in p for p in probes.values())
    ]
    figure = new_figure(3.5 * len(STAGES), 0.8 + 3.2 * len(probes))
    panels = figure.subplots(len(probes), len(STAGES), squeeze=False)
    for ax, stage in zip(panels[0], STAGES, strict=True):
        ax.set_title(f"{stage} of training", fontsize=10)
    for line, (method, probe) in zip(panels, probes.items(), strict=True):
        line[0].set_ylabel(method)
        for ax, stage in zip(line, STAGES, strict=True):
            embedding_map({name: _set(probe, name, stage) for name in names}, ax)
    classes = 1 + int(probe["images_y"].max())
    text = f"{runs['task'].iloc[0]}: t-SNE of {len(probe['images_y'])} test samples, coloured by {classes} classes"
    legend(figure, panels[0, 0], text)
    for handle in figure.legends[0].legend_handles:
        if handle is not None:
            handle.set(facecolor="0.6")
    return figure


def entropy(runs: pd.DataFrame) -> Figure | None:
    """What attention does at the end of training against the number of classes.

    Lines join tasks called "<data set>, <number> classes", hollow marks are the others; None with fewer than two
    numbers to join.
    """
    if "relations" not in runs:
        return None
    numbers = {method: number for number, method in enumerate(runs["method"].unique())}
    runs = runs[[attention_at(made, "entropy") is not None for made in runs["relations"]]]
    classes = np.array([made["num_classes"] for made in runs["relations"]])
    joined = runs["task"].str.fullmatch(CLASSES).to_numpy(dtype=bool)
    ticks = np.unique(classes[joined])
    if len(ticks) < 2:
        return None
    figure = new_figure(12, 4.6)
    panels = figure.subplots(1, len(MEASURES))
    for ax, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        values = np.array([attention_at(made, measure)[-1] for made in runs["relations"]])
        values = values * classes if measure == "own_class" else values
        for method in runs["method"].unique():
            mine, number = (runs["method"] == method).to_numpy(), numbers[method]
            at = classes * APART ** (number - (len(numbers) - 1) / 2)
            line, rest = mine & joined, mine & ~joined
            interval_line(ax, at[line], values[line], method, number)
            ax.plot(at[rest], values[rest], **style(number) | {"markerfacecolor": "none"})
        ax.set(xscale="log", xlabel="classes", title=title)
        ax.set_ylim(0, 3 if measure == "own_class" else 1.03)
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    panels[-1].axhline(1, color="0.5", linewidth=0.8)
    others = ", ".join(runs.loc[~joined, "task"].unique())
    title = f"Attention after training, mean and 95 % Student-t interval over {runs['seed'].nunique()} seeds"
    legend(figure, panels[0], f"{title}; hollow: {others}" if others else title)
    return figure


def _set(
    probe: dict[str, torch.Tensor], name: str, stage: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and classes; none of a set that the method has not, so that others keep their marks."""
    images = probe[f"images_{stage}"].float()
    x = probe.get(f"{name}_{stage}", images[:0]).float()
    return x, probe.get(f"{name}_y", probe["images_y"][:0])


def _attention_probes(
    runs: pd.DataFrame, folders: Sequence[Path]
) -> dict[str, dict[str, torch.Tensor]]:
    probes = {}
    for _, run in runs.iterrows():
        if path := probe_path(run["id"], folders):
            with np.load(path) as arrays:
                if any(name.startswith("attention_") for name in arrays.files):
                    probes[run["method"]] = {n: torch.from_numpy(arrays[n]) for n in arrays.files}
    return probes
