import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from pyg_relational.nn import SoftModularityPruning, laplace_propagation
from pyg_relational.nn.pool.modularity_pruning import between_farthest
from pyg_relational.ops import both_directions, unit_rows
from pyg_relational.transforms import knn_graph
from tests.graphs import dense, graphs, random_graph, union

NONE = torch.empty(2, 0, dtype=torch.int64)
GATES = ["farthest", "hard_concrete"]
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def features(n, d=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64)


def soft(n, k, seed=0):
    return features(n, k, seed + 1).softmax(1)


def with_loop(graph, node=0, weight=0.7):
    """Edges, weights and pair of each edge of the graph and a self-loop."""
    edges = torch.cat([graph.edge_index, torch.tensor([[node], [node]])], 1)
    pair = torch.cat([graph.pair, torch.tensor([len(graph.weight)])])
    weights = torch.cat([graph.weight, torch.tensor([weight], dtype=torch.float64)])
    return edges, weights, pair


@pytest.mark.parametrize("training", [True, False])
def test_at_temperature_0_what_is_left_is_what_the_hard_algorithm_leaves(training):
    x = features(60, 2)
    clusters = torch.cdist(x, x[:6]).argmin(1)
    edges, weight = knn_graph(x, 15)
    apart = between_farthest(edges, x, clusters)
    assert 0 < apart.sum() < len(apart)
    module = SoftModularityPruning(
        2, 6, temperature=1e-9, farthest_temperature=1e-9, min_degree=0
    ).double()
    module.centroids.data = x[:6].clone()
    out = module.train(training)(x, edges, weight)
    assert torch.equal(out.assignment.argmax(1), clusters)
    left = out.edge_weight > 0
    assert torch.equal(out.edge_index[:, left], edges[:, ~apart])
    torch.testing.assert_close(out.edge_weight[left], weight[~apart])


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("given_assignment", [False, True])
def test_gradcheck_of_the_module_in_features_weights_assignment_and_parameters(
    name, given_assignment
):
    graph = random_graph(6, 0.2)
    torch.manual_seed(0)
    module = SoftModularityPruning(
        3, 3, name, temperature=1.0, farthest_temperature=0.5, min_degree=2, keep=0.5
    ).double()
    if name == "hard_concrete":
        module.affine.data = torch.tensor([0.3, -0.1, 0.5], dtype=torch.float64)
    x, c = features(6).requires_grad_(), soft(6, 3).requires_grad_()
    weight = graph.weight.clone().requires_grad_()

    def run(x, weight, c, *_):
        out = module(
            x,
            graph.edge_index,
            weight[graph.pair],
            c if given_assignment else None,
            generator=torch.Generator().manual_seed(1),
        )
        return out.edge_weight, out.gate, out.loss

    inputs = (x, weight, c, *module.parameters())
    assert gradcheck(run, inputs)
    assert all(bool(torch.any(gate > 0) & torch.any(gate < 1)) for gate in run(*inputs)[1:2])
    used = [x, weight, c] if given_assignment else [x, weight, module.centroids]
    grads = torch.autograd.grad(run(*inputs)[0].square().sum() + run(*inputs)[2], used)
    assert all(grad.abs().sum() > 0 for grad in grads)


@pytest.mark.parametrize("name", GATES)
def test_one_gate_a_pair_and_loops_stay(name):
    graph = random_graph(9)
    edges, weights, pair = with_loop(graph, 4)
    module = SoftModularityPruning(3, 3, name).double()
    if name == "hard_concrete":
        module.affine.data.zero_()
    out = module(features(9), edges, weights[pair])
    gates = dense(out.edge_index, out.gate, 9)
    assert torch.equal(gates, gates.T)
    assert gates[4, 4] == 1
    assert torch.any((gates > 0) & (gates < 1))


def test_noise_is_drawn_in_training_only_and_from_the_generator():
    graph, x = random_graph(9), features(9)
    module = SoftModularityPruning(3, 3, "hard_concrete").double()
    module.affine.data.zero_()

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return module(x, graph.edge_index, generator=generator).gate

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    module.eval()
    assert torch.equal(run(0), run(1))


def test_hard_concrete_starts_with_all_gates_open():
    x = 30 * features(40)
    edges, weight = knn_graph(x, 5)
    module = SoftModularityPruning(3, 4, "hard_concrete").double()
    assert module(x, edges, weight).gate.mean() > 0.9
    assert torch.equal(module.eval()(x, edges, weight).edge_index, edges)


