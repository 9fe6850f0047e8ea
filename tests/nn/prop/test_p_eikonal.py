import importlib
import math

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyg_relational.nn import p_eikonal
from pyg_relational.transforms import knn_graph
from tests import oracles
from tests.graphs import graphs, random_graph, union

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def dense(graph):
    return oracles.dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))


@settings(max_examples=25, deadline=None)
@given(graphs(10), st.sampled_from([1.0, 1.5, 2.0, 5.0]), st.integers(0, 99))
def test_equals_fast_marching(graph, p, seed):
    f = torch.rand(len(graph.y), generator=torch.Generator().manual_seed(seed)).double() + 0.1
    u = p_eikonal(graph.edge_index, graph.edge_weight, graph.y, graph.mask, p=p, f=f, num_classes=4)
    for k in range(4):
        zero = graph.mask & (graph.y == k)
        torch.testing.assert_close(
            -u[:, k], oracles.p_eikonal(dense(graph), zero, f, p), rtol=1e-6, atol=1e-9
        )


@pytest.mark.parametrize("p", [1.0, 3.0])
def test_equation_holds_over_many_tiles(p):
    graph = random_graph(400, 0.02, seed=1)
    u = p_eikonal(graph.edge_index, graph.edge_weight, graph.y, graph.mask, p=p)
    row, col = graph.edge_index
    rise = (u[col] - u[row]).clamp(min=0) ** p * graph.edge_weight[:, None]
    total = torch.zeros_like(u).index_add(0, row, rise)
    at = graph.mask[:, None] & (graph.y[:, None] == torch.arange(3))
    assert u[at].eq(0).all()
    torch.testing.assert_close(total[~at], torch.ones_like(total[~at]), rtol=1e-6, atol=1e-6)


def test_long_path_is_followed_to_its_end():
    n = 4500  # more than one tile
    pairs = torch.stack([torch.arange(n - 1), torch.arange(1, n)])
    edge_index = torch.cat([pairs, pairs.flip(0)], 1)
    y = torch.full((n,), -1)
    y[n - 1000] = 0
    u = p_eikonal(edge_index, None, y)
    assert u[-1, 0] == -999
    assert u[3000, 0] == -500


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_agrees_with_graphlearning_where_every_label_reaches(p):
    gl = pytest.importorskip("graphlearning")
    graph = random_graph(60, 0.1, seed=3)
    u = p_eikonal(graph.edge_index, graph.edge_weight, graph.y, graph.mask, p=p)
    w = scipy.sparse.csr_matrix(dense(graph).numpy())
    labelled = graph.mask.nonzero()[:, 0].numpy()
    model = gl.ssl.peikonal(w, p=p, num_bisection_it=60)
    theirs = model.fit(labelled, graph.y[graph.mask].numpy())
    np.testing.assert_allclose(-u.numpy(), theirs, rtol=1e-6, atol=1e-8)


def test_union_is_each():
    a, b = random_graph(8, seed=1), random_graph(9, seed=2)
    both, _ = union(a, b)
    u = p_eikonal(both.edge_index, both.edge_weight, both.y, both.mask, num_classes=3)
    parts = [p_eikonal(g.edge_index, g.edge_weight, g.y, g.mask, num_classes=3) for g in (a, b)]
    torch.testing.assert_close(u, torch.cat(parts))


def test_class_that_does_not_reach_is_infinitely_far():
    y = torch.tensor([0, -1, -1, 1, -1])
    edge_index = torch.tensor([[0, 1, 3, 4], [1, 0, 4, 3]])
    with pytest.raises(ValueError, match="node 2"):
        p_eikonal(edge_index, None, y)
    u = p_eikonal(edge_index, None, y, on_unreachable="nan")
    assert u[1].tolist() == [-1, -math.inf]
    assert u[4].tolist() == [-math.inf, -1]
    assert u[2].isnan().all()
    assert p_eikonal(edge_index, None, y, on_unreachable="prior")[2].tolist() == [0.5, 0.5]


def test_isolated_nodes_loops_and_zero_weights_have_no_effect():
    y = torch.tensor([0, -1, -1])
    edge_index = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 1, 0, 1, 2, 1]])
    weight = torch.tensor([5.0, 2.0, 2.0, 7.0, 0.0, 0.0])
    u = p_eikonal(edge_index, weight, y, on_unreachable="nan")
    assert u[:2, 0].tolist() == [0, -0.5]
    assert u[2].isnan().all()


def test_all_labelled_and_one_node():
    assert p_eikonal(PATH, None, torch.tensor([0, 0, 0])).eq(0).all()
    assert p_eikonal(PATH[:, :0], None, torch.tensor([0])).eq(0).all()


@pytest.mark.parametrize(
    ("y", "kwargs", "error", "message"),
    [
        (torch.tensor([0, -1, -1]), {"p": 0.5}, ValueError, "p must be >= 1"),
        (torch.tensor([0, -1, -1]), {"f": 0.0}, ValueError, "f must be > 0"),
        (torch.tensor([0, -1, -1]), {"f": torch.ones(2)}, ValueError, r"shape \[3\]"),
        (torch.tensor([-1, -1, -1]), {}, ValueError, "at least one labelled"),
        (torch.eye(3), {"mask": torch.ones(3).bool()}, TypeError, "y must be int64"),
    ],
)
def test_bad_input(y, kwargs, error, message):
    with pytest.raises(error, match=message):
        p_eikonal(PATH, None, y, **kwargs)


@pytest.mark.parametrize("p", [1.0, 2.0])
@pytest.mark.parametrize("numbers", [2**24, 40])
def test_rounds_of_a_device_equal_fronts(p, numbers, monkeypatch):
    module = importlib.import_module("pyg_relational.nn.prop.p_eikonal")
    monkeypatch.setattr(module, "_NUMBERS", numbers)
    x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    edges, weight = knn_graph(x, 3)
    weight = weight.where(edges.sum(0) % 7 > 0, 0.0)  # edges of no weight, unreached nodes
    zero = (torch.arange(40)[:, None] == torch.tensor([0, 5])).contiguous()
    cost = torch.rand(40, dtype=torch.float64) + 0.5
    assert (len(module._tiles(edges[0], 40, 2)) > 3) == (numbers == 40)
    wanted = module.distances(edges, weight, zero, cost, p, 1e-10)
    found = module._in_rounds(edges, weight, zero, cost[:, None], p, 1e-10)
    torch.testing.assert_close(found, wanted)
