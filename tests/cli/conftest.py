import csv
from pathlib import Path

import numpy as np
import pytest

from pyg_relational.cli.main import main


def table(labelled=40):
    """300 rows in three blobs far apart, two features and a category; labels of the first rows alone."""
    rng = np.random.default_rng(0)
    kind = np.arange(300) % 3
    x = rng.normal(size=(300, 2)) + 20 * np.eye(3)[kind][:, :2]
    return {
        "width": x[:, 0],
        "height": x[:, 1],
        "colour": np.array(["red", "green", "blue"])[kind],
        "constant": np.ones(300),
        "kind": np.where(np.arange(300) < labelled, np.array(["cat", "dog", "owl"])[kind], ""),
    }


def write(path, columns):
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def read(path):
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder on a table there; gives status, output and errors."""
    pytest.importorskip("pandas")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)

    def run(line, columns=None):
        if columns is not None:
            write("pets.csv", columns)
        try:
            status = main(line.split())
        except SystemExit as done:
            status = done.code
        out, err = capsys.readouterr()
        return status, out, err

    return run


@pytest.fixture
def fails(command):
    """Runs the command and gives its one line of error."""

    def run(line, columns=None):
        status, _, err = command(line, columns)
        assert status == 2
        assert err.startswith("pyg-relational")
        assert err.count("\n") == 1
        return err

    return run
