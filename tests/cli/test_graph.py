from pathlib import Path

import numpy as np
import pytest
import torch

from pyg_relational.transforms import knn_graph
from tests.cli.conftest import read, table


def test_edges_are_those_of_the_standardised_features(command):
    columns = table(300)
    status, out, _ = command("graph pets.csv --label kind --ignore colour --k 4", columns)
    assert status == 0
    x = np.stack([columns["width"], columns["height"]], axis=1)
    scaled = torch.from_numpy((x - x.mean(0)) / x.std(0)).float()
    edge_index, weight = knn_graph(scaled, 4)
    once = edge_index[0] < edge_index[1]
    rows = read("pets-graph/edges.csv")
    found = [[int(row[name]) for row in rows] for name in ("row", "neighbour")]
    assert found == edge_index[:, once].tolist()
    assert [float(row["weight"]) for row in rows] == pytest.approx(weight[once].tolist(), rel=1e-3)
    assert Path("pets-graph/graph.png").exists()
    assert f"edges                     {len(rows)}" in out
    assert "homophily                 100.0 % of the weight between labels" in out


def test_components_and_rows_without_a_neighbour(command):
    columns = {"a": np.array([0.0] * 10 + [1.0])}
    _, out, _ = command("graph pets.csv --k 3", columns)
    assert "rows without a neighbour  1" in out
    assert "components                2, the largest of 10 rows" in out


def test_rows_that_are_all_the_same(command):
    _, out, _ = command("graph pets.csv --k 3", {"a": np.ones(12), "b": ["x"] * 12})
    assert "pets.csv: 12 rows, 2 features" in out


def test_a_column_that_counts_the_rows_is_told(command):
    columns = {"Unnamed: 0": range(1, 301)} | table()
    _, _, err = command("graph pets.csv --label kind", columns)
    assert err == "note: column 'Unnamed: 0' counts the rows; --ignore 'Unnamed: 0' leaves it out\n"
    assert command("graph pets.csv --label kind --force", table())[2] == ""


def test_a_column_that_may_be_the_labels_is_told(command):
    columns = table(300) | {"Target": np.arange(300) % 3}
    _, out, err = command("graph pets.csv", columns)
    assert [line.split()[2] for line in err.splitlines()] == ["'colour'", "'kind'", "'Target'"]
    assert (
        "note: column 'kind' is a feature; --label 'kind' takes it for the classes, "
        "--ignore 'kind' leaves it out\n"
    ) in err
    assert "homophily" not in out
    assert command("graph pets.csv --label kind --force", columns)[2] == ""
    quiet = "--ignore colour --ignore kind --ignore Target"
    assert command(f"graph pets.csv {quiet} --force", columns)[2] == ""
