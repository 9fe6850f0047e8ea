import pytest
import scipy.sparse
import torch

from pyg_relational.nn import poisson_mbo
from pyg_relational.nn.prop.volume import volume_bounds
from pyg_relational.transforms import knn_graph
from tests import oracles
from tests.graphs import random_graph, union

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def blobs(n=600, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    x = torch.randn(n, 4, generator=g, dtype=torch.float64) + 4 * torch.eye(4).double()[y]
    return *knn_graph(x, 8), y, torch.arange(n) < 2 * classes


@pytest.mark.parametrize("seed", range(6))
def test_equals_dense_form(seed):
    graph = random_graph(8, extra=0.8, seed=seed, classes=2, labelled=0.0)  # no two scores tie
    mask = torch.arange(8) % 3 == 0
    y = torch.tensor([0, 0, 0, 0, 0, 0, 1, 0])  # two labels and one
    priors = torch.tensor([0.625, 0.375])
    u = poisson_mbo(
        graph.edge_index, graph.edge_weight, y, mask, class_priors=priors, mu=0.5, steps=3
    )
    w = oracles.dense_weights(graph.edge_index, graph.edge_weight, 8)
    values = torch.eye(2, dtype=w.dtype)[y]
    expected = oracles.poisson_mbo(w, values, mask, *volume_bounds(8, priors), 0.5, 3)
    assert u.argmax(1).tolist() == expected.tolist()


def test_sizes_are_those_of_the_priors():
    edge_index, weight, y, mask = blobs()
    u = poisson_mbo(edge_index, weight, y, mask, class_priors=torch.tensor([2.0, 1.0, 1.0]))
    assert u.sum(0).tolist() == [300, 150, 150]
    assert u.sum(1).eq(1).all()


def test_agrees_with_graphlearning_and_finds_the_classes():
    gl = pytest.importorskip("graphlearning")
    edge_index, weight, y, mask = blobs()
    mine = poisson_mbo(edge_index, weight, y, mask).argmax(1)
    w = scipy.sparse.csr_matrix((weight.numpy(), edge_index.numpy()), shape=(600, 600))
    labelled = mask.nonzero()[:, 0].numpy()
    model = gl.ssl.poisson_mbo(w, class_priors=torch.full((3,), 1 / 3).numpy())
    theirs = model.fit_predict(labelled, y[mask].numpy())
    assert (mine.numpy() == theirs).mean() >= 0.98
    assert (mine == y).float().mean() >= 0.98


def test_union_is_each():
    a, b = random_graph(9, seed=1, labelled=0.6), random_graph(12, seed=2, labelled=0.6)
    both, batch = union(a, b)
    u = poisson_mbo(
        both.edge_index, both.edge_weight, both.y, both.mask, num_classes=3, batch=batch
    )
    parts = [poisson_mbo(g.edge_index, g.edge_weight, g.y, g.mask, num_classes=3) for g in (a, b)]
    assert torch.equal(u, torch.cat(parts))


def test_nodes_that_no_label_reaches_do_not_count():
    y = torch.tensor([0, -1, 1, -1, -1])
    with pytest.raises(ValueError, match="no label reaches"):
        poisson_mbo(PATH, None, y)
    u = poisson_mbo(PATH, None, y, on_unreachable="nan")
    assert u[3:].isnan().all()
    assert u[0].tolist() == [1, 0]
    assert u[2].tolist() == [0, 1]
    assert poisson_mbo(PATH, None, y, on_unreachable="prior")[3].tolist() == [0.5, 0.5]


def test_degenerate():
    assert poisson_mbo(PATH, None, torch.tensor([0, -1, -1])).eq(1).all()
    labelled = torch.tensor([0, 0, 1])
    assert poisson_mbo(PATH, None, labelled).argmax(1).tolist() == [0, 0, 1]
    assert poisson_mbo(PATH[:, :0], None, torch.tensor([0])).tolist() == [[1]]


@pytest.mark.parametrize(
    ("y", "kwargs", "error", "message"),
    [
        (torch.tensor([0, -1, 1]), {"mu": -1.0}, ValueError, "mu"),
        (torch.tensor([0, -1, 1]), {"mu": torch.inf}, ValueError, "mu must be >= 0 and finite"),
        (torch.tensor([0, -1, 1]), {"class_priors": torch.ones(3)}, ValueError, r"shape \[2\]"),
        (torch.tensor([0, -1, 1]), {"class_priors": -torch.ones(2)}, ValueError, ">= 0"),
        (torch.tensor([-1, -1, -1]), {}, ValueError, "at least one labelled"),
        (torch.eye(3), {"mask": torch.ones(3).bool()}, TypeError, "y must be int64"),
    ],
)
def test_bad_input(y, kwargs, error, message):
    with pytest.raises(error, match=message):
        poisson_mbo(PATH, None, y, **kwargs)
