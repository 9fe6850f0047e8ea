import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn.functional import cross_entropy, normalize

from pyg_relational.nn import GraPixLoss, grapix_loss
from pyg_relational.nn.loss import grapix
from pyg_relational.ops import knn
from pyg_relational.transforms import dense_graph, knn_graph
from tests import oracles
from tests.graphs import graphs, random_graph, union

NONE = torch.empty(2, 0, dtype=torch.int64)


def points(n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64, requires_grad=True)


@pytest.fixture(params=[10, 2**23])
def _tile(request, monkeypatch):
    monkeypatch.setattr(grapix, "_TILE", request.param)


@settings(deadline=None, max_examples=30)
@given(graphs(), st.integers(1, 4), st.floats(0.5, 20), st.floats(0, 2), st.integers(0, 999))
def test_equals_the_dense_form(graph, k, alpha, resolution, seed):
    n = len(graph.y)
    x, mu, w = points(n, 3, seed), points(k, 3, seed + 1), graph.weight.clone().requires_grad_()
    loss = grapix_loss(x, mu, graph.edge_index, w[graph.pair], alpha=alpha, resolution=resolution)
    a = oracles.dense_weights(graph.edge_index, w[graph.pair], n)
    expected = oracles.grapix(x, mu, a, alpha, resolution)
    torch.testing.assert_close(loss, expected)
    if n > 1:
        for ours, theirs in zip(
            torch.autograd.grad(loss, (x, mu, w)),
            torch.autograd.grad(expected, (x, mu, w)),
            strict=True,
        ):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.usefixtures("_tile")
@pytest.mark.parametrize("n", [1, 2, 13])
def test_all_pairs_equal_the_dense_form(n):
    x, mu = points(n, 4), points(3, 4, 1)
    loss, expected = grapix_loss(x, mu), oracles.grapix(x, mu, None, 1.0, 0.05)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (x, mu)), torch.autograd.grad(expected, (x, mu)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_rows_that_are_hardly_alike_count_as_others_do():
    x, mu = torch.tensor([[1.0, 0.1], [0.0, 1.0]]).double(), points(2, 2, 1)
    loss, expected = grapix_loss(x, mu, resolution=1.0), oracles.grapix(x, mu, None, 1.0, 1.0)
    torch.testing.assert_close(loss, expected)


def test_all_pairs_equal_the_graph_of_all_pairs():
    x, mu = points(13, 4), points(3, 4, 1)
    loss, expected = grapix_loss(x, mu), grapix_loss(x, mu, *dense_graph(x))
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, x)[0], torch.autograd.grad(expected, x)[0])


@pytest.mark.usefixtures("_tile")
def test_derivatives():
    x, mu, batch = points(7, 3), points(2, 3, 1), torch.tensor([0, 2, 0, 2, 0, 2, 2])
    edge_index, _ = knn_graph(x, 2, batch=batch)

    def sparse(x, mu):
        weight = knn_graph(x, 2, metric="cosine", kernel="cosine", batch=batch)[1]
        return grapix_loss(x, mu, edge_index, weight, alpha=3, resolution=1, batch=batch)

    edge_index, _ = knn_graph(x.detach(), 2, metric="cosine", kernel="cosine", batch=batch)
    assert gradcheck(sparse, (x, mu))
    assert gradcheck(lambda x, mu: grapix_loss(x, mu, batch=batch), (x, mu))


@pytest.mark.parametrize("all_pairs", [False, True])
def test_mean_over_graphs_each_as_alone(all_pairs):
    a, b = random_graph(7), random_graph(4, seed=1)
    both, batch = union(a, b)
    x, mu = points(11, 3), points(2, 3, 1)
    edges = [() if all_pairs else (g.edge_index, g.edge_weight) for g in (a, b, both)]
    alone = [
        grapix_loss(part, mu, *edge, resolution=1)
        for part, edge in zip(x.split([7, 4]), edges, strict=False)
    ]
    loss = grapix_loss(x, mu, *edges[2], resolution=1, batch=batch)
    torch.testing.assert_close(loss, sum(alone) / 2)


@pytest.mark.parametrize("edges", [(), (NONE,)])
@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("batched", [False, True])
def test_no_edge_has_a_finite_gradient(edges, rows, batched):
    x = torch.eye(3)[:rows].requires_grad_()
    batch = torch.arange(rows) if batched else None
    loss = grapix_loss(x, torch.eye(3)[1:], *edges, batch=batch)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, x)[0].isfinite().all()


