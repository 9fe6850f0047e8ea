import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch_geometric.nn import GATv2Conv, GCNConv, global_mean_pool
from torch_geometric.nn.dense import DMoNPooling

from pyg_relational.nn import SparseDMoN
from tests import oracles
from tests.graphs import graphs, random_graph, union

NONE = torch.empty(2, 0, dtype=torch.int64)
CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.cuda,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
    ],
)


def features(n, d, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=g, dtype=torch.float64, requires_grad=True)


def pools(channels, k):
    """PyG's layer, and ours with its parameters."""
    theirs = DMoNPooling(channels, k).double()
    ours = SparseDMoN(channels, k).double()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def dense(out, nodes):
    return oracles.dense_weights(out.edge_index.cpu(), out.edge_weight.cpu(), nodes)


@settings(deadline=None, max_examples=25)
@given(graphs(), st.integers(1, 4), st.sampled_from([3, [3, 5]]), st.integers(0, 999))
def test_equals_pyg_in_value_and_gradient(graph, k, channels, seed):
    n = len(graph.y)
    if n == 1:  # PyG divides by a total weight of 0
        return
    torch.manual_seed(seed)
    theirs, ours = pools(channels, k)
    x, w = features(n, 3, seed), graph.weight.clone().requires_grad_()
    out = ours(x, graph.edge_index, w[graph.pair])
    a = oracles.dense_weights(graph.edge_index, w[graph.pair], n)
    s, coarse_x, coarse_a, *losses = theirs(x, a)
    pairs = [(out.assignment, s[0]), (out.x, coarse_x[0]), *zip(out.losses, losses, strict=True)]
    if k > 1:  # of one cluster PyG has 0/0 in the gradient
        pairs.append((dense(out, k), coarse_a[0]))
    scale = [torch.rand_like(value) for value, _ in pairs]
    for value, expected in pairs:
        torch.testing.assert_close(value, expected)
    totals = [sum((v[i] * r).sum() for v, r in zip(pairs, scale, strict=True)) for i in (0, 1)]
    inputs = [(x, w, *module.parameters()) for module in (ours, theirs)]
    for mine, other in zip(
        *(torch.autograd.grad(t, i) for t, i in zip(totals, inputs, strict=True)), strict=True
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_a_union_gives_what_each_graph_gives(device):
    a, b = random_graph(7), random_graph(4, seed=1)
    both, batch = union(a, b)
    x, (_, pool) = features(11, 3).detach(), pools(3, 3)
    alone = [
        pool(rows, g.edge_index, g.edge_weight)
        for g, rows in zip((a, b), x.split([7, 4]), strict=True)
    ]
    shuffled = torch.randperm(11)
    rank = shuffled.argsort()
    inputs = (x[shuffled], rank[both.edge_index], both.edge_weight, 2 * batch[shuffled])
    out = pool.to(device)(*(t.to(device) for t in inputs))
    assert out.batch.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    coarse = out.x.view(3, 3, 3).cpu()
    torch.testing.assert_close(coarse[[0, 2]], torch.stack([o.x for o in alone]))
    assert coarse[1].eq(0).all()  # graph 1 has no node
    blocks = [dense(o, 3) for o in alone]
    expected = torch.block_diag(blocks[0], torch.zeros(3, 3), blocks[1])
    torch.testing.assert_close(dense(out, 9), expected)
    for loss, first, second in zip(out.losses, *(o.losses for o in alone), strict=True):
        torch.testing.assert_close(loss.cpu(), (first + second) / 2)


def test_derivatives():
    graph, batch = union(random_graph(4), random_graph(3, seed=1))
    _, pool = pools(2, 2)

    def f(x, w):
        out = pool(x, graph.edge_index, w[graph.pair], batch)
        return out.x, out.edge_weight, sum(out.losses)

    assert gradcheck(f, (features(7, 2), graph.weight.clone().requires_grad_()))


def test_coarse_graph_feeds_layers_and_pooling_again():
    graph, batch = union(random_graph(9), random_graph(6, seed=1))
    first, second = SparseDMoN(3, 4), SparseDMoN(5, 2, dropout=0.5)
    x = features(15, 3).detach().float()
    out = first(x, graph.edge_index, graph.edge_weight.float(), batch)
    row, col = out.edge_index
    assert (row != col).all()
    key = row * 8 + col
    assert (key[1:] > key[:-1]).all()
    swapped = dense(out, 8)
    assert swapped.equal(swapped.T)
    h = GATv2Conv(3, 5, edge_dim=1)(out.x, out.edge_index, out.edge_weight)
    again = second(h.relu(), out.edge_index, out.edge_weight, out.batch)
    h = GCNConv(5, 2)(again.x, again.edge_index, again.edge_weight)
    logits = global_mean_pool(h, again.batch)
    assert logits.shape == (2, 2)
    (logits.sum() + sum(out.losses) + sum(again.losses)).backward()
    assert all(p.grad.isfinite().all() for p in first.parameters())


@pytest.mark.parametrize("rows", [0, 3])
@pytest.mark.parametrize("batched", [False, True])
def test_no_edge_no_coarse_edge_and_finite_gradients(rows, batched):
    pool = SparseDMoN(2, 3)
    x = torch.randn(rows, 2, requires_grad=True)
    out = pool(x, NONE, batch=torch.arange(rows) if batched else None)
    assert out.edge_index.shape == (2, 0)
    assert out.losses.modularity == 0
    (sum(out.losses) + out.x.sum() + out.edge_weight.sum()).backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize(("sureness", "edges"), [(60.0, 2), (1000.0, 0)])
def test_clusters_with_next_to_no_common_edge(sureness, edges):
    pool = SparseDMoN(2, 2)
    torch.nn.init.eye_(pool.mlp.lins[0].weight)
    x = (sureness * torch.eye(2)[[0, 0, 1, 1]]).requires_grad_()
    out = pool(x, torch.tensor([[0, 1, 2, 3], [1, 0, 3, 2]]))
    assert out.edge_index.shape == (2, edges)
    torch.testing.assert_close(out.edge_weight, torch.ones(edges))
    (out.edge_weight.sum() + out.x.sum()).backward()
    assert x.grad.isfinite().all()


def test_dropout_is_off_in_eval():
    graph, pool = random_graph(6), SparseDMoN(3, 2, dropout=0.9)
    x = features(6, 3).detach().float()
    torch.manual_seed(0)
    train = pool(x, graph.edge_index).assignment
    first, second = (pool.eval()(x, graph.edge_index).assignment for _ in range(2))
    assert first.equal(second)
    assert not train.equal(first)


def test_autocast_and_half_precision():
    graph, pool = random_graph(6), SparseDMoN(3, 2)
    x = features(6, 3).detach().float()
    single = pool(x, graph.edge_index)
    with torch.autocast("cpu", torch.bfloat16):
        out = pool(x, graph.edge_index)
    for value in (out.assignment, out.x, out.edge_weight, *out.losses):
        assert value.dtype == torch.float32
    torch.testing.assert_close(out.x, single.x, atol=0.05, rtol=0.05)
    assert pool.bfloat16()(x.bfloat16(), graph.edge_index).edge_weight.dtype == torch.float32


def test_reset_draws_anew():
    pool = SparseDMoN([3, 4], 2)
    before = pool.mlp.lins[0].weight.clone()
    pool.reset_parameters()
    assert not before.equal(pool.mlp.lins[0].weight)
    assert repr(pool) == "SparseDMoN(channels=[3, 4], num_clusters=2, dropout=0.0)"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 2).long()}, TypeError, "x must be floating point"),
        ({"x": torch.ones(2, 3)}, ValueError, "x must have 2 columns, got 3"),
        ({"edge_weight": -torch.ones(2)}, ValueError, "edge_weight must be >= 0"),
        ({"edge_index": torch.tensor([[0], [1]])}, ValueError, "not undirected"),
        ({"batch": torch.tensor([0, 1])}, ValueError, "batch must be the same at both ends"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"x": torch.eye(2), "edge_index": torch.tensor([[0, 1], [1, 0]])}
    with pytest.raises(error, match=message):
        SparseDMoN(2, 2)(**(arguments | change))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_clusters": 0}, "num_clusters must"),
        ({"num_clusters": 2, "dropout": 1}, "dropout must"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SparseDMoN(2, **options)
