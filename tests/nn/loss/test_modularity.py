import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch_geometric.nn.dense import DMoNPooling

from pyg_relational.nn import ModularityLoss, modularity_loss
from tests import oracles
from tests.graphs import graphs, random_graph, union

NONE = torch.empty(2, 0, dtype=torch.int64)


def logits(n, k, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, k, generator=g, dtype=torch.float64, requires_grad=True)


class Scores(torch.nn.Module):
    """Stands for DMoNPooling's network: features are the scores."""

    def forward(self, x):
        return x


def pyg_losses(a, z):
    """Spectral, orthogonality and cluster loss of PyG, of dense graphs [B, n, n] and scores [B, n, k]."""
    pool = DMoNPooling(1, 1)
    pool.mlp = Scores()
    return pool(z, a)[3:]


@settings(deadline=None, max_examples=30)
@given(graphs(), st.integers(1, 5), st.floats(0, 2), st.floats(0, 2), st.integers(0, 999))
def test_equals_pyg_in_value_and_gradient(graph, k, collapse, orthogonality, seed):
    n = len(graph.y)
    if n == 1:  # PyG divides by a total weight of 0
        return
    z, w = logits(n, k, seed), graph.weight.clone().requires_grad_()
    loss = modularity_loss(
        graph.edge_index,
        w[graph.pair],
        z.softmax(1),
        collapse=collapse,
        orthogonality=orthogonality,
    )
    a = oracles.dense_weights(graph.edge_index, w[graph.pair], n)
    spectral, ortho, cluster = pyg_losses(a, z)
    expected = spectral + orthogonality * ortho + collapse * cluster
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(
        torch.autograd.grad(loss, (z, w)), torch.autograd.grad(expected, (z, w)), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_equals_pyg_on_graphs_of_one_size():
    a, b = random_graph(6), random_graph(6, seed=1)
    both, batch = union(a, b)
    z = logits(12, 3)
    loss = modularity_loss(
        both.edge_index, both.edge_weight, z.softmax(1), orthogonality=1, batch=batch
    )
    dense = torch.stack([oracles.dense_weights(g.edge_index, g.edge_weight, 6) for g in (a, b)])
    torch.testing.assert_close(loss, sum(pyg_losses(dense, z.view(2, 6, 3))))


@settings(deadline=None, max_examples=20)
@given(graphs(), graphs(), st.floats(0, 2), st.integers(0, 999))
def test_mean_over_graphs_each_as_alone(a, b, resolution, seed):
    both, batch = union(a, b)
    c = logits(len(batch), 3, seed).softmax(1)
    options = {"resolution": resolution, "collapse": 0.7, "orthogonality": 0.3}
    alone = [
        modularity_loss(g.edge_index, g.edge_weight, part, **options)
        for g, part in zip((a, b), c.split([len(a.y), len(b.y)]), strict=True)
    ]
    shuffled = torch.randperm(len(batch))
    rank = shuffled.argsort()
    loss = ModularityLoss(**options)(
        rank[both.edge_index], both.edge_weight, c[shuffled], batch=2 * batch[shuffled]
    )
    torch.testing.assert_close(loss, sum(alone) / 2)


@pytest.mark.parametrize("batch", [None, torch.arange(12) // 6])
def test_derivatives(batch):
    graph, _ = union(random_graph(6), random_graph(6, seed=1))

    def f(w, z):
        return modularity_loss(
            graph.edge_index, w[graph.pair], z.softmax(1), orthogonality=0.5, batch=batch
        )

    assert gradcheck(f, (graph.weight.clone().requires_grad_(), logits(12, 3)))


@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("batched", [False, True])
def test_no_edge_leaves_the_regularisation(rows, batched):
    z = logits(rows, 2)
    batch = torch.arange(rows) if batched else None
    loss = modularity_loss(NONE, None, z.softmax(1), collapse=0, batch=batch)
    assert loss == 0
    loss = modularity_loss(NONE, None, z.softmax(1), orthogonality=1, batch=batch)
    assert loss.isfinite()
    assert torch.autograd.grad(loss, z)[0].isfinite().all()


def test_training_finds_two_cliques():
    clique = torch.combinations(torch.arange(5)).T
    pairs = torch.cat([clique, clique + 5, torch.tensor([[4], [5]])], 1)
    edge_index = torch.cat([pairs, pairs.flip(0)], 1)
    z = (0.1 * logits(10, 2)).detach().requires_grad_()
    optimizer = torch.optim.Adam([z], 0.1)
    for _ in range(60):
        optimizer.zero_grad()
        modularity_loss(edge_index, None, z.softmax(1)).backward()
        optimizer.step()
    found = z.argmax(1)
    assert found.eq(found[[0] * 5 + [9] * 5]).all()
    assert found[0] != found[9]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu():
    graph, batch = union(random_graph(50), random_graph(30, seed=1))
    results = []
    for device in ("cpu", "cuda"):
        c = logits(80, 4).softmax(1).detach().float().to(device).requires_grad_()
        weight = graph.edge_weight.float().to(device)
        loss = modularity_loss(
            graph.edge_index.to(device), weight, c, orthogonality=1, batch=batch.to(device)
        )
        results.append([loss.cpu(), torch.autograd.grad(loss, c)[0].cpu()])
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"assignment": torch.zeros(2).long()}, TypeError, "assignment must be floating point"),
        ({"assignment": torch.zeros(2, 0)}, ValueError, "assignment must have at least one col"),
        ({"edge_weight": -torch.ones(2)}, ValueError, "edge_weight must be >= 0"),
        ({"collapse": -1}, ValueError, "collapse must be finite and >= 0, got -1"),
        ({"orthogonality": torch.nan}, ValueError, "orthogonality must be finite and >= 0"),
        ({"resolution": -1}, ValueError, "resolution must be finite and >= 0"),
        ({"batch": torch.tensor([0, 1])}, ValueError, "batch must be the same at both ends"),
    ],
)
def test_bad_input(change, error, message):
    edges = torch.tensor([[0, 1], [1, 0]])
    arguments = {"edge_index": edges, "edge_weight": None, "assignment": torch.eye(2)}
    with pytest.raises(error, match=message):
        modularity_loss(**(arguments | change))
