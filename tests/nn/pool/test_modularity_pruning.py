import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.metrics import clustering_accuracy
from pyg_relational.nn import ModularityPruning
from pyg_relational.nn.pool.modularity_pruning import between_farthest
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph
from tests.blobs import corners


def blobs(n=120, distance=5.0, seed=0):
    return corners(n, distance, seed)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.integers(1, 5), st.integers(0, 9999))
def test_between_farthest_is_the_definition(n, k, seed):
    torch.manual_seed(seed)
    x, clusters = torch.randn(n, 3), torch.randint(k, (n,))
    edges = torch.randint(n, (2, 20))
    centroid = {c: x[clusters == c].mean(0) for c in clusters.tolist()}
    farthest = {
        c: max(centroid, key=lambda d, c=c: float((centroid[c] - centroid[d]).norm()))
        for c in centroid
    }
    pairs = [(clusters[i].item(), clusters[j].item()) for i, j in edges.T.tolist()]
    expected = [a != b and (farthest[a] == b or farthest[b] == a) for a, b in pairs]
    assert between_farthest(edges, x, clusters).tolist() == expected


def test_farthest_drops_what_the_definition_says_in_its_first_step():
    x, _ = blobs(distance=1.0)
    edges, weight = knn_graph(x, 20)
    clusters = (3 * torch.atan2(x[:, 1], x[:, 0]) / 3.1416 + 3).long().clamp(0, 5)
    pruned = ModularityPruning(3, "farthest", clustering=lambda *_: clusters, max_iter=1)(
        x, edges, weight
    )
    apart = between_farthest(edges, x, clusters)
    assert apart.any()
    left = pruned.history[-1].edges
    assert left == int((~apart).sum()) // 2
    assert pruned.history[0].modularity == pytest.approx(
        modularity(edges, weight, clusters).item(), abs=1e-6
    )
    # the clusters stay, so modularity does not rise: the graph before the second step is given back
    assert pruned.edge_index.shape[1] == edges.shape[1]
    assert len(pruned.history) == 2


@pytest.mark.parametrize("rule", ["consensus", "farthest"])
def test_clusters_apart_are_found_and_the_result_is_an_undirected_part_of_the_graph(rule):
    x, y = blobs()
    edges, weight = knn_graph(x, 10)
    pruned = ModularityPruning(3, rule)(x, edges, weight)
    assert clustering_accuracy(y, pruned.clusters) > 0.95
    given = {tuple(e): w for e, w in zip(edges.T.tolist(), weight.tolist(), strict=True)}
    left = {
        tuple(e): w
        for e, w in zip(pruned.edge_index.T.tolist(), pruned.edge_weight.tolist(), strict=True)
    }
    assert all(e in given and w <= given[e] + 1e-6 for e, w in left.items())
    assert all(left[b, a] == w for (a, b), w in left.items())


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["consensus", "farthest"]), st.integers(0, 999), st.floats(1, 4))
def test_modularity_of_the_given_graph_never_falls(rule, seed, distance):
    x, _ = blobs(60, distance, seed)
    edges, weight = knn_graph(x, 6)
    pruned = ModularityPruning(3, rule, max_iter=2)(x, edges, weight)
    first = pruned.history[0]
    assert first.edges == edges.shape[1] // 2
    assert first.modularity == first.pruned_modularity
    q = modularity(edges, weight, pruned.clusters).item()
    assert q == pytest.approx(max(step.modularity for step in pruned.history), abs=1e-6)
    if len(pruned.history) > 1 and pruned.history[1].modularity <= first.modularity:
        assert torch.equal(pruned.edge_index, edges)
        assert torch.equal(pruned.edge_weight, weight)


def test_weights_carry_gradient_and_the_same_seed_gives_the_same():
    x, _ = blobs(60)
    x.requires_grad_()
    edges, weight = knn_graph(x, 5)
    pruned, again = (ModularityPruning(3, seed=1)(x, edges, weight) for _ in range(2))
    assert torch.equal(pruned.edge_weight, again.edge_weight)
    assert torch.equal(pruned.clusters, again.clusters)
    pruned.edge_weight.sum().backward()
    assert x.grad.abs().sum() > 0


