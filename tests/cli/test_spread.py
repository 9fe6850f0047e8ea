import torch
from scipy.stats import binomtest

from pyg_relational.cli import spread
from pyg_relational.cli.inputs import Graph
from pyg_relational.cli.report import share, table
from pyg_relational.own_data import OwnData
from pyg_relational.transforms import knn_graph


def blobs(y):
    """Rows in as many blobs as classes, far apart, the last without a label."""
    true = torch.arange(len(y)) % (int(y.max()) + 1)
    noise = torch.randn(len(y), 2, generator=torch.Generator().manual_seed(0))
    x = noise + 30 * torch.stack([true == 0, true == 1], 1)
    data = OwnData(x, y, [str(c) for c in range(int(y.max()) + 1)], None, ["a", "b"], [])
    return Graph(data, x, *knn_graph(x, 5))


def test_given_labels_stay_and_unreached_rows_have_none():
    y = torch.arange(90) % 3
    y[3:] = -1
    y[2], y[1] = -1, 0  # a wrong label
    found = spread.spread(blobs(torch.where(torch.arange(90) == 5, 2, y)), y, "laplace", 5)
    assert found.y[:6].tolist() == [0, 0, -1, 0, 0, -1]
    assert found.probability[:2].tolist() == [1, 1]
    assert found.probability[2].isnan()


def test_each_label_is_held_out_once(monkeypatch):
    held = []
    y = torch.where(torch.arange(60) < 30, torch.arange(60) % 3, -1)

    def look(graph, given, method, k):
        held.append((y >= 0) & (given < 0))
        return spread.Predicted(y.where(torch.arange(60) > 3, 9), torch.ones(60))

    monkeypatch.setattr(spread, "spread", look)
    assert spread.cross_validate(blobs(y), "laplace", 5, 0) == (26, 30)
    assert torch.stack(held).sum(0).tolist() == [1] * 30 + [0] * 30
    assert all((y[rows].bincount() == 1).all() for rows in held)


def test_label_rates_never_train_on_what_is_held_out(monkeypatch):
    y = torch.where(torch.arange(70) < 67, torch.arange(70) % 3, -1)
    seen = []

    def look(graph, given, method, k):
        seen.append(given)
        return spread.Predicted(y.where(given < 0, 9), torch.ones(70))

    monkeypatch.setattr(spread, "spread", look)
    rates = spread.label_rates(blobs(y), "laplace", 5, 0)
    assert list(rates) == ["Laplace learning", "logistic regression"]
    assert rates["Laplace learning"] == {rate: [1.0] * 5 for rate in (1, 2, 5, 10)}
    assert [len(v) for v in rates["logistic regression"].values()] == [5] * 4
    for given, rate in zip(seen, [1, 2, 5, 10] * 5, strict=True):
        assert given[given >= 0].bincount().tolist() == [rate] * 3
        assert torch.equal(given[given >= 0], y[given >= 0])
    assert len({tuple(given.tolist()) for given in seen}) == 20
    assert spread.label_rates(blobs(torch.arange(9) % 3), "laplace", 5, 0) == {}


def test_the_interval_is_wilsons():
    for hits, count in ((0, 5), (9, 10), (37, 50), (200, 200)):
        ends = binomtest(hits, count).proportion_ci(method="wilson")
        low, high = (100 * end for end in ends)
        assert share(hits, count) == f"{100 * hits / count:.1f} % [{low:.1f}, {high:.1f}]"


def test_long_tables_are_cut():
    lines = table(["class", "rows"], [[f"c{i}", 1000 * i] for i in range(33)]).splitlines()
    assert len(lines) == 32
    assert lines[2] == "c1      1,000"
    assert lines[-2] == "... and 3 more"
    assert lines[-1] == "c32    32,000"
    assert {len(line) for line in lines} == {13, 14}
