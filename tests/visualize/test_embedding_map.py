import numpy as np
import pytest
import torch

from pyg_relational.visualize import embedding_map, new_figure


def test_embedding_map_draws_each_set_in_the_colours_of_its_classes():
    x = 9 * torch.eye(3)[torch.arange(24) % 3] + torch.randn(24, 3)
    sets = {
        "images": (x.requires_grad_(), torch.arange(24) % 3),
        "proxies": (torch.eye(3), torch.arange(3)),
    }
    axes = embedding_map(sets)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["0", "1", "2"]
    assert embedding_map(sets, new_figure().add_subplot()).get_legend() is None
    images, proxies = axes.collections
    assert [points.get_label() for points in (images, proxies)] == ["images", "proxies"]
    assert (len(images.get_offsets()), len(proxies.get_offsets())) == (24, 3)
    np.testing.assert_allclose(images.get_facecolors()[:3], proxies.get_facecolors())
    assert len(np.unique(proxies.get_facecolors(), axis=0)) == 3
    again = embedding_map(sets).collections[0]
    np.testing.assert_allclose(again.get_offsets(), images.get_offsets())


def test_embedding_map_of_any_labels_has_one_colour_a_class_and_grey_for_none():
    y = torch.tensor([10**12, 3, -1, 3, -1])
    points = embedding_map(
        {"a": (torch.randn(5, 3), y), "none": (torch.eye(3), -torch.ones(3).long())}
    )
    a, none = (p.get_facecolors() for p in points.collections)
    np.testing.assert_allclose(a[1], a[3])
    np.testing.assert_allclose(a[2], a[4])
    np.testing.assert_allclose(none, np.tile(a[2], (3, 1)))
    assert a[2, 0] == a[2, 1] == a[2, 2]
    assert len(np.unique(a, axis=0)) == 3


@pytest.mark.parametrize("x", [torch.ones(9, 4), torch.zeros(9, 2), torch.empty(9, 0)])
def test_embedding_map_of_collapsed_features_is_one_point(x):
    x = x * (1 + torch.arange(9.0)[:, None])
    (points,) = embedding_map({"a": (x, torch.arange(9) % 3)}).collections
    assert len(np.unique(points.get_offsets(), axis=0)) == 1


def test_embedding_map_of_one_column_is_finite():
    (points,) = embedding_map({"a": (torch.randn(9, 1), torch.arange(9) % 3)}).collections
    assert np.isfinite(points.get_offsets()).all()


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ({}, r"sets must be 1 to 3, got \[\]"),
        ({"images": (torch.eye(3), torch.arange(3))}, "sets must hold 4 rows, got 3"),
        ({"images": (torch.ones(1, 3), torch.arange(1))}, "sets must hold 4 rows, got 1"),
        (
            {"a": (torch.ones(4, 3), torch.arange(4)), "b": (torch.ones(4, 2), torch.arange(4))},
            "sets must have features of one width, got {'a': 3, 'b': 2}",
        ),
        ({"a": (torch.eye(4), torch.arange(-2, 2))}, "classes of sets.* must be >= -1, got -2"),
        ({"images": (torch.eye(5), torch.arange(3))}, r"classes of sets\['images'\] must have"),
    ],
)
def test_embedding_map_rejects(sets, message):
    with pytest.raises(ValueError, match=message):
        embedding_map(sets)
