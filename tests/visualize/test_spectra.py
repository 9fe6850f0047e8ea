import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import laplacian

from pyg_relational.transforms import knn_graph
from pyg_relational.visualize import new_figure, spectra
from pyg_relational.visualize.spectra import smallest_eigenvalues

PAIRS = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])


def test_equal_scipy_s_and_count_components():
    x = torch.randn(60, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    edge_index, weight = knn_graph(torch.cat([x, x + 99]), 6)
    dense = torch.zeros(120, 120, dtype=torch.float64)
    dense[tuple(edge_index)] = weight
    want = np.linalg.eigvalsh(laplacian(dense.numpy(), normed=True))
    found = smallest_eigenvalues(edge_index, weight.requires_grad_(), 120, 120)
    np.testing.assert_allclose(found, want, atol=1e-10)
    assert (found < 1e-10).sum() == 2


def test_isolated_nodes_are_components():
    assert smallest_eigenvalues(PAIRS, None, 6, 6).tolist() == pytest.approx([0, 0, 0, 0, 2, 2])


def test_draws_a_line_a_graph_with_marks_that_do_not_hide_each_other():
    ax = new_figure().add_subplot()
    graphs = {"given": (PAIRS, None), "pruned": (PAIRS[:, :2], None)}
    assert spectra(graphs, 4, ax, count=3) is ax
    given, pruned = ax.lines
    np.testing.assert_allclose(given.get_ydata(), [0, 0, 2], atol=1e-12)
    np.testing.assert_allclose(pruned.get_ydata(), [0, 0, 0], atol=1e-12)
    assert list(given.get_xdata()) == [1, 2, 3]
    assert given.get_markersize() > pruned.get_markersize()
    assert given.get_markerfacecolor() == "none"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(graphs)
    assert spectra({"given": (PAIRS, None)}, 4, count=3).get_legend() is None


@pytest.mark.parametrize(
    ("graphs", "n", "count", "message"),
    [
        ({}, 4, 3, "graphs must be 1 to 3"),
        ({"a": (PAIRS, None)}, 4, 5, "count must be <= 4"),
        ({"a": (PAIRS, None)}, 5001, 5, "num_nodes must be <= 5000"),
        ({"a": (PAIRS[:, :1], None)}, 4, 3, "both directions"),
    ],
)
def test_rejects(graphs, n, count, message):
    with pytest.raises(ValueError, match=message):
        spectra(graphs, n, count=count)
