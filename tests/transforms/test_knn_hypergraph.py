import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch_geometric.data import Batch, Data
from torch_geometric.nn import HypergraphConv

from pyg_relational.transforms import KNNHypergraph, knn_graph, knn_hypergraph
from tests import oracles


def points(n, d=3, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.integers(2, 15), st.integers(1, 5), st.integers(0, 999), st.booleans())
@settings(max_examples=40, deadline=None)
def test_equals_the_oracle(n, k, seed, copies):
    k, x = min(k, n - 1), points(n, seed=seed)
    x = x[torch.arange(n) % max(1, n // 2)] if copies else x
    index, weight = knn_hypergraph(x, k, bandwidth=3.0)
    f, wanted = oracles.knn_hypergraph(x, k, 9 / 4)
    dense = torch.zeros(n, n).double().index_put(tuple(index), torch.ones(()).double(), True)
    assert dense.equal(f)
    torch.testing.assert_close(weight, wanted)


def test_weights_are_means_of_the_graphs():
    x = points(20)
    index, weight = knn_hypergraph(x, 1)
    a = torch.zeros(20, 20).double().index_put(tuple(knn_graph(x, 1)[0]), knn_graph(x, 1)[1])
    i, j = index[0].view(20, 2).T
    torch.testing.assert_close(weight, a[i, j])


@pytest.mark.parametrize("bandwidth", ["self_tuning", 2.0])
def test_gradients(bandwidth):
    x = points(7).requires_grad_()
    assert gradcheck(lambda x: knn_hypergraph(x, 2, bandwidth=bandwidth)[1], (x,))


def test_copies_are_finite():
    x = torch.ones(6, 2, requires_grad=True)
    weight = knn_hypergraph(x, 3)[1]
    weight.sum().backward()
    assert weight.tolist() == [1.0] * 6
    assert x.grad.isfinite().all()


def test_graphs_of_a_batch_are_apart_and_numbered():
    parts = [Data(x=points(6)), Data(x=points(8, seed=1))]
    transform = KNNHypergraph(2)
    before = Batch.from_data_list([transform(part.clone()) for part in parts])
    after = transform(Batch.from_data_list(parts))
    assert before.hyperedge_index.equal(after.hyperedge_index)
    torch.testing.assert_close(before.hyperedge_weight, after.hyperedge_weight)


def test_pygs_layer_takes_it():
    data = KNNHypergraph(3)(Data(x=points(9).float()))
    out = HypergraphConv(3, 4)(data.x, data.hyperedge_index, data.hyperedge_weight)
    assert out.shape == (9, 4)


def test_half_precision():
    index, weight = knn_hypergraph(points(9).half(), 2)
    assert weight.dtype == torch.float16
    assert index.equal(knn_hypergraph(points(9).half().float(), 2)[0])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="k must be in 1"):
        knn_hypergraph(points(3), 3)
    with pytest.raises(ValueError, match="bandwidth must be positive"):
        KNNHypergraph(2, bandwidth=0.0)
    with pytest.raises(TypeError, match="kernel"):
        KNNHypergraph(2, kernel="binary")
    with pytest.raises(ValueError, match="x must be finite"):
        knn_hypergraph(points(4) / 0, 2)
