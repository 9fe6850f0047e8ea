import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize

from benchmarks.cli import main
from benchmarks.clustering import names, partitions, plot, run
from benchmarks.clustering.graphs import (
    GRAPHS,
    Graph,
    Recipe,
    joint_neighbourhoods,
    lgss,
    log_degree_weights,
    resistances,
    sampled,
)
from benchmarks.clustering.nodes import NODES
from benchmarks.clustering.partitions import CLUSTERINGS, density_peaks, leiden_with_k
from benchmarks.clustering.table import with_test
from benchmarks.store import read
from pyg_relational.ops import both_directions
from pyg_relational.transforms import knn_graph


@pytest.fixture
def blobs():
    """Three far groups of 40, and the features of each sample."""
    centre = torch.arange(120) // 40
    x = torch.randn(120, 5, generator=torch.Generator().manual_seed(0))
    return x + 20 * torch.eye(3, 5)[centre], centre


def test_joint_neighbourhoods_by_hand():
    index = torch.tensor([[1], [0], [1]])  # neighbourhoods {0, 1}, {1, 0}, {2, 1}
    edges = torch.tensor([[0, 1, 0], [1, 2, 2]])
    assert joint_neighbourhoods(index, edges).tolist() == [2, 1, 0]


def test_log_degree_weights_minimise_the_objective():
    x = torch.randn(7, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pairs = torch.triu_indices(7, 7, 1)
    z = (x[pairs[0]] - x[pairs[1]]).square().sum(1)
    w = log_degree_weights(pairs, z, 7, tol=1e-12, max_iter=100_000)
    ends = np.zeros((7, 21))
    ends[pairs.numpy(), np.arange(21)] = 1

    def objective(v):
        d = ends @ v
        return 2 * v @ z.numpy() - np.log(d).sum() + v @ v, 2 * z.numpy() - ends.T @ (1 / d) + 2 * v

    dense = minimize(objective, np.full(21, 0.1), jac=True, bounds=[(1e-7, None)] * 21, tol=1e-14)
    assert 0 < (w > 1e-6).sum() < 21
    np.testing.assert_allclose(w.numpy(), dense.x, atol=1e-5)


def test_lgss_gives_about_k_neighbours(blobs):
    edge_index, _ = lgss(blobs[0], Recipe(8, 3, 0))
    assert 5 < edge_index.shape[1] / 120 < 12


def test_resistances_are_those_of_the_pseudoinverse():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    graph = Graph(*knn_graph(x, 6))
    w = torch.zeros(40, 40, dtype=torch.float64)
    w[tuple(graph.edge_index)] = graph.edge_weight
    inverse = torch.linalg.pinv(w.sum(1).diag() - w, hermitian=True)
    i, j = graph.edge_index
    exact = inverse.diagonal()[i] + inverse.diagonal()[j] - 2 * inverse[i, j]
    torch.testing.assert_close(
        resistances(graph, 40, projections=4000), exact, rtol=0.12, atol=1e-6
    )


def test_sampled_weights_are_unbiased():
    weight, leverage = torch.tensor([1.0, 2.0, 5.0]).double(), torch.tensor([0.9, 0.5, 0.1])
    draws = torch.stack([sampled(weight, leverage.double(), 3, seed) for seed in range(4000)])
    assert (draws == 0).any()
    error = draws.std(0) / 4000**0.5
    assert ((draws.mean(0) - weight).abs() < 4 * error).all()


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_join_what_belongs_together(name, blobs):
    x, y = blobs
    edge_index, weight = GRAPHS[name](x, Recipe(8, 3, 0))
    assert weight.dtype == x.dtype
    assert bool((weight > 0).all())
    once = edge_index[:, edge_index[0] < edge_index[1]]
    assert torch.equal(both_directions(once, len(x))[0], edge_index)
    assert torch.equal(y[edge_index[0]], y[edge_index[1]])


def test_controls_keep_what_they_control():
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(3))
    pruned, shuffled = (
        GRAPHS[g](x, Recipe(8, 4, 0)) for g in ("pruned_consensus", "shuffled_consensus")
    )
    assert pruned.edge_index.shape == shuffled.edge_index.shape
    assert not torch.equal(pruned.edge_index, shuffled.edge_index)


@pytest.mark.parametrize("name", ["leiden_k", "spectral", "spectral_plain"])
def test_clusterings_find_separate_groups(name, blobs):
    x, y = blobs
    found = CLUSTERINGS[name](GRAPHS["knn"](x, Recipe(8, 3, 0)), 120, 3, 0)
    assert torch.equal(found, y)


