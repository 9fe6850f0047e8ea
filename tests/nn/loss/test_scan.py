import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from pyg_relational.nn import neighbor_consistency_loss, self_label_loss
from tests import oracles


def scores(n, c, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, c, generator=g, dtype=torch.float64, requires_grad=True)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 4), st.floats(0, 3), st.integers(0, 99))
def test_neighbors_equal_the_literal_form(n, k, c, entropy_weight, seed):
    s = scores(n, c, seed).softmax(1)
    index = torch.randint(n, (n, k), generator=torch.Generator().manual_seed(seed))
    loss = neighbor_consistency_loss(s, index, entropy_weight=entropy_weight)
    torch.testing.assert_close(loss, oracles.neighbor_consistency(s, index, entropy_weight))


def test_neighbors_derivatives_and_batch():
    index = torch.tensor([[1, 2], [0, 2], [0, 1], [4, 3], [3, 4]])
    batch = torch.tensor([0, 0, 0, 4, 4])
    z = scores(5, 3)
    assert gradcheck(lambda z: neighbor_consistency_loss(z.softmax(1), index, batch=batch), z)
    s = z.softmax(1)
    alone = [
        neighbor_consistency_loss(s[:3], index[:3]),
        neighbor_consistency_loss(s[3:], index[3:] - 3),
    ]
    loss = neighbor_consistency_loss(s, index, batch=batch)
    torch.testing.assert_close(loss, sum(alone) / 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbors_that_cannot_agree_have_a_finite_loss(dtype):
    c = torch.eye(2, dtype=dtype, requires_grad=True)
    loss = neighbor_consistency_loss(c, torch.tensor([[1], [0]]))
    assert 50 < loss.item() < 1000
    assert torch.autograd.grad(loss, c)[0].isfinite().all()


def test_neighbors_with_an_empty_cluster_have_a_finite_gradient():
    c = torch.eye(3)[[0, 0, 1, 1]].requires_grad_()
    loss = neighbor_consistency_loss(c, torch.tensor([[1], [0], [3], [2]]), entropy_weight=1)
    torch.testing.assert_close(loss, -torch.tensor(2.0).log())
    assert torch.autograd.grad(loss, c)[0].isfinite().all()


def test_no_node_has_loss_zero():
    c = torch.rand(0, 2, requires_grad=True)
    loss = neighbor_consistency_loss(c, torch.empty((0, 3), dtype=torch.int64))
    loss.backward()
    assert loss == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4), st.floats(0, 1), st.booleans(), st.integers(0, 99))
def test_self_label_equals_the_literal_form(n, c, threshold, balance, seed):
    weak, strong = 3 * scores(n, c, seed), scores(n, c, seed + 1)
    loss = self_label_loss(weak, strong, threshold=threshold, balance=balance)
    torch.testing.assert_close(loss, oracles.self_label(weak, strong, threshold, balance))


def test_self_label_reaches_the_strong_view_only():
    weak, strong = scores(6, 3), scores(6, 3, 1)
    assert gradcheck(lambda s: self_label_loss(weak, s, threshold=0.5), strong)
    self_label_loss(weak, strong, threshold=0.5).backward()
    assert weak.grad is None


@pytest.mark.parametrize("rows", [0, 2])
def test_self_label_without_a_sure_sample_is_zero(rows):
    strong = torch.randn(rows, 3, requires_grad=True)
    loss = self_label_loss(torch.zeros(rows, 3), strong)
    assert loss == 0
    assert torch.autograd.grad(loss, strong)[0].equal(torch.zeros(rows, 3))


def test_half_precision():
    s = scores(50, 3).softmax(1).bfloat16()
    assert neighbor_consistency_loss(s, torch.zeros(50, 1).long()).dtype == torch.float32
    assert self_label_loss(s, s).dtype == torch.float32


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_cuda_equals_cpu():
    s, t, index = (
        scores(40, 3).detach().float(),
        scores(40, 3, 1).detach().float(),
        torch.randint(40, (40, 5)),
    )
    for f in (
        lambda s, t, index: neighbor_consistency_loss(s.softmax(1), index),
        lambda s, t, index: self_label_loss(s, t, threshold=0.5),
    ):
        torch.testing.assert_close(f(s.cuda(), t.cuda(), index.cuda()).cpu(), f(s, t, index))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"assignment": torch.zeros(2, 1).long()}, TypeError, "assignment must be floating point"),
        ({"assignment": -torch.eye(2)}, ValueError, "assignment must be >= 0, got min -1"),
        ({"index": torch.zeros(2, 1)}, TypeError, "index must be int64"),
        ({"index": torch.zeros(3, 1).long()}, ValueError, r"index must have shape \[2, k\]"),
        ({"index": torch.zeros(2, 0).long()}, ValueError, r"k >= 1, got \[2, 0\]"),
        ({"index": torch.tensor([[0], [2]])}, ValueError, r"index must be in 0..1, got 0..2"),
        ({"index": torch.tensor([[-1], [1]])}, ValueError, r"index must be in 0..1, got -1..1"),
        ({"entropy_weight": -1}, ValueError, "entropy_weight must be finite and >= 0, got -1"),
        ({"batch": torch.zeros(2)}, TypeError, "batch must be int64"),
    ],
)
def test_neighbors_bad_input(change, error, message):
    arguments = {"assignment": torch.eye(2), "index": torch.tensor([[1], [0]])}
    with pytest.raises(error, match=message):
        neighbor_consistency_loss(**(arguments | change))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weak": torch.zeros(2, 2).long()}, TypeError, "weak must be floating point"),
        ({"strong": torch.zeros(2, 3)}, ValueError, r"shape of weak, \[2, 2\], got \[2, 3\]"),
        ({"strong": torch.full((2, 2), torch.nan)}, ValueError, "strong must be finite"),
        ({"threshold": 1.1}, ValueError, r"threshold must be in \[0, 1\], got 1.1"),
    ],
)
def test_self_label_bad_input(change, error, message):
    with pytest.raises(error, match=message):
        self_label_loss(**({"weak": torch.eye(2), "strong": torch.eye(2)} | change))
