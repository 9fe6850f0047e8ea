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
        "gpu": "--device --only --limit --output",
        "table": "--baseline results",
        "plot": "--only --output results",
        "report": "--output results",
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


def test_tables_and_pictures_are_of_the_rows_of_every_suite(tmp_path, capsys):
    results = [str(ROOT / "benchmarks" / "results" / name) for name in ("study_pruning", "speed")]
    assert main(["table", *results]) == 0
    out = capsys.readouterr().out
    assert 0 <= out.index("| task ") < out.index("| case ")
    assert main(["plot", *results, "--output", str(tmp_path), "--only", "linear|^accuracy"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"accuracy.png", "linear.png"}
