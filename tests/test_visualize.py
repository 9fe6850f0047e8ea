import subprocess
import sys

import numpy as np
import pytest
import torch

from pyg_relational.visualize import (
    attention_matrix,
    embedding_map,
    new_figure,
    prediction_graph,
    relation_matrix,
    save_figure,
)


def test_relation_matrix_is_the_relu_cosine_sorted_by_class():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [3.0, 4.0]])
    ax = relation_matrix(x, torch.tensor([1, 1, 0]))
    expected = [[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(ax.get_images()[0].get_array(), expected, atol=1e-6)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1"]
    np.testing.assert_allclose(ax.get_xticks(), [0, 1.5])


def test_relation_matrix_without_labels_keeps_the_order_and_flattens():
    x = torch.randn(4, 3, 2, 2, requires_grad=True)
    got = relation_matrix(x).get_images()[0].get_array()
    u = torch.nn.functional.normalize(x.detach().flatten(1), dim=1)
    np.testing.assert_allclose(got, (u @ u.T).relu(), atol=1e-6)


def test_prediction_graph_is_masked_by_class():
    logits = torch.tensor([[9.0, 0.0], [0.0, 9.0], [9.0, 0.0], [0.0, 9.0]])
    got = prediction_graph(logits, torch.tensor([0, 0, 0, 1])).get_images()[0].get_array()
    p = torch.nn.functional.normalize(logits.softmax(1), dim=1)
    expected = p @ p.T
    expected[3, :3] = expected[:3, 3] = 0
    np.testing.assert_allclose(got, expected, atol=1e-6)


def test_rows_without_a_class_come_last_and_have_no_relation_in_the_prediction_graph():
    logits = torch.tensor([[1.0, 0.0], [9.0, 0.0], [1.0, 0.0], [9.0, 0.0]])
    y = torch.tensor([-1, 0, -1, 0])
    ax = prediction_graph(logits, y)
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1
    np.testing.assert_allclose(ax.get_images()[0].get_array(), expected, atol=1e-6)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "none"]
    x = torch.eye(4)[:, :3] + torch.eye(4)[:, 1:]
    got = relation_matrix(x, y).get_images()[0].get_array()
    u = torch.nn.functional.normalize(x[[1, 3, 0, 2]], dim=1)
    np.testing.assert_allclose(got, u @ u.T, atol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30, 1e200])
def test_relations_do_not_depend_on_the_length_of_rows(size):
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    got = relation_matrix(size * x).get_images()[0].get_array()
    np.testing.assert_allclose(got, [[1, 0.6], [0.6, 1]], atol=1e-6)


def test_attention_matrix_shows_values_to_the_given_maximum_and_leaves_nan_empty():
    attention = torch.tensor([[0.25, 0.75], [torch.nan, torch.nan]], requires_grad=True)
    ax = attention_matrix(attention, vmax=0.8)
    (image,) = ax.get_images()
    np.testing.assert_allclose(image.get_array()[0], [0.25, 0.75])
    assert image.get_array().mask[1].all()
    assert image.get_clim() == (0, 0.8)
    assert not ax.lines
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["0", "1"]


def test_attention_matrix_rejects_infinite_values():
    with pytest.raises(ValueError, match="attention must be finite, got inf in row 0, column 1"):
        attention_matrix(torch.tensor([[0.0, torch.inf], [torch.nan, 0.0]]))


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


def test_of_many_classes_some_are_named():
    ax = relation_matrix(torch.randn(52, 2), torch.arange(52) % 26)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [str(c) for c in range(0, 26, 2)]


def test_draws_into_given_axes():
    ax = new_figure().add_subplot()
    assert relation_matrix(torch.randn(3, 2), ax=ax) is ax
    assert len(ax.figure.axes) == 1


def test_save_figure_writes_png_and_svg_and_nothing_else(tmp_path):
    figure = relation_matrix(torch.randn(5, 2)).figure
    files = save_figure(figure, tmp_path / "new" / "a.b")
    assert sorted(files) == sorted((tmp_path / "new").iterdir())
    assert files[0].read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in files[1].read_bytes()


def test_global_state_of_matplotlib_is_left_alone():
    code = (
        "import sys, torch, pyg_relational.visualize as v;"
        "assert 'matplotlib' not in sys.modules;"
        "v.relation_matrix(torch.randn(3, 2));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_matplotlib_the_error_tells_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'pyg-relational\[bench\]'"):
        relation_matrix(torch.randn(3, 2))


@pytest.mark.parametrize(
    ("draw", "x", "y", "error", "message"),
    [
        (relation_matrix, torch.ones(3, 2).long(), None, TypeError, "features must be floating"),
        (relation_matrix, torch.full((3, 2), torch.inf), None, ValueError, "must be finite"),
        (relation_matrix, torch.ones(3, 2), torch.zeros(2).long(), ValueError, "y must have shape"),
        (relation_matrix, torch.ones(3), None, ValueError, r"features must have shape \[n, d\]"),
        (relation_matrix, [[1.0]], None, TypeError, "features must be a Tensor, got list"),
        (relation_matrix, torch.ones(1, 2), torch.tensor([-2]), ValueError, "y must be >= -1"),
        (prediction_graph, torch.ones(1, 2), torch.tensor([-2]), ValueError, "y must be >= -1"),
        (prediction_graph, torch.ones(3), torch.zeros(3).long(), ValueError, r"logits must have"),
        (prediction_graph, torch.ones(3, 2), torch.zeros(3), TypeError, "y must be int64"),
    ],
)
def test_rejects(draw, x, y, error, message):
    with pytest.raises(error, match=message):
        draw(x, y)
