from pathlib import Path

import pytest

from tests.cli.conftest import read, table


@pytest.mark.parametrize("options", ["", " --prune"])
def test_clusters_are_found_and_compared(command, options):
    line = "cluster pets.csv --k 40 --label kind --clusters 3"
    status, out, _ = command(line + options, table(300))
    assert status == 0
    found = [row["cluster"] for row in read("pets-cluster/clusters.csv")]
    assert found == ["0", "1", "2"] * 100
    assert Path("pets-cluster/graph.png").stat().st_size > 10_000
    assert "3 clusters by spectral" in out
    assert "2         100" in out
    assert "Modularity: 0.66" in out
    assert "Against the labels of 300 rows: accuracy 100.0 %" in out
    assert "NMI 1.000" in out
    assert ("pruning did not raise modularity" in out) == bool(options)


def test_leiden_chooses_the_number(command):
    _, out, _ = command("cluster pets.csv --label kind", table(300))
    found = [row["cluster"] for row in read("pets-cluster/clusters.csv")]
    assert f"{len(set(found))} clusters by Leiden" in out
    assert len(set(found)) == len(set(zip(found, [0, 1, 2] * 100, strict=True)))  # each of one kind


def test_labels_are_not_needed(command):
    columns = table()
    del columns["kind"]
    status, out, _ = command("cluster pets.csv --clusters 3", columns)
    assert status == 0
    assert "Against" not in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--prune", "--prune must be given with --clusters"),
        ("--clusters 0", "num_clusters must be"),
        ("--clusters 301", "num_clusters must be <="),
    ],
)
def test_mistakes_are_one_line(fails, options, message):
    assert message in fails(f"cluster pets.csv --label kind {options}", table())
