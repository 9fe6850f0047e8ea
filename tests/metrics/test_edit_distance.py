import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from pyg_relational.metrics import edit_distance
from tests import oracles


def graph(n, seed, share=0.5, kinds=2):
    g = torch.Generator().manual_seed(seed)
    a = (torch.rand(n, n, generator=g) < share).triu(1)
    a = a | a.T
    kind = torch.randint(kinds, (n, 1), generator=g)
    return Data(x=kind.float(), edge_index=a.nonzero().T.contiguous(), num_nodes=n), a, kind


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_is_never_below_the_exact_distance(n, m, seed):
    (one, a, x), (other, b, z) = graph(n, seed), graph(m, seed + 1)
    exact = oracles.edit_distance(a, b, x[:, 0].tolist(), z[:, 0].tolist())
    assert exact <= edit_distance(one, other) <= n + m + int(a.sum() + b.sum()) // 2


def test_is_exact_for_most_small_graphs():
    exact = []
    for seed in range(60):
        (one, a, x), (other, b, z) = graph(4, seed), graph(3, seed + 100)
        wanted = oracles.edit_distance(a, b, x[:, 0].tolist(), z[:, 0].tolist())
        exact.append(edit_distance(one, other) == wanted)
    assert sum(exact) > 30


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        (Data(num_nodes=0, edge_index=torch.zeros(2, 0).long()), graph(1, 0)[0], 1),
        (graph(5, 1)[0], graph(5, 1)[0], 0),
        (graph(4, 2, 1.0, 1)[0], graph(3, 2, 1.0, 1)[0], 4),  # one node, three edges
        (graph(4, 2, 0.0, 1)[0], graph(4, 2, 1.0, 1)[0], 6),
    ],
)
def test_of_graphs_that_are_known(one, other, wanted):
    if one.num_nodes == 0:
        one.x = torch.zeros(0, 1)
    assert edit_distance(one, other) == edit_distance(other, one) == wanted


def test_loops_copies_and_directions_of_edges_do_not_count():
    one = Data(edge_index=torch.tensor([[0, 1, 1, 0], [1, 0, 1, 1]]), num_nodes=2)
    assert edit_distance(one, Data(edge_index=torch.tensor([[1], [0]]), num_nodes=2)) == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("a graph", TypeError, "b must be a Data with an edge_index, got str"),
        (Data(num_nodes=2), TypeError, "b must be a Data with an edge_index, got Data"),
        (
            Data(edge_index=torch.zeros(2, 0).long(), num_nodes=2),
            ValueError,
            "features of a's width",
        ),
        (
            Data(x=torch.ones(2, 3), edge_index=torch.zeros(2, 0).long()),
            ValueError,
            "features of a's width",
        ),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        edit_distance(graph(3, 0)[0], change)
