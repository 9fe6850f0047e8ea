"""Studies of docs/measure_*.py: they run, what they printed is committed, and pages have its figures."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
DOCS, PRINTED = ROOT / "docs", ROOT / "benchmarks" / "results" / "measured"
SMALL: dict[str, dict[str, Any]] = {  # studies, and what makes them short
    "hypergraph": {"LABELS": (2,), "TUNED": range(100, 101), "SCORED": range(2)},
    "image_text": {"SEEDS": range(2), "TRAIN": 60, "EPOCHS": 1},
    "multi_label": {"SEEDS": range(2), "TRAIN": (60,), "TEST": 200, "EPOCHS": 1},
    "cells": {"SIZES": (2500,), "WIDTHS": (0.3,), "features": lambda: {3: torch.randn(2500, 64)}},
    "dissimilarity": {"SEEDS": range(2), "TRAIN": 8, "TEST": 8, "bound": lambda: (20, 70)},
}
RUNS = [("hypergraph", "Iris"), ("image_text", ""), ("multi_label", ""), ("multi_label", "losses")]
RUNS += [("dissimilarity", "1"), ("cells", "")]


def cells(text: str) -> list[tuple[str, ...]]:
    """Rows of tables, without their first cell and what is bold in them."""
    lines = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return [tuple(c.strip(" *") for c in line.split("|")[2:-1]) for line in lines]


@pytest.mark.parametrize(("study", "argument"), RUNS)
def test_study_runs(study, argument, monkeypatch, capsys, raw_root):
    monkeypatch.setenv("PYG_RELATIONAL_RAW", str(raw_root))
    monkeypatch.syspath_prepend(DOCS)
    monkeypatch.setattr(sys, "argv", ["", *argument.split()])
    module = importlib.import_module(f"measure_{study}")
    for name, value in SMALL[study].items():
        monkeypatch.setattr(module, name, value)
    if study == "multi_label":
        monkeypatch.setattr(module, "letters", module.digits)
    threads = torch.get_num_threads()
    module.main()
    torch.set_num_threads(threads)
    rows = cells(capsys.readouterr().out)
    assert len(rows) >= 2
    assert not any("nan" in cell for row in rows for cell in row)


@pytest.mark.parametrize("printed", sorted(PRINTED.glob("*.txt")), ids=lambda path: path.stem)
def test_pages_have_the_figures_that_were_printed(printed):
    pages = [row for page in DOCS.glob("*.md") for row in cells(page.read_text())]
    figures = {cell for row in pages for cell in row}
    rows = [row for row in cells(printed.read_text()) if any(re.search(r"\d", c) for c in row)]
    assert rows
    for row in rows:
        assert row in pages or set(row) <= figures, row


def test_every_command_of_the_methods_of_one_volume_is_run_or_has_rows():
    page = (DOCS / "which_method.md").read_text()
    section = page.partition("## Methods of one volume")[2].partition("\n## ")[0]
    commands = [line.split("|")[-2] for line in section.splitlines() if "`python" in line]
    assert len(commands) == 8
    for command in commands:
        study = re.search(r"docs/measure_(\w+)\.py ?(\w*)`", command)
        configs = re.findall(r"(\w+)\.yaml", command)
        if study:
            assert study[1] in SMALL
            assert not study[2] or study.groups() in RUNS
        for config in configs:
            assert (ROOT / "benchmarks" / "configs" / f"{config}.yaml").exists()
            assert (PRINTED.parent / config / "runs.jsonl").exists()
        assert study or configs or "cluster --nodes outliers random" in command
