import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyg_relational.cluster import match_labels, peer_pressure
from pyg_relational.cluster.peer_pressure import _scored, _vote
from pyg_relational.metrics import conductance, nmi
from pyg_relational.ops import both_directions, connected_components, modularity
from pyg_relational.transforms import knn_graph
from tests.graphs import graphs, random_graph, union
from tests.oracles import conductance_and_modularity, pressed
from tests.oracles import peer_pressure as oracle

PAIR = torch.tensor([[0, 1], [1, 0]])
NONE = torch.empty(2, 0, dtype=torch.int64)


def cliques(count: int, size: int) -> torch.Tensor:
    """Cliques in a ring, each joined with the next by one edge."""
    inside = torch.combinations(torch.arange(size)).T
    first = size * torch.arange(count)
    ring = torch.stack([first, (first + size + 1) % (count * size)])
    pairs = torch.cat([*(inside + i for i in first), ring], dim=1)
    return both_directions(pairs.sort(0).values, count * size)[0]


def counted(clusters) -> list[int]:
    names: dict[int, int] = {}
    return [names.setdefault(c, len(names)) for c in clusters]


def csr(graph, n):
    row, col = graph.edge_index.numpy()
    return scipy.sparse.csr_array((graph.edge_weight.numpy(), (row, col)), shape=(n, n))


@settings(deadline=None, max_examples=100)
@given(graphs(16), st.booleans(), st.booleans(), st.integers(1, 12), st.integers(1, 4))
def test_equals_the_literal_form_where_nothing_ties(graph, loops, normalize, max_iter, patience):
    n = len(graph.y)
    edge_index, weight = graph.edge_index, graph.edge_weight
    if loops:
        node = torch.arange(n)
        edge_index = torch.cat([edge_index, torch.stack([node, node])], dim=1)
        weight = torch.cat([weight, (0.3 * node).sin().abs() + 0.01])
    a = torch.zeros(n, n, dtype=weight.dtype).index_put(tuple(edge_index), weight)
    expected = [0] if n == 1 else oracle(a, normalize, max_iter, patience)
    assume(expected is not None)
    options = {"normalize": normalize, "max_iter": max_iter, "patience": patience}
    assert peer_pressure(edge_index, weight, n, **options).tolist() == counted(expected)


@settings(deadline=None, max_examples=60)
@given(graphs(), graphs(), st.booleans(), st.integers(0, 99))
def test_each_step_takes_one_of_the_most_voted_clusters(a, b, weighted, seed):
    graph, _ = union(a, b)
    n = len(graph.y)
    if not weighted:  # then votes tie
        graph = graph._replace(weight=torch.ones_like(graph.weight))
    ballots = csr(graph, n)
    dense = torch.from_numpy(ballots.toarray())
    rng = np.random.default_rng(seed)
    cluster = np.arange(n)
    for _ in range(4):
        moved = _vote(ballots, cluster, rng)
        allowed = pressed(dense, cluster.tolist())
        assert all(m in best for m, best in zip(moved.tolist(), allowed, strict=True))
        cluster = moved


def test_ties_are_drawn_alike():
    star = both_directions(torch.stack([torch.zeros(4).long(), torch.arange(1, 5)]), 5)[0]
    noise = 1 + 1e-8 * torch.arange(4).double()  # rounding
    weight = torch.cat([noise, noise]).numpy()
    ballots = scipy.sparse.csr_array((weight, tuple(star.numpy())), shape=(5, 5))
    rng = np.random.default_rng(0)
    drawn = np.array([_vote(ballots, np.arange(5), rng)[0] for _ in range(2000)])
    assert np.bincount(drawn, minlength=5)[0] == 0
    np.testing.assert_allclose(np.bincount(drawn)[1:] / 2000, 0.25, atol=0.05)


@settings(deadline=None, max_examples=60)
@given(graphs(), st.integers(0, 99), st.booleans())
def test_scores_are_conductance_and_modularity(graph, seed, loops):
    n = len(graph.y)
    edge_index, weight = graph.edge_index, graph.edge_weight
    if loops:
        node = torch.arange(n)
        edge_index = torch.cat([edge_index, torch.stack([node, node])], dim=1)
        weight = torch.cat([weight, torch.rand(n, dtype=torch.float64)])
    assume(len(weight) > 0)
    a = scipy.sparse.csr_array((weight.numpy(), tuple(edge_index.numpy())), shape=(n, n))
    cluster = np.random.default_rng(seed).integers(0, n, n)
    _, phi, q = _scored(cluster, a, a.sum(1) + a.diagonal())
    number = torch.from_numpy(cluster).unique(return_inverse=True)[1]
    assert 0 <= phi <= 1 + 1e-12  # rounding
    assert phi == pytest.approx(conductance(edge_index, weight, number)[1].item())
    assert q == pytest.approx(modularity(edge_index, weight, number).item())
    dense = torch.from_numpy(a.toarray())
    assert (phi, q) == pytest.approx(conductance_and_modularity(dense, number.tolist()))