def test_leiden_with_k_finds_k_of_one_cloud():
    x = torch.randn(300, 2, generator=torch.Generator().manual_seed(4))
    found = leiden_with_k(GRAPHS["knn"](x, Recipe(8, 5, 0)), 300, 5, 0)
    assert int(found.max()) + 1 == 5
    assert found.bincount().min() >= 6


def test_run_is_resumed_and_paired(tmp_path, monkeypatch, blobs):
    x, y = blobs
    problem = run.Problem(x, y, 3, GRAPHS["knn"](x, Recipe(8, 3, 0)), 0.0)
    loaded = []
    monkeypatch.setattr(run, "load", lambda *a: loaded.append(a) or problem)
    command = ["cluster", "--data", "COIL20", "--graphs", "knn", "random_partitions"]
    command += ["--clusterings", "spectral", "--neighbours", "8", "--output", str(tmp_path)]
    assert main([*command, "--seeds", "0"]) == 0
    first = (tmp_path / "runs.jsonl").read_text()
    for _ in range(2):
        assert main([*command, "--seeds", "0", "1"]) == 0
    assert len(loaded) == 4  # for each graph, at first and with a new seed
    rows = read([tmp_path])
    assert (tmp_path / "runs.jsonl").read_text().startswith(first)
    assert [row["accuracy"] for row in rows] == [1.0] * 4
    assert all(row["git_commit"] and row["versions"] and row["device"] for row in rows)
    text = (tmp_path / "table.md").read_text()
    assert "| random_partitions | 100.00 (1.00) |" in text
    assert "+0.00 [+0.00, +0.00]" in text
    assert (tmp_path / "accuracy.png").stat().st_size > 5000


def test_features_are_clustered_without_a_graph(tmp_path, monkeypatch, blobs):
    x, y = blobs
    problem = run.Problem(x, y, 3, GRAPHS["knn"](x, Recipe(8, 3, 0)), 0.0)
    asked = []
    monkeypatch.setattr(run, "load", lambda *a: asked.append(a[0]) or problem)
    command = ["cluster", "--data", "COIL20", "--graphs", "knn", "--clusterings", "spectral"]
    command += ["--points", "kmeans", "hdbscan", "--encoder", "efficientnet_lite0", "--seeds", "0"]
    assert main([*command, "1", "--output", str(tmp_path)]) == 0
    rows = [row for row in read([tmp_path]) if row["graph"] == "none"]
    assert [(row["clustering"], row["seed"], row["accuracy"]) for row in rows] == [
        ("kmeans", 0, 1.0),
        ("hdbscan", 0, pytest.approx(1.0, abs=0.1)),
        ("kmeans", 1, 1.0),
    ]
    assert set(asked) == {"COIL20, efficientnet_lite0"}
    assert "| kmeans " in (tmp_path / "table.md").read_text()


def test_samples_are_taken_out_and_come_back(tmp_path, monkeypatch, blobs):
    x, y = blobs
    problem = run.Problem(x, y, 3, GRAPHS["knn"](x, Recipe(8, 3, 0)), 0.0)
    monkeypatch.setattr(run, "load", lambda *a: problem)
    seen = []
    monkeypatch.setitem(CLUSTERINGS, "spectral", lambda g, n, k, s: seen.append(n) or y[-n:] * 0)
    command = ["cluster", "--data", "COIL20", "--graphs", "knn", "--clusterings", "spectral"]
    command += ["--points", "kmeans", "density_peaks", "--nodes", "outliers", "random"]
    assert main([*command, "--seeds", "0", "1", "--output", str(tmp_path)]) == 0
    out = 120 - len(NODES["outliers"](x, 0))
    assert 0 < out < 31
    assert seen == [120] * 2 + [120 - out] * 4
    rows = read([tmp_path])
    number = {"none": 3, "none, without outliers": 3, "none, without random": 4}
    for graph, count in number.items():
        points = [row for row in rows if row["graph"] == graph]
        assert len(points) == count
        assert all(row["accuracy"] == 1 for row in points if row["clustering"] == "kmeans")
    assert all(row["accuracy"] == 1 / 3 for row in rows if row["clustering"] == "spectral")
    left = {tuple(NODES["random"](x, seed).tolist()) for seed in (0, 1)}
    assert len(left) == 2
    assert {len(rows) for rows in left} == {120 - out}