@settings(deadline=None, max_examples=30)
@given(graphs(), st.integers(0, 4), st.integers(0, 9999))
def test_hard_gates_leave_every_node_its_strongest_edges(graph, least, seed):
    n = len(graph.y)
    module = SoftModularityPruning(3, 2, "hard_concrete", min_degree=least).double().eval()
    x = features(n, seed=seed)
    module.affine.data = torch.tensor([1.0, -0.2, 0], dtype=torch.float64)  # open below 5
    edges, weights, pair = with_loop(graph)
    weight = weights[pair]
    out = module(x, edges, weight)
    a = dense(edges, weight, n)
    open_ = (a > 0) & (torch.cdist(x, x).square() <= 5)
    open_.fill_diagonal_(False)
    expected = open_.clone()
    for i in range(n):
        closed = ((a[i] > 0) & ~open_[i] & (torch.arange(n) != i)).nonzero()[:, 0].tolist()
        strongest = sorted(closed, key=lambda j, i=i: -a[i, j])
        for j in strongest[: max(0, least - int(open_[i].sum()))]:
            expected[i, j] = expected[j, i] = True
    expected[0, 0] = True  # the loop stays and is no neighbour
    left = (expected & (a > 0)).nonzero().T
    assert torch.equal(
        dense((a > 0).nonzero().T, out.gate, n), dense(left, torch.ones(1).double(), n)
    )
    assert torch.equal(out.edge_index, left)
    assert torch.equal(out.edge_weight, a[left[0], left[1]])


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("n", "edges", "k"),
    [
        (4, NONE, 3),
        (0, NONE, 2),
        (5, torch.tensor([[0, 1], [1, 0]]), 3),
        (3, torch.tensor([[0, 1], [1, 0]]), 1),
        (2, torch.tensor([[1], [1]]), 2),
    ],
    ids=["no edges", "no nodes", "isolated nodes", "one cluster", "a loop alone"],
)
def test_small_graphs_give_no_nan(name, training, n, edges, k):
    module = SoftModularityPruning(3, k, name).double().train(training)
    x = features(n).requires_grad_()
    out = module(x, edges)
    (out.loss + out.edge_weight.sum()).backward()
    for value in (out.loss, out.edge_weight, x.grad, module.centroids.grad):
        assert torch.isfinite(value).all()
    if k == 1 and name == "farthest":
        assert torch.all(out.gate == 1)


def test_equal_points_give_finite_gradients():
    x = torch.ones(5, 3, dtype=torch.float64, requires_grad=True)
    edges, _ = both_directions(torch.combinations(torch.arange(5)).T, 5)
    module = SoftModularityPruning(3, 3).double()
    module.reset_parameters(x)
    out = module(x, edges)
    (out.loss + out.edge_weight.square().sum()).backward()
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(module.centroids.grad).all()


def test_centroids_start_at_rows():
    x = features(50, 2).float()
    module = SoftModularityPruning(2, 4)
    module.reset_parameters(x, seed=1)
    nearest = torch.cdist(module.centroids.detach(), x).amin(1)
    assert nearest.max() < 1e-5
    assert len(module.centroids.unique(dim=0)) == 4
    module.reset_parameters(x[:4])  # as many rows as centroids: each is one
    assert torch.cdist(x[:4], module.centroids.detach()).amin(1).max() < 1e-5


def test_centroids_drawn_are_about_as_long_as_unit_rows():
    centroids = SoftModularityPruning(400, 4).centroids.detach()
    torch.testing.assert_close(centroids.norm(dim=1), torch.ones(4), rtol=0, atol=0.2)


@pytest.mark.parametrize("name", GATES)
def test_training_an_encoder_through_the_pruned_graph(name):
    torch.manual_seed(0)
    y = torch.arange(60) % 3
    x = torch.randn(60, 8) + 1.5 * torch.eye(8)[y]
    mask = torch.arange(60) < 12
    encoder, pruning = torch.nn.Linear(8, 4), SoftModularityPruning(4, 3, name)
    pruning.reset_parameters(unit_rows(encoder(x)))
    parameters = [*encoder.parameters(), *pruning.parameters()]
    start = copy.deepcopy([p.data for p in parameters])
    optimizer = torch.optim.Adam(parameters, 0.03)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(15):
        h = unit_rows(encoder(x))
        graph = pruning(h, *knn_graph(h, 8), generator=generator)
        u = laplace_propagation(
            graph.edge_index, graph.edge_weight, y, mask, num_classes=3, tau=0.07
        )
        loss = graph.loss - (u[~mask].gather(1, y[~mask, None]) + 1e-8).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.2
    assert all(torch.any(p != before) for p, before in zip(parameters, start, strict=True))
    optimizer.zero_grad()
    pruning(unit_rows(encoder(x)), *knn_graph(x, 8)).loss.backward()
    assert (
        encoder.weight.grad.abs().sum() > 0
    )  # from the objective alone, weights of the graph apart


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_float32_and_devices_agree_with_float64_on_cpu(name, device):
    graph, x = random_graph(20), features(20)
    module = SoftModularityPruning(3, 4, name, min_degree=2).double()
    if name == "hard_concrete":
        module.affine.data = torch.tensor([0.5, -0.2, 1.0], dtype=torch.float64)
    for training in (False, True):
        if training and name == "hard_concrete":
            continue  # noise differs
        expected = module.train(training)(x, graph.edge_index, graph.edge_weight)
        other = copy.deepcopy(module).float().to(device)
        out = other(*(t.to(device) for t in (x.float(), graph.edge_index, graph.edge_weight)))
        assert out.gate.dtype == torch.float32
        for value, truth in zip(out, expected, strict=True):
            torch.testing.assert_close(value.cpu(), truth, check_dtype=False, atol=1e-4, rtol=1e-4)


