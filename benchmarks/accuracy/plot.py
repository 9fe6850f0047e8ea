"""Rows to pictures: accuracy with intervals, training curves, relations before and after."""

import math
import re
import textwrap
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from benchmarks.accuracy import attention_plots, latent_plots
from benchmarks.accuracy.robustness import NORMS
from benchmarks.accuracy.table import compare, frame
from benchmarks.drawing import COLOURS, DASHES, interval_line, legend, probe_path, style
from benchmarks.store import Row
from benchmarks.suite import Pictures
from benchmarks.tables import half_interval
from pyg_relational.metrics import class_similarity
from pyg_relational.visualize import new_figure, prediction_graph, relation_matrix

SHOWN = (
    "^(accuracy|attention)$|^(attacks|clustered|embeddings|labels)-"  # the others where asked for
)
CURVES = {
    "loss": "training loss (each method's own)",
    "train_accuracy": "training accuracy (%)",
    "test_accuracy": "test accuracy (%)",
}
WIDE = 20  # percentage points, from which differences are drawn on a logarithmic scale beyond 1
RATE = r"^(?P<data>.*), (?P<rate>\d+) labels? a class$"  # of the name of a task
SLOT, BELOW = 0.23, 0.3  # inches of a line; part of it that seeds lie below their mean
APART = 0.02  # of the largest radius, between methods
TITLE_WIDTH = 44  # characters that half of the picture is wide enough for


def pictures(rows: Sequence[Row], folders: Sequence[Path]) -> Pictures:
    """What can be drawn of the rows scored on test data, with ``probes/<id>.npz`` in ``folders``."""
    runs = frame(rows)
    if runs.empty:
        return {}
    drawn = {
        "accuracy": partial(accuracy, runs),
        "attention": partial(attention_plots.entropy, runs),
    }
    for task, of_task in runs.groupby("task", sort=False):
        name = _file_name(str(task))
        for kind, draw in {
            "curves": curves,
            "attacks": attacks,
            "relations": partial(relations, folders=folders),
            "embeddings": partial(attention_plots.embeddings, folders=folders),
            "clustered": latent_plots.groups,
            "latents": latent_plots.measures,
        }.items():
            drawn[f"{kind}-{name}"] = partial(draw, of_task)
    rated = runs["task"].str.extract(RATE)
    for data, of_data in runs.groupby(rated["data"], sort=False):
        drawn[f"labels-{_file_name(str(data))}"] = partial(label_rates, of_data)
    return drawn


def accuracy(runs: pd.DataFrame) -> Figure:
    """Left, each run and the mean with its interval; right, the paired difference with its own; a line a method."""
    methods, names = list(runs["method"].unique()), {}
    lines = runs["task"].nunique() + len(runs.groupby(["task", "method"]))
    figure = new_figure(11, 1.4 + SLOT * lines)
    left, right = figure.subplots(1, 2, sharey=True)
    for task, of_task in runs.groupby("task", sort=False):
        names[len(names)] = str(task)
        first = of_task["method"].iloc[0]
        for method, of_method in of_task.groupby("method", sort=False):
            line = len(names)
            names[line] = str(method)
            values = 100 * of_method["accuracy"].to_numpy()
            marks = style(methods.index(method))
            dots = marks | {"marker": ".", "alpha": 0.5, "markeredgewidth": 0}
            left.plot(values, np.full(len(values), line + BELOW), **dots)
            half = half_interval(values)
            left.errorbar(values.mean(), line, xerr=half, capsize=3, **marks)
            if method != first:
                pair = compare(of_task, str(task), str(method), first, "accuracy")
                half = 0.0 if pair.n < 2 else 100 * (pair.high - pair.mean)
                right.errorbar(100 * pair.mean, line, xerr=half, capsize=3, **marks)
    _name_lines(left, names, set(runs["task"]))
    if np.ptp(right.get_xlim()) > WIDE:
        right.set_xscale("symlog", linthresh=1)
        right.xaxis.set_major_formatter("{x:g}")
        right.autoscale(axis="x")
    right.axvline(0, color="black", linewidth=0.8)
    left.set(title="Test accuracy (dots: seeds)", xlabel="accuracy (%)")
    title = textwrap.fill(f"Difference to {methods[0]}, paired by seed", TITLE_WIDTH)
    right.set(title=title, xlabel="percentage points")
    for ax in (left, right):
        ax.grid(axis="x", alpha=0.3)
        ax.tick_params("y", length=0)
    seeds = sorted(set(runs.groupby("task")["seed"].nunique()))
    figure.suptitle(f"Mean and 95 % Student-t interval over {' or '.join(map(str, seeds))} seeds")
    return figure


def _name_lines(ax: Axes, names: dict[int, str], tasks: set[str]) -> None:
    """Each line by the name of its method, below that of its task."""
    ax.set_yticks(list(names), list(names.values()))
    ax.set_ylim(len(names) - 0.2, -0.8)
    for line, label in zip(names, ax.get_yticklabels(), strict=True):
        if names[line] in tasks:
            label.set(fontweight="bold")


