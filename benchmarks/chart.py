"""Accuracy with intervals as a piece of HTML: a panel a task, a line a method, no script."""

from collections.abc import Sequence
from html import escape

import pandas as pd
from matplotlib.ticker import MaxNLocator

from benchmarks.drawing import COLOURS
from benchmarks.tables import half_interval, mean_and_half

INKS = ["currentColor" if colour == "#000000" else colour for colour in COLOURS]
TICKS = MaxNLocator(5, steps=[1, 2, 5, 10])


def chart(runs: pd.DataFrame) -> str:
    """Mean test accuracy in % of each method with its 95 % interval, each task on a scale of its own."""
    methods = list(runs["method"].unique())
    panels = (
        _panel(str(task), of_task, methods) for task, of_task in runs.groupby("task", sort=False)
    )
    return f'<div class="chart">{"".join(panels)}</div>'


def _panel(task: str, runs: pd.DataFrame, methods: Sequence[str]) -> str:
    groups = {
        name: (100 * group["accuracy"]).tolist()
        for name, group in runs.groupby("method", sort=False)
    }
    ends = {name: _interval(values) for name, values in groups.items()}
    ticks = TICKS.tick_values(
        min(low for low, _, _ in ends.values()), max(high for _, _, high in ends.values())
    )

    def at(value: float) -> str:
        return f"{100 * (value - ticks[0]) / (ticks[-1] - ticks[0]):.2f}%"

    grid = "".join(f'<line x1="{at(t)}" x2="{at(t)}" y2="100%" stroke="#8884"/>' for t in ticks)
    names = "".join(f'<text x="{at(t)}" y="1em" text-anchor="middle">{t:g}</text>' for t in ticks)
    lines = [f"<b>{escape(task)}</b>", _line("", names, "accuracy %")]
    for name, (low, mean, high) in ends.items():
        colour = INKS[methods.index(name) % len(INKS)]
        marks = (
            f'<line x1="{at(low)}" x2="{at(high)}" y1="50%" y2="50%" stroke="{colour}" stroke-width="2"/>'
            f'<circle cx="{at(mean)}" cy="50%" r="4" fill="{colour}"/>'
        )
        lines.append(_line(escape(str(name)), grid + marks, mean_and_half(groups[name], 2)))
    return "".join(lines)


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    mean, half = sum(values) / len(values), half_interval(values)
    return mean - half, mean, mean + half


def _line(name: str, marks: str, value: str) -> str:
    return f'<div class="line"><span>{name}</span><svg aria-hidden="true">{marks}</svg><span>{value}</span></div>\n'
