import pytest
import torch

from pyg_relational.nn.prop.inputs import check_inputs
from pyg_relational.nn.prop.unreachable import fill_unreachable

PAIRS = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
U = torch.arange(8.0).view(4, 2)
MISSED = torch.tensor([False, False, True, True])


def graph(y, batch=None):
    return check_inputs(PAIRS, None, torch.tensor(y), None, 2, batch)


def test_nothing_is_filled_where_all_is_reached():
    assert fill_unreachable(U, None, graph([0, -1, -1, 1]), "error") is U
    assert fill_unreachable(U, MISSED & False, graph([0, -1, -1, 1]), "error") is U


def test_an_error_names_the_first():
    with pytest.raises(ValueError, match="got 2 nodes that no label reaches, the first is node 2"):
        fill_unreachable(U, MISSED, graph([0, 1, -1, -1]), "error")


def test_nan():
    filled = fill_unreachable(U, MISSED, graph([0, 1, -1, -1]), "nan")
    assert torch.equal(filled[:2], U[:2])
    assert filled[2:].isnan().all()


def test_prior_is_the_mean_of_the_graph_s_labels():
    filled = fill_unreachable(U, MISSED, graph([0, 1, -1, -1]), "prior")
    assert torch.equal(filled[:2], U[:2])
    assert filled[2:].tolist() == [[0.5, 0.5]] * 2
    with pytest.raises(
        ValueError, match=r"mask must label a node of every graph .* none in graph 1"
    ):
        fill_unreachable(U, MISSED, graph([0, 1, -1, -1], torch.tensor([0, 0, 1, 1])), "prior")
