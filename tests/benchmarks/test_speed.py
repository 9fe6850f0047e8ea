import re
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from scipy.sparse import csc_array, csr_array

from benchmarks import machine
from benchmarks.accuracy import data
from benchmarks.cli import main
from benchmarks.speed import distributed, graphs, latent, modularity, propagation, run
from benchmarks.speed.case import Spent
from benchmarks.speed.cases import CASES
from benchmarks.speed.measure import cpu_seconds, extra_mib, ratio
from benchmarks.speed.plot import curve
from benchmarks.speed.table import report
from benchmarks.store import identity, read
from pyg_relational import datasets, ops
from pyg_relational.cluster import peer_pressure
from pyg_relational.metrics import conductance
from pyg_relational.nn import ModularityPruning, latent_cluster_loss
from pyg_relational.ops import both_directions, connected_components
from pyg_relational.transforms import knn_graph

GCR = "GCR forward and backward n=256 d=128 c=10"


def test_ratio_is_the_median_over_rounds():
    assert ratio([1.0, 1.0, 1.0], [2.0, 30.0, 3.0]) == 3.0


def test_rounds_alternate_after_one_that_does_not_count():
    calls: list[str] = []
    seconds = cpu_seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert [len(rounds) for rounds in seconds.values()] == [2, 2]


def test_what_runs_elsewhere_says_what_it_spent():
    assert cpu_seconds({"a": lambda: Spent(7.0, 9.0)}, 1) == {"a": [7.0]}
    assert extra_mib(lambda: Spent(7.0, 9.0)) == 9.0


def test_ranks_send_what_the_formula_says():
    for found in distributed.step(2, 500, "Gaussian"):
        said = found.formula
        assert found.sent["graph ring"] == said["ring"] == 250 * 16 * 4 / 1e6
        assert said["features"] < found.sent["graph rows"] < 2 * said["features"]
        assert said["solve"] < found.sent["solve rows"] < 2 * said["solve"]


@pytest.mark.parametrize("kind", ["Gaussian", "grid"])
def test_traffic_is_told_of_each_number_of_ranks(monkeypatch, kind):
    monkeypatch.setattr(distributed, "WORLDS", (1, 2))
    words = distributed._traffic(400, kind)
    sent, said = map(float, re.search(r"solve ([\d.]+) MB, formula ([\d.]+)", words).groups())
    assert 0 < said <= sent
    assert ("ring" in words) == (kind == "Gaussian")


def test_extra_memory_is_that_of_the_call():
    code = (
        "import torch; from benchmarks.speed.measure import extra_mib; "
        "print(extra_mib(lambda: torch.ones(2**24).sum()))"
    )  # a fresh process, whose allocator holds nothing back
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert 60 < float(done.stdout) < 130


def measured(case, **seconds):
    return {
        "id": identity({"case": case}),
        "case": case,
        "goal": "goal",
        "seconds": {name: [value] for name, value in seconds.items()},
        "memory": {name: 10.0 * value for name, value in seconds.items()},
        "check": "exact",
        **machine.describe("cpu"),
    }


@pytest.mark.parametrize(("baseline", "cells"), [(None, ["", "4.00"]), ("peer", ["0.25", ""])])
def test_table_compares_with_the_first_or_what_is_asked_for(baseline, cells):
    text = report([measured("case", ours=2, peer=8)], baseline)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:4]]
    assert lines == [
        ["case", "ours", "2.000", cells[0], "20", cells[0], "goal", "exact"],
        ["", "peer", "8.000", cells[1], "80", cells[1], "", ""],
    ]


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if not case.data and "given" not in name]
)
def test_a_case_builds_its_contestants(name):
    for package in CASES[name].needs.values():
        pytest.importorskip(package)
    assert set(CASES[name].contestants) <= set(CASES[name].build())


