import igraph
import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.ops import both_directions, modularity
from tests import oracles
from tests.graphs import dense, graphs, random_graph, union

PAIR = torch.tensor([[0, 1], [1, 0]])


@st.composite
def weighted(draw):
    """Nodes, pairs i <= j with self-loops, possibly none, their weights, and both directions of them."""
    n = draw(st.integers(1, 12))
    pairs = draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=30))
    pairs = torch.tensor(sorted({(min(p), max(p)) for p in pairs})).reshape(-1, 2).T.long()
    g = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight = torch.rand(pairs.shape[1], dtype=torch.float64, generator=g)
    loop = pairs[0] == pairs[1]
    edge_index, pair = both_directions(pairs[:, ~loop], n)
    edge_index = torch.cat([edge_index, pairs[:, loop]], dim=1)
    both = torch.cat([weight[~loop][pair], weight[loop]])
    return n, pairs, weight, edge_index, both, torch.randint(4, (n,), generator=g)


@settings(deadline=None, max_examples=60)
@given(weighted(), st.floats(0, 3), st.integers(0, 4))
def test_equals_the_dense_form(graph, resolution, k):
    n, _, _, edge_index, weight, y = graph
    a = dense(edge_index, weight, n)
    for c, rows in (
        (y, one_hot(y, 4).double()),
        *[(torch.randn(n, k, dtype=torch.float64),) * 2],
    ):
        q = modularity(edge_index, weight, c, resolution=resolution)
        torch.testing.assert_close(q, oracles.modularity(a, rows, resolution))


@settings(deadline=None, max_examples=40)
@given(weighted(), st.floats(0, 3))
def test_equals_networkx_and_igraph(graph, resolution):
    n, pairs, weight, edge_index, both, y = graph
    if weight.sum() == 0:
        return
    g = nx.Graph()
    g.add_nodes_from(range(n))
    g.add_weighted_edges_from(
        (*pair, w) for pair, w in zip(pairs.T.tolist(), weight.tolist(), strict=True)
    )
    parts = [set((y == c).nonzero()[:, 0].tolist()) for c in range(4)]
    q = modularity(edge_index, both, y, resolution=resolution).item()
    assert q == pytest.approx(nx.community.modularity(g, parts, resolution=resolution), abs=1e-9)
    same = igraph.Graph(n, pairs.T.tolist()).modularity(
        y.tolist(), weights=weight.tolist(), resolution=resolution
    )
    assert q == pytest.approx(same, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(graphs(), st.randoms(use_true_random=False))
def test_range_and_names_of_clusters_do_not_matter(graph, random):
    q = modularity(graph.edge_index, graph.edge_weight, graph.y)
    assert -0.5 - 1e-12 <= q <= 1
    names = torch.tensor(random.sample(range(1000), 4))
    torch.testing.assert_close(modularity(graph.edge_index, graph.edge_weight, names[graph.y]), q)
    one = modularity(graph.edge_index, graph.edge_weight, torch.zeros_like(graph.y))
    torch.testing.assert_close(one, torch.zeros_like(one))


@settings(deadline=None, max_examples=30)
@given(graphs(), graphs(), st.booleans())
def test_a_union_gives_what_each_graph_gives(a, b, soft):
    both, batch = union(a, b)
    c = torch.randn(len(both.y), 3, dtype=torch.float64) if soft else both.y
    expected = [
        modularity(g.edge_index, g.edge_weight, part)
        for g, part in zip((a, b), c.split([len(a.y), len(b.y)]), strict=True)
    ]
    shuffled = torch.randperm(len(batch))
    rank = shuffled.argsort()
    q = modularity(rank[both.edge_index], both.edge_weight, c[shuffled], batch=batch[shuffled] * 2)
    torch.testing.assert_close(q, torch.stack([expected[0], torch.zeros_like(q[0]), expected[1]]))


@pytest.mark.parametrize("batch", [None, torch.arange(14) // 7])
def test_derivatives(batch):
    graph, _ = union(random_graph(7), random_graph(7, seed=1))
    w = graph.weight.clone().requires_grad_()
    c = torch.randn(14, 3, dtype=torch.float64, requires_grad=True)

    def soft(w, c):
        return modularity(graph.edge_index, w[graph.pair], c, resolution=1.3, batch=batch)

    def hard(w):
        return modularity(graph.edge_index, w[graph.pair], graph.y, resolution=1.3, batch=batch)

    for f, inputs in ((soft, (w, c)), (hard, (w,))):
        assert gradcheck(f, inputs)
        assert gradgradcheck(f, inputs)


def test_gradient_of_both_directions_of_an_edge_is_the_same():
    graph = random_graph(6)
    weight = graph.edge_weight.clone().requires_grad_()
    c = torch.randn(6, 2, dtype=torch.float64)
    (grad,) = torch.autograd.grad(modularity(graph.edge_index, weight, c), weight)
    both = torch.stack([grad[graph.pair == p] for p in range(len(graph.weight))])
    torch.testing.assert_close(both[:, 0], both[:, 1])


@pytest.mark.parametrize("batch", [None, torch.tensor([0, 0, 1])])
def test_no_edge_has_modularity_and_gradient_zero(batch):
    none = torch.empty(2, 0, dtype=torch.int64)
    c = torch.rand(3, 2, requires_grad=True)
    for edge_index, weight in ((none, None), (PAIR, torch.zeros(2))):
        q = modularity(edge_index, weight, c, batch=batch)
        assert q.equal(torch.zeros(() if batch is None else 2))
        assert torch.autograd.grad(q.sum(), c)[0].equal(torch.zeros(3, 2))
    assert modularity(none, None, torch.arange(3)) == 0
    assert modularity(none, None, torch.empty(0, 2)) == 0


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.cuda,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
            ],
        ),
    ],
)
@pytest.mark.parametrize("graphs", [1, 2])
def test_float32_keeps_its_digits_over_many_nodes(device, graphs):
    n = 300_000
    ring = torch.stack([torch.arange(n), torch.arange(n).roll(-1)])
    edge_index = both_directions(ring.sort(0).values, n)[0].to(device)
    c = torch.rand(n, 3, generator=torch.Generator().manual_seed(0)).to(device)
    batch = None if graphs == 1 else torch.arange(n, device=device) % 2 * 0
    q = modularity(edge_index, None, c, batch=batch)
    assert q.dtype == torch.float32
    exact = modularity(edge_index, torch.ones(2 * n, device=device).double(), c, batch=batch)
    assert abs(q.double() - exact) < 1e-7