def test_autocast_and_half_features_run_in_float32():
    graph, module = random_graph(9), SoftModularityPruning(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        out = module(features(9).bfloat16(), graph.edge_index, graph.edge_weight.float())
    assert {out.gate.dtype, out.assignment.dtype, out.loss.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clusters": 0}, "num_clusters must be >= 1, got 0"),
        ({"channels": 0}, "channels must be >= 1"),
        ({"gate": "nearest"}, "gate must be one of"),
        ({"temperature": 0.0}, "temperature must be finite and > 0"),
        ({"farthest_temperature": -1.0}, "farthest_temperature must be finite and > 0"),
        ({"keep": 1.5}, r"keep must be in \[0, 1\], got 1.5"),
        ({"min_degree": -1}, "min_degree must be >= 0"),
        ({"budget": -1.0}, "budget must be finite and >= 0"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SoftModularityPruning(**({"channels": 2, "num_clusters": 2} | options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.full((2, 2), torch.nan)}, "x must be finite"),
        ({"x": torch.ones(2, 3)}, "x must have 2 columns, got 3"),
        ({"edge_index": torch.tensor([[0], [1]])}, "both directions"),
        ({"edge_weight": torch.tensor([-1.0, -1.0])}, "edge_weight must be >= 0"),
        ({"assignment": torch.ones(3, 2)}, r"assignment must have shape \[2, k\]"),
        ({"assignment": torch.ones(2, 2)}, "rows that sum to 1"),
    ],
)
def test_bad_input(change, message):
    arguments = {"x": torch.eye(2), "edge_index": torch.tensor([[0, 1], [1, 0]])}
    with pytest.raises(ValueError, match=message):
        SoftModularityPruning(2, 2)(**(arguments | change))


@pytest.mark.parametrize("name", GATES)
def test_a_union_is_pruned_as_each_graph_is(name):
    a, b = random_graph(9), random_graph(7, seed=1)
    both, batch = union(a, b)
    module = SoftModularityPruning(
        3, 3, name, temperature=2.0, farthest_temperature=0.01, min_degree=2
    )
    module = module.double().eval()
    if name == "hard_concrete":
        module.affine.data = torch.tensor([1.0, -0.2, 0], dtype=torch.float64)
    x = features(16)
    each = [
        module(part, g.edge_index, g.edge_weight)
        for g, part in zip((a, b), x.split([9, 7]), strict=True)
    ]
    out = module(x, both.edge_index, both.edge_weight, batch=batch)
    assert torch.equal(out.gate, torch.cat([e.gate for e in each]))
    assert 0 < out.gate.mean() < 1
    torch.testing.assert_close(out.loss, torch.stack([e.loss for e in each]).mean())


def test_gates_of_several_partitions_follow_their_mean():
    graph, x = random_graph(9), features(9)
    module = (
        SoftModularityPruning(3, 3, "hard_concrete", partitions=4, min_degree=0).double().eval()
    )
    module.reset_parameters(x)
    module.affine.data = torch.tensor([-0.6, 0.0, 1.0], dtype=torch.float64)
    out = module(x, graph.edge_index)
    u, v = (out.assignment[end] for end in graph.edge_index)
    together = (u * v).sum(2).mean(1)
    expected = together > 0.6
    assert 0 < expected.sum() < len(expected)
    torch.testing.assert_close(out.gate > 0, expected)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (torch.ones(2, 4), ValueError, r"x must have shape \[n >= 3, 4\], got \[2, 4\]"),
        (torch.ones(5, 2), ValueError, r"x must have shape \[n >= 3, 4\], got \[5, 2\]"),
        (torch.ones(5, 4) * torch.nan, ValueError, "x must be finite, got nan"),
        ([[1.0]], TypeError, "x must be a Tensor, got list"),
    ],
)
def test_features_that_cannot_start_the_centroids_are_named(x, error, message):
    with pytest.raises(error, match=message):
        SoftModularityPruning(4, 3).reset_parameters(x)
