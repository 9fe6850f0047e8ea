import torch

from benchmarks.clustering.soft_pruning import diffused, soft_pruned
from pyg_relational.ops import unit_rows
from pyg_relational.transforms import knn_graph


def overlapping(n=300, k=3):
    """Groups that touch, and the group of each sample."""
    y = torch.arange(n) % k
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return x + 3 * torch.eye(k, 4)[y], y


def test_soft_pruning_drops_edges_between_groups():
    x, y = overlapping()
    edge_index, weight = knn_graph(x, 8)
    pruned = soft_pruned(x, edge_index, weight, 3, 0)
    apart = y[edge_index[0]] != y[edge_index[1]]
    dropped = pruned.gate == 0
    assert 0.01 < dropped.float().mean() < 0.3
    assert apart[dropped].float().mean() > 3 * apart.float().mean()
    again = soft_pruned(x, edge_index, weight, 3, 0)
    assert torch.equal(again.gate, pruned.gate)


def test_diffused_features_are_those_of_a_dense_random_walk():
    x, _ = overlapping(60)
    edge_index, weight = knn_graph(x, 8)
    walk = torch.zeros(60, 60)
    walk[tuple(edge_index)] = weight
    walk /= walk.sum(1, keepdim=True)
    z = walk.matrix_power(30) @ unit_rows(x - x.mean(0))
    torch.testing.assert_close(
        diffused(x, edge_index, weight), unit_rows(z - z.mean(0)), atol=1e-4, rtol=1e-4
    )