@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e160, 1e300])
@pytest.mark.parametrize("soft", [False, True])
def test_the_unit_of_the_weights_does_not_matter(scale, soft):
    graph = random_graph(9)
    c = torch.eye(3, dtype=torch.float64)[graph.y] if soft else graph.y
    q = modularity(graph.edge_index, graph.edge_weight, c)
    torch.testing.assert_close(modularity(graph.edge_index, scale * graph.edge_weight, c), q)


def test_types():
    half = torch.full((2, 2), 0.5).bfloat16()
    assert modularity(PAIR, None, half).dtype == torch.float32
    assert modularity(PAIR, torch.ones(2).half(), torch.arange(2)).dtype == torch.float32
    assert modularity(PAIR, torch.ones(2).double(), half).dtype == torch.float64


def test_autocast_changes_nothing():
    c = torch.rand(2, 8, requires_grad=True)
    q = modularity(PAIR, None, c)
    (grad,) = torch.autograd.grad(q, c)
    with torch.autocast("cpu", torch.bfloat16):
        cast = modularity(PAIR, None, c)
    assert cast.equal(q)
    assert torch.autograd.grad(cast, c)[0].equal(grad)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"assignment": [0, 1]}, TypeError, "assignment must be a Tensor, got list"),
        ({"assignment": torch.zeros(2).int()}, TypeError, "assignment must be int64, got .*int32"),
        ({"assignment": torch.zeros(2, 1).long()}, ValueError, r"assignment .*\[n\].* \[2, 1\]"),
        ({"assignment": torch.zeros(2)}, ValueError, r"assignment must have shape \[n, d\]"),
        ({"assignment": torch.tensor([0, -1])}, ValueError, "assignment must be >= 0, got -1"),
        ({"assignment": torch.tensor([[0.0], [torch.nan]])}, ValueError, "assignment must be fin"),
        ({"assignment": torch.zeros(1).long()}, ValueError, r"must be < num_nodes=1"),
        ({"edge_weight": torch.ones(3)}, ValueError, r"edge_weight must have shape \[2\]"),
        ({"edge_weight": -torch.ones(2)}, ValueError, "edge_weight must be >= 0, got min -1"),
        ({"edge_weight": torch.tensor([1.0, 2.0])}, ValueError, "not undirected"),
        ({"resolution": -1}, ValueError, "resolution must be finite and >= 0, got -1"),
        ({"batch": torch.tensor([0, 1])}, ValueError, "batch must be the same at both ends"),
        ({"batch": torch.tensor([-1, -1])}, ValueError, "batch must be >= 0, got -1"),
        ({"batch": torch.zeros(2)}, TypeError, "batch must be int64"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"edge_index": PAIR, "edge_weight": None, "assignment": torch.zeros(2).long()}
    with pytest.raises(error, match=message):
        modularity(**(arguments | change))
