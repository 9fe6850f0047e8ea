import pytest
import torch

from pyg_relational.cluster import leiden
from pyg_relational.metrics import (
    clustered_scores,
    generalized_discrimination_value,
    latent_diagnostics,
)
from pyg_relational.ops import modularity
from pyg_relational.transforms import knn_graph


def blobs(spread):
    """Three classes, 40 samples each, at the corners of a simplex."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(120) % 3
    return 8 * torch.eye(3)[y] + spread * torch.randn(120, 3, generator=generator), y


@pytest.mark.parametrize("spread", [0.1, 4.0])
def test_is_what_its_parts_say(spread):
    z, y = blobs(spread)
    found = latent_diagnostics(z, z, y, k=7, seed=3)
    edges = knn_graph(z, 7, kernel="binary")
    clusters = leiden(*edges, 120, seed=3)
    assert found.num_clusters == len(clusters.unique())
    assert found.modularity == pytest.approx(modularity(*edges, clusters).item())
    assert found.gdv == pytest.approx(generalized_discrimination_value(z, y).item())
    assert found.scores == clustered_scores(z, y, clusters)


def test_separated_classes_are_clusters_and_a_stray_sample_is_misclustered():
    z, y = blobs(0.1)
    assert latent_diagnostics(z, z, y, k=20).scores.mc.num_samples == 0
    assert latent_diagnostics(z, z, y, k=20).gdv < -0.5
    y[0] = 1
    found = latent_diagnostics(z, z, y, k=20)
    assert found.num_clusters == 3
    assert (found.scores.cc.num_samples, found.scores.mc.num_samples) == (119, 1)
    assert (found.scores.cc.accuracy, found.scores.mc.accuracy) == (1, 0)


def test_rejects_more_neighbours_than_there_are_samples():
    z, y = blobs(1.0)
    with pytest.raises(ValueError, match="k must be"):
        latent_diagnostics(z, z, y, k=120)