def test_a_legend_says_what_was_taken_out():
    graphs = "knn", "knn, without outliers", "pruned_consensus, without random"
    assert [names.graph_name(name) for name in graphs] == [
        "kNN graph",
        "kNN graph, without outliers",
        "pruned by consensus, without random rows",
    ]


def test_density_peaks_by_hand():
    x = torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0, 12.0, 13.5])[:, None]
    found = density_peaks(x, 2, 0)
    assert found[:3].unique().numel() == found[3:].unique().numel() == 1
    assert found[0] != found[3]


def test_density_peaks_find_separate_groups(blobs):
    x, y = blobs
    found = density_peaks(x, 3, 0)
    assert len({(a, b) for a, b in zip(found.tolist(), y.tolist(), strict=True)}) == 3


def test_an_encoders_features_have_length_one(monkeypatch):
    monkeypatch.setattr(run.pretrained, "encode", lambda x, **_: x.flatten(1) + 1)
    problem = run.load("PenDigits, efficientnet_lite0, binary", 5)
    torch.testing.assert_close(problem.x.norm(dim=1), torch.ones(len(problem.y)))
    assert problem.given.edge_weight.unique().tolist() == [1.0]


def test_the_partition_of_higher_modularity_is_kept():
    rows = [
        {"data": "A", "clustering": c, "seed": 0, "graph": g, "accuracy": a, "modularity": q}
        | {"graph_seconds": 2.0 if g == "knn" else 5.0}
        for c, g, a, q in (
            ("leiden", "knn", 0.7, 0.9),
            ("leiden", "pruned_consensus", 0.6, 0.8),
            ("spectral", "knn", 0.7, 0.8),
            ("spectral", "pruned_consensus", 0.9, 0.9),
            ("spectral", "lgss", 1.0, 1.0),
        )
    ]
    more = with_test(rows)[len(rows) :]
    assert [(row["clustering"], row["accuracy"]) for row in more] == [
        ("leiden", 0.7),
        ("spectral", 0.9),
    ]
    assert all(r["graph"] == "modularity_pruning" and r["graph_seconds"] == 5 for r in more)
    assert with_test(rows[:1]) == rows[:1]
    less = [row | {"graph": row["graph"] + ", without outliers"} for row in rows]
    names = {row["graph"] for row in with_test([*rows, *less])[2 * len(rows) :]}
    assert names == {"modularity_pruning", "modularity_pruning, without outliers"}


def test_pictures_show_means_of_the_rows():
    rows = [
        {"data": data, "graph": graph, "clustering": clustering, "seed": seed}
        | {"accuracy": 0.5 + 0.1 * seed + 0.2 * (graph != "knn")}
        | {"modularity": 0.5}
        for data in ("A", "B")
        for graph in ("knn", "pruned")
        for clustering in ("leiden", "spectral")
        for seed in (0, 1)
    ]
    shown = plot.accuracy(pd.DataFrame(rows)).axes
    assert [ax.get_title() for ax in shown] == ["A", "B"]
    at = {round(line.get_xdata()[0], 6) for line in shown[0].lines if line.get_marker() in "os"}
    assert at == {55.0, 75.0}
    assert all(marks.has_xerr for marks in shown[0].containers)


def test_pictures_have_a_line_for_each_graph_words_of_a_reader_and_intervals_within_100():
    rows = [
        {"data": "A", "graph": graph, "clustering": clustering, "seed": seed}
        | {"accuracy": 1.0 - 0.2 * seed, "modularity": 0.5}
        for graph in ("knn", "pruned_soft, without outliers")
        for clustering in ("leiden_k", "mine")
        for seed in (0, 1)
    ]
    figure = plot.accuracy(pd.DataFrame(rows))
    (ax,) = figure.axes
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["Leiden with\nk clusters", "mine"]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == ["kNN graph", "pruned by learned gates, without outliers"]
    heights = [container[0].get_ydata()[0] for container in ax.containers]
    assert sorted(heights) == [0, 1, 3, 4]
    for _, _, (bars,) in ax.containers:
        (segment,) = bars.get_segments()
        assert segment[:, 0].min() >= 0
        assert segment[:, 0].max() == pytest.approx(100)


def test_every_graph_and_clustering_has_a_name_for_readers():
    assert set(GRAPHS) <= set(names.GRAPHS)
    assert {*partitions.CLUSTERINGS, *partitions.POINTS} == set(names.CLUSTERINGS)


def test_unknown_names_are_refused(capsys):
    with pytest.raises(SystemExit):
        main(["cluster", "--graphs", "nearest"])
    assert "invalid choice: 'nearest'" in capsys.readouterr().err
