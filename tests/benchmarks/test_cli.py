import json
from pathlib import Path

import pytest

from benchmarks.cli import SUITES, main

ROOT = Path(__file__).parents[2]


def test_help_lists_the_verbs_and_the_options_of_each(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for verb, options in {
        "run": "--seeds --output config",
        "cluster": "--data --graphs --clusterings --kernels --seeds --neighbours --output",
        "speed": "--only --missing --repeat --output",
        "table": "--baseline results",
        "plot": "--only --output results",
        "list": "-h",
    }.items():
        usage = out.split(f"usage: python -m benchmarks {verb} ")[1].split("usage:")[0]
        assert all(option in usage for option in options.split()), verb
        assert f"    {verb} " in out


def test_every_published_row_is_of_one_suite_and_has_versions_and_commit():
    files = sorted((ROOT / "benchmarks" / "results").glob("*/runs.jsonl"))
    assert len(files) > 15
    for file in files:
        for line in file.read_text().splitlines():
            row = json.loads(line)
            assert sum(suite.mark in row for suite in SUITES) == 1
            assert row["id"]
            assert row["versions"]["torch"]
            assert row["git_commit"]


def test_a_table_shows_the_rows_of_every_suite(capsys):
    results = ROOT / "benchmarks" / "results"
    assert main(["table", str(results / "clustering"), str(results / "speed")]) == 0
    expected = "".join(
        (results / n / "table.md").read_text() + "\n" for n in ("clustering", "speed")
    )
    assert capsys.readouterr().out == expected