def test_the_peer_of_the_layer_computes_the_same_gradient():
    x, y, mask = propagation._blobs(200)
    value, grad = propagation._ours(x, y, mask)
    peer_value, peer_grad = propagation._scipy(x, y, mask)
    assert value.item() == pytest.approx(peer_value, rel=1e-5)
    torch.testing.assert_close(grad.double(), torch.from_numpy(peer_grad), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "build",
    [
        partial(modularity._assigned, 0.0, 640, 3000, 8),
        partial(modularity._assigned, 1.0, 640, 3000, 8),
        partial(modularity._pooling, 300),
        partial(modularity._soft, 300),
    ],
)
def test_the_peers_compute_the_same_loss_and_gradient(monkeypatch, build):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    ours, *peers = (contestant() for contestant in build().values())
    for peer in peers:
        torch.testing.assert_close(ours, peer, rtol=1e-3, atol=1e-5)
    assert peers
    assert all(part.any() for part in ours)


def test_errors_are_held_against_float64(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    words = modularity._assigned_error(1.0, 640, 3000, 8)
    values = [float(value) for value in re.findall(r"\de-\d+", words)]
    assert len(values) == 6
    assert max(values) < 1e-4


def blobs(n=300, d=4):
    torch.manual_seed(3)
    y = torch.arange(n) % 4
    return 1.2 * torch.randn(4, d)[y] + torch.randn(n, d), y


def test_the_pipeline_of_the_paper_is_algorithm_1():
    x, _ = blobs()
    given = knn_graph(x, 10, kernel="binary")

    def clustering(edge_index, edge_weight):
        a = csr_array((edge_weight.double(), tuple(edge_index.int())), shape=(len(x), len(x)))
        return torch.from_numpy(modularity.spectral_labels(a, 4)).long()

    ours = ModularityPruning(4, "farthest", clustering=clustering, min_degree=0)(x, *given)
    peer = modularity.algorithm_1(x.numpy(), 4)
    assert len(ours.edge_weight) < len(given[1])
    assert peer.modularity == pytest.approx(max(step.modularity for step in ours.history))
    assert peer.clusters.tolist() == ours.clusters.tolist()
    assert set(zip(*peer.a.nonzero(), strict=True)) == set(map(tuple, ours.edge_index.T.tolist()))


def test_the_peer_of_latent_cluster_correction_computes_the_same():
    pytest.importorskip("faiss")
    z, y = blobs()
    z.requires_grad_()
    graph = knn_graph(z.detach(), 10, kernel="binary")
    pairs = set(latent._graph(z.detach().numpy(), 10).get_edgelist())
    assert pairs == {(i, j) for i, j in graph[0].T.tolist() if i < j}
    ours, peer = latent._ours(z, y, 10), latent._literal(z, y, 10)
    torch.testing.assert_close(peer.loss, latent_cluster_loss(z, y, peer.clusters, k=10))
    torch.testing.assert_close(latent._loss(z, y, ours.clusters, 10).detach(), ours.loss)
    q, peer_q = (ops.modularity(*graph, step.clusters).item() for step in (ours, peer))
    assert q == pytest.approx(peer_q, abs=0.02)
    assert ours.loss > 0
    assert ours.gradient.any()


def test_the_peer_of_peer_pressure_finds_the_cliques():
    inside = torch.combinations(torch.arange(5))
    pairs = torch.cat([inside, inside + 5, torch.tensor([[4, 5]])]).T
    edge_index, _ = both_directions(pairs, 10)
    a = csc_array((torch.ones(edge_index.shape[1]).double(), tuple(edge_index)), shape=(10, 10))
    found = torch.from_numpy(latent._pressure_literal(a)).unique(return_inverse=True)[1]
    assert found.tolist() == peer_pressure(edge_index).tolist() == [0] * 5 + [1] * 5
    phi = latent._mean_conductance(a, a.sum(0), found.numpy())
    assert phi == pytest.approx(conductance(edge_index, None, found)[1].item())


def test_a_case_without_its_data_is_left_out(monkeypatch, tmp_path, capsys):
    def absent(root):
        raise FileNotFoundError("no such file")

    monkeypatch.setattr(datasets, "USPS", absent)
    data._splits.cache_clear()
    assert main(["speed", "--only", "USPS", "--output", str(tmp_path)]) == 1
    assert "Not run: ModularityPruning with its kNN graph, USPS 9298. no such file" in (
        capsys.readouterr().out
    )
    assert not read([tmp_path])


def test_a_case_that_fails_is_said_and_the_others_are_measured(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "CASES", {"bad": CASES[GCR], GCR: CASES[GCR]})

    def measure(name, repeat):
        if name == "bad":
            raise subprocess.CalledProcessError(1, ["python", "-m", "file", name, "check"])
        return measured(name, ours=1)

    monkeypatch.setattr(run, "measure", measure)
    assert main(["speed", "--output", str(tmp_path)]) == 0
    assert "Not run: bad. Failed: bad check" in (tmp_path / "table.md").read_text()
    assert [row["case"] for row in read([tmp_path])] == [GCR]


def test_the_curve_is_drawn_from_two_sizes():
    rows = [
        measured(f"{propagation.CURVE} n={n}", ours=n / 1e6) | {"check": f"{n} edges, 9 iterations"}
        for n in (1000, 5000)
    ]
    assert curve(rows[:1]) is None
    seconds = curve(rows).axes[0].lines[0]
    assert list(seconds.get_xdata()) == [1000, 5000]
    assert list(seconds.get_ydata()) == [1e-3, 5e-3]


def test_a_row_tells_what_was_measured_where_and_by_which_code(monkeypatch, tmp_path, capsys):
    case = replace(CASES[GCR], needs={"literal dense": "no_such_package"})
    monkeypatch.setitem(CASES, GCR, case)
    assert main(["speed", "--only", "n=256", "--repeat", "1", "--output", str(tmp_path)]) == 0
    assert "LEFT OUT literal dense: pip install no_such_package" in capsys.readouterr().out
    (row,) = read([tmp_path])
    assert row["case"] == GCR
    assert list(row["seconds"]) == list(row["memory"]) == ["ours"]
    assert row["seconds"]["ours"][0] > 0
    assert {"torch", "pyg_relational"} <= set(row["versions"])
    assert (row["git_commit"], row["device"]) == (machine.git_commit(), machine.cpu_name())
    assert row["device"] in (tmp_path / "table.md").read_text()


def test_measured_again_a_case_is_replaced_and_the_others_stay(monkeypatch, tmp_path):
    seconds = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    few = {"n=64": 2, "n=128": 3, "n=512": 4}
    monkeypatch.setattr(run, "measure", lambda name, _: measured(name, ours=next(seconds)))

    def found(*more):
        command = ["speed", "--only", "GCR forward and backward n=", "--output", str(tmp_path)]
        assert main([*command, *more]) == 0
        return {row["case"].split()[4]: row["seconds"]["ours"][0] for row in read([tmp_path])}

    assert found("--only", "n=256") == {"n=256": 1}
    assert found("--missing") == few | {"n=256": 1, "n=8192": 5, "n=65536": 6}
    assert found("--missing") == found("--missing", "--only", GCR)
    assert found("--only", "n=8192") == few | {"n=256": 1, "n=8192": 7, "n=65536": 6}
    table = (tmp_path / "table.md").read_text()
    assert re.findall(r"ours +\| (\d)", table) == ["1", "2", "3", "4", "7", "6"]


def test_an_unknown_case_is_refused(tmp_path, capsys):
    assert main(["speed", "--only", "warp", "--output", str(tmp_path)]) == 1
    assert "got 'warp'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "edges"), [("path", 399), ("grid", 760), ("3-d grid", 882), ("roads", 499)]
)
def test_graphs_for_solvers_are_connected_and_as_described(name, edges):
    edge_index, weight = graphs.GRAPHS[name](400)
    nodes = int(edge_index.max()) + 1
    assert nodes == (343 if name == "3-d grid" else 400)
    assert edge_index.shape[1] == 2 * edges == len(weight)
    assert not connected_components(edge_index, nodes).any()


def test_two_clusters_hang_on_one_weak_edge(monkeypatch):
    monkeypatch.setattr(graphs, "cached", lambda name, build: build())
    edge_index, weight = graphs.GRAPHS["bridge"](400)
    across = (edge_index[0] < 200) != (edge_index[1] < 200)
    assert across.sum() == 2
    assert (weight[across] == graphs._BRIDGE).all()
    assert connected_components(edge_index, 400).unique().numel() == 1
