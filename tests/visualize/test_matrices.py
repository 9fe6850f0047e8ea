import numpy as np
import pytest
import torch

from pyg_relational.visualize import attention_matrix, new_figure, prediction_graph, relation_matrix


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


def test_of_many_classes_some_are_named():
    ax = relation_matrix(torch.randn(52, 2), torch.arange(52) % 26)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [str(c) for c in range(0, 26, 2)]


def test_draws_into_given_axes():
    ax = new_figure().add_subplot()
    assert relation_matrix(torch.randn(3, 2), ax=ax) is ax
    assert len(ax.figure.axes) == 1


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
