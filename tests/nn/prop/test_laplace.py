import copy

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import one_hot

from pyg_relational.interop import as_edges
from pyg_relational.nn import LaplacePropagation, laplace_propagation
from pyg_relational.nn.prop.inputs import check_inputs
from pyg_relational.nn.prop.reweight import reweight
from pyg_relational.ops import CG, Direct, Multigrid
from pyg_relational.ops.linear import multigrid
from tests.graphs import Graph, graphs, random_graph, union
from tests.oracles import dense_laplacian, dense_weights, laplace, reweighted

F64 = torch.float64
NORMALIZATIONS = ("combinatorial", "randomwalk", "normalized")
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def run(graph: Graph, **options):
    options.setdefault("num_classes", 4)
    return laplace_propagation(graph.edge_index, graph.edge_weight, graph.y, graph.mask, **options)


def exact(graph: Graph, c=4, **options):
    w = dense_weights(graph.edge_index, graph.edge_weight, len(graph.y))
    return laplace(w, one_hot(graph.y, c).double(), graph.mask, **options)


@settings(deadline=None, max_examples=60)
@given(
    graphs(),
    st.sampled_from(NORMALIZATIONS),
    st.sampled_from([0.0, 0.05, 3.0]),
    st.sampled_from([None, CG(), Direct(), Multigrid()]),
)
def test_equals_the_dense_solve(graph, normalization, tau, solver):
    if len(graph.y) == 1 and normalization != "combinatorial":
        return  # degree 0
    options = {"normalization": normalization, "tau": tau}
    u = run(graph, solver=solver, **options)
    torch.testing.assert_close(u, exact(graph, **options), rtol=1e-8, atol=1e-9)
    assert torch.equal(u[graph.mask], one_hot(graph.y, 4).double()[graph.mask])


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("solver", [CG(), Direct()])
def test_powers(normalization, order, solver):
    graph = random_graph(15, 0.3, seed=5)
    options = {"normalization": normalization, "order": order, "tau": 0.1}
    u = run(graph, solver=solver, **options)
    torch.testing.assert_close(u, exact(graph, **options), rtol=1e-7, atol=1e-8)


@settings(deadline=None, max_examples=40)
@given(graphs(), st.sampled_from([0.0, 0.5]))
def test_rows_lie_in_the_simplex_at_tau_0_and_below_it_else(graph, tau):
    u = run(graph, tau=tau)
    assert u.min() >= -1e-10
    total = u.sum(1)
    assert total.max() <= 1 + 1e-9
    if tau == 0:
        torch.testing.assert_close(total, torch.ones_like(total))
    normal = run(graph, tau=tau, normalize=True).sum(1)
    torch.testing.assert_close(normal, torch.ones_like(normal))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("tau", [0.0, 0.3])
