import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_relational.ops import both_directions, neighbor_pairs
from tests import oracles


@st.composite
def neighbor_tables(draw):
    n = draw(st.integers(2, 12))
    k = draw(st.integers(1, n - 1))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scores = torch.rand(n, n, generator=generator).fill_diagonal_(2)
    return scores.argsort(1)[:, :k]


@given(neighbor_tables(), st.booleans())
def test_pairs_are_the_upper_triangle_of_the_adjacency(index, mutual):
    adjacency = oracles.knn_adjacency(index, mutual)
    assert neighbor_pairs(index, mutual).equal(adjacency.triu(1).nonzero().T)


@given(neighbor_tables(), st.booleans())
def test_both_directions_are_the_adjacency(index, mutual):
    n = index.shape[0]
    pairs = neighbor_pairs(index, mutual)
    edge_index, pair = both_directions(pairs, n)
    assert edge_index.equal(oracles.knn_adjacency(index, mutual).nonzero().T)
    assert pairs[:, pair].equal(edge_index.sort(0).values)
    assert pair.bincount(minlength=pairs.shape[1]).eq(2).all()


def test_pairs_in_any_order():
    edge_index, pair = both_directions(torch.tensor([[2, 0], [1, 2]]), 3)
    assert edge_index.tolist() == [[0, 1, 2, 2], [2, 2, 0, 1]]
    assert pair.tolist() == [1, 0, 1, 0]


def test_more_places_than_32_bits_count():
    pairs = torch.tensor([[0, 1, 40_000], [99_999, 2, 99_998]])  # of 10^10
    edge_index, pair = both_directions(pairs, 100_000)
    assert edge_index.tolist() == [
        [0, 1, 2, 40_000, 99_998, 99_999],
        [99_999, 2, 1, 99_998, 40_000, 0],
    ]
    assert pair.tolist() == [0, 1, 1, 2, 2, 0]


def test_empty():
    none = torch.empty(0, 3, dtype=torch.int64)
    assert neighbor_pairs(none).shape == (2, 0)
    edge_index, pair = both_directions(neighbor_pairs(none), 0)
    assert edge_index.shape == (2, 0)
    assert pair.shape == (0,)
