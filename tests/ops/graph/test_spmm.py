import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.ops import spmm
from pyg_relational.ops.graph.spmm import csr_matrix, with_values


def dense(row, col, weight, n, m):
    return torch.zeros(n, m, dtype=weight.dtype).index_put((row, col), weight, accumulate=True)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(0, 12),
    st.integers(1, 12),
    st.integers(0, 40),
    st.sampled_from([0, 1, 5]),
    st.booleans(),
    st.integers(0, 2**31),
)
def test_equal_to_the_dense_product(n, m, edges, d, ordered, seed):
    generator = torch.Generator().manual_seed(seed)
    edges = edges if n else 0
    row = torch.randint(max(n, 1), (edges,), generator=generator)
    row = row.sort().values if ordered else row
    col = torch.randint(m, (edges,), generator=generator)
    weight = torch.randn(edges, dtype=torch.float64, generator=generator)
    x = torch.randn(m, d, dtype=torch.float64, generator=generator)
    out = spmm(row, col, weight, x, n)
    assert out.shape == (n, d)
    torch.testing.assert_close(out, dense(row, col, weight, n, m) @ x)


@pytest.mark.parametrize("row", [[0, 1, 1], [2, 0, 2]])
def test_strided_and_expanded_inputs(row):
    row, col = torch.tensor(row), torch.tensor([4, 0, 4])
    one = torch.ones(1, dtype=torch.float64).expand(3)
    a = dense(row, col, one, 4, 5)
    wide = torch.randn(3, 10, dtype=torch.float64)
    for x in (wide[:, :5].T, wide[:, ::2].T, wide[:1, :5].expand(5, 5), wide.view(-1)[:5, None]):
        torch.testing.assert_close(spmm(row, col, one, x, 4), a @ x)


def test_strided_edges():
    edges = torch.tensor([[0, 4], [1, 0], [1, 4], [3, 2]])
    values = torch.randn(4, 3, dtype=torch.float64)
    x = torch.randn(5, 2, dtype=torch.float64)
    row, col = edges.T
    out = spmm(row, col, values[:, 1], x, 4)
    torch.testing.assert_close(out, dense(row, col, values[:, 1], 4, 5) @ x)


def test_no_warning_about_sparse_tensors(recwarn):
    spmm(torch.tensor([0]), torch.tensor([1]), torch.ones(1), torch.eye(2), 1)
    assert not recwarn.list


def test_autocast_changes_nothing():
    row, col, weight = torch.randint(9, (30,)), torch.randint(9, (30,)), torch.randn(30)
    x = torch.randn(9, 4)
    with torch.autocast("cpu", torch.bfloat16):
        cast = spmm(row, col, weight, x, 9)
    assert cast.equal(spmm(row, col, weight, x, 9))


def test_rows_that_were_said_to_be_sorted_and_are_not():
    row, col, one = torch.tensor([1, 0]), torch.tensor([0, 1]), torch.ones(2)
    with pytest.raises(ValueError, match="edge_index must be sorted by row"):
        csr_matrix(row, col, one, (2, 2), in_order=True)
    assert csr_matrix(row.flip(0), col, one, (2, 2), in_order=True).to_dense().tolist() == [
        [1.0, 0.0],
        [0.0, 1.0],
    ]


def test_other_values_stand_where_the_first_ones_stood():
    row, col = torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0])
    one = csr_matrix(row, col, torch.ones(3), (3, 4), in_order=True)
    values = torch.tensor([2.0, 3.0, 4.0])
    assert with_values(one, values).to_dense().equal(dense(row, col, values, 3, 4))
