import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import kneighbors_graph
from torch import Tensor
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.loader import DataLoader
from torch_geometric.utils import is_undirected

from pyg_relational.transforms import KNNGraph, knn_graph
from tests import oracles
from tests.graphs import dense


def points(n: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def assert_contract(edge_index: Tensor, edge_weight: Tensor, n: int) -> None:
    key = edge_index[0] * n + edge_index[1]
    assert (key[1:] > key[:-1]).all(), "sorted by (row, column), no duplicates"
    assert (edge_index[0] != edge_index[1]).all()
    w = dense(edge_index, edge_weight, n)
    assert w.equal(w.T)
    assert edge_weight.isfinite().all()


@given(
    n=st.integers(3, 40),
    d=st.integers(1, 5),
    k=st.integers(1, 6),
    seed=st.integers(0, 99),
    mutual=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_self_tuning_weights_equal_the_oracle(n, d, k, seed, mutual):
    k = min(k, n - 1)
    x, y = points(n, d, seed).requires_grad_(), points(n, d, seed).requires_grad_()
    edge_index, weight = knn_graph(x, k, symmetrize="mutual" if mutual else "union")
    assert_contract(edge_index, weight.detach(), n)
    adjacency = oracles.knn_adjacency(oracles.knn(y.detach(), k, "euclidean")[0], mutual)
    assert dense(edge_index, torch.ones_like(weight), n).bool().equal(adjacency)
    want = oracles.gaussian_weights(y, k)[edge_index[0], edge_index[1]]
    torch.testing.assert_close(weight, want, rtol=1e-10, atol=1e-12)
    factor = torch.randn(weight.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    (weight * factor).sum().backward()
    (want * factor).sum().backward()
    gap = torch.pdist(y.detach()).min().item()  # products of size 1 / gap^2 cancel in L x
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-10 + 1e-16 / gap**2)


KERNELS = [
    {},
    {"bandwidth": 1.5},
    {"bandwidth": "unit"},
    {"kernel": "cosine"},
    {"kernel": None},
    {"metric": "cosine"},
    {"metric": "cosine", "kernel": None},
    {"symmetrize": None},
]


@pytest.mark.parametrize("options", KERNELS, ids=str)
def test_gradcheck(options):
    x = points(12, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: knn_graph(x, 3, **options)[1], x)
    assert torch.autograd.gradgradcheck(lambda x: knn_graph(x, 3, **options)[1], x, fast_mode=True)


def test_kernels_by_formula():
    x = points(15, 4)
    (i, j), distance = knn_graph(x, 3, kernel=None)
    torch.testing.assert_close(distance, (x[i] - x[j]).norm(dim=1))
    torch.testing.assert_close(
        knn_graph(x, 3, bandwidth=0.7)[1], torch.exp(-4 * distance**2 / 0.7**2)
    )
    torch.testing.assert_close(knn_graph(x, 3, bandwidth="unit")[1], torch.exp(-(distance**2)))
    assert knn_graph(x, 3, kernel="binary")[1].equal(torch.ones(len(i), dtype=x.dtype))
    cosine = torch.nn.functional.cosine_similarity(x[i], x[j])
    torch.testing.assert_close(knn_graph(x, 3, kernel="cosine")[1], cosine.relu())
    (i, j), distance = knn_graph(x, 3, metric="cosine", kernel=None)
    torch.testing.assert_close(distance, 1 - torch.nn.functional.cosine_similarity(x[i], x[j]))


def test_directed_edges_run_from_neighbour_to_point():
    x = points(20, 3)
    edge_index, weight = knn_graph(x, 4, symmetrize=None, kernel="binary")
    want = torch.from_numpy(kneighbors_graph(x.numpy(), 4).toarray())
    assert dense(edge_index, weight, 20).T.equal(want)
    assert (edge_index[1].bincount() == 4).all()


def test_mutual_graph_may_be_nearly_empty():
    x = torch.tensor([[0.0], [1.0], [1.5], [10.0]], requires_grad=True)
    edge_index, weight = knn_graph(x, 1, symmetrize="mutual")
    assert edge_index.tolist() == [[1, 2], [2, 1]]
    weight.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_than_k_duplicates_weigh_one_among_themselves(dtype):
    x = torch.cat([torch.zeros(6, 2), points(6, 2, dtype=torch.float32)]).to(dtype).requires_grad_()
    edge_index, weight = knn_graph(x, 3)
    assert_contract(edge_index, weight.detach(), 12)
    among = (edge_index < 6).all(0)
    assert (weight[among] == 1).all()
    across = (edge_index < 6).any(0) & ~among
    assert (weight[across] == 0).all()
    weight.square().sum().backward()
    assert x.grad.isfinite().all()


def test_all_points_the_same():
    x = torch.ones(8, 3, requires_grad=True)
    weight = knn_graph(x, 2)[1]
    weight.sum().backward()
    assert (weight == 1).all()
    assert not x.grad.any()


@pytest.mark.parametrize("kernel", ["gaussian", "cosine", None])
def test_zero_rows_under_cosine(kernel):
    x = points(10, 3)
    x[:2] = 0
    x.requires_grad_()
    edge_index, weight = knn_graph(x, 3, metric="cosine", kernel=kernel)
    weight.sum().backward()
    assert x.grad.isfinite().all()
    zero = (edge_index < 2).any(0)
    if kernel == "cosine":
        assert not weight[zero].any()
    if kernel is None:
        torch.testing.assert_close(weight[zero], torch.ones_like(weight[zero]))


@pytest.mark.parametrize("order", [torch.arange(30), torch.randperm(30)])
def test_a_batch_is_the_union_of_its_graphs(order):
    x, batch = points(30, 3), torch.arange(3).repeat_interleave(10)
    x, batch = x[order], batch[order]
    w = dense(*knn_graph(x, 3, batch=batch), 30)
    for graph in range(3):
        rows = (batch == graph).nonzero().flatten()
        alone = dense(*knn_graph(x[rows], 3), 10)
        torch.testing.assert_close(w[rows][:, rows], alone)
        w[rows[:, None], rows] = 0
    assert not w.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x = points(20, 4).to(dtype).requires_grad_()
    _, weight = knn_graph(x, 3)
    assert weight.dtype == dtype
    torch.testing.assert_close(weight, knn_graph(x.detach().float(), 3)[1].to(dtype))
    weight.sum().backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("options", [{}, {"kernel": "cosine"}, {"metric": "cosine"}], ids=str)
def test_autocast_changes_nothing(options):
    x = points(50, 8, dtype=torch.float32)
    want = knn_graph(x, 5, **options)
    with torch.autocast("cpu", torch.bfloat16):
        got = knn_graph(x, 5, **options)
    assert got[0].equal(want[0])
    assert got[1].equal(want[1])


@pytest.mark.parametrize("scale", [1e-12, 1e-17, 1e-20, 1e-22])
def test_a_cluster_tighter_than_squares_can_tell_has_no_nan(scale):
    x = points(30, 3, dtype=torch.float32)
    x[:8] *= scale
    x.requires_grad_()
    edge_index, weight = knn_graph(x, 3)
    assert_contract(edge_index, weight.detach(), 30)
    weight.sum().backward()
    assert x.grad.isfinite().all()


def test_saturated_softmax_has_no_nan():
    p = (60 * points(80, 5, dtype=torch.float32)).softmax(1).requires_grad_()
    for options in ({}, {"metric": "cosine"}, {"kernel": None}):
        weight = knn_graph(p, 5, **options)[1]
        assert torch.autograd.grad(weight.sum(), p)[0].isfinite().all()


def test_zero_rows_have_gradient_zero_under_cosine():
    x = points(10, 3)
    x[:2] = 0
    x.requires_grad_()
    knn_graph(x, 3, metric="cosine")[1].square().sum().backward()
    assert not x.grad[:2].any()
    assert x.grad[2:].any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, ValueError, "k must be >= 1, got 0"),
        ({"k": 5}, ValueError, "got 5: take a smaller k or more rows"),
        ({"x": torch.ones(0, 3)}, ValueError, "for n = 0 rows"),
        ({"x": torch.ones(1, 3), "k": 1}, ValueError, "for n = 1 rows"),
        ({"x": torch.full((5, 2), torch.nan)}, ValueError, "x must be finite, got nan in row 0"),
        ({"x": torch.ones(5)}, ValueError, r"x must have shape \[n, d\], got \[5\]"),
        ({"x": torch.ones(5, 2, dtype=torch.int64)}, TypeError, "x must be floating point"),
        ({"metric": "manhattan"}, ValueError, "metric must be one of"),
        ({"kernel": "laplace"}, ValueError, "kernel must be one of"),
        ({"symmetrize": "max"}, ValueError, "symmetrize must be one of"),
        ({"recall": 1.0}, ValueError, r"recall must be in \(0, 1\), got 1.0: ops.knn is exact"),
        (
            {"recall": 0.9, "batch": torch.zeros(5).long()},
            ValueError,
            "recall and batch cannot be given together",
        ),
        ({"bandwidth": "median"}, ValueError, "bandwidth must be one of"),
        ({"bandwidth": 0.0}, ValueError, r"bandwidth must be positive and finite, got 0\.0"),
        ({"bandwidth": None}, TypeError, "bandwidth must be a str or a number, got NoneType"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    arguments = {"x": points(5, 2), "k": 2, **change}
    with pytest.raises(error, match=message):
        knn_graph(arguments.pop("x"), arguments.pop("k"), **arguments)


def test_transform_on_one_graph_and_on_a_batch():
    graphs = [Data(x=points(n, 3, n)) for n in (8, 12)]
    one = KNNGraph(3)(graphs[0].clone())
    assert one.edge_index.equal(knn_graph(graphs[0].x, 3)[0])
    assert is_undirected(one.edge_index, one.edge_weight)
    both = KNNGraph(3)(Batch.from_data_list(graphs))
    assert both.edge_index[:, : one.num_edges].equal(one.edge_index)
    assert both.num_nodes == 20
    loaded = next(iter(DataLoader([KNNGraph(3)(g.clone()) for g in graphs], batch_size=2)))
    assert loaded.edge_index.equal(both.edge_index)


def test_transform_flattens_images_and_keeps_the_gradient():
    x = points(9, 8).view(9, 2, 2, 2).requires_grad_()
    data = KNNGraph(2)(Data(x=x))
    data.edge_weight.sum().backward()
    assert x.grad.shape == x.shape
    assert x.grad.any()


def test_transform_without_kernel_gives_distances_as_attributes():
    data = KNNGraph(2, kernel=None)(Data(x=points(6, 2)))
    assert "edge_weight" not in data
    assert data.edge_attr.equal(knn_graph(data.x, 2, kernel=None)[1])


def test_transform_leaves_nothing_of_an_earlier_graph():
    first = KNNGraph(4)(Data(x=points(9, 2)))
    distances = KNNGraph(2, kernel=None)(first)
    assert "edge_weight" not in distances
    assert "edge_attr" not in KNNGraph(3)(distances)
    assert first.edge_weight.shape == (first.num_edges,), "the input is left as it was"


def test_transform_needs_rows():
    with pytest.raises(ValueError, match=r"data\.x must have shape \[n, \.\.\.\], got \[5\]"):
        KNNGraph(2)(Data(x=torch.ones(5)))


def test_transform_needs_features_and_shows_its_options():
    with pytest.raises(
        ValueError, match=r"data\.x or data\.pos must hold the features, got neither"
    ):
        KNNGraph(2)(Data(num_nodes=4))
    assert repr(KNNGraph(2, metric="cosine")) == "KNNGraph(k=2, metric='cosine')"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu():
    x = points(3000, 16)
    for a, b in zip(knn_graph(x, 10), knn_graph(x.cuda(), 10), strict=True):
        torch.testing.assert_close(a, b.cpu())


def test_positions_are_features_where_there_are_no_others():
    x = points(12, 4)
    data = KNNGraph(3)(Data(pos=x))
    assert data.edge_index.equal(knn_graph(x, 3)[0])
    assert data.num_nodes == 12
    with pytest.raises(
        TypeError, match=r"data must be a torch_geometric\.data\.Data, got HeteroData"
    ):
        KNNGraph(3)(HeteroData())