def label_rates(runs: pd.DataFrame) -> Figure:
    """Accuracy against labels a class, mean with its interval; methods side by side."""
    task = runs["task"].str.extract(RATE)
    rates = task["rate"].astype(int).to_numpy()
    figure = new_figure(9, 5.4)
    ax = figure.subplots()
    middle = (runs["method"].nunique() - 1) / 2
    for number, (method, group) in enumerate(runs.groupby("method", sort=False)):
        beside = rates[(runs["method"] == method).to_numpy()] * 1.04 ** (number - middle)
        interval_line(ax, beside, 100 * group["accuracy"].to_numpy(), str(method), number)
    ax.set(xscale="log", xlabel="labels a class", ylabel="test accuracy (%)")
    ax.set_xticks(np.unique(rates), [str(rate) for rate in np.unique(rates)])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    seeds = runs["seed"].nunique()
    legend(
        figure, ax, f"{task['data'].iloc[0]}: mean and 95 % Student-t interval over {seeds} seeds"
    )
    return figure


def attacks(runs: pd.DataFrame) -> Figure | None:
    """Accuracy against the radius of each attack, mean with its interval; None without attacks."""
    if "attacks" not in runs or (runs := runs.dropna(subset=["attacks"])).empty:
        return None
    figure = new_figure(10, 6.6)
    panels = figure.subplots(2, math.ceil(len(NORMS) / 2), sharey=True).flatten()
    middle = (runs["method"].nunique() - 1) / 2
    for ax, (attack, norm) in zip(panels, NORMS.items(), strict=True):
        for number, (method, group) in enumerate(runs.groupby("method", sort=False)):
            parts = [made[attack] for made in group["attacks"]]
            radius = np.concatenate([part["radius"] for part in parts])
            radius = radius + APART * np.ptp(radius) * (number - middle)
            values = 100 * np.concatenate([part["accuracy"] for part in parts])
            interval_line(ax, radius, values, str(method), number)
        ax.set(title=attack, xlabel=norm, ylim=(0, 100))
        ax.grid(alpha=0.3)
    figure.supylabel("accuracy of attacked samples (%)", fontsize="medium")
    seeds = runs["seed"].nunique()
    title = f"{runs['task'].iloc[0]}: mean and 95 % Student-t interval over {seeds} seeds"
    legend(figure, panels[0], title)
    return figure


def curves(runs: pd.DataFrame) -> Figure | None:
    """Mean of each method over seeds for each epoch; the band is one standard deviation.

    Methods without training are left out; None if no other is there.
    """
    runs = runs[runs["curve"].astype(bool)]
    if runs.empty:
        return None
    shown = [name for name in CURVES if all(name in curve for curve in runs["curve"])]
    figure = new_figure(4.2 * len(shown), 3.6)
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for ax, name in zip(panels, shown, strict=True):
        for number, (method, group) in enumerate(runs.groupby("method", sort=False)):
            _band(ax, name, str(method), group, number)
        ax.set(xlabel="epoch", ylabel=CURVES[name], xlim=(1, None))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.3)
    panels[0].set_yscale("log")
    panels[0].yaxis.set_major_formatter("{x:g}")
    panels[0].yaxis.set_minor_formatter(LogFormatter())
    seeds = runs["seed"].nunique()
    legend(figure, panels[0], f"{runs['task'].iloc[0]}: mean ± std over {seeds} seeds")
    return figure


def relations(runs: pd.DataFrame, folders: Sequence[Path]) -> Figure | None:
    """Feature graph of some test samples before and after training, and the prediction graph.

    One line a method, for the first seed of which the features were kept; None without any.
    """
    probes = {
        run["method"]: p for _, run in runs.iterrows() if (p := probe_path(run["id"], folders))
    }
    if not probes:
        return None
    figure = new_figure(10.5, 0.6 + 3.3 * len(probes))
    panels = figure.subplots(len(probes), 3, squeeze=False)
    for line, (method, path) in zip(panels, probes.items(), strict=True):
        with np.load(path) as arrays:
            probe = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        for ax, when in zip(line, ("before", "after"), strict=False):
            features = probe[f"features_{when}"].float()
            intra, inter = class_similarity(features, probe["y"])
            relation_matrix(features, probe["y"], ax)
            text = f"features {when} training\nintra-class cos {intra:.2f}, inter-class {inter:.2f}"
            ax.set_title(text, fontsize=9)
        prediction_graph(probe["logits_after"], probe["y"], line[2])
        line[2].set_title("masked prediction graph\nafter training", fontsize=9)
        line[0].set_ylabel(f"{method}\n\nclass")
        for ax in line:
            ax.tick_params(labelsize=7)
    image, shrink = panels[0, 0].get_images()[0], 1.2 / max(2, len(probes))
    figure.colorbar(image, ax=panels, label="cosine similarity, negative as 0", shrink=shrink)
    figure.suptitle(f"{runs['task'].iloc[0]}: {len(probe['y'])} test samples by class, first seed")
    return figure


def _file_name(title: str) -> str:
    return re.sub(r"\W+", "-", title).strip("-").lower()


def _band(ax: Axes, name: str, method: str, group: pd.DataFrame, number: int) -> None:
    values = np.array([curve[name] for curve in group["curve"]])
    values = values if name == "loss" else 100 * values
    mean, std = values.mean(0), values.std(0, ddof=1 if len(values) > 1 else 0)
    epochs = np.arange(1, len(mean) + 1)
    colour = COLOURS[number % len(COLOURS)]
    dash = DASHES[number % len(DASHES)]
    ax.plot(epochs, mean, dash, color=colour, label=method)
    ax.fill_between(epochs, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
