import numpy as np
import pytest
import torch

from pyg_relational.transforms import knn_graph
from pyg_relational.visualize import graph_map, new_figure

EDGES = torch.tensor([[0, 1, 1, 2, 0, 2], [1, 0, 2, 1, 2, 0]])
WEIGHT = torch.tensor([1.0, 1.0, 0.5, 0.5, 0.0, 0.0])
PLANE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])


def lines(collection):
    return {tuple(map(tuple, segment)) for segment in collection.get_segments()}


def test_two_features_are_the_places_and_edges_are_the_darker_the_heavier():
    ax = graph_map(PLANE, EDGES, WEIGHT)
    kept, points = ax.collections
    np.testing.assert_allclose(points.get_offsets(), PLANE)
    a, b, c = map(tuple, PLANE.tolist())
    assert lines(kept) == {(a, b), (b, c), (a, c)}
    assert sorted(kept.get_alpha()) == pytest.approx([0.08, 0.44, 0.8])
    assert ax.get_legend() is None


def test_pruned_edges_are_told_from_kept_ones():
    left = EDGES[:, :2], WEIGHT[:2]
    kept, dropped, _ = graph_map(PLANE, EDGES, WEIGHT, pruned=left).collections
    a, b, c = map(tuple, PLANE.tolist())
    assert lines(kept) == {(a, b)}
    assert lines(dropped) == {(b, c), (a, c)}
    assert not np.allclose(kept.get_colors()[0][:3], dropped.get_colors()[0][:3])


def test_classes_have_colours_and_names_and_none_is_grey():
    ax = graph_map(PLANE.clone().requires_grad_(), EDGES, None, torch.tensor([7, -1, 3]))
    colours = ax.collections[-1].get_facecolors()
    assert len(np.unique(colours, axis=0)) == 3
    assert colours[1, 0] == colours[1, 1] == colours[1, 2]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["3", "7"]
    given = new_figure().add_subplot()
    assert graph_map(PLANE, EDGES, None, torch.tensor([7, -1, 3]), given) is given
    assert given.get_legend() is None


def test_more_features_are_laid_out_by_their_edges_with_the_seed():
    torch.manual_seed(0)
    x = torch.cat([torch.randn(30, 5), torch.randn(30, 5) + 9])
    graph = knn_graph(x, 5)
    at, again, other = (
        graph_map(x, *graph, seed=seed).collections[-1].get_offsets() for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(at, again)
    assert not np.allclose(at, other)
    distance = torch.cdist(*2 * [torch.tensor(np.array(at))])
    assert distance[:30, :30].mean() < distance[:30, 30:].mean() / 2


@pytest.mark.parametrize("n", [0, 3])
def test_a_graph_without_edges_has_points(n):
    points = graph_map(torch.ones(n, 4), torch.empty(2, 0, dtype=torch.int64)).collections[-1]
    assert len(points.get_offsets()) == n
    assert np.isfinite(np.asarray(points.get_offsets())).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"edge_index": EDGES[:, :1]}, "both directions"),
        ({"y": torch.tensor([0, 1])}, "y must have"),
        ({"pruned": (torch.tensor([[0, 0], [0, 0]]), None)}, "pruned must have edges of the graph"),
        ({"pruned": (EDGES[:, :1], None)}, "both directions"),
        ({"x": PLANE * torch.nan}, "x must be finite"),
    ],
)
def test_rejects(options, message):
    with pytest.raises(ValueError, match=message):
        graph_map(**{"x": PLANE, "edge_index": EDGES} | options)
