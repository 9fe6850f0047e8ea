import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.utils import to_dense_adj

from pyg_relational.transforms import label_graph
from tests import oracles
from tests.device import Counts, pretend

TABLES = st.integers(1, 5).flatmap(
    lambda c: st.lists(st.lists(st.integers(0, 1), min_size=c, max_size=c), min_size=1, max_size=8)
)


def dense(edge_index, edge_weight, n):
    """Row m holds what class m gathers."""
    return to_dense_adj(edge_index.flip(0), edge_attr=edge_weight, max_num_nodes=n)[0]


@given(TABLES)
@settings(max_examples=60, deadline=None)
def test_equals_the_oracle(table):
    y = torch.tensor(table)
    edge_index, edge_weight = label_graph(y)
    found = dense(edge_index, edge_weight, y.shape[1])
    torch.testing.assert_close(found, oracles.co_occurrence(table).float())
    assert edge_weight.gt(0).all()
    target_first = edge_index[1] * y.shape[1] + edge_index[0]
    assert target_first.diff().gt(0).all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32, torch.bfloat16])
def test_any_type_of_zeros_and_ones(dtype):
    y = torch.rand(300, 5, generator=torch.Generator().manual_seed(0)) < 0.6
    for a, b in zip(label_graph(y.to(dtype)), label_graph(y.long()), strict=True):
        assert a.equal(b)


def test_no_sample_has_no_edge():
    edge_index, edge_weight = label_graph(torch.zeros(0, 3))
    assert (edge_index.shape, edge_weight.shape) == ((2, 0), (0,))


def test_a_device_is_read_twice():
    y = torch.eye(4)[torch.tensor([0, 1, 1, 3])]
    with Counts() as counts:
        found = label_graph(pretend(y))
    assert (counts.reads.total(), counts.copies.total()) == (2, 0)
    assert all(a.value.equal(b) for a, b in zip(found, label_graph(y), strict=True))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([[0, 1]], TypeError, "y must be a Tensor, got list"),
        (torch.tensor([0, 1]), ValueError, r"y must have shape \[n, C\], got \[2\]"),
        (torch.tensor([[0, -1]]), ValueError, "y must hold 0 and 1, got -1"),
        (torch.tensor([[0.0, torch.nan]]), ValueError, "y must hold 0 and 1, got nan"),
    ],
)
def test_bad_input(y, error, message):
    with pytest.raises(error, match=message):
        label_graph(y)
