"""Rows of any studies as one HTML page that needs no network: curves, tables that sort and filter, every run."""

import gzip
import html
import json
import math
import re
from base64 import b64encode
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
.table {{ min-height: 12rem; }}
summary {{ cursor: pointer; margin: 1em 0; }}
{css}
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
LARGE = 1000  # rows of a table that is drawn when it is asked for
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)( |\*|$)")  # what a cell that sorts as one begins with
SCRIPT = Path(__file__).with_suffix(".js")


def page(studies: Mapping[str, Sequence[Row]]) -> str:
    """The page.

    Args:
        studies: Rows by the name of their study.
    """
    parts = [HEAD.format(title=TITLE, css=_css()), _navigation([*studies, "all runs"])]
    for name, rows in studies.items():
        body = _accuracy(rows) if "stage" in rows[0] else _table(_scalars(rows))
        parts.append(_section(name, body))
    runs = [run for name, rows in studies.items() for run in _runs(name, rows)]
    if runs:
        parts.append(_section("all runs", _table(pd.DataFrame(runs))))
    return "\n".join([*parts, _scripts()])


def _css() -> str:
    return _bundle().with_suffix(".css").read_text(encoding="utf-8")


def _scripts() -> str:
    """DataTables and plotly, packed, and what draws with them."""
    from plotly.offline import get_plotlyjs

    sources = {"tables": _bundle().read_text(encoding="utf-8"), "curves": get_plotlyjs()}
    parts = [f'<div id="{name}" hidden>{_packed(text)}</div>' for name, text in sources.items()]
    return "\n".join([*parts, f"<script>{SCRIPT.read_text(encoding='utf-8')}</script>"])


def _bundle() -> Path:
    """DataTables, as itables ships it."""
    import itables

    return Path(itables.__file__).parent / "html" / "dt_bundle.js"


def _packed(text: str) -> str:
    """Text that a script unpacks; nothing of it is markup."""
    packed = b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    return f'<script type="application/gzip">{packed}</script>'


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
    """A table of which each column is its values and their numbers in the rows."""
    columns = [_column(str(name), values) for name, values in table.items()]
    place = f'<div class="table" data-draw="table">{_packed(json.dumps(columns))}</div>'
    if len(table) <= LARGE:
        return place
    return f"<details><summary>{len(table):,} rows</summary>{place}</details>"


def _column(name: str, column: pd.Series) -> dict[str, Any]:
    cells = [_cell(value) for value in column]
    codes = {text: code for code, text in enumerate(dict.fromkeys(map(json.dumps, cells)))}
    filled = [cell for cell in cells if cell != ""]
    return {
        "name": name,
        "number": bool(filled)
        and all(not isinstance(cell, str) or NUMBER.match(cell) for cell in filled),
        "values": [json.loads(text) for text in codes],
        "codes": [codes[json.dumps(cell)] for cell in cells],
    }


def _cell(value: Any) -> str | int | float:
    """A value that JSON has; nothing of what is missing."""
    if pd.isna(value):
        return ""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if number else str(value)


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
        yaxis={
            "tickvals": list(range(len(tasks))),
            "ticktext": tasks,
            "autorange": "reversed",
            "showgrid": False,
            "zeroline": False,
        },
    )
    size = f"height: {figure.layout.height}px"
    return f'<div data-draw="curves" style="{size}">{_packed(figure.to_json())}</div>'


def _offset(number: int, runs: pd.DataFrame) -> float:
    """Where a method lies about the place of its task."""
    count = runs["method"].nunique()
    return 0.8 * ((number + 0.5) / count - 0.5)
