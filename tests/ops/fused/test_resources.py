"""Kernels compile ahead of time for each GPU, and take what the committed table says."""

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMMITTED = (HERE / "resources.csv").read_text()


def test_nothing_spills():
    table = list(csv.DictReader(io.StringIO(COMMITTED)))
    assert {row["sm"] for row in table} == {"80", "90"}
    assert {row["spilled"] for row in table} == {"0"}


def test_the_table_is_what_ptxas_says(tmp_path):
    triton = pytest.importorskip("triton", reason="needs triton")
    if triton.__version__ != "3.9.0":
        pytest.skip(f"the table is of triton 3.9.0, here is {triton.__version__}")
    command = [sys.executable, "-W", "ignore", str(HERE / "resources.py")]
    environment = {
        "PYTHONPATH": ":".join(filter(None, sys.path)),
        "TRITON_CACHE_DIR": str(tmp_path),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == COMMITTED, done.stderr[-2000:]
