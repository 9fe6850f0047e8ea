import pytest
import torch

from pyg_relational.cluster import edge_consensus, leiden, leiden_partitions
from pyg_relational.cluster.overlap import neighbour_overlap
from pyg_relational.transforms import knn_graph


def blobs(n=90, distance=6.0):
    torch.manual_seed(0)
    y = torch.arange(n) % 3
    return torch.randn(n, 2) + distance * torch.eye(3, 2)[y], y


def test_share_is_counted_edge_by_edge():
    torch.manual_seed(0)
    edges = torch.randint(20, (2, 50))
    partitions = [torch.randint(4, (20,)) for _ in range(5)]
    expected = [
        sum(int(c[i] == c[j]) for c in partitions) / 5 for i, j in zip(*edges.tolist(), strict=True)
    ]
    torch.testing.assert_close(edge_consensus(edges, partitions), torch.tensor(expected))


@pytest.mark.parametrize("weighted", [True, False])
def test_partitions_are_leiden_s(weighted):
    x, _ = blobs()
    edges, weight = knn_graph(x, 5)
    overlap = neighbour_overlap(edges, len(x))
    forms = [weight, None] if weighted else [overlap, overlap**2]
    given = weight if weighted else None
    found = leiden_partitions(edges, given, len(x), resolutions=[0.5, 1.0], runs=2, seed=3)
    expected = [
        leiden(edges, w, len(x), resolution=r, seed=seed)
        for seed in (6, 7)
        for r in (0.5, 1.0)
        for w in forms
    ]
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))


def test_small_clusters_are_absorbed():
    x, _ = blobs()
    edges, weight = knn_graph(x, 5)
    sizes = [c.bincount().min() for c in leiden_partitions(edges, weight, len(x), min_size=20)]
    assert min(sizes) >= 20


def test_groups_of_a_large_graph_stay_together():
    x, y = blobs(3000, 12.0)
    edges, weight = knn_graph(x, 10)
    kept = (edges != 2999).all(0)
    found = leiden_partitions(edges[:, kept], weight[kept], 3001, runs=2)
    assert len(found) == 16
    assert all(c.shape == (3001,) for c in found)
    groups = torch.stack(found).unique(dim=1).shape[1]
    assert 3 <= groups < 1000
    for clusters in found:  # no cluster mixes classes, isolated nodes are clusters of their own
        table = torch.zeros(int(clusters.max()) + 1, 3).index_put(
            (clusters[:3000], y), torch.ones(1)
        )
        assert (table.sum(1) <= 1).all()
        assert (clusters == clusters[2999]).sum() == (clusters == clusters[3000]).sum() == 1


def test_errors():
    with pytest.raises(ValueError, match="runs must be >= 1, got 0"):
        leiden_partitions(torch.tensor([[0, 1], [1, 0]]), None, 2, runs=0)
    edges = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="partitions must not be empty"):
        edge_consensus(edges, [])
    with pytest.raises(ValueError, match=r"edge_index must be in \[0, 1\), got 0 to 1"):
        edge_consensus(edges, [torch.zeros(1).long()])
    with pytest.raises(ValueError, match=r"partitions\[1\] must have shape \[2\]"):
        edge_consensus(edges, [torch.zeros(2).long(), torch.zeros(3).long()])
    with pytest.raises(ValueError, match=r"edge_index must have shape \[2, E\], got \[3, 2\]"):
        edge_consensus(torch.zeros(3, 2).long(), [torch.zeros(2).long()])
    with pytest.raises(TypeError, match=r"edge_index must be int64, got torch\.float32"):
        edge_consensus(edges.float(), [torch.zeros(2).long()])


def test_partitions_may_be_the_rows_of_a_tensor():
    edges, partitions = torch.tensor([[0, 1], [1, 2]]), torch.tensor([[0, 0, 1], [0, 0, 0]])
    assert edge_consensus(edges, partitions).equal(edge_consensus(edges, list(partitions)))


def test_nodes_in_no_cluster_are_not_in_one_together():
    edges = torch.tensor([[0, 1, 2], [1, 2, 3]])
    assert edge_consensus(edges, [torch.tensor([-1, -1, 0, 0])]).tolist() == [0, 0, 1]
