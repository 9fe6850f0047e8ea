"""Rows of any studies as one HTML page that needs no network: curves, tables that sort and filter, every run."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.accuracy.table import frame, results
from benchmarks.drawing import COLOURS
from benchmarks.store import Row
from benchmarks.tables import half_interval

TITLE = "pyg_relational: results"
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem; }}
section {{ border-top: 1px solid #8886; overflow-x: auto; }}
nav a {{ margin-right: 1em; white-space: nowrap; }}
</style>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();
</script>
<h1>{title}</h1>
<p>Differences are to the first method of a task, paired by seed; intervals are 95 % Student-t; a star: the interval
excludes 0. Columns sort by a click or Enter on their name and filter by the boxes below them.</p>
"""
SHOWN = ("accuracy", "nll", "ece", "git_commit", "date", "device")
TABLE: dict[str, Any] = {
    "connected": False,
    "maxBytes": 0,
    "showIndex": False,
    "column_filters": "footer",
    "classes": "display compact nowrap",
    "layout": {
        "topStart": "pageLength",
        "topEnd": "search",
        "bottomStart": "info",
        "bottomEnd": "paging",
    },
    "pageLength": 25,
    "deferRender": True,
    "display_logo_when_loading": False,
}


def page(studies: Mapping[str, Sequence[Row]]) -> str:
    """The page.

    Args:
        studies: Rows by the name of their study.
    """
    parts = [HEAD.format(title=TITLE), _scripts(), _navigation([*studies, "all runs"])]
    for name, rows in studies.items():
        body = _accuracy(rows) if "stage" in rows[0] else _table(_scalars(rows))
        parts.append(_section(name, body))
    runs = [run for name, rows in studies.items() for run in _runs(name, rows)]
    if runs:
        parts.append(_section("all runs", _table(pd.DataFrame(runs))))
    return "\n".join(parts)


def _scripts() -> str:
    """DataTables and plotly, whole."""
    import itables
    from itables.javascript import generate_init_offline_itables_html
    from plotly.offline import get_plotlyjs

    bundle = Path(itables.__file__).parent / "html" / "dt_bundle.js"
    return f"{generate_init_offline_itables_html(bundle)}<script>{get_plotlyjs()}</script>"


def _navigation(names: Sequence[str]) -> str:
    links = (f'<a href="#{_anchor(name)}">{html.escape(name)}</a>' for name in names)
    return f"<nav>{' '.join(links)}</nav>"


def _section(name: str, body: str) -> str:
    return f'<section id="{_anchor(name)}"><h2>{html.escape(name)}</h2>{body}</section>'


def _anchor(name: str) -> str:
    return html.escape(name.replace(" ", "-"))


def _accuracy(rows: Sequence[Row]) -> str:
    return _curves(frame(rows)) + _table(results(rows))


def _table(table: pd.DataFrame) -> str:
    from itables import to_html_datatable

    return str(to_html_datatable(table, **TABLE))


def _scalars(rows: Sequence[Row]) -> pd.DataFrame:
    kept = [{k: v for k, v in row.items() if isinstance(v, str | int | float)} for row in rows]
    return pd.DataFrame(kept).drop(columns="id")


def _runs(study: str, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What made each scored run of training."""
    return [
        {
            "study": study,
            **{name: row[name] for name in ("task", "method", "seed")},
            **{name: row.get(name, "") for name in SHOWN},
            "options": _setting(row["config"]["method"]["options"]),
            "training": _setting(row["config"]["train"]),
        }
        for row in rows
        if row.get("stage") == "test"
    ]


def _setting(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def _curves(runs: pd.DataFrame) -> str:
    """Mean accuracy of each method with its interval."""
    import plotly.graph_objects as go

    figure = go.Figure()
    tasks = list(runs["task"].unique())
    for number, (method, of_method) in enumerate(runs.groupby("method", sort=False)):
        groups = [100 * g["accuracy"] for _, g in of_method.groupby("task", sort=False)]
        figure.add_scatter(
            x=[group.mean() for group in groups],
            y=[tasks.index(task) + _offset(number, runs) for task in of_method["task"].unique()],
            error_x={"array": [half_interval(group) for group in groups], "thickness": 1.5},
            mode="markers",
            name=str(method),
            marker={"color": COLOURS[number % len(COLOURS)], "symbol": number, "size": 8},
        )
    figure.update_layout(
        height=150 + 22 * runs.groupby("task")["method"].nunique().sum(),
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"color": "#888"},
        margin={"t": 20},
        xaxis={"title": "test accuracy, %", "gridcolor": "#8884", "zeroline": False},
        yaxis={"tickvals": list(range(len(tasks))), "ticktext": tasks, "autorange": "reversed"},
    )
    config = {"displaylogo": False, "responsive": True}
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config=config))


def _offset(number: int, runs: pd.DataFrame) -> float:
    """Where a method lies about the place of its task."""
    count = runs["method"].nunique()
    return 0.8 * ((number + 0.5) / count - 0.5)
