from pathlib import Path

import pytest

from tests.cli.conftest import read, table


@pytest.mark.parametrize("options", ["", "--clusters 3", "--clusters 3 --prune"])
def test_clusters_are_found_and_compared(command, options):
    status, out, _ = command(f"cluster pets.csv --k 40 --label kind {options}", table(300))
    assert status == 0
    found = [row["cluster"] for row in read("pets-cluster/clusters.csv")]
    assert found == ["0", "1", "2"] * 100
    assert Path("pets-cluster/graph.png").stat().st_size > 10_000
    assert "3 clusters by " in out
    assert "2         100" in out
    assert "Modularity: 0.667" in out
    assert "Against the labels of 300 rows: accuracy 100.0 %" in out
    assert "NMI 1.000" in out
    if "prune" in options:
        assert "pruning did not raise modularity" in out


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