def test_one_cluster_drops_nothing_by_the_farthest_rule():
    x, _ = blobs(30)
    edges, weight = knn_graph(x, 5)
    pruned = ModularityPruning(1, "farthest")(x, edges, weight)
    assert pruned.edge_index.shape == edges.shape
    assert len(pruned.history) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clusters": 0}, "num_clusters must be >= 1, got 0"),
        ({"num_clusters": 2, "rule": "nearest"}, "rule must be one of"),
        ({"num_clusters": 2, "power": 0.0}, "power must be > 0, got 0.0"),
        ({"num_clusters": 2, "max_iter": 0}, "max_iter must be >= 1"),
        ({"num_clusters": 2, "min_degree": -1}, "min_degree must be >= 0, got -1"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        ModularityPruning(**options)


@pytest.mark.parametrize("rule", ["consensus", "farthest"])
def test_history_has_the_clusters(rule):
    x, _ = blobs()
    pruned = ModularityPruning(3, rule)(x, *knn_graph(x, 10))
    found = [modularity(*knn_graph(x, 10), step.clusters).item() for step in pruned.history]
    assert found == pytest.approx([step.modularity for step in pruned.history])
    assert any(torch.equal(pruned.clusters, step.clusters) for step in pruned.history)


@pytest.mark.parametrize("min_degree", [0, 1, 2])
def test_nodes_keep_their_strongest_edges(min_degree):
    x = torch.tensor([[0.0, 0], [1, 0], [0, 1], [9, 9], [9, 8], [8, 9]])
    pairs = torch.tensor([[0, 0, 0, 1, 3, 3, 4], [3, 4, 5, 2, 4, 5, 5]])
    edges = torch.cat([pairs, pairs.flip(0)], 1)
    weight = torch.tensor([3.0, 2, 1, 5, 5, 5, 5]).repeat(2)
    seen = []

    def clustering(edge_index, edge_weight):
        seen.append(edge_index)
        return torch.tensor([0, 1, 1, 2, 2, 2])  # all neighbours of node 0 are in its farthest

    ModularityPruning(3, "farthest", clustering=clustering, min_degree=min_degree)(x, edges, weight)
    assert seen[1][1][seen[1][0] == 0].tolist() == [3, 4, 5][:min_degree]


def test_a_directed_graph_is_refused():
    with pytest.raises(ValueError, match="both directions"):
        ModularityPruning(1)(torch.randn(3, 2), torch.tensor([[0, 1], [1, 2]]))


@pytest.mark.parametrize("rule", ["consensus", "farthest"])
@pytest.mark.parametrize("n", [0, 1, 6])
def test_a_graph_without_edges_has_no_clusters_to_find(rule, n):
    with pytest.raises(ValueError, match="num_clusters must be <= 0"):
        ModularityPruning(1, rule)(torch.randn(n, 2), torch.empty(2, 0, dtype=torch.int64))


@pytest.mark.parametrize("rule", ["consensus", "farthest"])
def test_isolated_nodes_stay(rule):
    pairs = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    pruned = ModularityPruning(2, rule)(torch.randn(5, 2), pairs)
    assert torch.equal(pruned.edge_index, pairs)
    assert len(pruned.clusters) == 5


@pytest.mark.parametrize("rule", ["consensus", "farthest"])
def test_history_counts_a_self_loop_as_an_edge(rule):
    x, _ = blobs()
    edges, weight = knn_graph(x, 10)
    node = torch.arange(len(x))
    loops = torch.cat([edges, node.expand(2, -1)], 1), torch.cat([weight, torch.ones(len(x))])
    found = ModularityPruning(3, rule)(x, *loops)
    assert found.history[0].edges == edges.shape[1] // 2 + len(x)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_between_farthest_far_from_the_origin_and_with_many_clusters(offset):
    torch.manual_seed(0)
    x, clusters, edges = (
        torch.randint(9, (200, 3)),
        torch.arange(200) % 40,
        torch.randint(200, (2, 999)),
    )
    expected = between_farthest(edges, x.double(), clusters)
    assert between_farthest(edges, (x + offset).float(), clusters).equal(expected)
    assert between_farthest(edges, x.half(), clusters).equal(expected)


def test_no_edges_between_no_nodes():
    none = torch.empty(0, dtype=torch.int64)
    assert between_farthest(none.expand(2, 0), torch.empty(0, 2), none).shape == (0,)


@pytest.mark.parametrize("rule", ["consensus", "farthest"])
def test_clusterings_of_another_form_are_named(rule):
    x, _ = blobs()
    graph = knn_graph(x, 10)
    for clusters, error, message in (
        (torch.zeros(3).long(), ValueError, r"clusters must have shape \[120\], got \[3\]"),
        (torch.ones(120, 1), TypeError, "clusters must be int64"),
        ([0] * 120, TypeError, "clusters must be a Tensor, got list"),
    ):
        with pytest.raises(error, match=message):
            ModularityPruning(3, rule, clustering=lambda *_, c=clusters: c)(x, *graph)