def test_gradients_equal_those_through_the_dense_solve(normalization, order, tau):
    graph = random_graph(12, 0.3, seed=2)
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(12, 3, dtype=F64, requires_grad=True)
    shift = torch.full((12,), tau, dtype=F64, requires_grad=True)
    slope = torch.randn(12, 3, dtype=F64)
    options = {"normalization": normalization, "order": order}
    ours = laplace_propagation(
        graph.edge_index, p[graph.pair], values, graph.mask, tau=shift, solver=Direct(), **options
    )
    w = dense_weights(graph.edge_index, p[graph.pair], 12)
    dense = laplace(w, values, graph.mask, tau=shift, **options)
    leaves = (p, values, shift)
    for a, b in zip(
        *(torch.autograd.grad((u * slope).sum(), leaves) for u in (ours, dense)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("reweighting", ["none", "poisson", "wnll"])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_first_and_second_derivatives(normalization, reweighting):
    if reweighting == "poisson" and normalization == "randomwalk":
        pytest.skip("poisson reweighting of the random walk is that of the combinatorial form")
    graph = random_graph(6, 0.3, seed=1)
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(6, 2, dtype=F64, requires_grad=True)
    tau = torch.tensor(0.3, dtype=F64, requires_grad=True)

    def f(p, values, tau):
        return laplace_propagation(
            graph.edge_index,
            p[graph.pair],
            values,
            graph.mask,
            tau=tau,
            normalization=normalization,
            reweighting=reweighting,
            solver=Direct(),
        )

    assert gradcheck(f, (p, values, tau))
    assert gradgradcheck(f, (p, values, tau))


@pytest.mark.parametrize("solver", [CG(), Multigrid()])
def test_derivatives_by_iterations(solver, monkeypatch):
    monkeypatch.setattr(multigrid, "_COARSEST", 3)
    graph = random_graph(10, 0.3, seed=1)
    p = graph.weight.clone().requires_grad_()

    def f(p):
        return laplace_propagation(
            graph.edge_index, p[graph.pair], graph.y, graph.mask, solver=solver
        )

    assert gradcheck(f, (p,))
    assert gradgradcheck(f, (p,))


@pytest.mark.parametrize("reweighting", ["poisson", "wnll", "properly"])
@pytest.mark.parametrize("tau", [0.0, 0.1])
@pytest.mark.parametrize("normalization", ["combinatorial", "normalized"])
def test_reweighting_equals_the_literal_form(reweighting, tau, normalization):
    graph = random_graph(20, 0.2, seed=4, labelled=0.1)
    x = torch.randn(20, 3, dtype=F64)
    w = dense_weights(graph.edge_index, graph.edge_weight, 20)
    w = reweighted(w, graph.mask, reweighting, x, normalization)
    expected = laplace(w, one_hot(graph.y, 4).double(), graph.mask, tau, normalization)
    options = {"reweighting": reweighting, "tau": tau, "normalization": normalization}
    u = run(graph, x=x, **options)
    torch.testing.assert_close(u, expected, rtol=1e-7, atol=1e-8)
    loops = torch.arange(20).expand(2, 20)
    edge_index = torch.cat([graph.edge_index, loops], dim=1)
    weight = torch.cat([graph.edge_weight, torch.rand(20).double() + 1])
    looped = laplace_propagation(
        edge_index, weight, graph.y, graph.mask, num_classes=4, x=x, **options
    )
    torch.testing.assert_close(looped, u)


@pytest.mark.parametrize("normalization", ["combinatorial", "normalized"])
def test_poisson_reweighting_in_each_component_of_a_graph(normalization):
    a, b = random_graph(9, seed=1), random_graph(13, seed=2)
    both, _ = union(a, b)
    weights = reweight(
        check_inputs(both.edge_index, both.edge_weight, both.y, both.mask, 4),
        "poisson",
        normalization,
    )
    alone = [dense_weights(g.edge_index, g.edge_weight, len(g.y)) for g in (a, b)]
    v = []
    for w, g in zip(alone, (a, b), strict=True):
        kernel = w.sum(1).sqrt() if normalization == "normalized" else torch.ones_like(w[0])
        f = g.mask.double() - (kernel * g.mask).sum() / kernel.sum()
        v.append(torch.linalg.pinv(dense_laplacian(w, normalization), hermitian=True) @ f)
    v = torch.cat(v)
    v = v - v.min() + 1e-5
    row, col = both.edge_index
    expected = v[row] * both.edge_weight * v[col]
    order = (row * 22 + col).argsort()
    torch.testing.assert_close(weights, expected[order], rtol=1e-6, atol=1e-12)


def test_properly_is_differentiable_in_the_features():
    graph = random_graph(8, 0.3, seed=4)
    x = torch.randn(8, 2, dtype=F64, requires_grad=True)
    assert gradcheck(lambda x: run(graph, reweighting="properly", x=x, solver=Direct()), (x,))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tau": 0.2},
        {"mean_shift": True},
        {"normalization": "normalized", "tau": 0.1},
        {"reweighting": "wnll", "tau": 0.1},
        {"reweighting": "poisson"},
        {"reweighting": "poisson", "normalization": "normalized"},
        {"reweighting": "properly", "tau": 0.1},
    ],
)
def test_on_a_union_of_graphs_gives_what_it_gives_on_each(options):
    a, b = random_graph(9, seed=1), random_graph(13, seed=2)
    both, batch = union(a, b)
    x = torch.randn(22, 2, dtype=F64)
    whole = run(both, batch=batch, x=x, **options)
    parts = torch.cat([run(a, x=x[:9], **options), run(b, x=x[9:], **options)])
    torch.testing.assert_close(whole, parts, rtol=1e-8, atol=1e-9)


