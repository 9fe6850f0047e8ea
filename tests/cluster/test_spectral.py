from importlib import import_module

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans, SpectralClustering

from pyg_relational.cluster import spectral
from pyg_relational.cluster.spectral import (
    _embedding,
    _normalized_adjacency,
    _profile,
    _top_eigenvectors,
)
from pyg_relational.datasets import COIL20, PenDigits
from pyg_relational.metrics import ari, clustering_accuracy, nmi
from pyg_relational.ops import both_directions
from pyg_relational.transforms import knn_graph
from tests.graphs import graphs, union
from tests.oracles import dense_weights

PAIR = torch.tensor([[0, 1], [1, 0]])


def planted(sizes, inside=0.5, across=0.02, seed=0):
    """A graph of dense groups, and the group of every node."""
    y = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    g = torch.Generator().manual_seed(seed)
    share = torch.where(y[:, None] == y, inside, across)
    pairs = (torch.rand(len(y), len(y), generator=g) < share).triu(1).nonzero().T
    return both_directions(pairs, len(y))[0], y


@pytest.mark.parametrize("row_normalize", [True, False])
def test_finds_planted_groups_as_sklearn_does_whatever_the_order(row_normalize):
    edge_index, y = planted([60, 30, 40, 20])
    cluster = spectral(edge_index, None, 4, row_normalize=row_normalize)
    assert cluster.equal(y)
    a = torch.zeros(150, 150).index_put(tuple(edge_index), torch.tensor(1.0))
    theirs = SpectralClustering(4, affinity="precomputed", random_state=0).fit_predict(a.numpy())
    assert ari(cluster, torch.from_numpy(theirs).long()) == 1
    mixed = torch.randperm(150, generator=torch.Generator().manual_seed(1))
    moved = spectral(mixed.argsort()[edge_index], None, 4, row_normalize=row_normalize)
    assert ari(moved, y[mixed]) == 1