def test_half_precision_and_autocast():
    x, mu = points(20, 4).detach(), points(3, 4, 1).detach()
    for edges in ((), knn_graph(x.float(), 3, kernel="cosine")):
        single = grapix_loss(x.float(), mu.float(), *edges)
        torch.testing.assert_close(single.double(), grapix_loss(x, mu, *edges), atol=1e-5, rtol=0)
        with torch.autocast("cpu", torch.bfloat16):
            assert grapix_loss(x.float(), mu.float(), *edges).equal(single)
        assert grapix_loss(x.bfloat16(), mu.bfloat16(), *edges).dtype == torch.float32


@pytest.mark.parametrize("balance", [False, True])
def test_steps_of_the_module(balance):
    options = {"k": 3, "entropy_weight": 1.5, "threshold": 0.6, "balance": balance}
    loss = GraPixLoss(4, 3, alpha=2.0, resolution=0.5, **options)
    loss = loss.double()
    x, strong, mu = points(9, 4), points(9, 4, 1), loss.centroids
    torch.testing.assert_close(loss(x), grapix_loss(x, mu, alpha=2.0, resolution=0.5))
    cosine = normalize(x) @ normalize(mu).T
    torch.testing.assert_close(loss.assign(x), (2 * cosine).softmax(1))
    scores = x @ normalize(mu).T
    expected = oracles.neighbor_consistency(
        (scores / scores.norm(dim=1, keepdim=True)).softmax(1), knn(x, 3, "cosine").index, 1.5
    )
    torch.testing.assert_close(loss.neighbors(x), expected)
    torch.testing.assert_close(
        loss.self_label(x, strong),
        oracles.self_label(scores, strong @ normalize(mu).T, 0.6, balance),
    )


def test_self_label_teaches_the_clusters_of_assign():
    torch.manual_seed(0)
    loss = GraPixLoss(4, 3, threshold=0.0)
    assert not loss.balance
    with torch.no_grad():
        loss.centroids *= torch.tensor([[0.1], [1.0], [10.0]])  # dot products would take the last
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    strong = x.clone().requires_grad_()
    cluster = loss.assign(x).argmax(1)
    expected = cross_entropy(strong @ normalize(loss.centroids).T, cluster)
    torch.testing.assert_close(loss.self_label(x, strong), expected)
    assert (x @ loss.centroids.T).argmax(1).ne(cluster).float().mean() > 0.2


def test_training_finds_two_blobs():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(30, 5) + 4 * torch.eye(5)[i] for i in (0, 1)])
    loss = GraPixLoss(5, 2, alpha=5.0, resolution=1.0)
    optimizer = torch.optim.Adam(loss.parameters(), 0.1)
    for _ in range(40):
        optimizer.zero_grad()
        loss(x).backward()
        optimizer.step()
    found = loss.assign(x).argmax(1).view(2, 30).double().mean(1)
    assert (found[0] - found[1]).abs() > 0.9


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("all_pairs", [False, True])
def test_cuda_equals_cpu(all_pairs):
    graph, batch = union(random_graph(50), random_graph(30, seed=1))
    results = []
    for device in ("cpu", "cuda"):
        x, mu = (
            t.detach().float().to(device).requires_grad_() for t in (points(80, 4), points(3, 4))
        )
        edges = (
            () if all_pairs else (graph.edge_index.to(device), graph.edge_weight.float().to(device))
        )
        loss = grapix_loss(x, mu, *edges, batch=batch.to(device))
        results.append([loss.cpu(), *(g.cpu() for g in torch.autograd.grad(loss, (x, mu)))])
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2).long()}, TypeError, "x must be floating point"),
        ({"centroids": torch.eye(3)}, ValueError, r"centroids must have shape \[k, 2\].*\[3, 3\]"),
        ({"centroids": torch.zeros(0, 2)}, ValueError, r"k >= 1, got \[0, 2\]"),
        ({"edge_weight": torch.ones(2)}, ValueError, "edge_index must be given with edge_weight"),
        ({"alpha": torch.inf}, ValueError, "alpha must be finite and >= 0, got inf"),
        ({"resolution": -1.0}, ValueError, "resolution must be finite and >= 0, got -1"),
        ({"batch": torch.tensor([0, -1])}, ValueError, "batch must be >= 0, got -1"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        grapix_loss(**({"x": torch.eye(2), "centroids": torch.eye(2)} | change))


def test_bad_options():
    with pytest.raises(ValueError, match="num_clusters must be >= 1, got 0"):
        GraPixLoss(3, 0)
    with pytest.raises(ValueError, match="entropy_weight must be finite and >= 0"):
        GraPixLoss(3, 2, entropy_weight=-1)
