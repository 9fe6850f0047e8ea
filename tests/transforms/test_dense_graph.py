import importlib

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch_geometric.data import Data

from pyg_relational.transforms import DenseGraph, dense_graph
from tests.transforms.test_knn_graph import assert_contract, dense, points


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return normalize(a, dim=1) @ normalize(b, dim=1).T


def rbf(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-(a[:, None] - b).square().sum(-1) / a.shape[1])


def oracle(s: Tensor, threshold: float, top_k: int | None, batch: Tensor | None) -> Tensor:
    """The sparsified similarity matrix."""
    keep = (s > threshold).fill_diagonal_(False)
    if batch is not None:
        keep &= batch[:, None] == batch
    if top_k is not None:
        ranked = s.masked_fill(~keep, -torch.inf).argsort(1, descending=True)[:, :top_k]
        keep &= torch.zeros_like(keep).scatter(1, ranked, True)
        keep = keep | keep.T
    return s * keep


@pytest.mark.parametrize("tile", [1, 64, 2**23])
@pytest.mark.parametrize("similarity", ["cosine", "rbf", "function"])
@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("top_k", [None, 2, 50])
@pytest.mark.parametrize("batched", [False, True])
def test_equals_the_oracle(monkeypatch, tile, similarity, threshold, top_k, batched):
    monkeypatch.setattr(
        importlib.import_module("pyg_relational.transforms.dense_graph"), "_TILE", tile
    )
    x = points(20, 3)
    f = {"cosine": cosine, "rbf": rbf, "function": rbf}[similarity]
    given = rbf if similarity == "function" else similarity
    batch = torch.arange(20) % 2 if batched else None
    edge_index, weight = dense_graph(x, given, threshold, top_k, batch=batch)
    assert_contract(edge_index, weight, 20)
    torch.testing.assert_close(
        dense(edge_index, weight, 20), oracle(f(x, x), threshold, top_k, batch)
    )


@pytest.mark.parametrize("similarity", ["cosine", "rbf", rbf])
def test_gradcheck(similarity):
    x = points(8, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: dense_graph(x, similarity, top_k=3)[1], x)


def test_gradient_of_a_function_across_tiles(monkeypatch):
    monkeypatch.setattr(
        importlib.import_module("pyg_relational.transforms.dense_graph"), "_TILE", 30
    )
    x = points(10, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: dense_graph(x, rbf)[1], x)


@pytest.mark.parametrize("n", [0, 1])
def test_no_pairs(n):
    edge_index, weight = dense_graph(torch.ones(n, 2))
    assert edge_index.shape == (2, 0)
    assert weight.shape == (0,)


def test_zero_rows_have_no_edges_and_no_nan():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], requires_grad=True)
    edge_index, weight = dense_graph(x)
    assert edge_index.tolist() == [[1, 2], [2, 1]]
    weight.sum().backward()
    assert x.grad.isfinite().all()


def test_weights_exceed_the_threshold():
    x = torch.linalg.qr(points(50, 50, dtype=torch.float32))[0]
    for threshold in (0.0, 1e-9):
        assert (dense_graph(x, threshold=threshold)[1] > threshold).all()


def test_an_offset_changes_no_edges():
    x = torch.randint(-64, 64, (100, 4), generator=torch.Generator().manual_seed(0)) / 32
    want = dense_graph(x.double(), "rbf", 0.4)
    edge_index, weight = dense_graph(x + 2.0**14, "rbf", 0.4)
    assert edge_index.equal(want[0])
    torch.testing.assert_close(weight.double(), want[1], rtol=1e-5, atol=0)


@pytest.mark.parametrize("similarity", ["cosine", "rbf", rbf])
def test_autocast_changes_nothing(similarity):
    x = points(60, 8, dtype=torch.float32)
    want = dense_graph(x, similarity, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        got = dense_graph(x, similarity, 0.1)
    assert got[0].equal(want[0])
    assert got[1].equal(want[1])


def test_parameters_of_the_similarity_are_learned():
    linear = torch.nn.Linear(3, 2, dtype=torch.float64)
    x = points(9, 3)

    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return cosine(linear(a), linear(b))

    dense_graph(x, similarity)[1].square().sum().backward()
    got = linear.weight.grad.clone()
    linear.zero_grad()
    cosine(linear(x), linear(x)).fill_diagonal_(0).relu().square().sum().backward()
    torch.testing.assert_close(got, linear.weight.grad)


def test_half_precision():
    weight = dense_graph(points(10, 3).bfloat16())[1]
    assert weight.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"similarity": "jaccard"}, "similarity must be one of"),
        ({"top_k": 0}, "top_k must be >= 1, got 0"),
        ({"similarity": lambda a, b: a @ b.T * torch.nan}, "similarity must not be NaN"),
        ({"similarity": lambda a, b: a}, r"similarity must give shape \[5, 5\], got \[5, 2\]"),
        ({"x": torch.full((5, 2), torch.inf)}, "x must be finite, got inf"),
        ({"batch": torch.zeros(4, dtype=torch.int64)}, r"batch must have shape \[5\], got \[4\]"),
    ],
)
def test_errors_name_the_argument(change, message):
    arguments = {"x": points(5, 2), **change}
    with pytest.raises(ValueError, match=message):
        dense_graph(**arguments)


def test_transform():
    data = DenseGraph("rbf", threshold=0.2, top_k=3)(Data(x=points(12, 4).view(12, 2, 2)))
    edge_index, weight = dense_graph(points(12, 4), "rbf", 0.2, 3)
    assert data.edge_index.equal(edge_index)
    assert data.edge_weight.equal(weight)
    assert data.num_nodes == 12
    assert repr(DenseGraph(top_k=3)) == "DenseGraph(similarity='cosine', threshold=0.0, top_k=3)"
    with pytest.raises(
        ValueError, match=r"data\.x or data\.pos must hold the features, got neither"
    ):
        DenseGraph()(Data(num_nodes=3))