@settings(deadline=None, max_examples=100)
@given(graphs(), st.booleans(), st.booleans(), st.integers(0, 99))
def test_no_worse_than_the_first_step_or_one_cluster(graph, weighted, normalize, seed):
    n = len(graph.y)
    edge_index, weight = graph.edge_index, graph.edge_weight if weighted else None
    options = {"num_nodes": n, "normalize": normalize, "seed": seed}
    cluster = peer_pressure(edge_index, weight, **options)
    first = peer_pressure(edge_index, weight, max_iter=1, **options)
    assert cluster.tolist() == counted(cluster.tolist())
    phi, mean = conductance(edge_index, weight, cluster)
    assert ((phi >= 0) & (phi <= 1)).all()
    assert 0 <= mean <= 1 + 1e-12
    if n > 1:
        found, start = (modularity(edge_index, weight, c) for c in (cluster, first))
        assert found >= max(start, 0) - 1e-6


@settings(deadline=None, max_examples=60)
@given(graphs(16), graphs(16), st.integers(0, 9))
def test_no_lower_modularity_than_the_components_have(a, b, seed):
    both, _ = union(a, b)
    n = len(both.y)
    assume(len(both.edge_weight))
    found = peer_pressure(both.edge_index, both.edge_weight, n, seed=seed)
    apart = connected_components(both.edge_index, n)
    qs = [float(modularity(both.edge_index, both.edge_weight, c)) for c in (found, apart)]
    assert qs[0] >= qs[1] - 1e-12


@pytest.mark.parametrize("joined", [False, True])
def test_two_blobs_are_two_clusters(joined):
    g = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(100, 10, generator=g), torch.randn(100, 10, generator=g) + 40])
    edge_index, _ = knn_graph(x, 10, kernel="binary")
    if joined:
        edge_index = torch.cat([edge_index, torch.tensor([[0, 100], [100, 0]])], dim=1)
    for seed in range(5):
        cluster = peer_pressure(edge_index, num_nodes=200, seed=seed)
        assert cluster.equal(torch.arange(2).repeat_interleave(100)), seed


