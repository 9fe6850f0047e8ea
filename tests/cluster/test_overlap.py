import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.cluster import overlap
from pyg_relational.cluster.overlap import neighbour_overlap
from tests import oracles
from tests.graphs import graphs


@settings(deadline=None, max_examples=80)
@given(graphs(), st.integers(1, 40), st.booleans(), st.randoms(use_true_random=False))
def test_equals_the_oracle(graph, tile, loop, random):
    n = len(graph.y)
    edges = torch.cat([graph.edge_index, torch.tensor([[0], [0]])[:, : int(loop)]], 1)
    order = list(range(edges.shape[1]))
    random.shuffle(order)
    row, col = edges = edges[:, order]
    a = torch.zeros(n, n).index_put((row, col), torch.ones(len(row)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_WEDGES", tile)
        got = neighbour_overlap(edges, n)
    torch.testing.assert_close(got, oracles.neighbour_overlap(a)[row, col])


def test_the_centre_of_a_star_takes_no_quadratic_time():
    leaves = torch.arange(1, 100_001)
    star = torch.stack([torch.zeros_like(leaves), leaves])
    got = neighbour_overlap(torch.cat([star, star.flip(0)], 1), 100_001)
    torch.testing.assert_close(got, torch.full((200_000,), 2 / 100_001))


def test_no_edges():
    assert neighbour_overlap(torch.empty(2, 0, dtype=torch.int64), 3).shape == (0,)
