import numpy as np
import pytest
import torch

from pyg_relational.visualize import cluster_flow, new_figure


def bars(ax):
    """Place, bottom and height of every bar."""
    return [(bar.get_x() > 0.5, bar.get_y(), bar.get_height()) for bar in ax.patches]


def test_bars_are_shares_and_bands_join_what_is_shared():
    y = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
    clusters = torch.tensor([5, 5, 2, 2, 2, 2, 2, 2])
    ax = cluster_flow(y, clusters)
    assert [text.get_text() for text in ax.texts] == ["0", "1", "5", "2"]  # sorted by classes held
    assert [height for *_, height in bars(ax)] == pytest.approx([3 / 8, 5 / 8, 2 / 8, 6 / 8])
    wide = [band.get_paths()[0].vertices[:, 1] for band in ax.collections]
    assert len(wide) == 3
    ends = [sorted({round(v, 9) for v in (band[1], band[-2])}) for band in wide]
    np.testing.assert_allclose([b - a for a, b in ends], [2 / 8, 1 / 8, 5 / 8])


def test_bands_begin_and_end_in_their_bars():
    generator = torch.Generator().manual_seed(0)
    y, clusters = torch.randint(-1, 4, (2, 200), generator=generator)
    ax = cluster_flow(y, clusters)
    tall = sum(height for _, _, height in bars(ax))
    assert tall == pytest.approx(2)
    for band in ax.collections:
        v = band.get_paths()[0].vertices
        for right, side in ((False, v[v[:, 0] < 0.04]), (True, v[v[:, 0] > 0.96])):
            low, high = side[:, 1].min(), side[:, 1].max()
            assert any(
                place == right and bottom - 1e-9 <= low and high <= bottom + height + 1e-9
                for place, bottom, height in bars(ax)
            )


def test_rows_without_class_or_cluster_are_named_none():
    ax = cluster_flow(torch.tensor([-1, 3]), torch.tensor([0, -1]), new_figure().add_subplot())
    assert sorted(text.get_text() for text in ax.texts) == ["0", "3", "none", "none"]
    colour = ax.patches[0].get_facecolor()
    assert colour[0] == colour[1] == colour[2]


def test_small_bars_have_no_name():
    y = torch.cat([torch.zeros(500).long(), torch.ones(5).long()])
    ax = cluster_flow(y, torch.zeros(505).long())
    assert [text.get_text() for text in ax.texts] == ["0", "0"]


@pytest.mark.parametrize(
    ("y", "clusters", "message"),
    [
        (torch.empty(0).long(), torch.empty(0).long(), "y must have rows"),
        (torch.tensor([0, 1]), torch.tensor([0]), "clusters must have"),
        (torch.tensor([-2]), torch.tensor([0]), "y must be >= -1"),
        (torch.tensor([0]), torch.tensor([-2]), "clusters must be >= -1"),
    ],
)
def test_rejects(y, clusters, message):
    with pytest.raises(ValueError, match=message):
        cluster_flow(y, clusters)
