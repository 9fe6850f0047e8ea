import gzip
import json
import re
from base64 import b64decode
from itertools import cycle

import numpy as np
import pandas as pd
import pytest

from benchmarks import machine
from benchmarks.cli import main
from benchmarks.page import _column, page
from benchmarks.store import read
from tests.benchmarks.browser import CHROMIUM, NAMES, visit

RESULTS = machine.ROOT / "benchmarks" / "results"
PACKED = re.compile(r'<script type="application/gzip">([\w+/=]*)</script>')


def unpacked(text):
    return [gzip.decompress(b64decode(packed)).decode() for packed in PACKED.findall(text)]


def shortened(value):
    return float(f"{value:.6g}") if isinstance(value, float) else value


def tables(text):
    """Columns by name of every table, as the script reads them."""
    found = [json.loads(part) for part in unpacked(text) if part.startswith('[{"name"')]
    return [{c["name"]: [c["values"][i] for i in c["codes"]] for c in columns} for columns in found]


def test_page_has_the_figures_of_its_studies_and_every_run(tmp_path, capsys):
    folders = [str(RESULTS / name) for name in ("default", "pretrained_clusters")]
    file = tmp_path / "report.html"
    assert main(["report", *folders, "--output", str(file)]) == 0
    text = file.read_text()
    for name in ("default", "pretrained_clusters", "all-runs"):
        assert f'<a href="#{name}">' in text
        assert f'<section id="{name}">' in text
    default, clusters, runs = tables(text)
    assert "97.78 ± 0.08" in default["accuracy %"]
    assert len(clusters["accuracy"]) == len(read([RESULTS / "pretrained_clusters"]))
    tests = [row for row in read([RESULTS / "default"]) if row["stage"] == "test"]
    for name in ("task", "method", "seed", "accuracy", "git_commit"):
        assert runs[name] == [shortened(row[name]) for row in tests]


def test_page_loads_nothing_from_elsewhere():
    text = page({"default": read([RESULTS / "default"])})
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?(?:https?:)?//", text)
    assert "from the internet" not in text


def test_names_of_users_are_text():
    rows = [row for row in read([RESULTS / "default"]) if row["stage"] == "test"]
    evil = "<script>alert(1)</script>"
    rows = [{**row, "method": evil if row["method"] == "gcr" else row["method"]} for row in rows]
    text = page({evil: rows})
    assert evil not in text
    assert evil in tables(text)[0]["method"]


def test_many_rows_are_small():
    row = next(row for row in read([RESULTS / "default"]) if row["stage"] == "test")
    few, many = (page({"a": [{**row, "seed": seed} for seed in range(n)]}) for n in (1000, 10_000))
    assert len(many) - len(few) < 10 * 9000  # ten bytes a row


def test_cells_are_what_json_has_and_columns_of_numbers_sort_as_such():
    cells = pd.Series([True, 1, 1.0, None, np.nan, np.inf, pd.NA, "a"], dtype=object)
    column = _column("any", cells)
    assert json.loads(json.dumps(column, allow_nan=False)) == column
    shown = [column["values"][code] for code in column["codes"]]
    assert list(map(str, shown)) == ["True", "1", "1.0", "", "", "inf", "", "a"]
    assert not column["number"]
    for text in ("97.78 ± 0.08", "+0.1 [-0.2, +0.4]", "-3", ".5*", 1e-20):
        assert _column("any", pd.Series([text, ""]))["number"]
    for text in ("2026-11-27", "12ab", "", "2466/5000"):
        assert not _column("any", pd.Series(["1", text] if text else [text]))["number"]


ROWS = 100_000
VISIT = """
const frames = async (count) => { for (let i = 0; i < count; i++) await frame(); };
const all = document.getElementById("all-runs");
const first = document.querySelector(".table");
const rows = (place) => [...place.querySelectorAll("tbody tr:not(.shape)")].filter(({ cells }) => cells.length);
const column = (place, name) => [...place.querySelectorAll("th")].findIndex((th) => th.textContent === name);
const cells = (place, name) => rows(place).map((row) => row.cells[column(place, name)].textContent);
const press = (place, name) => place.querySelectorAll("th button")[column(place, name)].click();
const timed = async (act) => {
  const start = performance.now();
  act();
  await frame();
  return performance.now() - start;
};
const told = { curves: await until(() => document.querySelector(".line circle")) };
told.table = await until(() => rows(first).length);
press(first, "method");
told.sorted = cells(first, "method");
all.scrollIntoView();
const asked = performance.now();
told.all = await until(() => rows(all).length) - asked;
told.sort = await timed(() => press(all, "accuracy"));
told.top = cells(all, "accuracy").slice(0, 30).map(Number);
told.order = all.querySelectorAll("th")[column(all, "accuracy")].ariaSort;
const box = all.querySelectorAll("thead input")[column(all, "method")];
box.value = "GCR";
told.filter = await timed(() => box.dispatchEvent(new Event("input")));
told.methods = [...new Set(cells(all, "method"))];
told.count = all.querySelector("[role=status]").textContent;
const scroll = all.querySelector(".scroll");
scroll.scrollTop = scroll.scrollHeight;
await frames(3);
told.drawn = rows(all).length;
told.last = cells(all, "accuracy").at(-1);
const reached = document.querySelectorAll("th button, thead input, .scroll");
told.reached = [...reached].every(({ tabIndex }) => tabIndex === 0);
told.ink = getComputedStyle(first.querySelector("tbody td")).color;
told.head = getComputedStyle(first.querySelector("thead")).backgroundColor;
told.requests = performance.getEntriesByType("resource").map(({ name }) => name);
return told;
"""


@pytest.fixture(scope="module")
def large():
    """A page of two tasks, 100,000 runs."""
    tests = [row for row in read([RESULTS / "default"]) if row["stage"] == "test"]
    kinds = {(row["task"], row["method"]): row for row in tests}
    spread = np.random.default_rng(0).normal(0, 0.01, ROWS)
    rows = [
        {**row, "seed": n // len(kinds), "accuracy": row["accuracy"] + spread[n]}
        for n, row in zip(range(ROWS), cycle(kinds.values()))
    ]
    return page({"large": rows})


@pytest.mark.skipif(CHROMIUM is None, reason=f"needs one of {', '.join(NAMES)} on the path")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_sorts_and_filters_100_000_rows(large, scheme, tmp_path):
    flags = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    told = visit(large, VISIT, tmp_path, *flags)
    assert told.pop("errors") == []
    assert told["requests"] == []
    assert "failed" not in told
    times = {name: round(told[name]) for name in ("table", "curves", "all", "sort", "filter")}
    print(f"\n{scheme}, {ROWS:,} rows, milliseconds: {times}")
    assert told["sorted"] == sorted(told["sorted"], key=str.lower)
    assert told["order"] == "ascending"
    assert told["top"] == sorted(told["top"])
    assert len(told["top"]) == 30
    assert all("gcr" in method.lower() for method in told["methods"])
    assert re.fullmatch(r"\d\d,\d{3} of 100,000 rows", told["count"])
    assert told["drawn"] < 100
    assert float(told["last"]) > told["top"][-1]
    assert told["reached"]
    ink, head = (sum(map(int, re.findall(r"\d+", told[name])[:3])) for name in ("ink", "head"))
    assert (ink > head) == (scheme == "dark")
    assert times["table"] < 10_000
    assert times["curves"] < 20_000
    assert times["all"] < 10_000