def test_finds_cliques():
    assert peer_pressure(cliques(6, 8)).equal(torch.arange(6).repeat_interleave(8))
    rank = torch.randperm(48, generator=torch.Generator().manual_seed(0))
    cluster = peer_pressure(rank[cliques(6, 8)])
    groups = cluster[rank].view(6, 8)
    assert groups.eq(groups[:, :1]).all()
    assert len(groups.unique()) == 6


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("n", [2, 3, 12])
def test_a_complete_graph_is_one_cluster(n, weighted, normalize):
    edge_index, pair = both_directions(torch.combinations(torch.arange(n)).T, n)
    noise = torch.linspace(1, 1.01, n * (n - 1) // 2)
    weight = noise[pair] if weighted else None
    for seed in range(5):
        cluster = peer_pressure(edge_index, weight, seed=seed, normalize=normalize)
        assert cluster.tolist() == [0] * n


def test_oscillation_ends():
    a, b = torch.arange(5), torch.arange(5, 12)
    edge_index, _ = both_directions(torch.cartesian_prod(a, b).T, 12)
    for seed in range(5):
        assert peer_pressure(edge_index, seed=seed, max_iter=10**6).tolist() == [0] * 12
    star = both_directions(torch.stack([torch.zeros(4).long(), torch.arange(1, 5)]), 5)[0]
    assert peer_pressure(star).tolist() == [0] * 5
    weight = torch.tensor([9.0, 1, 9, 1, 9])  # three heavy pairs in a path exchange clusters
    path, pair = both_directions(torch.stack([torch.arange(5), torch.arange(1, 6)]), 6)
    assert len(peer_pressure(path, weight[pair], max_iter=10**6)) == 6


def test_isolated_nodes_loops_and_zero_weights():
    assert peer_pressure(NONE).tolist() == []
    assert peer_pressure(NONE, num_nodes=1).tolist() == [0]
    assert peer_pressure(NONE, num_nodes=3).tolist() == [0, 1, 2]
    assert peer_pressure(PAIR, torch.zeros(2), 3).tolist() == [0, 1, 2]
    assert peer_pressure(PAIR + 1, num_nodes=4).tolist() == [0, 1, 1, 2]
    loops = torch.cat([PAIR, torch.tensor([[0, 1, 3], [0, 1, 3]])], dim=1)
    assert peer_pressure(loops, torch.tensor([1.0, 1, 9, 9, 9])).tolist() == [0, 1, 2, 3]


def test_weak_edges():
    path, pair = both_directions(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
    for w in ([1e-30, 1e-30, 1e-30], [1.0, 1e-30, 1.0], [1e-300, 1, 1e300]):
        cluster = peer_pressure(path, torch.tensor(w, dtype=torch.float64)[pair])
        phi, mean = conductance(path, torch.tensor(w, dtype=torch.float64)[pair], cluster)
        assert ((phi >= 0) & (phi <= 1)).all()
        assert 0 <= mean <= 1 + 1e-12


def test_weights_count():
    square, pair = both_directions(torch.tensor([[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]]), 4)
    loops = torch.arange(4).repeat(2, 1)
    edge_index = torch.cat([square, loops], dim=1)
    for pairs, expected in (([9, 1, 1, 1, 1, 9], [0, 0, 1, 1]), ([1, 9, 1, 1, 9, 1], [0, 1, 0, 1])):
        weight = torch.cat([torch.tensor(pairs)[pair], torch.full((4,), 9)]).float()
        found = {tuple(peer_pressure(edge_index, weight, seed=s).tolist()) for s in range(20)}
        assert tuple(expected) in found


def test_order_of_edges_does_not_matter_and_a_seed_decides():
    x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    edge_index, _ = knn_graph(x, 8, kernel="binary")
    mixed = torch.randperm(edge_index.shape[1])
    random_state = np.random.get_state()[1].copy()  # noqa: NPY002
    found = [peer_pressure(edge_index, seed=s).tolist() for s in range(8)]
    again = [peer_pressure(edge_index[:, mixed], seed=s).tolist() for s in range(8)]
    assert found == again
    assert len(set(map(tuple, found))) > 1
    assert (np.random.get_state()[1] == random_state).all()  # noqa: NPY002


def test_clusters_stay_inside_components():
    graph, batch = union(random_graph(30, 0.1, 1), random_graph(40, 0.1, 2))
    for seed in range(5):
        cluster = peer_pressure(graph.edge_index, seed=seed)
        component = connected_components(graph.edge_index, 70)
        assert len(torch.stack([cluster, component]).unique(dim=1).T) == cluster.max() + 1
    assert component.equal(batch)


def test_hubs_and_overlap(reference_root):
    data = np.load(reference_root / "lcc_blobs.npz")
    x, y = (torch.from_numpy(data[name]) for name in ("x", "y"))
    edge_index, _ = knn_graph(x, 50, kernel="binary")
    found = [peer_pressure(edge_index, seed=s) for s in range(5)]
    assert min(float(modularity(edge_index, None, c)) for c in found) > 0.36
    assert all(5 <= int(c.max()) + 1 <= 20 for c in found)
    assert np.mean([nmi(y.long(), c) for c in found]) > 0.55
    wrong = [(match_labels(y.long(), c)[c] != y).float().mean() for c in found]
    assert np.mean(wrong) < 0.45


@pytest.mark.cuda
def test_cuda():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    graph = random_graph(60, 0.1)
    cluster = peer_pressure(graph.edge_index.cuda(), graph.edge_weight.cuda())
    assert cluster.is_cuda
    assert cluster.cpu().equal(peer_pressure(graph.edge_index, graph.edge_weight))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"edge_index": PAIR[:, :1]}, ValueError, "not undirected"),
        ({"edge_index": PAIR.float()}, TypeError, "edge_index must hold integers"),
        ({"edge_weight": -torch.ones(2)}, ValueError, "edge_weight must be >= 0, got min -1"),
        ({"num_nodes": 1}, ValueError, "must be < num_nodes=1"),
        ({"max_iter": 0}, ValueError, "max_iter must be >= 1, got 0"),
        ({"patience": 0}, ValueError, "patience must be >= 1, got 0"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        peer_pressure(**({"edge_index": PAIR} | change))