def cut_off() -> Graph:
    """A graph whose nodes 5 to 8 no label reaches, and an isolated node 9."""
    a, b = random_graph(5, seed=1), random_graph(4, seed=2)
    both, _ = union(a, b._replace(mask=torch.zeros(4, dtype=torch.bool)))
    return both._replace(
        y=torch.cat([both.y, both.y[:1]]), mask=torch.cat([both.mask, torch.tensor([False])])
    )


@pytest.mark.parametrize("solver", [CG(), Direct(), Multigrid()])
@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_nodes_no_label_reaches(solver, normalization):
    graph = cut_off()
    options = {"solver": solver, "normalization": normalization}
    with pytest.raises(
        ValueError,
        match="got 5 nodes that no label reaches, the first is node 5; set on_unreachable",
    ):
        run(graph, **options)
    u = run(graph, on_unreachable="nan", **options)
    assert u[5:].isnan().all()
    assert not u[:5].isnan().any()
    prior = one_hot(graph.y[graph.mask], 4).double().mean(0)
    u = run(graph, on_unreachable="prior", **options)
    torch.testing.assert_close(u[5:], prior.expand(5, 4))
    zero = run(graph, tau=0.1, on_unreachable="prior", **options)
    assert zero[5:9].abs().max() < 1e-9


def test_gradients_stay_finite_beside_nodes_no_label_reaches():
    graph = cut_off()
    p = graph.weight.clone().requires_grad_()
    values = torch.rand(10, 2, dtype=F64, requires_grad=True)
    u = laplace_propagation(
        graph.edge_index, p[graph.pair], values, graph.mask, on_unreachable="prior"
    )
    grads = torch.autograd.grad(u.square().sum(), (p, values))
    assert all(g.isfinite().all() for g in grads)
    assert grads[1][~graph.mask].eq(0).all()


def test_zero_weights_do_not_connect():
    edge_index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    weight = torch.tensor([1.0, 1.0, 0.0, 0.0])
    u = laplace_propagation(edge_index, weight, torch.tensor([1, -1, -1]), on_unreachable="nan")
    assert u[1].tolist() == [0.0, 1.0]
    assert u[2].isnan().all()


def test_self_loops_have_no_effect_and_duplicates_add_up():
    graph = random_graph(8, seed=3)
    loops = torch.arange(8).expand(2, 8)
    edge_index = torch.cat([graph.edge_index, graph.edge_index, loops], dim=1)
    weight = torch.cat([graph.edge_weight / 2, graph.edge_weight / 2, torch.rand(8).double()])
    for normalization in NORMALIZATIONS:
        options = {"num_classes": 4, "tau": 0.1, "normalization": normalization}
        u = laplace_propagation(edge_index, weight, graph.y, graph.mask, **options)
        torch.testing.assert_close(u, run(graph, **options))


