import importlib
import math

import pytest
import torch
from torch.testing import assert_close

from pyg_relational.ops import knn
from pyg_relational.ops.fused.minima import GROUP, minima

F64 = torch.float64
top = importlib.import_module("pyg_relational.ops.neighbors.top")


def literal(q, x, bias, own):
    """Every value, then the minimum of each group."""
    value = bias - 2 * q @ x.T
    if own is not None:
        value[torch.arange(len(q)), own] = math.inf
    rest = -len(x) % GROUP
    return (
        torch.nn.functional.pad(value, (0, rest), value=math.inf).unflatten(1, (-1, GROUP)).amin(2)
    )


@pytest.mark.parametrize(("m", "n", "d"), [(1, 1, 1), (3, 9, 2), (130, 129, 33), (5, 300, 40)])
@pytest.mark.parametrize("own", [False, True])
def test_equals_the_literal_form(device, m, n, d, own):
    g = torch.Generator().manual_seed(n)
    q, x, bias = (torch.randn(s, dtype=F64, generator=g) for s in ((m, d), (n, d), (n,)))
    rows = torch.randint(n, (m,), generator=g) if own else None
    out = torch.full((m, -(-n // GROUP) + 3), 7.0, device=device)
    on_device = None if rows is None else rows.to(device)
    minima(*(t.to(device, torch.float32) for t in (q, x, bias)), on_device, out)
    exact = literal(q, x, bias, rows)
    assert_close(out[:, :-3].cpu().double(), exact, rtol=0, atol=1e-5 * math.sqrt(d))
    assert (out[:, -3:] == 7).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("queries", [None, 70])
@pytest.mark.parametrize("more", [0, 5])
def test_the_search(device, metric, queries, more, monkeypatch):
    knn_module = importlib.import_module("pyg_relational.ops.neighbors.knn")
    g = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (203, 5), generator=g).float()  # ties and duplicates
    y = None if queries is None else x[:queries] + 0.25
    exact = knn(x, 4, metric, y)
    taken = []
    monkeypatch.setattr(top, "is_fused", lambda *t: True)
    monkeypatch.setattr(top, "minima", lambda *args: taken.append(minima(*args)))
    monkeypatch.setattr(top, "_MORE", more)
    monkeypatch.setattr(top, "_SHARE", 1)
    monkeypatch.setattr(top, "_PRODUCT", 2**11)
    monkeypatch.setattr(knn_module, "_search", top.search_on_device)
    found = knn(x.to(device), 4, metric, y if y is None else y.to(device))
    assert len(taken) > 1
    assert found.index.cpu().equal(exact.index)
    assert_close(found.distance.cpu(), exact.distance)
