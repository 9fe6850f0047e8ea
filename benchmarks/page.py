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
from benchmarks.chart import chart
from benchmarks.store import Row

TITLE = "pyg_relational: results"
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{css}</style>
<h1>{title}</h1>
<p>Differences are to the first method of a task, paired by seed; intervals are 95 % Student-t; a star: the interval
excludes 0. Columns sort by a click or Enter on their name and filter by the boxes below it.</p>
"""
SHOWN = ("accuracy", "nll", "ece", "git_commit", "date", "device")
DIGITS = 6  # of a number
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)( |\*|$)")  # what a cell that sorts as one begins with
SCRIPT = Path(__file__).with_suffix(".js")
STYLE = Path(__file__).with_suffix(".css")


def page(studies: Mapping[str, Sequence[Row]]) -> str:
    """The page.

    Args:
        studies: Rows by the name of their study.
    """
    css = STYLE.read_text(encoding="utf-8")
    parts = [HEAD.format(title=TITLE, css=css), _navigation([*studies, "all runs"])]
    for name, rows in studies.items():
        body = _accuracy(rows) if "stage" in rows[0] else _table(_scalars(rows))
        parts.append(_section(name, body))
    runs = [run for name, rows in studies.items() for run in _runs(name, rows)]
    if runs:
        parts.append(_section("all runs", _table(pd.DataFrame(runs))))
    script = SCRIPT.read_text(encoding="utf-8")
    return "\n".join([*parts, f"<script>{script}</script>"])


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
    return chart(frame(rows)) + _table(results(rows))


def _table(table: pd.DataFrame) -> str:
    """A table of which each column is its values and their numbers in the rows."""
    columns = [_column(str(name), values) for name, values in table.items()]
    packed = _packed(json.dumps(columns))
    return f'<div class="table" style="--rows: {len(table)}">{packed}</div>'


def _column(name: str, column: pd.Series) -> dict[str, Any]:
    cells = [_cell(value) for value in column.tolist()]
    keys = [(type(cell), cell) for cell in cells]  # 1 is not True
    codes = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    values = [value for _, value in codes]
    filled = [value for value in values if value != ""]
    return {
        "name": name,
        "number": bool(filled)
        and all(not isinstance(value, str) or NUMBER.match(value) for value in filled),
        "values": values,
        "codes": [codes[key] for key in keys],
    }


def _cell(value: Any) -> str | int | float:
    """A value that JSON has, a number by its first digits; nothing of what is missing."""
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return str(value)
    return value if isinstance(value, int) else float(f"{value:.{DIGITS}g}")


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