@pytest.mark.parametrize("row_normalize", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_literal_form(row_normalize, seed):
    edge_index, _ = planted([50, 30, 20], across=0.1, seed=seed)
    own = torch.rand(100, generator=torch.Generator().manual_seed(seed)).double() ** 4 + 0.01
    weight = own[edge_index[0]] * own[edge_index[1]]
    w = dense_weights(edge_index, weight, 100)
    d = w.sum(1)
    u = torch.linalg.eigh(w / (d[:, None] * d).sqrt()).eigenvectors[:, -4:].flip(1)
    both = u / u.norm(dim=1, keepdim=True), u / d.sqrt()[:, None]
    literal, other = (
        torch.from_numpy(KMeans(4, n_init=10, random_state=seed).fit_predict(x)).long()
        for x in (both if row_normalize else both[::-1])
    )
    cluster = spectral(edge_index, weight, 4, row_normalize=row_normalize, seed=seed)
    assert ari(cluster, literal) == 1
    assert ari(cluster, other) < 1


@settings(deadline=None, max_examples=40)
@given(graphs(), graphs(), st.integers(1, 8))
def test_embedding_spans_the_space_of_the_largest_eigenvalues(a, b, k):
    graph, batch = union(a, b)
    n = len(graph.y)
    s, degree = _normalized_adjacency(graph.edge_index, graph.edge_weight, n)
    if (held := int((degree > 0).sum())) < k:
        with pytest.raises(ValueError, match=f"num_clusters must be <= {held}"):
            _embedding(s, k, 2, 0)
        return
    w = dense_weights(graph.edge_index, graph.edge_weight, n)[degree > 0][:, degree > 0]
    d = w.sum(1)
    value, vector = torch.linalg.eigh(w / (d[:, None] * d).sqrt())
    u = _embedding(s, k, 2, 0)
    assert not u[degree == 0].any()
    u = u[degree > 0]
    np.testing.assert_allclose(u.T @ u, np.eye(k), atol=1e-8)
    gap = np.inf if k == held else value[-k] - value[-k - 1]
    if gap > 1e-4:
        top = (vector[:, -k:] @ vector[:, -k:].T).numpy()
        np.testing.assert_allclose(u @ u.T, top, atol=1e-8)
    side = batch.numpy()[degree > 0]
    inside = [u[side == g].any(0) for g in (0, 1)]
    assert (inside[0] != inside[1]).all()  # no vector is a mixture


@pytest.mark.parametrize("fill", [0, 10**9])
def test_multiple_eigenvalues_are_all_found(monkeypatch, fill):
    monkeypatch.setattr(import_module("pyg_relational.cluster.spectral"), "_FILL", fill)
    n, q = 1500, 7
    node = torch.arange(n)
    ring = torch.cat([torch.stack([node, (node + step) % n]) for step in range(1, 20)], dim=1)
    edge_index, _ = both_directions(ring.sort(0).values, n)
    s, _ = _normalized_adjacency(edge_index, torch.ones(edge_index.shape[1]), n)
    wave = np.cos(2 * np.pi * np.outer(np.arange(n), np.arange(1, 20)) / n).mean(1)
    for seed in range(3):
        value, vector = _top_eigenvectors(s, q, seed)
        np.testing.assert_allclose(value, np.sort(wave)[::-1][:q], atol=1e-7)
        np.testing.assert_allclose(vector.T @ vector, np.eye(q), atol=1e-6)
        np.testing.assert_allclose(s @ vector, vector * value, atol=1e-6)


@pytest.mark.parametrize("row_normalize", [True, False])
@pytest.mark.parametrize("link", [None, 1e-13])
def test_components_are_clusters_and_share_what_is_left(row_normalize, link):
    parts = [planted([30, 25, 20], seed=1), planted([12], seed=2), planted([9], seed=3)]
    edges, y, weights, start = [], [], [], 0
    for edge_index, group in parts:
        edges.append(edge_index + start)
        weights.append(torch.ones(edge_index.shape[1]).double())
        y.append(group + 10 * start)
        start += len(group)
    if link is not None:  # as good as no edge
        edges.append(torch.tensor([[0, 75, 80, 90], [75, 0, 90, 80]]))
        weights.append(torch.full((4,), link).double())
    edge_index, weight, y = torch.cat(edges, 1), torch.cat(weights), torch.cat(y)
    y = y.unique(return_inverse=True)[1]
    options = {"row_normalize": row_normalize}
    assert spectral(edge_index, weight, 5, **options).equal(y)
    largest = (y >= 3).long()
    assert spectral(edge_index, weight, 3, **options).equal((y - 2).clamp(min=0))
    assert spectral(edge_index, weight, 2, **options).equal((y == 3).long())
    assert spectral(edge_index, weight, 1, **options).equal(0 * largest)
    few = spectral(edge_index, weight, 3, min_size=13, num_nodes=100, **options)
    assert few[:75].equal(y[:75])
    assert few[75:].eq(few[:75].bincount().argmax()).all()


def test_profile_bounds_the_entries_of_a_factor():
    x = torch.rand(400, 2, generator=torch.Generator().manual_seed(0))
    edge_index, weight = knn_graph(x, 5)
    s, _ = _normalized_adjacency(edge_index, weight, 400)
    order = scipy.sparse.csgraph.reverse_cuthill_mckee(s, symmetric_mode=True)
    factor = np.linalg.cholesky(2 * np.eye(400) - s.toarray()[order][:, order])
    path = scipy.sparse.diags_array([np.ones(9), np.ones(9)], offsets=[1, -1]).tocsr()
    assert np.count_nonzero(factor) - 400 <= _profile(s) < 400 * 200
    assert _profile(path) == 9


def test_isolated_nodes_and_loops():
    edge_index, y = planted([20, 30])
    n = len(y) + 3
    loops = torch.stack([torch.arange(n)] * 2)
    weight = torch.cat([torch.ones(edge_index.shape[1]), torch.full((n,), 5.0)])
    looped = torch.cat([edge_index, loops], 1)
    cluster = spectral(looped, weight, 2)
    assert cluster[:-3].equal(y)
    assert cluster[-3:].eq(1).all()
    _, degree = _normalized_adjacency(looped, weight, n)
    assert (degree == edge_index[0].bincount(minlength=n).numpy()).all()


def test_same_seed_same_result_and_random_state_is_left_alone():
    edge_index, _ = planted([800, 700], inside=0.02, across=0.005)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    found = [spectral(edge_index, None, 5, seed=3) for _ in range(2)]
    assert found[0].equal(found[1])
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_pendigits(dataset_root):
    x, y = PenDigits(dataset_root).split("train")
    edge_index, weight = knn_graph(x, 10)
    a = scipy.sparse.csr_array((weight, edge_index), shape=(len(y), len(y)))
    assert scipy.sparse.csgraph.connected_components(a)[0] == 2
    found = [spectral(edge_index, weight, 10, min_size=m) for m in (2, 75)]
    assert all(len(cluster.unique()) == 10 for cluster in found)
    accuracy = [clustering_accuracy(y, cluster) for cluster in found]
    assert accuracy == pytest.approx([0.822, 0.893], abs=0.01)  # 24 rows hold a cluster, or not


def test_coil20_whose_graph_falls_apart(tmp_path, raw_root, monkeypatch):
    monkeypatch.setenv("PYG_RELATIONAL_RAW", str(raw_root))
    data = COIL20(tmp_path)[0]
    edge_index, weight = knn_graph(data.x.flatten(1), 10)
    cluster = spectral(edge_index, weight, 20)
    assert clustering_accuracy(data.y, cluster) == pytest.approx(0.784, abs=0.02)
    assert nmi(data.y, cluster) == pytest.approx(0.914, abs=0.01)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"edge_index": PAIR[:, :1]}, ValueError, "not undirected"),
        ({"edge_weight": torch.tensor([1, torch.inf])}, ValueError, "edge_weight must be finite"),
        ({"num_clusters": 0}, ValueError, "num_clusters must be >= 1, got 0"),
        ({"num_clusters": "auto"}, TypeError, "num_clusters must be an int, got str"),
        (
            {"num_clusters": 3},
            ValueError,
            "num_clusters must be <= 2, the number of nodes .* got 3",
        ),
        (
            {"num_clusters": 3, "num_nodes": 3},
            ValueError,
            "num_clusters must be <= 2, the number of nodes .* got 3",
        ),
        ({"min_size": 1}, ValueError, "min_size must be >= 2, got 1"),
        (
            {"min_size": 3},
            ValueError,
            "num_clusters must be <= 0, .* components of at least 3, got 2",
        ),
        ({"edge_index": torch.empty(2, 0).long()}, ValueError, "num_clusters must be <= 0"),
    ],
)
def test_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        spectral(**({"edge_index": PAIR, "edge_weight": None, "num_clusters": 2} | change))