def test_all_labelled_one_class_and_labels_without_a_graph():
    graph = random_graph(6)
    everything = graph._replace(mask=torch.ones(6, dtype=torch.bool))
    assert torch.equal(run(everything), one_hot(graph.y, 4).double())
    one = laplace_propagation(graph.edge_index, None, torch.tensor([0] + [-1] * 5))
    torch.testing.assert_close(one, torch.ones(6, 1))
    empty = torch.empty(2, 0, dtype=torch.int64)
    alone = laplace_propagation(empty, None, torch.tensor([1, 0]))
    assert alone.tolist() == [[0.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_and_autocast(dtype):
    graph = random_graph(30, 0.1)
    exact_ = run(graph)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        u = laplace_propagation(
            graph.edge_index, graph.edge_weight.to(dtype), graph.y, graph.mask, num_classes=4
        )
    assert u.dtype == torch.float32
    tol = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(u.double(), exact_, rtol=tol, atol=tol)


def test_module_with_a_learned_tau():
    graph = random_graph(8)
    layer = LaplacePropagation(tau=torch.nn.Parameter(torch.tensor(0.5)), num_classes=4)
    u = layer(graph.edge_index, graph.edge_weight.float(), graph.y, graph.mask)
    u.sum().backward()
    assert [name for name, _ in layer.named_parameters()] == ["tau.raw"]
    assert layer.tau.raw.grad < 0
    assert "num_classes=4" in repr(layer)
    again = LaplacePropagation(tau=torch.nn.Parameter(torch.tensor(1.0)))
    again.load_state_dict(layer.state_dict())
    other = copy.deepcopy(layer)
    with torch.no_grad():
        other.tau.raw.copy_(torch.tensor(3.0).expm1().log())
    assert again.tau() == layer.tau()
    torch.testing.assert_close(layer.tau().item(), 0.5)
    args = graph.edge_index, graph.edge_weight.float(), graph.y, graph.mask
    torch.testing.assert_close(other(*args), layer(*args, tau=3.0))


def test_compile_breaks_the_graph_once():
    graph = random_graph(12)
    weight = torch.nn.Parameter(graph.weight.clone())

    def step(weight):
        u = laplace_propagation(graph.edge_index, weight.exp()[graph.pair], graph.y, graph.mask)
        return (u + 1e-8).log().mean()

    assert torch._dynamo.explain(step)(weight).graph_break_count == 1
    compiled = torch.compile(step, backend="eager")(weight)
    (grad,) = torch.autograd.grad(compiled, weight)
    (expected,) = torch.autograd.grad(step(weight), weight)
    torch.testing.assert_close(grad, expected)


def test_the_authors_solutions(reference_root):
    data = np.load(reference_root / "graphlearning_pendigits.npz")
    matrix = scipy.sparse.csr_array((data["data"], data["indices"], data["indptr"]))
    edge_index, weight, n = as_edges(matrix)
    y = torch.from_numpy(data["y"])
    mask = torch.zeros(n, dtype=torch.bool)
    mask[torch.from_numpy(data["idx"])] = True
    for name, options, agree in (
        ("laplace", {}, 0.999),
        ("laplace_tau", {"tau": 0.05}, 0.999),
        ("wnll", {"reweighting": "wnll"}, 0.995),
    ):
        u = laplace_propagation(
            edge_index, weight, y, mask, num_classes=10, on_unreachable="nan", **options
        )
        reached = ~u.isnan().any(1)
        assert int((~reached).sum()) == (0 if "tau" in options else 24)
        theirs = torch.from_numpy(data[f"{name}_u"])[reached]
        torch.testing.assert_close(u[reached], theirs, rtol=0, atol=1e-8)
        same = u[reached].argmax(1) == torch.from_numpy(data[f"{name}_pred"])[reached]
        assert same.double().mean() >= agree


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_cuda_equals_cpu(device, dtype):
    graph = random_graph(300, 0.02)
    results = []
    for where in ("cpu", device):
        p = graph.weight.to(where, dtype).requires_grad_()
        u = laplace_propagation(
            graph.edge_index.to(where),
            p[graph.pair.to(where)],
            graph.y.to(where),
            graph.mask.to(where),
        )
        results.append([u.cpu(), torch.autograd.grad(u.square().sum(), p)[0].cpu()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


ERRORS = [
    ({"tau": -1.0}, ValueError, r"tau must be >= 0 and finite, got -1.0"),
    ({"tau": torch.tensor([1.0, torch.inf])}, ValueError, "tau must be >= 0 and finite, got inf"),
    ({"tau": torch.zeros(3)}, ValueError, r"tau must be a scalar or have shape \[6\], got \[3\]"),
    ({"order": 0}, ValueError, "order must be >= 1, got 0"),
    ({"order": 1.5}, TypeError, "order must be an int, got float"),
    ({"tau": "1"}, TypeError, "tau must be a number or a Tensor, got str"),
    (
        {"solver": "cg"},
        TypeError,
        r"solver must be CG\(...\), Direct\(...\), .* or None, got 'cg'",
    ),
    ({"initial": torch.zeros(6, 3)}, ValueError, r"initial must have shape \[6, 4\], got \[6, 3\]"),
    ({"initial": torch.full((6, 4), torch.nan)}, ValueError, "initial must be finite"),
    ({"normalization": "sym"}, ValueError, "normalization must be one of"),
    ({"reweighting": "properly"}, ValueError, "x must be given with reweighting='properly'"),
    ({"on_unreachable": "zero"}, ValueError, "on_unreachable must be one of"),
    ({"num_classes": 2}, ValueError, r"y must be in \[0, 2\) on labelled nodes, got 3"),
    (
        {"mask": torch.zeros(6, dtype=torch.bool)},
        ValueError,
        "at least one labelled node, got none",
    ),
    (
        {"mask": torch.ones(5, dtype=torch.bool)},
        ValueError,
        r"mask must have shape \[6\], got \[5\]",
    ),
    ({"mask": torch.ones(6)}, TypeError, "mask must be a bool Tensor, got torch.float32"),
    ({"y": torch.zeros(6)}, ValueError, r"y must have shape \[n, c\] where it holds values"),
    ({"y": torch.zeros(6, 2), "num_classes": 6}, ValueError, r"y must have shape \[n, 6\]"),
    ({"y": torch.full((6, 2), torch.nan)}, ValueError, "y must be finite on labelled nodes"),
    ({"y": torch.full((6,), -1)}, ValueError, r"y must be in \[0, 0\) on labelled nodes, got -1"),
    ({"y": [0] * 6}, TypeError, "y must be a Tensor, got list"),
    ({"batch": torch.zeros(5).long()}, ValueError, r"batch must have shape \[6\]"),
    ({"batch": torch.tensor([-1] * 6)}, ValueError, "batch must be >= 0, got -1"),
    ({"batch": torch.arange(6)}, ValueError, "same at both ends of an edge, got 0 and 1 at edge 0"),
    ({"edge_index": torch.tensor([[0], [9]])}, ValueError, "9"),
]


@pytest.mark.parametrize(("change", "error", "message"), ERRORS)
def test_bad_input_is_named(change, error, message):
    graph = random_graph(6)
    arguments = {
        "edge_index": graph.edge_index,
        "edge_weight": graph.edge_weight,
        "y": torch.tensor([3, 0, 0, 0, 0, 0]),
        "mask": torch.arange(6) < 2,
        **change,
    }
    if "edge_index" in change:
        arguments["edge_weight"] = None
    positional = [arguments.pop(name) for name in ("edge_index", "edge_weight", "y", "mask")]
    with pytest.raises(error, match=message):
        laplace_propagation(*positional, **arguments)


def test_weights_that_are_not_those_of_an_undirected_graph():
    graph = random_graph(6)
    weight = graph.edge_weight.clone()
    weight[3] = -0.3
    with pytest.raises(ValueError, match=r"edge_weight must be >= 0, got min -0.3 at edge 3"):
        laplace_propagation(graph.edge_index, weight, graph.y, graph.mask)
    weight[3] = 5.0
    with pytest.raises(ValueError, match="equal in both directions"):
        laplace_propagation(graph.edge_index, weight, graph.y, graph.mask)
    with pytest.raises(ValueError, match="equal in both directions"):
        laplace_propagation(torch.tensor([[0], [1]]), None, torch.tensor([0, -1]))
    big = random_graph(1000, 0.1)
    weight = big.edge_weight.float()
    weight[torch.randint(len(weight), (1,))] *= 1.5
    with pytest.raises(ValueError, match="equal in both directions"):
        laplace_propagation(big.edge_index, weight, big.y, big.mask)
    rounded = big.edge_weight * (1 + 1e-7 * torch.rand(len(weight)))
    laplace_propagation(big.edge_index, rounded.float(), big.y, big.mask)


def test_weights_that_leave_the_range_of_numbers():
    graph = random_graph(6)
    with pytest.raises(ValueError, match=r"must give finite degrees in torch\.float32"):
        run(graph._replace(weight=graph.weight.float()), tau=3e38, normalization="randomwalk")
    with pytest.raises(ValueError, match="power order=2 must stay in the range of float64"):
        run(graph._replace(weight=graph.weight * 1e-200), order=2)


def test_backward_inside_autocast():
    graph = random_graph(30, 0.1)
    grads = []
    for enabled in (False, True):
        p = graph.weight.float().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            u = laplace_propagation(graph.edge_index, p[graph.pair], graph.y, graph.mask)
            (grad,) = torch.autograd.grad(u.square().sum(), p, create_graph=True)
            grads += [grad.detach(), torch.autograd.grad(grad.square().sum(), p)[0]]
    torch.testing.assert_close(grads[:2], grads[2:])


def test_a_graph_without_labels_has_no_prior():
    pairs = torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]])
    y, batch = torch.tensor([0, -1, -1, -1]), torch.tensor([0, 0, 1, 1])
    with pytest.raises(ValueError, match="on_unreachable='prior', got none in graph 1"):
        laplace_propagation(pairs, None, y, batch=batch, on_unreachable="prior")
    assert laplace_propagation(pairs, None, y, batch=batch, on_unreachable="nan")[2:].isnan().all()
