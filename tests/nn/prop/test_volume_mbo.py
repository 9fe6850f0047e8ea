import pytest
import torch

from pyg_relational.datasets import PenDigits
from pyg_relational.nn import (
    laplace_propagation,
    p_eikonal,
    poisson_mbo,
    poisson_propagation,
    volume_mbo,
)
from pyg_relational.nn.prop.volume import volume_bounds
from pyg_relational.transforms import knn_graph
from tests import oracles
from tests.graphs import random_graph, union

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def kernel(graph):
    w = oracles.dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))
    d = w.sum(1)
    s = w / (d[:, None] * d[None]).sqrt()
    return s @ s


@pytest.mark.parametrize("seed", range(5))
def test_one_round_is_the_best_partition_that_keeps_the_labels(seed):
    graph = random_graph(9, seed=seed, labelled=0.0)
    y = torch.tensor([0, 1, 2, 0, 0, 0, 0, 0, 0])
    mask = torch.arange(9) < 3
    start = p_eikonal(graph.edge_index, graph.edge_weight, y, mask).argmax(1)
    u = volume_mbo(graph.edge_index, graph.edge_weight, y, mask, temperature=0.0, max_iter=1)
    psi = kernel(graph) @ torch.eye(3).double()[start]
    lower, upper = volume_bounds(9, torch.ones(3) / 3)
    best = oracles.best_partition(psi[3:], lower - 1, upper - 1)
    assert u.argmax(1).tolist() == [0, 1, 2, *best.tolist()]


def test_noise_keeps_the_best_and_a_generator_repeats_it():
    graph = random_graph(60, 0.05, seed=0, labelled=0.2)
    args = (graph.edge_index, graph.edge_weight, graph.y, graph.mask)

    def run(max_iter):
        g = torch.Generator().manual_seed(1)
        return volume_mbo(*args, max_iter=max_iter, generator=g)

    def cut(u):
        return -(u * (kernel(graph) @ u)).sum()

    assert torch.equal(run(30), run(30))
    assert cut(run(30)) < cut(run(1))
    assert run(30)[graph.mask].argmax(1).equal(graph.y[graph.mask])


def test_no_partition_on_the_way_is_better_than_the_one_kept():
    graph = random_graph(60, 0.05, seed=0, labelled=0.2)
    args = (graph.edge_index, graph.edge_weight, graph.y, graph.mask)

    def run(max_iter):
        g = torch.Generator().manual_seed(1)
        return volume_mbo(*args, max_iter=max_iter, temperature=0.5, generator=g)

    kept = [(u * (kernel(graph) @ u)).sum().item() for u in map(run, range(1, 16))]
    assert kept == sorted(kept)


def test_slack_bounds_the_sizes():
    graph = random_graph(60, 0.05, seed=0, labelled=0.1)
    args = (graph.edge_index, graph.edge_weight, graph.y, graph.mask)
    priors = torch.tensor([0.5, 0.3, 0.2])
    for slack in (0.0, 0.2):
        size = volume_mbo(*args, class_priors=priors, slack=slack, temperature=0.0).sum(0)
        lower, upper = volume_bounds(60, priors, slack)
        assert bool(((size >= lower) & (size <= upper)).all())


def test_union_is_each_without_noise():
    a, b = random_graph(9, seed=1, labelled=0.5), random_graph(12, seed=2, labelled=0.5)
    both, batch = union(a, b)
    args = {"num_classes": 3, "temperature": 0.0, "slack": 0.5}
    u = volume_mbo(both.edge_index, both.edge_weight, both.y, both.mask, batch=batch, **args)
    parts = [volume_mbo(g.edge_index, g.edge_weight, g.y, g.mask, **args) for g in (a, b)]
    assert torch.equal(u, torch.cat(parts))


def test_degenerate():
    y = torch.tensor([0, -1, 1, -1])
    with pytest.raises(ValueError, match="no label reaches"):
        volume_mbo(PATH, None, y)
    u = volume_mbo(PATH, None, y, on_unreachable="nan")
    assert u[3].isnan().all()
    assert u[0].tolist() == [1, 0]
    assert volume_mbo(PATH, None, y, on_unreachable="prior")[3].tolist() == [0.5, 0.5]
    assert volume_mbo(PATH, None, torch.tensor([0, -1, -1])).eq(1).all()
    assert volume_mbo(PATH, None, torch.tensor([0, 0, 1])).argmax(1).tolist() == [0, 0, 1]
    assert volume_mbo(PATH[:, :0], None, torch.tensor([0])).tolist() == [[1]]


@pytest.mark.parametrize(
    ("y", "kwargs", "error", "message"),
    [
        (
            torch.tensor([0, 0, 1]),
            {"class_priors": torch.tensor([0.0, 1.0])},
            ValueError,
            "labels of class 0",
        ),
        (torch.tensor([0, -1, 1]), {"slack": -0.1}, ValueError, "slack must be >= 0"),
        (torch.tensor([0, -1, 1]), {"slack": torch.inf}, ValueError, "slack must be .* got inf"),
        (torch.tensor([0, -1, 1]), {"temperature": -1.0}, ValueError, "temperature must be >= 0"),
        (torch.tensor([0, -1, 1]), {"temperature": torch.inf}, ValueError, "temp.* got inf"),
        (torch.tensor([-1, -1, -1]), {}, ValueError, "at least one labelled"),
        (torch.eye(3), {"mask": torch.ones(3).bool()}, TypeError, "y must be int64"),
    ],
)
def test_bad_input(y, kwargs, error, message):
    with pytest.raises(error, match=message):
        volume_mbo(PATH, None, y, **kwargs)


def test_few_labels_on_pendigits(dataset_root):
    x, y = PenDigits(dataset_root).split("test")
    edge_index, weight = knn_graph(x.double(), 10)
    mask = torch.zeros_like(y, dtype=torch.bool)
    g = torch.Generator().manual_seed(0)
    for k in range(10):
        rows = (y == k).nonzero()[:, 0]
        mask[rows[torch.randperm(len(rows), generator=g)[:5]]] = True
    methods = {
        "laplace": laplace_propagation,
        "poisson": poisson_propagation,
        "poisson_mbo": poisson_mbo,
        "p_eikonal": p_eikonal,
        "volume_mbo": lambda *a, **k: volume_mbo(*a, **k, max_iter=10, generator=g),
    }
    accuracy = {
        name: (f(edge_index, weight, y, mask, on_unreachable="prior").argmax(1) == y)[~mask]
        .double()
        .mean()
        .item()
        for name, f in methods.items()
    }
    assert min(accuracy.values()) > 0.8, accuracy
