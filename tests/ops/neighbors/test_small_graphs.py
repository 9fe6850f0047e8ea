import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import knn
from pyg_relational.ops.neighbors import knn as module
from pyg_relational.ops.neighbors.small_graphs import small
from tests import oracles
from tests.device import Counts, pretend


def points(sizes, seed, grid=False):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(sum(sizes), 3, generator=g)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)) * 2
    order = torch.randperm(len(x), generator=g)
    return (x.mul(2).round() if grid else x)[order], batch[order]


@given(st.lists(st.integers(4, 9), min_size=1, max_size=6), st.integers(0, 99), st.booleans())
@settings(max_examples=40, deadline=None)
def test_equals_the_oracle_of_each_graph(sizes, seed, grid):
    x, batch = points(sizes, seed, grid)
    found = knn(x, 3, batch=batch)
    for graph in batch.unique():
        rows = (batch == graph).nonzero()[:, 0]
        index, distance = oracles.knn(x[rows].double(), 3, "euclidean")
        assert found.index[rows].equal(rows[index])
        torch.testing.assert_close(found.distance[rows], distance.float())


@pytest.mark.parametrize("sizes", [[5, 9], [128, 5], [129, 5]])
def test_small_and_large_graphs_give_the_same(sizes, monkeypatch):
    x, batch = points(sizes, 0)
    found = knn(x, 4, batch=batch)
    monkeypatch.setattr(module, "small", lambda _: not small(sizes))
    other = knn(x, 4, batch=batch)
    assert found.index.equal(other.index)
    torch.testing.assert_close(found.distance, other.distance)


def test_far_from_the_origin_and_many_copies():
    x = (torch.arange(8) % 2).float()[:, None] + 1e6
    index, distance = knn(x, 3, batch=torch.zeros(8, dtype=torch.int64))
    assert index[5].tolist() == [1, 3, 7]
    assert distance.eq(0).all()


@pytest.mark.parametrize(
    ("value", "message"), [(torch.nan, "x must be finite"), (1e30, "finite squared norms")]
)
def test_what_cannot_be_told_apart_is_refused(value, message):
    x, batch = points([5, 5], 0)
    x[3, 1] = value
    with pytest.raises(ValueError, match=message):
        knn(x, 2, batch=batch)


def test_a_graph_that_is_too_small_is_named():
    x, batch = points([5, 3], 0)
    with pytest.raises(ValueError, match="< 3, the size of graph 2, got 3"):
        knn(x, 3, batch=batch)


def test_reads_do_not_grow_with_graphs():
    reads = []
    for sizes in ([6] * 3, [6] * 30):
        x, batch = points(sizes, 0)
        with Counts():
            x, batch = pretend(x), pretend(batch)
        with Counts() as counts:
            knn(x, 4, batch=batch)
        assert not counts.copies.total()
        reads.append(counts.reads.total())
    assert reads[0] == reads[1] <= 4
