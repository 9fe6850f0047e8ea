import pytest
import torch

from pyg_relational.cluster import edge_consensus, leiden, leiden_partitions
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
    forms = [weight, None] if weighted else [None]
    found = leiden_partitions(edges, weight if weighted else None, len(x), resolutions=[0.5, 1.0])
    expected = [leiden(edges, w, len(x), resolution=r) for r in (0.5, 1.0) for w in forms]
    assert len(found) == len(expected)
    assert all(map(torch.equal, found, expected))


def test_small_clusters_are_absorbed():
    x, _ = blobs()
    edges, weight = knn_graph(x, 5)
    sizes = [c.bincount().min() for c in leiden_partitions(edges, weight, len(x), min_size=20)]
    assert min(sizes) >= 20


def test_errors():
    edges = torch.tensor([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="partitions must not be empty"):
        edge_consensus(edges, [])
    with pytest.raises(ValueError, match=r"edge_index must be in \[0, 1\), got 0 to 1"):
        edge_consensus(edges, [torch.zeros(1).long()])
    with pytest.raises(ValueError, match=r"partitions\[1\] must have shape \[2\]"):
        edge_consensus(edges, [torch.zeros(2).long(), torch.zeros(3).long()])
