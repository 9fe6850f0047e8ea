import gzip
import json
import re
from base64 import b64decode

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.cli import main
from benchmarks.page import LARGE, _column, page
from benchmarks.store import read

RESULTS = machine.ROOT / "benchmarks" / "results"
PACKED = re.compile(r'<script type="application/gzip">([\w+/=]*)</script>')


def unpacked(text):
    return [gzip.decompress(b64decode(packed)).decode() for packed in PACKED.findall(text)]


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
        assert runs[name] == [row[name] for row in tests]


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


def test_many_rows_are_small_and_wait_until_they_are_asked_for():
    row = next(row for row in read([RESULTS / "default"]) if row["stage"] == "test")
    few, many = (
        page({"a": [{**row, "seed": seed} for seed in range(n)]}) for n in (LARGE, 10 * LARGE)
    )
    assert "<details>" not in few
    assert f"<details><summary>{10 * LARGE:,} rows</summary>" in many
    assert len(many) - len(few) < 10 * 9 * LARGE  # ten bytes a row


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
